"""Prints a module with a matmul of any number of tokens for formats of every kind of codes and scales, and one with
swiglu."""
BYTES_OF_256 = {"q8_0": 272, "q4_0": 144, "q5_1": 192, "q2_K": 84, "q6_K": 210, "mxfp6_e2m3": 200, "i4_f32": 160}


def function(name, swiglu):
    weight, x, y = (f"tensor<1536x1536x!dq.block<{name}>>", "tensor<?x1536x!dq.act8<32>>", "tensor<?x1536xf32>")
    weights, types = ("[%w, %w]", f"[{weight}, {weight}]") if swiglu else ("[%w]", f"[{weight}]")
    print(f"func.func @matmul_{name}{'_swiglu' if swiglu else ''}(%x: {x}) -> {y} {{\n"
          f"  %w = dq.weight @{name} : {weight}\n"
          f"  %y = dq.matmul {'swiglu ' if swiglu else ''}%x, {weights} : {x}, {types} -> {y}\n  return %y : {y}\n}}")


for format_name, size in BYTES_OF_256.items():
    print(f"dq.source @{format_name} : tensor<1536x1536x!dq.block<{format_name}>> in 0 at 0 bytes {1536 * 6 * size}")
    function(format_name, False)
function("q5_1", True)
