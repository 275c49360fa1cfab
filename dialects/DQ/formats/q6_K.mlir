// Q6_K: 6-bit codes, symmetric, in super-blocks of 256; each 16 weights have a signed byte of scale. Nibbles in bytes
// 0-127, upper two bits in bytes 128-191.
dq.format <q6_K, gguf = 14, block = 256, bytes = 210, group = 16,
  codes = [4 bits at (i floordiv 128) * 64 + i mod 64 shift ((i mod 128) floordiv 64) * 4,
           2 bits at 128 + (i floordiv 128) * 32 + i mod 32 shift ((i mod 128) floordiv 32) * 2] less 32,
  scale = f16 at 208 times signed [8 bits at 192 + i]>
