#!/usr/bin/python3
"""Compares two files of `quern logits` lines along the same tokens: compare_logits.py BASE OURS.

The divergence of a step is KL(base || ours) over the tokens that both list, and all others as one event; list more
tokens in OURS (--top 100) than in BASE so that none of base's is missing.
"""
import json
import math
import sys
from pathlib import Path


def read(path):
    return [json.loads(line) for line in Path(path).read_text().splitlines() if line]


def step_divergence(base, ours):
    theirs = {token: logit - ours["lse"] for token, logit in ours["top"]}
    total, base_rest, our_rest = 0.0, 1.0, 1.0
    for token, logit in base["top"]:
        if token in theirs:
            log_p = logit - base["lse"]
            total += math.exp(log_p) * (log_p - theirs[token])
            base_rest -= math.exp(log_p)
            our_rest -= math.exp(theirs[token])
    if base_rest > 1e-9 and our_rest > 1e-9:
        total += base_rest * math.log(base_rest / our_rest)
    return total


def divergence(base, ours):
    """Mean KL divergence over all steps of all prompts, in nats."""
    pairs = [(b, o) for left, right in zip(base, ours, strict=True)
             for b, o in zip(left["steps"], right["steps"], strict=True)]
    return sum(step_divergence(b, o) for b, o in pairs) / len(pairs)


def agreement(base, ours, margin):
    """Steps at which base's two best logits differ by more than `margin`: how many, and how often ours has its best."""
    same = total = 0
    for left, right in zip(base, ours, strict=True):
        for b, o in zip(left["steps"], right["steps"], strict=True):
            if b["top"][0][1] - b["top"][1][1] > margin:
                total += 1
                same += b["top"][0][0] == o["top"][0][0]
    return same, total


if __name__ == "__main__":
    base, ours = read(sys.argv[1]), read(sys.argv[2])
    print(f"mean KL divergence {divergence(base, ours):.3e}")
    for margin in (0.3, 0.2, 0.1, 0.0):
        same, total = agreement(base, ours, margin)
        print(f"same best token where base's margin is above {margin}: {same} of {total} ({100 * same / total:.2f} %)")
