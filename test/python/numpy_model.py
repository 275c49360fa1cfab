"""A forward pass in numpy, written from the published description of the models and not from this project's code: the
whole sequence at once, heads in the order of the original checkpoints, all in float64. Reads F32 and F16 GGUF files."""
import numpy as np
from quern_py.gguf_reader import GGUFFile


class NumpyModel:
    def __init__(self, path):
        file = GGUFFile(path)
        self.arch = file.metadata["general.architecture"]
        self.config = {k.removeprefix(self.arch + "."): v for k, v in file.metadata.items()}
        self.tensors = {name: t.array().astype(np.float64) for name, t in file.tensors.items()}
        self.heads = self.config["attention.head_count"]
        self.kv_heads = self.config.get("attention.head_count_kv", self.heads)
        self.size = self.config.get("attention.key_length", self.config["embedding_length"] // self.heads)

    def norm(self, x, name):
        eps = self.config["attention.layer_norm_rms_epsilon"]
        return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * self.tensors[name]

    def project(self, x, name, heads):
        """`[heads, T, D]`; the rows of llama's queries and keys go back to the order of the original checkpoint."""
        weight, bias = self.tensors[name + ".weight"], self.tensors.get(name + ".bias", 0.0)
        y = (x @ weight.T + bias).reshape(len(x), heads, self.size)
        if self.arch == "llama" and not name.endswith("attn_v"):
            y = y.reshape(len(x), heads, self.size // 2, 2).swapaxes(2, 3).reshape(y.shape)
        if name + "_norm.weight" in self.tensors:  # qwen3: each head of queries and keys, before the rotation
            y = self.norm(y, name + "_norm.weight")
        return y.swapaxes(0, 1)

    def rotate(self, x):
        """Turns element i and i + D/2 of each head by position * theta^(-2i/D)."""
        half = self.size // 2
        frequency = self.config.get("rope.freq_base", 10000.0) ** (-np.arange(half) / half)
        frequency = frequency / self.tensors.get("rope_freqs.weight", 1.0)
        angle = np.arange(x.shape[1])[:, None] * frequency
        cos, sin = np.tile(np.cos(angle), 2), np.tile(np.sin(angle), 2)
        return x * cos + np.concatenate([-x[..., half:], x[..., :half]], -1) * sin

    def attention(self, x, prefix):
        q = self.rotate(self.project(x, prefix + "attn_q", self.heads))
        k = self.rotate(self.project(x, prefix + "attn_k", self.kv_heads))
        v = self.project(x, prefix + "attn_v", self.kv_heads)
        k, v = (np.repeat(t, self.heads // self.kv_heads, 0) for t in (k, v))
        scores = q @ k.swapaxes(1, 2) / np.sqrt(self.size)
        scores[:, np.triu(np.ones(scores.shape[1:], bool), 1)] = -np.inf
        weights = np.exp(scores - scores.max(-1, keepdims=True))
        mixed = weights / weights.sum(-1, keepdims=True) @ v
        return mixed.swapaxes(0, 1).reshape(len(x), -1) @ self.tensors[prefix + "attn_output.weight"].T

    def logits(self, tokens):
        """`[T, V]`: for each position, the logits of what follows."""
        t = self.tensors
        x = t["token_embd.weight"][tokens]
        for layer in range(self.config["block_count"]):
            prefix = f"blk.{layer}."
            x = x + self.attention(self.norm(x, prefix + "attn_norm.weight"), prefix)
            h = self.norm(x, prefix + "ffn_norm.weight")
            gate = h @ t[prefix + "ffn_gate.weight"].T
            gated = gate / (1 + np.exp(-gate)) * (h @ t[prefix + "ffn_up.weight"].T)
            x = x + gated @ t[prefix + "ffn_down.weight"].T
        return self.norm(x, "output_norm.weight") @ t.get("output.weight", t["token_embd.weight"]).T
