// Q8_0: signed bytes and one scale for 32 weights.
dq.format <q8_0, gguf = 8, block = 32, bytes = 34, group = 32,
  codes = signed [8 bits at 2 + i],
  scale = f16 at 0>
