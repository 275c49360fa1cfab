"""Compares compiled ONNX graphs with onnxruntime: compare_onnxruntime.py [--store FOLDER].

Three graphs: a perceptron of three layers, an encoder layer as exporters write it, and one Attention node. Prints for
each the largest difference of the results and how long a run takes, each on one thread, the best of several. Needs the
packages onnx and onnxruntime. With --store only small ones are made, and kept with onnxruntime's results for the tests.
"""
import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

ROOT = Path(__file__).resolve().parents[1]
sys.path.append(str(ROOT / "test" / "python"))


class Builder:
    """A graph in the making: nodes by call, weights by name, all f32."""

    def __init__(self, name):
        self.name, self.random = name, np.random.default_rng(7)
        self.nodes, self.weights = [], []

    def __call__(self, op, *inputs, **attributes):
        self.nodes.append(helper.make_node(op, inputs, [f"{op}_{len(self.nodes)}"], **attributes))
        return self.nodes[-1].output[0]

    def constant(self, array):
        self.weights.append(numpy_helper.from_array(array, f"w{len(self.weights)}"))
        return self.weights[-1].name

    def weight(self, *shape):
        return self.constant((self.random.standard_normal(shape) / np.sqrt(shape[0])).astype(np.float32))

    def linear(self, x, inputs, outputs):
        return self("Add", self.weight(outputs), self("MatMul", x, self.weight(inputs, outputs)))

    def model(self, inputs, output, shape):
        value = lambda name, dims: helper.make_tensor_value_info(name, TensorProto.FLOAT, dims)
        self.nodes[-1].output[0] = output
        graph = helper.make_graph(self.nodes, self.name, [value(*one) for one in inputs], [value(output, shape)],
                                  self.weights)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=11)


def perceptron(width):
    g = Builder("perceptron")
    x = "x"
    for inputs, outputs in ((width, 2 * width), (2 * width, width)):
        x = g("Relu", g.linear(x, inputs, outputs))
    g("Softmax", g.linear(x, width, 10))
    return g.model([("x", ["rows", width])], "y", ["rows", 10]), {"x": (16, width)}


def encoder(width, heads=4):
    """Self-attention and a feed-forward part, each with its residual and its norm."""
    g = Builder("encoder")
    split = g.constant(np.array([0, 0, heads, width // heads]))
    merge = g.constant(np.array([0, 0, width]))
    part = lambda order: g("Transpose", g("Reshape", g.linear("x", width, width), split), perm=order)
    scores = g("MatMul", part([0, 2, 1, 3]), part([0, 2, 3, 1]))
    scale = g.constant(np.array(np.sqrt(width / heads), np.float32))
    mixed = g("MatMul", g("Softmax", g("Div", scores, scale), axis=-1), part([0, 2, 1, 3]))
    mixed = g.linear(g("Reshape", g("Transpose", mixed, perm=[0, 2, 1, 3]), merge), width, width)
    norm = lambda x: g("LayerNormalization", x, g.weight(width), g.weight(width), axis=-1)
    middle = norm(g("Add", "x", mixed))
    norm(g("Add", middle, g.linear(g("Gelu", g.linear(middle, width, 4 * width)), 4 * width, width)))
    return g.model([("x", ["batch", "tokens", width])], "y", ["batch", "tokens", width]), {"x": (2, 16, width)}


def attention(width, heads=4, cached=5):
    """Causal, with a cache, and two query heads to each head of keys."""
    g = Builder("attention")
    g.nodes.append(helper.make_node("Attention", ["q", "k", "v", "", "past_k", "past_v"],
                                    ["y", "present_k", "present_v"], q_num_heads=heads, kv_num_heads=heads // 2,
                                    is_causal=1))
    size, half = width // heads, width // 2
    cache = ["batch", heads // 2, "past", size]
    shape = ["batch", "tokens", half]
    model = g.model([("q", ["batch", "tokens", width]), ("k", shape), ("v", shape), ("past_k", cache),
                     ("past_v", cache)], "y", ["batch", "tokens", width])
    flat, past = (2, 8, half), (2, heads // 2, cached, size)
    return model, {"q": (2, 8, width), "k": flat, "v": flat, "past_k": past, "past_v": past}


GRAPHS = {"perceptron": perceptron, "encoder": encoder, "attention": attention}


def session(path):
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


def arrays(shapes):
    random = np.random.default_rng(11)
    return {name: random.standard_normal(shape, np.float32) for name, shape in shapes.items()}


def store(folder):
    for name, make in GRAPHS.items():
        model, shapes = make(32)
        onnx.save(model, folder / f"{name}.onnx")
        inputs = arrays(shapes)
        np.savez(folder / f"{name}.npz", y=session(folder / f"{name}.onnx").run(["y"], inputs)[0], **inputs)


def best(run, times=20):
    """Seconds of the fastest run."""
    def once():
        start = time.perf_counter()
        run()
        return time.perf_counter() - start
    return min(once() for _ in range(times))


def compare(folder, build, width):
    from graph_library import Graph
    from runtime_library import Library
    library = Library(build / "lib" / "libquern_runtime.so")
    print(f"{'graph':12}{'difference':>12}{'onnxruntime ms':>16}{'quern ms':>10}{'ratio':>7}")
    for name, make in GRAPHS.items():
        model, shapes = make(width)
        path, inputs = folder / f"{name}.onnx", arrays(shapes)
        onnx.save(model, path)
        subprocess.run([build / "bin" / "quern", "compile", path, "-o", folder / f"{name}.quern"], check=True)
        graph, other = Graph(library, folder / f"{name}.quern"), session(path)
        wanted, got = other.run(["y"], inputs)[0], graph(*inputs.values())[0]
        theirs, ours = best(lambda: other.run(["y"], inputs)), best(lambda: graph(*inputs.values()))
        print(f"{name:12}{np.abs(wanted - got).max():12.1e}{theirs * 1e3:16.3f}{ours * 1e3:10.3f}{ours / theirs:7.1f}")
        graph.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--store", type=Path, metavar="FOLDER")
    parser.add_argument("--build", type=Path, default=ROOT / "build")
    parser.add_argument("--width", type=int, default=768, help="of the graphs that are timed")
    flags = parser.parse_args()
    if flags.store:
        flags.store.mkdir(parents=True, exist_ok=True)
        store(flags.store)
    else:
        with tempfile.TemporaryDirectory() as scratch:
            compare(Path(scratch), flags.build, flags.width)
