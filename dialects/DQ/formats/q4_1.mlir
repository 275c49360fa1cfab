// Q4_1: 4-bit codes with a minimum that is added. Nibbles as in Q4_0.
dq.format <q4_1, gguf = 3, block = 32, bytes = 20, group = 32,
  codes = [4 bits at 4 + i mod 16 shift (i floordiv 16) * 4],
  scale = f16 at 0, plus = f16 at 2>
