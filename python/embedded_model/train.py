"""Trains the embedded model; a checkpoint in the cache folder lets an interrupted run go on.

    python -m embedded_model.train --cache FOLDER --steps N

The schedule is a warm-up, a plateau and a linear descent to zero over the last `--descent` share of the steps.
Writing a number into FOLDER/steps changes the number of steps of a running training (to end it early, annealed).
"""
import argparse
import pathlib
import random
import time

import torch
import torch.nn.functional as F

from . import problems, tokenizer
from .model import Config, Qwen2


def arguments():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--cache", type=pathlib.Path, required=True, help="folder of the checkpoint and the tokenizer")
    p.add_argument("--steps", type=int, default=5000)
    p.add_argument("--batch", type=int, default=64, help="problems per step")
    p.add_argument("--rate", type=float, default=2e-3, help="learning rate of the plateau")
    p.add_argument("--warmup", type=int, default=150, help="steps")
    p.add_argument("--descent", type=float, default=0.4, help="share of the steps spent lowering the rate")
    p.add_argument("--seed", type=int, default=1)
    p.add_argument("--threads", type=int, default=2)
    p.add_argument("--bf16", action="store_true", help="matrix products in bfloat16")
    return p.parse_args()


def draw_batch(rng, encoder, size):
    """Returns flat inputs, lengths, the rows that predict reply tokens, and those tokens."""
    ids, lengths, rows, targets = [], [], [], []
    for _ in range(size):
        problem = problems.draw_training(rng)
        prompt = encoder.prompt(problem["question"])
        reply = encoder.reply(problems.reply_text(problem))
        start = len(ids) + len(prompt) - 1
        ids += prompt + reply[:-1]
        lengths.append(len(prompt) + len(reply) - 1)
        rows += range(start, start + len(reply))
        targets += reply
    return torch.tensor(ids), lengths, torch.tensor(rows), torch.tensor(targets)


def rate_at(step, a):
    descent = max(1, int(a.steps * a.descent))
    return a.rate * min(1.0, (step + 1) / a.warmup, max(0.0, (a.steps - step) / descent))


@torch.no_grad()
def accuracy(model, encoder, count, seed):
    """Share of `count` held-out problems answered exactly, greedily."""
    rng = random.Random(seed)
    asked = [problems.draw_held_out(rng) for _ in range(count)]
    replies = model.generate([encoder.prompt(p["question"]) for p in asked], encoder.eos)
    return sum(f"\\boxed{{{p['answer']}}}" in encoder.decode(r) for p, r in zip(asked, replies)) / count


def main():
    a = arguments()
    torch.set_num_threads(a.threads)
    torch.manual_seed(a.seed)
    a.cache.mkdir(parents=True, exist_ok=True)
    if not (a.cache / "tokenizer.json").exists():
        tokenizer.train(a.cache / "tokenizer.json")
    encoder = tokenizer.Encoder(a.cache / "tokenizer.json")
    model = Qwen2(Config())
    matrices = [p for p in model.parameters() if p.dim() == 2]
    others = [p for p in model.parameters() if p.dim() != 2]
    optimizer = torch.optim.AdamW([{"params": matrices, "weight_decay": 0.1}, {"params": others, "weight_decay": 0.0}],
                                  lr=a.rate, betas=(0.9, 0.98), fused=True)
    first, checkpoint = 0, a.cache / "checkpoint.pt"
    if checkpoint.exists():
        saved = torch.load(checkpoint)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    print(f"{sum(p.numel() for p in model.parameters())} parameters, from step {first} to {a.steps}", flush=True)
    step, seen, loss_sum, logged, began = first, 0, 0.0, 0, time.time()
    while step < a.steps:
        for group in optimizer.param_groups:
            group["lr"] = rate_at(step, a)
        ids, lengths, rows, targets = draw_batch(random.Random(f"{a.seed}/{step}"), encoder, a.batch)
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=a.bf16):
            logits = model(ids, lengths, rows)
        loss = F.cross_entropy(logits, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        step, seen, loss_sum, logged = step + 1, seen + len(ids), loss_sum + loss.item(), logged + 1
        if step % 25 == 0:
            print(f"step {step} loss {loss_sum / logged:.4f} rate {rate_at(step, a):.2e} "
                  f"tokens/s {seen / (time.time() - began):.0f} elapsed {time.time() - began:.0f}", flush=True)
            loss_sum, logged = 0.0, 0
            if (a.cache / "steps").exists():
                a.steps = int((a.cache / "steps").read_text())
        if step % 250 == 0 or step >= a.steps:
            torch.save({"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}, checkpoint)
        if step % 500 == 0 or step >= a.steps:
            print(f"step {step} held-out accuracy {accuracy(model, encoder, 100, 99):.3f}", flush=True)


if __name__ == "__main__":
    main()
