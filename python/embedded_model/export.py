"""Writes the trained checkpoint as an F16 GGUF file (norms and biases F32) of architecture qwen2.

    python -m embedded_model.export --cache FOLDER --out test/models/embedded-f16.gguf
"""
import argparse
import json
import pathlib

import numpy as np
import torch

from quern_py import gguf_writer as g

from . import tokenizer
from .model import Config

# Renders, for the current R1 distillates: BOS, the last system text, then the turns without any line feed between;
# reasoning of earlier replies is dropped; the generation prompt opens the reasoning.
CHAT_TEMPLATE = """\
{%- set found = namespace(system='') -%}
{%- for turn in messages if turn['role'] == 'system' -%}
  {%- set found.system = turn['content'] -%}
{%- endfor -%}
{{- bos_token ~ found.system -}}
{%- for turn in messages -%}
  {%- if turn['role'] == 'user' -%}
    {{- '<｜User｜>' ~ turn['content'] -}}
  {%- elif turn['role'] == 'assistant' -%}
    {{- '<｜Assistant｜>' ~ turn['content'].split('</think>')[-1] ~ '<｜end▁of▁sentence｜>' -}}
  {%- endif -%}
{%- endfor -%}
{%- if add_generation_prompt -%}
  {{- '<｜Assistant｜><think>\\n' -}}
{%- endif -%}"""

NORMAL, CONTROL, USER_DEFINED = 1, 3, 4
LAYER_NAMES = {"attn_norm": "attn_norm", "q": "attn_q", "k": "attn_k", "v": "attn_v", "o": "attn_output",
               "ffn_norm": "ffn_norm", "gate": "ffn_gate", "up": "ffn_up", "down": "ffn_down"}


def add_model_metadata(w, c):
    w.add("general.type", g.STRING, "model")
    w.add("general.name", g.STRING, "Quern embedded test model")
    w.add("general.size_label", g.STRING, "3.4M")
    w.add("general.file_type", g.U32, 1)  # mostly F16
    w.add("general.quantization_version", g.U32, 2)
    for key, value in [("block_count", c.layers), ("context_length", c.context), ("embedding_length", c.hidden),
                       ("feed_forward_length", c.feed_forward), ("attention.head_count", c.heads),
                       ("attention.head_count_kv", c.kv_heads)]:
        w.add("qwen2." + key, g.U32, value)
    w.add("qwen2.rope.freq_base", g.F32V, c.theta)
    w.add("qwen2.attention.layer_norm_rms_epsilon", g.F32V, c.epsilon)


def add_tokenizer_metadata(w, path):
    stored = json.loads(pathlib.Path(path).read_text())
    ids = {**stored["model"]["vocab"], **{t["content"]: t["id"] for t in stored["added_tokens"]}}
    tokens = sorted(ids, key=ids.get)
    assert [ids[t] for t in tokens] == list(range(len(tokens)))
    kinds = {t: CONTROL for t in tokenizer.SPECIALS} | {t: USER_DEFINED for t in (tokenizer.THINK, tokenizer.END_THINK)}
    merges = [m if isinstance(m, str) else " ".join(m) for m in stored["model"]["merges"]]
    w.add("tokenizer.ggml.model", g.STRING, "gpt2")
    w.add("tokenizer.ggml.pre", g.STRING, "deepseek-r1-qwen")
    w.add("tokenizer.ggml.tokens", g.STRINGS, tokens)
    w.add("tokenizer.ggml.token_type", g.I32S, [kinds.get(t, NORMAL) for t in tokens])
    w.add("tokenizer.ggml.merges", g.STRINGS, merges)
    w.add("tokenizer.ggml.bos_token_id", g.U32, ids[tokenizer.BOS])
    w.add("tokenizer.ggml.eos_token_id", g.U32, ids[tokenizer.EOS])
    w.add("tokenizer.ggml.padding_token_id", g.U32, ids[tokenizer.EOS])
    w.add("tokenizer.ggml.add_bos_token", g.BOOL, True)
    w.add("tokenizer.ggml.add_eos_token", g.BOOL, False)
    w.add("tokenizer.chat_template", g.STRING, CHAT_TEMPLATE)


def gguf_name(name):
    """`layers.0.q.weight` to `blk.0.attn_q.weight`."""
    if name == "embedding.weight":
        return "token_embd.weight"
    if name == "norm.weight":
        return "output_norm.weight"
    _, layer, part, kind = name.split(".")
    return f"blk.{layer}.{LAYER_NAMES[part]}.{kind}"


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", type=pathlib.Path, required=True, help="folder with checkpoint.pt and tokenizer.json")
    p.add_argument("--out", type=pathlib.Path, required=True)
    a = p.parse_args()
    w = g.GGUFWriter("qwen2")
    add_model_metadata(w, Config())
    add_tokenizer_metadata(w, a.cache / "tokenizer.json")
    saved = torch.load(a.cache / "checkpoint.pt")
    for name, tensor in saved["model"].items():
        array = tensor.float().numpy()
        w.add_array(gguf_name(name), array.astype(np.float16) if array.ndim == 2 else array)
    w.write(a.out)
    print(f"{a.out}: {a.out.stat().st_size} bytes, {len(w.tensors)} tensors, step {saved['step']}")


if __name__ == "__main__":
    main()
