// IQ4_XS: the table of IQ4_NL in super-blocks of 256; each group of 32 has a scale of 6 bits: nibbles in bytes 4-7, their
// upper two bits in bytes 2 and 3.
dq.format <iq4_xs, gguf = 23, block = 256, bytes = 136, group = 32,
  codes = [4 bits at 8 + (i floordiv 32) * 16 + i mod 16 shift ((i mod 32) floordiv 16) * 4],
  table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
  scale = f16 at 0 times [4 bits at 4 + i floordiv 2 shift (i mod 2) * 4,
                          2 bits at 2 + i floordiv 4 shift (i mod 4) * 2] less 32>
