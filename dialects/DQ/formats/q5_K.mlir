// Q5_K: as Q4_K, with the fifth bits of all eight groups of 32 in one byte each.
dq.format <q5_K, gguf = 13, block = 256, bytes = 176, group = 32,
  codes = [4 bits at 48 + (i floordiv 64) * 32 + i mod 32 shift ((i floordiv 32) mod 2) * 4,
           1 bits at 16 + i mod 32 shift i floordiv 32],
  scale = f16 at 0 times [4 bits at 4 + i + (i floordiv 4) * 4,
                          2 bits at 4 + i mod 4 shift 4 + (i floordiv 4) * 2],
  minus = f16 at 2 times [4 bits at 8 + i shift (i floordiv 4) * 4,
                          2 bits at 8 + i mod 4 shift 4 + (i floordiv 4) * 2]>
