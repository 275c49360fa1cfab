// Q3_K: 3-bit codes, symmetric: two bits as in Q2_K, and the high bits of all eight runs of 32 in one byte each. Scales
// of 16 weights have 6 bits: nibbles in bytes 96-103, their upper two bits in bytes 104-107.
dq.format <q3_K, gguf = 11, block = 256, bytes = 110, group = 16,
  codes = [2 bits at 32 + (i floordiv 128) * 32 + i mod 32 shift ((i mod 128) floordiv 32) * 2,
           1 bits at i mod 32 shift i floordiv 32] less 4,
  scale = f16 at 108 times [4 bits at 96 + i mod 8 shift (i floordiv 8) * 4,
                            2 bits at 104 + i mod 4 shift (i floordiv 4) * 2] less 32>
