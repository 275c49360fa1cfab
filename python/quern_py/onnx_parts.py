"""Norms, attention and masks of tiny ONNX language models, in the operators of each family of exporters."""
import numpy as np
from onnx import TensorProto, helper

from .onnx_builder import EPSILON, HEADS, KV_HEADS, SIZE, THETA


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


WINDOW = 100


def outside_window(b):
    """Which keys lie before a window of WINDOW tokens, [batch, 1, tokens, total]."""
    total = b.op("Gather", b.op("Shape", "attention_mask"), b.constant(np.int64(1)), axis=0)
    keys = b.op("Range", b.constant(np.int64(0)), total, b.constant(np.int64(1)))
    first = b.op("Sub", "position_ids", b.constant(np.int64(WINDOW - 1)))
    return b.op("Less", keys, b.op("Unsqueeze", first, b.ints(1, 3)))


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


class TableParts(PlainParts):
    """Cosines and sines looked up by position, before anything else is."""

    def share(self, b):
        super().share(b)
        for i, table in enumerate(tables()):
            rows = b.op("Gather", b.constant(np.concatenate([table, table], 1)), "position_ids")
            b.nodes.insert(0, b.nodes.pop())
            self.shared[i] = b.op("Unsqueeze", rows, b.ints(1))


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


class WindowParts(PlainParts):
    """A sliding window made of mask operators, in the first layer only."""

    def share(self, b):
        super().share(b)
        self.mask = self.shared[2]
        lowest = b.constant(np.float32(np.finfo(np.float32).min))
        self.shared[2] = b.op("Where", outside_window(b), lowest, self.mask)

    def attention(self, b, qkv, layer):
        if layer > 0:
            self.shared[2] = self.mask
        return super().attention(b, qkv, layer)


class CoarseWindowParts(StandardParts):
    """The same where cosines are of 16-bit floats."""

    def attention(self, b, qkv, layer):
        if layer == 0:
            turns = [b.op("Cast", b.constant(table.astype(np.float16)), to=TensorProto.FLOAT) for table in tables(256)]
            self.mask = b.op("Not", unseen_keys(b))
            self.shared = [b.op("And", self.mask, b.op("Not", outside_window(b))), *turns]
        else:
            self.shared[0] = self.mask
        return super().attention(b, qkv, layer)
