"""Draws word problems of one to three steps and keeps the held-out ones apart.

Split: a (name, number, number) combination is held out when its hash says so.  A training problem contains none of
the held-out combinations among its names and given numbers; a held-out problem contains at least one.
Problems without a name (bare sums, places) use the name "".
"""
import hashlib
import itertools
import random

from .actions import ACTIONS
from .endings import ENDINGS, both, now
from .everyday import EVERYDAY
from .plain import PLAIN
from .singles import SINGLES
from .story import OPENINGS, Refused, Story, open_compared

SPLIT_SALT = "quern-8"
HELD_OUT_ONE_IN = 24
SUFFIXES = [" Please reason step by step, and put your final answer within \\boxed{}.",
            "\nPlease reason step by step, and put your final answer within \\boxed{}."]


def is_held_out(name, x, y):
    low, high = sorted((x, y))
    digest = hashlib.md5(f"{SPLIT_SALT}|{name}|{low}|{high}".encode()).digest()
    return int.from_bytes(digest[:4], "little") % HELD_OUT_ONE_IN == 0


def has_held_out(names, numbers):
    pairs = list(itertools.combinations(sorted(set(numbers)), 2)) or [(n, n) for n in set(numbers)]
    return any(is_held_out(name, x, y) for name in names or [""] for x, y in pairs)


def _pick(rng, table):
    return rng.choices(table, weights=[row[-1] for row in table])[0]


def draw_chain(rng):
    """A story of an opening, actions and an ending with one to three reasoning steps in all."""
    s = Story(rng)
    wanted = rng.choices([1, 2, 3], weights=[3, 4, 3])[0]
    opening, steps, _ = _pick(rng, OPENINGS)
    opening(s)
    ending, ending_steps, _ = _pick(rng, ENDINGS)
    if opening is open_compared and wanted == 2 and rng.random() < 0.4:
        ending, ending_steps = both, 1
    if steps + ending_steps > wanted:
        ending, ending_steps = now, 0
    while steps + ending_steps < wanted:
        action, cost, _ = _pick(rng, ACTIONS)
        if steps + ending_steps + cost <= wanted:
            action(s)
            steps += cost
    if steps + ending_steps == 0:
        raise Refused
    ending(s)
    return s.sentences, s.lines, s.amount, s.names, s.numbers


def draw_any(rng):
    """One problem of either split: dict with question, reasoning, answer, names, numbers."""
    while True:
        try:
            single = rng.random() < 0.5
            sentences, lines, answer, names, numbers = _pick(rng, SINGLES + PLAIN + EVERYDAY)[0](rng) if single else draw_chain(rng)
        except Refused:
            continue
        sentences = [text[0].upper() + text[1:] for text in sentences]
        return {"question": " ".join(sentences), "reasoning": "\n".join(lines), "answer": answer,
                "names": names, "numbers": numbers}


def draw_training(rng):
    while True:
        problem = draw_any(rng)
        if not has_held_out(problem["names"], problem["numbers"]):
            if rng.random() < 0.06:
                problem["question"] += rng.choice(SUFFIXES)
            return problem


def draw_held_out(rng):
    while True:
        problem = draw_any(rng)
        if has_held_out(problem["names"], problem["numbers"]):
            return problem


def reply_text(problem):
    """What the model is to write after the opened <think> tag."""
    return f"{problem['reasoning']}\n</think>\n\nThe answer is \\boxed{{{problem['answer']}}}."


if __name__ == "__main__":
    source = random.Random(1)
    for _ in range(40):
        p = draw_training(source)
        print(p["question"], "\n   ", p["reasoning"].replace("\n", " | "), "=>", p["answer"])
