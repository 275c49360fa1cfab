// Q4_K: 4-bit codes in super-blocks of 256; each group of 32 has a scale and a minimum of 6 bits. 32 bytes of codes serve
// two groups: the low nibbles the even one, the high nibbles the odd one.
dq.format <q4_K, gguf = 12, block = 256, bytes = 144, group = 32,
  codes = [4 bits at 16 + (i floordiv 64) * 32 + i mod 32 shift ((i floordiv 32) mod 2) * 4],
  scale = f16 at 0 times [4 bits at 4 + i + (i floordiv 4) * 4,
                          2 bits at 4 + i mod 4 shift 4 + (i floordiv 4) * 2],
  minus = f16 at 2 times [4 bits at 8 + i shift (i floordiv 4) * 4,
                          2 bits at 8 + i mod 4 shift 4 + (i floordiv 4) * 2]>
