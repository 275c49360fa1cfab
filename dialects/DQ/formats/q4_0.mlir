// Q4_0: 4-bit codes, symmetric. The low nibbles hold the first half of the block, the high nibbles the second.
dq.format <q4_0, gguf = 2, block = 32, bytes = 18, group = 32,
  codes = [4 bits at 2 + i mod 16 shift (i floordiv 16) * 4] less 8,
  scale = f16 at 0>
