#!/usr/bin/env python3
"""Makes a small qwen2, qwen3 or llama model with random weights, as a GGUF file.

    python/make_test_model.py tiny.gguf --arch llama --type Q4_K --tensor-type 'attn_v=Q8_0' --tied

The same arguments give the same bytes. The tokenizer knows single bytes, a few merges and the R1 special tokens.
"""
import argparse
import math
import re

import numpy as np

from quern_py import gguf_writer as g
from quern_py import quantization_mix, random_blocks, random_model, tiny_tokenizer


def parse_arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("out", help="the file to write; with --split the name without .gguf")
    p.add_argument("--arch", choices=["qwen2", "qwen3", "llama"], default="qwen2")
    for name, value in [("layers", 2), ("hidden", 256), ("heads", 4), ("kv-heads", 2), ("ffn", 512), ("vocab", 300),
                        ("context", 2048), ("seed", 1)]:
        p.add_argument(f"--{name}", type=int, default=value, help=f"default {value}")
    p.add_argument("--head-size", type=int, help="default: hidden / heads")
    p.add_argument("--theta", type=float, default=10000.0)
    p.add_argument("--eps", type=float, default=1e-6)
    p.add_argument("--tied", action="store_true", help="no output.weight")
    p.add_argument("--rope-freqs", action="store_true", help="with frequency divisors")
    p.add_argument("--type", default="F32", choices=[*random_blocks.TYPES, *quantization_mix.MIXES],
                   help="type of all matrices, or a mix; where blocks do not divide a row, what quantizers take")
    p.add_argument("--tensor-type", action="append", default=[], metavar="REGEX=TYPE",
                   help="exceptions, first match wins")
    p.add_argument("--bad-number", metavar="TENSOR", help="damage this matrix: one scale or value is no number")
    p.add_argument("--dynamic-quantize", metavar="REGEX", help="matrices whose products round their input by row")
    p.add_argument("--split", type=int, default=1, metavar="PARTS")
    return p.parse_args()


def shape_of(a):
    return random_model.Shape(a.arch, a.layers, a.hidden, a.heads, a.kv_heads, a.head_size or a.hidden // a.heads,
                              a.ffn, a.vocab, a.context, a.theta, a.eps, a.tied, a.rope_freqs)


def random_tensors(a, shape):
    """Yields name, shape, type id and bytes of every tensor."""
    rng = np.random.default_rng(a.seed)
    rules = quantization_mix.parse_rules(a.tensor_type)
    for name, dims in random_model.tensors(shape):
        if len(dims) == 1:
            yield name, dims, g.F32, random_model.vector(rng, name, dims[0]).tobytes()
            continue
        kind = quantization_mix.tensor_type(name, dims[1], a.type, a.layers, a.tied,
                                            a.type not in quantization_mix.MIXES, rules)
        spread = 1.0 if name == "token_embd.weight" and not a.tied else 1 / math.sqrt(dims[1])
        data = random_blocks.random_bytes(rng, kind, math.prod(dims), spread)
        if name == a.bad_number:
            data = random_blocks.with_bad_number(kind, data)
        yield name, dims, g.TYPE_IDS[kind], data


def main():
    a = parse_arguments()
    shape = shape_of(a)
    parts = [g.GGUFWriter(a.arch) for _ in range(a.split)]
    random_model.add_metadata(parts[0], shape, "random test model")
    tiny_tokenizer.add_to(parts[0], a.vocab, "llama-bpe" if a.arch == "llama" else "deepseek-r1-qwen")
    tensors = list(random_tensors(a, shape))
    if a.dynamic_quantize:
        names = [name for name, dims, *_ in tensors if len(dims) == 2 and re.search(a.dynamic_quantize, name)]
        parts[0].add("quern.dynamic_quantize", g.STRINGS, names)
    for i, tensor in enumerate(tensors):
        parts[i * a.split // len(tensors)].add_tensor(*tensor)
    if a.split == 1:
        parts[0].write(a.out)
        return
    for i, part in enumerate(parts):
        part.add("split.no", g.U16, i)
        part.add("split.count", g.U16, a.split)
        part.add("split.tensors.count", g.I32, len(tensors))
        part.write(f"{a.out}-{i + 1:05}-of-{a.split:05}.gguf")


if __name__ == "__main__":
    main()
