// I4_F32: as Q4_0, with a scale in f32, as ONNX files have them. GGUF has no such format.
dq.format <i4_f32, block = 32, bytes = 20, group = 32,
  codes = [4 bits at 4 + i mod 16 shift (i floordiv 16) * 4] less 8,
  scale = f32 at 0>
