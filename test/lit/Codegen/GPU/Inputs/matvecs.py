"""Prints a module with a matmul of every format that GPU kernels read, after the quantization of its activations, for
one row of them and for eight."""
BYTES_OF_256 = {"q8_0": 272, "q4_0": 144, "q4_1": 160, "q5_0": 176, "q5_1": 192, "q2_K": 84,
                "q3_K": 110, "q4_K": 144, "q5_K": 176, "q6_K": 210, "iq4_nl": 144, "iq4_xs": 136, "mxfp4": 136,
                "mxfp6_e2m3": 200, "mxfp6_e3m2": 200, "i4_f32": 160, "i5_f32": 192, "i8_f32": 288}

for name, size in BYTES_OF_256.items():
    weight = f"tensor<1536x1536x!dq.block<{name}>>"
    print(f"dq.source @{name} : {weight} in 0 at 0 bytes {1536 * 6 * size}")
    for rows in (1, 8):
        floats = f"tensor<{rows}x1536xf32>"
        x, y = f"tensor<{rows}x1536x!dq.act8<32>>", f"tensor<{rows}x1536xf32>"
        print(f"func.func @{name}_{rows}(%x32: {floats}) -> {y} {{\n"
              f"  %x = dq.quantize %x32 : {floats} -> {x}\n  %w = dq.weight @{name} : {weight}\n"
              f"  %y = dq.matmul %x, [%w] : {x}, [{weight}] -> {y}\n  return %y : {y}\n}}")
