// I5_F32: as Q5_0, with a scale in f32: 4-bit integers less zero points of ONNX files. GGUF has no such format.
dq.format <i5_f32, block = 32, bytes = 24, group = 32,
  codes = [4 bits at 8 + i mod 16 shift (i floordiv 16) * 4,
           1 bits at 4 + i floordiv 8 shift i mod 8] less 16,
  scale = f32 at 0>
