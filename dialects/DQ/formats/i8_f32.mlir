// I8_F32: as Q8_0, with a scale in f32, as ONNX files have them. GGUF has no such format.
dq.format <i8_f32, block = 32, bytes = 36, group = 32,
  codes = signed [8 bits at 4 + i],
  scale = f32 at 0>
