// Q2_K: 2-bit codes in super-blocks of 256; scales and minimums of 16 weights are nibbles of one byte. A byte of codes
// serves four runs of 32 weights.
dq.format <q2_K, gguf = 10, block = 256, bytes = 84, group = 16,
  codes = [2 bits at 16 + (i floordiv 128) * 32 + i mod 32 shift ((i mod 128) floordiv 32) * 2],
  scale = f16 at 80 times [4 bits at i],
  minus = f16 at 82 times [4 bits at i shift 4]>
