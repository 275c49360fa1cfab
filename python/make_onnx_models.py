"""Makes the tiny ONNX language models of test/models/onnx and the logits that onnxruntime gives for them:

    make_onnx_models.py FOLDER [NAME...]

Needs the packages onnx (1.23.2) and onnxruntime (1.32.0); the tests that read the folder need neither. Weights are
random, the same in every run. Each model is NAME.onnx; NAME.jsonl holds logits along the likeliest tokens, in the form
of `quern logits`, computed with the cache: the prompt at once, then token by token.
"""
import json
import sys
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

HIDDEN, HEADS, KV_HEADS, SIZE, FFN, VOCABULARY, LAYERS = 32, 4, 2, 16, 64, 270, 2
THETA, EPSILON = 10000.0, 1e-6
BEGIN = 265                 # of the tokenizer in python/quern_py/tiny_tokenizer.py
PROMPTS = ["Kz7!", "Quern+Q"]  # no merges apply: a character's token is its code less 33
STEPS, TOP = 3, 60


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


def dynamic_product():
    """What quantize_dynamic makes: one quantization of x for all products that read it."""
    known = {}

    def product(b, x, rows, columns):
        if x not in known:
            known[x] = b.op("DynamicQuantizeLinear", x, outputs=3)
        quantized, scale, zero = known[x]
        codes = b.rng.integers(-127, 128, (columns, rows), np.int8)
        scales = (b.rng.uniform(0.5, 1, rows) / 74 / np.sqrt(columns)).astype(np.float32)
        points = b.constant(np.zeros(rows, np.int8))
        whole = b.op("MatMulInteger", quantized, b.constant(codes), zero, points)
        return b.op("Mul", b.op("Cast", whole, to=TensorProto.FLOAT), b.op("Mul", scale, b.constant(scales)))
    return product


class Model:
    """A decoder of qwen2 (with biases) or llama. `product`, `head`: makers of products; `parts`: of all else."""

    def __init__(self, seed, parts, product=float_product, head=None, biases=True, packed=False, tied=False):
        self.b, self.parts, self.product, self.biases, self.packed = Builder(seed), parts, product, biases, packed
        self.head, self.tied = head or product, tied

    def linear(self, x, rows, columns, bias=False):
        y = self.product(self.b, x, rows, columns)
        return self.b.op("Add", self.b.constant(self.b.vector(rows, 0, 0.5)), y) if bias else y

    def attention(self, h, layer):
        widths = [HEADS * SIZE, KV_HEADS * SIZE, KV_HEADS * SIZE]
        pieces = [sum(widths)] if self.packed else widths
        qkv = [self.linear(h, rows, HIDDEN, self.biases) for rows in pieces]
        return self.linear(self.parts.attention(self.b, qkv, layer), HIDDEN, HEADS * SIZE)

    def feed_forward(self, h):
        gate, up = self.linear(h, FFN, HIDDEN), self.linear(h, FFN, HIDDEN)
        return self.linear(self.b.op("Mul", self.b.op("Mul", gate, self.b.op("Sigmoid", gate)), up), HIDDEN, FFN)

    def build(self):
        b, parts = self.b, self.parts
        table = ((0.3 if self.tied else 1) * b.rng.standard_normal((VOCABULARY, HIDDEN))).astype(np.float32)
        name = b.constant(table)
        stream, block = b.op("Gather", name, "input_ids"), None
        for layer in range(LAYERS):
            for part in (lambda h: self.attention(h, layer), self.feed_forward):
                stream, h = parts.norm(b, stream, block, b.constant(b.vector(HIDDEN, 1, 0.2)))
                block = part(h)
        _, h = parts.norm(b, stream, block, b.constant(b.vector(HIDDEN, 1, 0.2)))
        logits = (b.op("MatMul", h, b.op("Transpose", name, perm=[1, 0])) if self.tied else
                  self.head(b, h, VOCABULARY, HIDDEN))
        b.nodes.append(helper.make_node("Identity", [logits], ["logits"], "last"))
        return self.finish()

    def finish(self):
        value = helper.make_tensor_value_info
        inputs, outputs = [], [value("logits", 1, ["batch", "tokens", VOCABULARY])]
        for name in self.parts.inputs:
            rows = {"attention_mask": ["total"], "write_indices": [], "lengths": []}.get(name, ["tokens"])
            inputs.append(value(name, 7, ["batch", *rows]))
        for layer in range(LAYERS):
            for kind in ("key", "value"):
                old, new = ("rows", "rows") if "lengths" in self.parts.inputs else ("past", "total")
                inputs.append(value(f"past_key_values.{layer}.{kind}", 1, ["batch", KV_HEADS, old, SIZE]))
                outputs.append(value(f"present.{layer}.{kind}", 1, ["batch", KV_HEADS, new, SIZE]))
        graph = helper.make_graph(self.b.nodes, "tiny", inputs, outputs, self.b.initializers)
        sets = [helper.make_opsetid("", self.parts.opset), helper.make_opsetid("com.microsoft", 1)]
        return helper.make_model(graph, opset_imports=sets, ir_version=10, producer_name="make_onnx_models")


def inverse_frequencies():
    return THETA ** (-np.arange(0, SIZE, 2) / SIZE)


def tables(positions=64):
    angles = np.arange(positions)[:, None] * inverse_frequencies()
    return np.cos(angles).astype(np.float32), np.sin(angles).astype(np.float32)


def unseen_keys(b):
    """Which keys a token does not see, [batch, 1, tokens, total]: later ones, and those that the mask leaves out."""
    zero, one = b.constant(np.int64(0)), b.constant(np.int64(1))
    total = b.op("Gather", b.op("Shape", "attention_mask"), one, axis=0)
    tokens = b.op("Gather", b.op("Shape", "input_ids"), one, axis=0)
    past = b.op("Gather", b.op("Shape", "past_key_values.0.key"), b.constant(np.int64(2)), axis=0)
    rows = b.op("Add", b.op("Range", zero, tokens, one), past)
    later = b.op("Greater", b.op("Range", zero, total, one), b.op("Unsqueeze", rows, b.ints(1)))
    padded = b.op("Equal", b.op("Unsqueeze", "attention_mask", b.ints(1, 2)), zero)
    return b.op("Or", b.op("Unsqueeze", later, b.ints(0, 1)), padded)


class GenaiParts:
    """The operators of onnxruntime-genai's model builder."""
    opset, inputs = 21, ("input_ids", "attention_mask")

    def __init__(self, interleaved=0):
        self.shared, self.interleaved = None, interleaved

    def norm(self, b, stream, block, weight):
        if block is None:
            return stream, b.op("SimplifiedLayerNormalization", stream, weight, axis=-1, epsilon=EPSILON, stash_type=1)
        h, _, _, total = b.contrib("SkipSimplifiedLayerNormalization", stream, block, weight, outputs=4,
                                   epsilon=EPSILON)
        b.nodes[-1].output[1] = b.nodes[-1].output[2] = ""
        return total, h

    def share(self, b):
        lengths = b.op("Sub", b.op("ReduceSum", "attention_mask", b.ints(1), keepdims=0), b.ints(1))
        total = b.op("Gather", b.op("Shape", "attention_mask"), b.constant(np.int64(1)), axis=0)
        casts = [b.op("Cast", value, to=TensorProto.INT32) for value in (lengths, total)]
        self.shared = [*casts, *map(b.constant, tables())]

    def attention(self, b, qkv, layer):
        if not self.shared:
            self.share(b)
        names = (qkv + ["", ""])[:3] + [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        out = b.contrib("GroupQueryAttention", *names, *self.shared, outputs=3, num_heads=HEADS, do_rotary=1,
                        kv_num_heads=KV_HEADS, rotary_interleaved=self.interleaved, scale=float(SIZE**-0.5))
        b.nodes[-1].output[1:] = [f"present.{layer}.key", f"present.{layer}.value"]
        return out[0]


class PlainParts:
    """The operators that torch.onnx.export makes of transformers' classes, without fused ones."""
    opset, inputs = 17, ("input_ids", "attention_mask", "position_ids")

    def __init__(self):
        self.shared = None

    def norm(self, b, stream, block, weight):
        if block is not None:
            stream = b.op("Add", stream, block)
        mean = b.op("ReduceMean", b.op("Pow", stream, b.constant(np.float32(2))), axes=[-1], keepdims=1)
        root = b.op("Sqrt", b.op("Add", mean, b.constant(np.float32(EPSILON))))
        return stream, b.op("Mul", weight, b.op("Mul", stream, b.op("Div", b.constant(np.float32(1)), root)))

    def share(self, b):
        """Cosines, sines and the additive mask: made once for all layers."""
        positions = b.op("Cast", b.op("Unsqueeze", "position_ids", b.ints(1)), to=TensorProto.FLOAT)
        frequencies = b.constant(inverse_frequencies().astype(np.float32).reshape(1, -1, 1))
        half = b.op("Transpose", b.op("MatMul", frequencies, positions), perm=[0, 2, 1])
        angles = b.op("Unsqueeze", b.op("Concat", half, half, axis=-1), b.ints(1))
        hidden = unseen_keys(b)
        lowest = b.constant(np.float32(np.finfo(np.float32).min))
        self.shared = [b.op("Cos", angles), b.op("Sin", angles),
                       b.op("Where", hidden, lowest, b.constant(np.float32(0)))]

    def turn(self, b, x):
        cosines, sines, _ = self.shared
        first = b.op("Slice", x, b.ints(0), b.ints(SIZE // 2), b.ints(-1))
        second = b.op("Slice", x, b.ints(SIZE // 2), b.ints(np.iinfo(np.int64).max), b.ints(-1))
        rotated = b.op("Concat", b.op("Neg", second), first, axis=-1)
        return b.op("Add", b.op("Mul", x, cosines), b.op("Mul", rotated, sines))

    def heads(self, b, x, count):
        return b.op("Transpose", b.op("Reshape", x, b.ints(0, 0, count, SIZE)), perm=[0, 2, 1, 3])

    def cached(self, b, x, layer, kind):
        b.nodes.append(helper.make_node("Concat", [f"past_key_values.{layer}.{kind}", x], [f"present.{layer}.{kind}"],
                                        axis=2))
        return f"present.{layer}.{kind}"

    def repeat(self, b, x):
        wide = b.op("Unsqueeze", x, b.ints(2))
        shape = b.op("Concat", *[b.op("Slice", b.op("Shape", x), b.ints(i), b.ints(i + 1)) for i in range(2)],
                     b.ints(HEADS // KV_HEADS), *[b.op("Slice", b.op("Shape", x), b.ints(i), b.ints(i + 1))
                                                  for i in (2, 3)], axis=0)
        return b.op("Reshape", b.op("Expand", wide, shape), b.ints(0, HEADS, -1, SIZE))

    def attention(self, b, qkv, layer):
        if not self.shared:
            self.share(b)
        query = self.turn(b, self.heads(b, qkv[0], HEADS))
        key = self.cached(b, self.turn(b, self.heads(b, qkv[1], KV_HEADS)), layer, "key")
        value = self.cached(b, self.heads(b, qkv[2], KV_HEADS), layer, "value")
        root = b.constant(np.float32(SIZE**-0.25))
        turned = b.op("Transpose", self.repeat(b, key), perm=[0, 1, 3, 2])
        scores = b.op("MatMul", b.op("Mul", query, root), b.op("Mul", turned, root))
        weights = b.op("Softmax", b.op("Add", scores, self.shared[2]), axis=-1)
        mixed = b.op("Transpose", b.op("MatMul", weights, self.repeat(b, value)), perm=[0, 2, 1, 3])
        return b.op("Reshape", mixed, b.ints(0, 0, HEADS * SIZE))


class StandardParts:
    """The fused operators of the standard's versions 23 and later."""
    opset, inputs = 23, ("input_ids", "attention_mask", "position_ids")

    def __init__(self):
        self.shared = None

    def norm(self, b, stream, block, weight):
        if block is not None:
            stream = b.op("Add", stream, block)
        return stream, b.op("RMSNormalization", stream, weight, axis=-1, epsilon=EPSILON)

    def attention(self, b, qkv, layer):
        if not self.shared:
            self.shared = [b.op("Not", unseen_keys(b)), *map(b.constant, tables())]
        seen, *turns = self.shared
        query, key = (b.op("RotaryEmbedding", x, *turns, "position_ids", num_heads=count)
                      for x, count in zip(qkv, (HEADS, KV_HEADS)))
        past = [f"past_key_values.{layer}.{kind}" for kind in ("key", "value")]
        out = b.op("Attention", query, key, qkv[2], seen, *past, outputs=3, q_num_heads=HEADS,
                   kv_num_heads=KV_HEADS)
        b.nodes[-1].output[1:] = [f"present.{layer}.key", f"present.{layer}.value"]
        return out[0]


class ScatterParts(StandardParts):
    """Version 24: caches of a fixed size, written in place."""
    opset, inputs = 24, ("input_ids", "position_ids", "write_indices", "lengths")

    def attention(self, b, qkv, layer):
        if not self.shared:
            self.shared = [b.constant(table) for table in tables()]
        query, key, value = (b.op("Transpose", b.op("Reshape", x, b.ints(0, 0, count, SIZE)), perm=[0, 2, 1, 3])
                             for x, count in zip(qkv, (HEADS, KV_HEADS, KV_HEADS)))
        query, key = (b.op("RotaryEmbedding", x, *self.shared, "position_ids") for x in (query, key))
        names = [f"present.{layer}.key", f"present.{layer}.value"]
        for new, name in zip((key, value), names):
            b.nodes.append(helper.make_node("TensorScatter", [name.replace("present", "past_key_values"), new,
                                                              "write_indices"], [name], axis=-2))
        out = b.op("Attention", query, *names, "", "", "", "lengths", is_causal=1)
        return b.op("Reshape", b.op("Transpose", out, perm=[0, 2, 1, 3]), b.ints(0, 0, HEADS * SIZE))


MODELS = {
    "genai-int4": lambda: Model(1, GenaiParts(), nbits_product(4), packed=True),
    "genai-int4-zeros": lambda: Model(2, GenaiParts(), nbits_product(4, zeros=True, half_scales=True),
                                      nbits_product(8)),
    "genai-llama": lambda: Model(4, GenaiParts(interleaved=1), nbits_product(8, zeros=True), biases=False),
    "plain": lambda: Model(5, PlainParts()),
    "plain-llama-tied": lambda: Model(6, PlainParts(), biases=False, tied=True),
    "plain-dynamic": lambda: Model(7, PlainParts(), dynamic_product()),
    "opset23-int4": lambda: Model(9, StandardParts(), qdq_product(TensorProto.INT4, 32)),
    "opset23-uint4": lambda: Model(10, StandardParts(), qdq_product(TensorProto.UINT4, 32),
                                   qdq_product(TensorProto.INT8, 16)),
    "opset24-scatter": lambda: Model(11, ScatterParts(), qdq_product(TensorProto.INT8, 32)),
}


def run(session, names, tokens, past, caches):
    """Logits of the last token, and the caches behind it. `past`: tokens that they hold."""
    feed = {"input_ids": np.array([tokens], np.int64), "attention_mask": np.ones((1, past + len(tokens)), np.int64),
            "position_ids": np.arange(past, past + len(tokens), dtype=np.int64)[None],
            "write_indices": np.array([past]), "lengths": np.array([past + len(tokens)])}
    wanted = {i.name for i in session.get_inputs()}
    results = session.run(None, {k: v for k, v in {**feed, **caches}.items() if k in wanted})
    named = dict(zip(names, results))
    return named["logits"][0, -1].astype(np.float64), {name.replace("present", "past_key_values"): value
                                                       for name, value in named.items() if name != "logits"}


def logits(path, prompt):
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = 32 if "lengths" in (i.name for i in session.get_inputs()) else 0
    half = any(i.type == "tensor(float16)" for i in session.get_inputs())
    empty = np.zeros((1, KV_HEADS, rows, SIZE), np.float16 if half else np.float32)
    caches = {i.name: empty for i in session.get_inputs() if len(i.shape) == 4}
    past, tokens = 0, [BEGIN] + [ord(c) - 33 for c in prompt]
    line = {"prompt_tokens": tokens, "steps": []}
    for _ in range(STEPS):
        values, caches = run(session, names, tokens, past, caches)
        past += len(tokens)
        order = np.argsort(-values, kind="stable")[:TOP]
        line["steps"].append({"lse": round(float(np.log(np.exp(values - values.max()).sum()) + values.max()), 7),
                              "top": [[int(i), round(float(values[i]), 6)] for i in order]})
        tokens = [int(order[0])]
    return line


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        path = folder / f"{name}.onnx"
        path.write_bytes(MODELS[name]().build().SerializeToString())
        lines = [json.dumps(logits(path, prompt)) for prompt in PROMPTS]
        path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
