#!/usr/bin/env python3
"""Makes a model of the exact shape of DeepSeek-R1-Distill-Qwen-1.5B, or -7B, with random weights, in seconds.

    python/make_random_1p5b.py --type Q4_K_M --vocab-from vocab.gguf out.gguf

It answers nonsense, at the speed and size of the real one. Each type has one random pattern, repeated through all its
tensors with an odd period, so that rows differ. The tokenizer is copied from --vocab-from, any GGUF file of the family.
"""
import argparse
import math
import os

import numpy as np

from quern_py import gguf_writer as g
from quern_py import quantization_mix, random_blocks, random_model, tiny_tokenizer
from quern_py.gguf_reader import GGUFFile

PATTERN_BYTES = 4 << 20
SPREAD = 1 / math.sqrt(1536)  # keeps activations of one size from layer to layer


class Tiled:
    """`size` bytes that repeat a pattern, beginning at byte `start` of it."""

    def __init__(self, pattern, start, size):
        self.pattern, self.start, self.size = memoryview(pattern), start, size

    def __len__(self):
        return self.size

    def chunks(self):
        left, at = self.size, self.start
        while left:
            chunk = self.pattern[at:at + left]
            yield chunk
            left, at = left - len(chunk), 0


class StreamingWriter(g.GGUFWriter):
    """A GGUFWriter whose tensors may be Tiled, and then take no memory."""

    def add_tiled(self, name, shape, type_id, pattern, start):
        self.tensors[name] = (shape, type_id, Tiled(pattern, start, g.tensor_bytes(shape, type_id)))

    def write(self, path):
        partial = f"{path}.partial"
        with open(partial, "wb") as file:
            file.write(self.header())
            for _, _, data in self.tensors.values():
                for chunk in data.chunks() if isinstance(data, Tiled) else [data]:
                    file.write(chunk)
                file.write(bytes(-len(data) % g.ALIGNMENT))
        os.replace(partial, path)


def make_patterns(rng, kinds):
    """For each type name, about PATTERN_BYTES of random blocks, an odd number of them."""
    patterns = {}
    for kind in sorted(kinds):
        _, elements, size = g.TENSOR_TYPES[g.TYPE_IDS[kind]]
        blocks = PATTERN_BYTES // size | 1
        patterns[kind] = random_blocks.random_bytes(rng, kind, blocks * elements, SPREAD)
    return patterns


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out")
    p.add_argument("--type", default="Q8_0", choices=[*random_blocks.TYPES, *quantization_mix.MIXES])
    p.add_argument("--vocab-from", required=True, metavar="GGUF", help="file whose tokenizer is copied")
    p.add_argument("--size", default="1.5B", choices=["1.5B", "7B"])
    p.add_argument("--seed", type=int, default=1)
    a = p.parse_args()
    shape = random_model.R1_QWEN_7B if a.size == "7B" else random_model.R1_QWEN_1_5B
    rng = np.random.default_rng(a.seed)
    w = StreamingWriter(shape.architecture)
    random_model.add_metadata(w, shape, f"random weights in the shape of DeepSeek-R1-Distill-Qwen-{a.size}")
    tiny_tokenizer.copy_to(w, GGUFFile(a.vocab_from).metadata, shape.vocabulary)
    matrices = {name: quantization_mix.tensor_type(name, dims[1], a.type, shape.layers, shape.tied, False, [])
                for name, dims in random_model.tensors(shape) if len(dims) == 2}
    patterns = make_patterns(rng, set(matrices.values()))
    for name, dims in random_model.tensors(shape):
        if len(dims) == 1:
            w.add_tensor(name, dims, g.F32, random_model.vector(rng, name, dims[0]).tobytes())
            continue
        pattern, size = patterns[matrices[name]], g.TENSOR_TYPES[g.TYPE_IDS[matrices[name]]][2]
        w.add_tiled(name, dims, g.TYPE_IDS[matrices[name]], pattern, int(rng.integers(len(pattern) // size)) * size)
    w.write(a.out)
    print(f"{a.out}: {os.path.getsize(a.out)} bytes, {len(w.tensors)} tensors")


if __name__ == "__main__":
    main()
