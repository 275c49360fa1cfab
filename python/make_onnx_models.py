"""Makes the tiny ONNX language models of test/models/onnx and the logits that onnxruntime gives for them:

    make_onnx_models.py FOLDER [NAME...]

Needs the packages onnx (1.23.2) and onnxruntime (1.32.0); the tests that read the folder need neither. Weights are
random, the same in every run. Each model is NAME.onnx; NAME.jsonl holds logits along the likeliest tokens, in the form
of `quern logits`, computed with the cache: the prompt at once, then token by token. Where a range of activations is
that of a whole call (DynamicQuantizeLinear), the prompt is read token by token too, as Quern gives each token its own
range. Models that must be refused have none.
"""
import json
import sys
from pathlib import Path

import numpy as np
from onnx import TensorProto, helper
from quern_py.onnx_builder import (BEGIN, FFN, HEADS, HIDDEN, KV_HEADS, LAYERS, SIZE, VOCABULARY, Builder,
                                   dynamic_product, float_product, nbits_product, qdq_product, unsigned_rows)
from quern_py.onnx_parts import (CoarseWindowParts, GenaiParts, PlainParts, ScatterParts, StandardParts, TableParts,
                                 WindowParts)

PROMPTS = [[BEGIN] + [ord(c) - 33 for c in text] for text in ("Kz7!", "Quern+Q")]  # no merges apply
STEPS, TOP = 3, 60


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


MODELS = {
    "genai-int4": lambda: Model(1, GenaiParts(), nbits_product(4), packed=True),
    "genai-int4-zeros": lambda: Model(2, GenaiParts(), nbits_product(4, zeros=True, half_scales=True),
                                      nbits_product(8)),
    "genai-llama": lambda: Model(4, GenaiParts(interleaved=1), nbits_product(8, zeros=True), biases=False),
    "plain": lambda: Model(5, PlainParts()),
    "plain-llama-tied": lambda: Model(6, PlainParts(), biases=False, tied=True),
    "plain-tables": lambda: Model(8, TableParts(), nbits_product(4), biases=False),
    "plain-dynamic": lambda: Model(7, PlainParts(), dynamic_product()),
    "plain-dynamic-unsigned": lambda: Model(14, PlainParts(), dynamic_product(unsigned_rows)),
    "opset23-int4": lambda: Model(9, StandardParts(), qdq_product(TensorProto.INT4, 32)),
    "opset23-uint4": lambda: Model(10, StandardParts(), qdq_product(TensorProto.UINT4, 32),
                                   qdq_product(TensorProto.INT8, 16)),
    "opset24-scatter": lambda: Model(11, ScatterParts(), qdq_product(TensorProto.INT8, 32)),
}
# Models that are refused.
OTHERS = {
    "window": lambda: Model(12, WindowParts(), nbits_product(4)),
    "window-half": lambda: Model(13, CoarseWindowParts(), nbits_product(4)),
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


def logits(path, tokens, steps=STEPS, top=TOP, cache=(KV_HEADS, SIZE), fixed_rows=32, at_once=True):
    """A line as of `quern logits`. `cache`: heads and their size; `fixed_rows`: of caches that do not grow; `at_once`:
    whether the prompt is read in one call."""
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    rows = fixed_rows if "lengths" in (i.name for i in session.get_inputs()) else 0
    half = any(i.type == "tensor(float16)" for i in session.get_inputs())
    empty = np.zeros((1, cache[0], rows, cache[1]), np.float16 if half else np.float32)
    caches = {i.name: empty for i in session.get_inputs() if len(i.shape) == 4}
    past = 0
    line = {"prompt_tokens": tokens, "steps": []}
    while not at_once and len(tokens) > 1:
        _, caches = run(session, names, tokens[:1], past, caches)
        past, tokens = past + 1, tokens[1:]
    for _ in range(steps):
        values, caches = run(session, names, tokens, past, caches)
        past += len(tokens)
        order = np.argsort(-values, kind="stable")[:top]
        line["steps"].append({"lse": round(float(np.log(np.exp(values - values.max()).sum()) + values.max()), 7),
                              "top": [[int(i), round(float(values[i]), 6)] for i in order]})
        tokens = [int(order[0])]
    return line


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or {**MODELS, **OTHERS}:
        path = folder / f"{name}.onnx"
        path.write_bytes({**MODELS, **OTHERS}[name]().build().SerializeToString())
        if name in OTHERS:
            continue
        lines = [json.dumps(logits(path, prompt, at_once="dynamic" not in name)) for prompt in PROMPTS]
        path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
