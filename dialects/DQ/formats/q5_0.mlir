// Q5_0: 5-bit codes, symmetric. The low nibbles hold the first half of the block, the high nibbles the second; the
// fifth bits lie together in a 32-bit word.
dq.format <q5_0, gguf = 6, block = 32, bytes = 22, group = 32,
  codes = [4 bits at 6 + i mod 16 shift (i floordiv 16) * 4,
           1 bits at 2 + i floordiv 8 shift i mod 8] less 16,
  scale = f16 at 0>
