// MXFP4: floats of 4 bits (E2M1), kept doubled as integers, and a power of two for 32 weights (OCP Microscaling).
dq.format <mxfp4, gguf = 39, block = 32, bytes = 17, group = 32,
  codes = [4 bits at 1 + i mod 16 shift (i floordiv 16) * 4],
  table = [0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12],
  unit = 0.5,
  scale = e8m0 at 0>
