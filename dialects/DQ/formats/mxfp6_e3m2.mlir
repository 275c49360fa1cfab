// MXFP6: floats of 6 bits (E3M2), kept as integers sixteen times as large, and a power of two for 32 weights (OCP
// Microscaling). GGUF has no such type; the places of the bits are ours, laid out as MXFP4's.
dq.format <mxfp6_e3m2, block = 32, bytes = 25, group = 32,
  codes = [4 bits at 1 + i mod 16 shift (i floordiv 16) * 4, 2 bits at 17 + i mod 8 shift (i floordiv 8) * 2],
  table = [0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 12, 14, 16, 20, 24, 28,
           32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448,
           0, -1, -2, -3, -4, -5, -6, -7, -8, -10, -12, -14, -16, -20, -24, -28,
           -32, -40, -48, -56, -64, -80, -96, -112, -128, -160, -192, -224, -256, -320, -384, -448],
  unit = 0.0625,
  scale = e8m0 at 0>
