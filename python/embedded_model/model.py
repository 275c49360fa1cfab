"""A small Qwen2 in plain PyTorch, for training.

Tokens of a batch are kept flat, without padding, [N, H]; only the attention lays them out as [B, T, ...].
"""
import dataclasses
import math

import torch
import torch.nn.functional as F
from torch import nn


@dataclasses.dataclass
class Config:
    vocabulary: int = 1024
    hidden: int = 256
    layers: int = 4
    heads: int = 4
    kv_heads: int = 2
    head_dim: int = 64
    feed_forward: int = 768
    theta: float = 10000.0
    epsilon: float = 1e-6
    context: int = 2048


class Norm(nn.Module):
    def __init__(self, size, epsilon):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.epsilon = epsilon

    def forward(self, x):
        return F.rms_norm(x.float(), self.weight.shape, self.weight, self.epsilon)


class Layout:
    """Where each flat token lies in the [B, T] grid: `lengths` [B], `places` [N] = sequence * T + position."""

    def __init__(self, lengths, config):
        self.batch, self.longest = len(lengths), max(lengths)
        self.positions = torch.cat([torch.arange(n) for n in lengths])
        rows = torch.repeat_interleave(torch.arange(self.batch), torch.tensor(lengths))
        self.places = rows * self.longest + self.positions
        half = config.head_dim // 2
        frequency = config.theta ** (-torch.arange(half, dtype=torch.float64) / half)
        angle = self.positions.double()[:, None] * frequency
        self.cos, self.sin = angle.cos().float()[:, None], angle.sin().float()[:, None]  # [N, 1, D/2]

    def rotate(self, x):
        """x [N, heads, D]: rotates the pairs (i, i + D/2)."""
        a, b = x.float().chunk(2, dim=-1)
        return torch.cat([a * self.cos - b * self.sin, b * self.cos + a * self.sin], dim=-1)

    def spread(self, x):
        """x [N, heads, D] to [B, heads, T, D], zero where there is no token."""
        grid = x.new_zeros(self.batch * self.longest, *x.shape[1:])
        grid = grid.index_copy(0, self.places, x)
        return grid.view(self.batch, self.longest, *x.shape[1:]).transpose(1, 2)

    def gather(self, x):
        """The inverse of spread, heads joined: [N, heads * D]."""
        return x.transpose(1, 2).reshape(self.batch * self.longest, -1).index_select(0, self.places)


def attend(q, k, v):
    """Causal attention on [B, heads, T, D], written out: for such short sequences on a CPU it costs a fraction of
    what the backward pass of scaled_dot_product_attention does."""
    longest = q.shape[2]
    future = torch.full((longest, longest), -math.inf).triu(1)
    scores = (q @ k.transpose(2, 3)).float() / math.sqrt(q.shape[3]) + future
    return scores.softmax(-1).to(v.dtype) @ v


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.config = c
        self.attn_norm, self.ffn_norm = Norm(c.hidden, c.epsilon), Norm(c.hidden, c.epsilon)
        self.q = nn.Linear(c.hidden, c.heads * c.head_dim)
        self.k = nn.Linear(c.hidden, c.kv_heads * c.head_dim)
        self.v = nn.Linear(c.hidden, c.kv_heads * c.head_dim)
        self.o = nn.Linear(c.heads * c.head_dim, c.hidden, bias=False)
        self.gate = nn.Linear(c.hidden, c.feed_forward, bias=False)
        self.up = nn.Linear(c.hidden, c.feed_forward, bias=False)
        self.down = nn.Linear(c.feed_forward, c.hidden, bias=False)

    def forward(self, x, layout):
        c = self.config
        h = self.attn_norm(x)
        q = layout.rotate(self.q(h).view(-1, c.heads, c.head_dim))
        k = layout.rotate(self.k(h).view(-1, c.kv_heads, c.head_dim))
        v = self.v(h).view(-1, c.kv_heads, c.head_dim)
        k, v = (t.to(v.dtype).repeat_interleave(c.heads // c.kv_heads, dim=1) for t in (k, v))
        x = x + self.o(layout.gather(attend(layout.spread(q.to(v.dtype)), layout.spread(k), layout.spread(v))))
        h = self.ffn_norm(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Qwen2(nn.Module):
    """Decoder with tied embeddings; forward returns the logits of the chosen flat rows."""

    def __init__(self, c):
        super().__init__()
        self.config = c
        self.embedding = nn.Embedding(c.vocabulary, c.hidden)
        self.layers = nn.ModuleList(Layer(c) for _ in range(c.layers))
        self.norm = Norm(c.hidden, c.epsilon)
        for name, p in self.named_parameters():
            if p.dim() == 2:
                last = name.endswith(("o.weight", "down.weight"))
                nn.init.normal_(p, std=0.03 / math.sqrt(2 * c.layers) if last else 0.03)
            elif name.endswith("bias"):
                nn.init.zeros_(p)

    def forward(self, ids, lengths, rows):
        """ids [N] flat tokens of sequences of the given lengths; rows [M]: where logits [M, V] are wanted."""
        layout = Layout(lengths, self.config)
        x = self.embedding(ids)
        for layer in self.layers:
            x = layer(x, layout)
        return F.linear(self.norm(x[rows]), self.embedding.weight).float()

    @torch.no_grad()
    def generate(self, prompts, eos, limit=120):
        """Greedy replies (lists of ids, without EOS) to a list of prompts; recomputes the prefix, as it is short."""
        sequences, running = [list(p) for p in prompts], list(range(len(prompts)))
        for _ in range(limit):
            if not running:
                break
            lengths = [len(sequences[i]) for i in running]
            ids = torch.tensor([t for i in running for t in sequences[i]])
            best = self(ids, lengths, torch.tensor(lengths).cumsum(0) - 1).argmax(-1).tolist()
            for i, token in zip(running, best):
                sequences[i].append(token)
            running = [i for i, token in zip(running, best) if token != eos]
        return [[t for t in s[len(p):] if t != eos] for s, p in zip(sequences, prompts)]
