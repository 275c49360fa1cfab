// Q5_1: 5-bit codes with a minimum that is added. Bits as in Q5_0, two bytes later.
dq.format <q5_1, gguf = 7, block = 32, bytes = 24, group = 32,
  codes = [4 bits at 8 + i mod 16 shift (i floordiv 16) * 4,
           1 bits at 4 + i floordiv 8 shift i mod 8],
  scale = f16 at 0, plus = f16 at 2>
