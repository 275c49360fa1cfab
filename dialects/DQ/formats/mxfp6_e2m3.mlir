// MXFP6: floats of 6 bits (E2M3), kept as integers eight times as large, and a power of two for 32 weights (OCP
// Microscaling). GGUF has no such type; the places of the bits are ours, laid out as MXFP4's.
dq.format <mxfp6_e2m3, block = 32, bytes = 25, group = 32,
  codes = [4 bits at 1 + i mod 16 shift (i floordiv 16) * 4, 2 bits at 17 + i mod 8 shift (i floordiv 8) * 2],
  table = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
           16, 18, 20, 22, 24, 26, 28, 30, 32, 36, 40, 44, 48, 52, 56, 60,
           0, -1, -2, -3, -4, -5, -6, -7, -8, -9, -10, -11, -12, -13, -14, -15,
           -16, -18, -20, -22, -24, -26, -28, -30, -32, -36, -40, -44, -48, -52, -56, -60],
  unit = 0.125,
  scale = e8m0 at 0>
