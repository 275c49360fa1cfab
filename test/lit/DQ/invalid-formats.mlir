// RUN: quern-opt %s -split-input-file -verify-diagnostics

// expected-error@+1 {{expected a name of letters, digits and '_' (F1), got 'q.1'}}
dq.format <q.1, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a block of 1 to 65536 weights (F2), got 0}}
dq.format <q, block = 0, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a block of 1 to 65536 bytes (F2), got 65537}}
dq.format <q, block = 32, bytes = 65537, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a group that divides the block of 32 weights (F2), got 12}}
dq.format <q, block = 32, bytes = 34, group = 12, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected planes of 1 to 8 bits (F3) for each code, got 9}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [9 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected 1 to 8 bits (F3) for each code, got 10}}
dq.format <q, block = 32, bytes = 66, group = 32, codes = signed [8 bits at 2 + i, 2 bits at 34 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected code 31 inside the block of 33 bytes (F4), got byte 33}}
dq.format <q, block = 32, bytes = 33, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected code 0 inside the block of 34 bytes (F4), got byte -1}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [8 bits at i - 1], scale = f16 at 32>

// -----

// expected-error@+1 {{expected code 1 inside one byte (F4), got 4 bits at shift 5}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = [4 bits at 2 + i shift 5 * (i mod 2)], scale = f16 at 0>

// -----

// expected-error@+1 {{bit 0 of byte 32 is used twice (F5), the second time by scale 0}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 32>

// -----

// expected-error@+1 {{bit 0 of byte 2 is used twice (F5), the second time by code 16}}
dq.format <q, block = 32, bytes = 18, group = 32, codes = [4 bits at 2 + i mod 8 shift (i floordiv 8 mod 2) * 4], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a table of 4 entries (F6), got 3}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = [2 bits at 2 + i], table = [-1, 0, 1], scale = f16 at 0>

// -----

// expected-error@+1 {{expected unsigned codes without zero point where there is a table (F6)}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = [2 bits at 2 + i] less 1, table = [-1, 0, 1, 2], scale = f16 at 0>

// -----

// expected-error@+1 {{expected codes less zero point in a signed byte (F7), got 0 to 255}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a unit that is a power of two (F8), got 3.000000e-01}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], unit = 0.3, scale = f16 at 0>

// -----

// expected-error@+1 {{expected a step for the scales of 2 groups (F9)}}
dq.format <q, block = 32, bytes = 36, group = 16, codes = signed [8 bits at 4 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected no step for a minimum with factors (F9), got step 2}}
dq.format <q, block = 32, bytes = 37, group = 32, codes = signed [8 bits at 4 + i], scale = f16 at 0, minus = f16 at 2 step 2 times [8 bits at 36]>

// -----

// expected-error@+1 {{expected a place that is affine in i with positive divisors (F10) for code}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i mod (0 - 32)], scale = f16 at 0>

// -----

// expected-error@+1 {{expected a GGUF type id of at least 0 (F11), got -2}}
dq.format <q, gguf = -2, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0>

// -----

// expected-error@+1 {{expected scale factors less at most 256, got less 1000 (F12)}}
dq.format <q, block = 32, bytes = 35, group = 32, codes = signed [8 bits at 2 + i], scale = f16 at 0 times [8 bits at 34] less 1000>

// -----

// expected-error@+1 {{expected a number of kind f16, bf16, f32 or e8m0, got 'f8'}}
dq.format <q, block = 32, bytes = 34, group = 32, codes = signed [8 bits at 2 + i], scale = f8 at 0>

// -----

// expected-error@+1 {{no format is called 'q9_9'}}
func.func private @unknown(tensor<32x!dq.block<q9_9>>)

// -----

// expected-error@+1 {{no format is called 'q9_9'}}
func.func private @unknown(tensor<32x!dq.block<#dq.format<q9_9>>>)

// -----

// expected-error@+1 {{expected at least one row in a panel, got 0}}
func.func private @panels(tensor<16x32xf32, #dq.panels<rows = 0>>)

// -----

// expected-error@+1 {{expected a group that is a positive multiple of 16, or 'row', got 24}}
func.func private @activation(tensor<?x32x!dq.act8<24>>)
