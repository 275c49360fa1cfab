"""Builds the nodes of tiny ONNX language models: constants, and products with constant matrices in the forms that
exporters give them. Needs the package onnx."""
import numpy as np
from onnx import TensorProto, helper, numpy_helper

HIDDEN, HEADS, KV_HEADS, SIZE, FFN, VOCABULARY, LAYERS = 32, 4, 2, 16, 64, 270, 2
THETA, EPSILON = 10000.0, 1e-6
BEGIN = 265                 # of the tokenizer in python/quern_py/tiny_tokenizer.py


class Builder:
    """Nodes and initializers of a graph; every method returns the name of what it adds."""

    def __init__(self, seed):
        self.nodes, self.initializers, self.count = [], [], 0
        self.rng = np.random.default_rng(seed)

    def constant(self, array):
        self.count += 1
        self.initializers.append(numpy_helper.from_array(np.asarray(array), f"c{self.count}"))
        return f"c{self.count}"

    def op(self, kind, *inputs, outputs=1, domain="", **attributes):
        self.count += 1
        names = [f"v{self.count}"] if outputs == 1 else [f"v{self.count}.{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(kind, list(inputs), names, f"n{self.count}", domain=domain, **attributes))
        return names[0] if outputs == 1 else names

    def ints(self, *values):
        return self.constant(np.array(values, np.int64))

    def matrix(self, rows, columns):
        return (self.rng.standard_normal((rows, columns)) / np.sqrt(columns)).astype(np.float32)

    def vector(self, size, mean, spread):
        return (mean + spread * self.rng.standard_normal(size)).astype(np.float32)

    def contrib(self, kind, *inputs, **more):
        return self.op(kind, *inputs, domain="com.microsoft", **more)


# Products with a constant matrix [N, K], in the forms that exporters give them.

def float_product(b, x, rows, columns):
    return b.op("MatMul", x, b.constant(b.matrix(rows, columns).T))


def pack(codes, bits):
    """Codes along the last axis, the first in the lowest bits of a byte."""
    return sum(codes[..., i::8 // bits] << (bits * i) for i in range(8 // bits)).astype(np.uint8)


def nbits_product(bits, zeros=False, half_scales=False, block=32):
    def product(b, x, rows, columns):
        blocks, per_byte = columns // block, 8 // bits
        spare = 3 if bits == 8 and zeros else 0  # so that differences from zero points fit a signed byte
        codes = b.rng.integers(spare, (1 << bits) - spare, (rows, columns), np.uint8)
        packed = pack(codes, bits)
        scales = b.rng.uniform(0.5, 1, rows * blocks) / (1 << bits - 2) / np.sqrt(columns)
        scales = scales.astype(np.float16 if half_scales else np.float32).astype(np.float32)
        inputs = [x, b.constant(packed.reshape(rows, blocks, -1)), b.constant(scales)]
        if zeros:
            middle = 1 << bits - 1
            points = b.rng.integers(middle - 3, middle + 3, (rows, blocks + -blocks % per_byte), np.uint8)
            inputs.append(b.constant(pack(points, bits)))
        return b.contrib("MatMulNBits", *inputs, N=rows, K=columns, bits=bits, block_size=block)
    return product


def qdq_product(kind, block):
    """DequantizeLinear of small integers [K, N] with blocks along K, or of [N, K] and a Transpose."""
    def product(b, x, rows, columns):
        low, high = (-8, 8) if kind == TensorProto.INT4 else (0, 16) if kind == TensorProto.UINT4 else (-128, 128)
        codes = b.rng.integers(low, high, (columns, rows))
        blocks = columns // block
        b.count += 1
        name = f"c{b.count}"
        flat = codes.reshape(-1)
        raw = (flat.astype(np.int8).tobytes() if kind == TensorProto.INT8 else
               pack(flat & 15, 4).tobytes())
        b.initializers.append(helper.make_tensor(name, kind, codes.shape, raw, raw=True))
        spread = 1 / np.sqrt(columns) / (high - low) * 4
        scales = (b.rng.uniform(0.5, 1, (blocks, rows)) * spread).astype(np.float32)
        inputs = [name, b.constant(scales)]
        if kind == TensorProto.UINT4:
            b.count += 1
            points = b.rng.integers(5, 11, blocks * rows)
            packed = pack(points, 4).tobytes()
            b.initializers.append(helper.make_tensor(f"c{b.count}", kind, (blocks, rows), packed, raw=True))
            inputs.append(f"c{b.count}")
        return b.op("MatMul", x, b.op("DequantizeLinear", *inputs, axis=0, block_size=block))
    return product


def random_rows(b, rows, columns):
    """Signed bytes [rows, columns], and a scale for each row."""
    codes = b.rng.integers(-127, 128, (columns, rows), np.int8).T
    return codes, (b.rng.uniform(0.5, 1, rows) / 74 / np.sqrt(columns)).astype(np.float32)


def unsigned_rows(b, rows, columns):
    """Bytes that differ by up to 254 from a zero point of each row, so that no signed byte holds them."""
    points = b.rng.choice(np.array([1, 128, 254], np.uint8), rows)
    return (b.rng.integers(0, 256, (columns, rows), np.uint8).T,
            (b.rng.uniform(0.5, 1, rows) / 74 / np.sqrt(columns)).astype(np.float32), points)


def dynamic_product(weights=random_rows):
    """What quantize_dynamic makes: one quantization of x for all products that read it. `weights` gives bytes, scales
    and, if they are not 0, zero points."""
    known = {}

    def product(b, x, rows, columns):
        if x not in known:
            known[x] = b.op("DynamicQuantizeLinear", x, outputs=3)
        quantized, scale, zero = known[x]
        codes, scales, *points = weights(b, rows, columns)
        points = b.constant(points[0] if points else np.zeros(rows, np.int8))
        whole = b.op("MatMulInteger", quantized, b.constant(codes.T), zero, points)
        return b.op("Mul", b.op("Cast", whole, to=TensorProto.FLOAT), b.op("Mul", scale, b.constant(scales)))
    return product
