// A made-up format: 3-bit codes, symmetric, and one scale for 32 weights. 14 bytes: two bits of each code, four to a
// byte, then the third bits, eight to a byte.
dq.format <q3_plain, block = 32, bytes = 14, group = 32,
  codes = [2 bits at 2 + i mod 8 shift (i floordiv 8) * 2,
           1 bits at 10 + i mod 4 shift i floordiv 4] less 4,
  scale = f16 at 0>
