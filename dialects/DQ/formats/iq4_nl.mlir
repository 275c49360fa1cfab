// IQ4_NL: 4-bit codes that index a table of unevenly spaced values. Nibbles as in Q4_0.
dq.format <iq4_nl, gguf = 20, block = 32, bytes = 18, group = 32,
  codes = [4 bits at 2 + i mod 16 shift (i floordiv 16) * 4],
  table = [-127, -104, -83, -65, -49, -35, -22, -10, 1, 13, 25, 38, 53, 69, 89, 113],
  scale = f16 at 0>
