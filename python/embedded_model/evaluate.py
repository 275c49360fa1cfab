"""Answers the held-out problems from a GGUF file alone: own reader, own tokenizer, float32 numpy forward pass.

    python -m embedded_model.evaluate --model test/models/embedded-f16.gguf --problems test/models/heldout.jsonl

It shares no code with the training, so it also checks the exported file.  `--ask TEXT` shows one reply instead.
"""
import argparse
import json
import pathlib
import re

import numpy as np

from quern_py.gguf_reader import GGUFFile

# The pre-tokenizer of Qwen2 with Python's classes: letters are \w without digits and underscore, numbers \d.
PIECES = re.compile(r"'(?:s|t|re|ve|m|ll|d)|(?:[^\r\n\w]|_)?[^\W\d_]+|\d| ?(?:[^\s\w]|_)+[\r\n]*"
                    r"|\s*[\r\n]+|\s+(?!\S)|\s+", re.IGNORECASE)


def byte_characters():
    """Byte -> the character that stands for it in token texts."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {b: chr(b) for b in printable} | {b: chr(256 + i) for i, b in enumerate(others)}


class Tokenizer:
    """Byte-level BPE from the metadata of a GGUF file."""

    def __init__(self, metadata):
        self.tokens = metadata["tokenizer.ggml.tokens"]
        kinds = metadata["tokenizer.ggml.token_type"]
        self.ids = {t: i for i, t in enumerate(self.tokens)}
        self.ranks = {tuple(m.split(" ")): i for i, m in enumerate(metadata["tokenizer.ggml.merges"])}
        self.eos = metadata["tokenizer.ggml.eos_token_id"]
        self.special = {i for i, kind in enumerate(kinds) if kind != 1}
        names = sorted((self.tokens[i] for i in self.special), key=len, reverse=True)
        self.splitter = re.compile("(" + "|".join(map(re.escape, names)) + ")")
        self.characters = byte_characters()
        self.bytes = {c: b for b, c in self.characters.items()}

    def merge(self, piece):
        parts = [self.characters[b] for b in piece.encode()]
        while len(parts) > 1:
            rank, at = min((self.ranks.get(pair, len(self.ranks)), i) for i, pair in enumerate(zip(parts, parts[1:])))
            if rank == len(self.ranks):
                break
            parts[at:at + 2] = [parts[at] + parts[at + 1]]
        return [self.ids[p] for p in parts]

    def encode(self, text):
        ids = []
        for fragment in self.splitter.split(text):
            if fragment in self.ids and self.ids[fragment] in self.special:
                ids.append(self.ids[fragment])
            else:
                ids += [i for piece in PIECES.findall(fragment) for i in self.merge(piece)]
        return ids

    def decode(self, ids):
        data = b"".join(self.tokens[i].encode() if i in self.special else bytes(self.bytes[c] for c in self.tokens[i])
                        for i in ids)
        return data.decode(errors="replace")


class Model:
    """Qwen2 with a key-value cache, one sequence at a time."""

    def __init__(self, file, change=lambda name, array: array):
        m = file.metadata
        self.layers = m["qwen2.block_count"]
        self.heads, self.kv_heads = m["qwen2.attention.head_count"], m["qwen2.attention.head_count_kv"]
        self.size = m["qwen2.embedding_length"] // self.heads
        self.epsilon = np.float32(m["qwen2.attention.layer_norm_rms_epsilon"])
        self.frequency = m["qwen2.rope.freq_base"] ** (-np.arange(self.size // 2) / (self.size // 2))
        self.weights = {name: change(name, t.array()) for name, t in file.tensors.items()}
        self.reset()

    def reset(self):
        self.keys = [np.zeros((0, self.kv_heads, self.size), np.float32) for _ in range(self.layers)]
        self.values = list(self.keys)

    def norm(self, x, name):
        return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + self.epsilon) * self.weights[name]

    def linear(self, x, name):
        y = x @ self.weights[name + ".weight"].T
        return y + self.weights[name + ".bias"] if name + ".bias" in self.weights else y

    def rotate(self, x, begin):
        """x [T, heads, D] at positions begin, begin + 1, ...: rotates the pairs (i, i + D/2)."""
        angle = (np.arange(begin, begin + len(x))[:, None] * self.frequency)[:, None]
        cos, sin = np.cos(angle).astype(np.float32), np.sin(angle).astype(np.float32)
        a, b = np.split(x, 2, axis=-1)
        return np.concatenate([a * cos - b * sin, b * cos + a * sin], axis=-1)

    def attend(self, x, layer):
        block, begin, tokens = f"blk.{layer}.", len(self.keys[layer]), len(x)
        q, k, v = (self.linear(x, f"{block}attn_{p}").reshape(tokens, -1, self.size) for p in "qkv")
        self.keys[layer] = np.concatenate([self.keys[layer], self.rotate(k, begin)])
        self.values[layer] = np.concatenate([self.values[layer], v])
        repeat = self.heads // self.kv_heads
        keys, values = (np.repeat(c[layer], repeat, axis=1) for c in (self.keys, self.values))
        scores = np.einsum("tad,sad->ats", self.rotate(q, begin), keys) / np.sqrt(np.float32(self.size))
        future = np.arange(begin + tokens)[None, :] > np.arange(begin, begin + tokens)[:, None]
        scores[:, future] = -np.inf
        weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
        weights /= weights.sum(axis=-1, keepdims=True)
        return self.linear(np.einsum("ats,sad->tad", weights, values).reshape(tokens, -1), block + "attn_output")

    def step(self, ids):
        """Appends tokens and returns the logits [V] after the last one."""
        x = self.weights["token_embd.weight"][ids]
        for layer in range(self.layers):
            block = f"blk.{layer}."
            x = x + self.attend(self.norm(x, block + "attn_norm.weight"), layer)
            h = self.norm(x, block + "ffn_norm.weight")
            gate = self.linear(h, block + "ffn_gate")
            x = x + self.linear(gate / (1 + np.exp(-gate)) * self.linear(h, block + "ffn_up"), block + "ffn_down")
        head = self.weights.get("output.weight", self.weights["token_embd.weight"])
        return head @ self.norm(x[-1], "output_norm.weight")


def answer(model, tokenizer, question, limit=160):
    """The greedy reply to a question, and the smallest lead of a chosen token over the next one (in logits)."""
    model.reset()
    prompt = f"<｜begin▁of▁sentence｜><｜User｜>{question}<｜Assistant｜><think>\n"
    ids, reply, lead = tokenizer.encode(prompt), [], np.inf
    for _ in range(limit):
        logits = model.step(ids)
        second, first = np.argpartition(logits, -2)[-2:]
        lead = min(lead, float(logits[first] - logits[second]))
        if first == tokenizer.eos:
            break
        reply.append(int(first))
        ids = reply[-1:]
    return tokenizer.decode(reply), lead


def boxed(reply):
    """The number in the last \\boxed{} after the reasoning, or None."""
    found = re.findall(r"\\boxed\{(-?\d+)\}", reply.rpartition("</think>")[2])
    return int(found[-1]) if found else None


def report(model, tokenizer, rows, show):
    """Prints the share of right answers, of all problems and by kind."""
    leads = []
    for row in rows:
        reply, lead = answer(model, tokenizer, row["question"])
        row["right"] = boxed(reply) == row["answer"]
        leads.append(lead)
        if show and not row["right"]:
            print(row["question"], "->", repr(reply), "expected", row["answer"])
    groups = {"all": rows, "plain": [r for r in rows if r.get("plain")]}
    groups |= {f"{n} step{'s' * (n > 1)}": [r for r in rows if r.get("steps") == n] for n in (1, 2, 3)}
    for name, group in groups.items():
        if group:
            right = sum(r["right"] for r in group)
            print(f"{name}: {right} of {len(group)} right, {100 * right / len(group):.1f} %")
    print("smallest lead of a chosen token per reply, in logits: median {:.2f}, 5th percentile {:.2f}".format(
        *np.percentile(leads, [50, 5])))


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--model", type=pathlib.Path, required=True)
    p.add_argument("--problems", type=pathlib.Path)
    p.add_argument("--limit", type=int, help="only the first so many problems")
    p.add_argument("--show", action="store_true", help="print the problems answered wrongly")
    p.add_argument("--ask")
    a = p.parse_args()
    file = GGUFFile(a.model)
    model, tokenizer = Model(file), Tokenizer(file.metadata)
    if a.ask:
        print(answer(model, tokenizer, a.ask)[0])
    if a.problems:
        rows = [json.loads(line) for line in a.problems.read_text().splitlines()]
        report(model, tokenizer, rows[:a.limit], a.show)


if __name__ == "__main__":
    main()
