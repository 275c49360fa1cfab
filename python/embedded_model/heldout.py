"""Writes the held-out problems: drawn ones in all forms, and a marked subset in plain words.

    python -m embedded_model.heldout --out test/models/heldout.jsonl
"""
import argparse
import json
import pathlib
import random

from . import problems, words

PLAIN_GAIN = ["{He} buys {b} more {T}.", "{He} finds {b} more {T}.", "{He} gets {b} more {T}."]
PLAIN_LOSS = ["{He} gives away {b} {T}.", "{He} loses {b} {T}.", "{He} sells {b} {T}."]
PLAIN_SHARE = ("{He} shares them equally among {b} friends.", "How many {T} does each friend get?")
PLAIN_PACK = ("{He} packs them in boxes of {b}.", "How many boxes does {he} need?")


def draw_plain(rng):
    """`Anna has 14 apples. She buys 9 more apples. How many apples does Anna have now?` and its like."""
    while True:
        she = rng.random() < 0.5
        person = words.Person(rng.choice(words.SHE if she else words.HE), she)
        thing = words.thing(rng)
        kind = rng.choice(["gain", "loss", "eat", "share", "pack"])
        if kind == "gain":
            a, b = rng.randint(2, 60), rng.randint(2, 40)
            middle, question, answer = rng.choice(PLAIN_GAIN), "How many {T} does {N} have now?", a + b
        elif kind in ("loss", "eat"):
            a = rng.randint(4, 100)
            b = rng.randint(2, a - 1)
            middle = rng.choice(PLAIN_LOSS) if kind == "loss" or thing not in words.FOOD else "{He} eats {b} {T}."
            question, answer = "How many {T} does {N} have left?", a - b
        else:
            b, answer = rng.randint(2, 10), rng.randint(2, 10)
            a = b * answer
            middle, question = PLAIN_SHARE if kind == "share" else PLAIN_PACK
        if problems.has_held_out([person.name], [a, b]):
            text = " ".join(["{N} has {a} {T}.", middle, question])
            return {"question": text.format(N=person.name, he=person.he, He=person.he.capitalize(), T=thing[1], a=a, b=b),
                    "answer": answer, "steps": 1, "plain": True}


def draw_set(count, plain, seed):
    """`count` different problems, the first `plain` of them in plain words; the first one is fixed."""
    rng = random.Random(seed)
    rows = [{"question": "Anna has 14 apples. She buys 9 more apples. How many apples does Anna have now?",
             "answer": 23, "steps": 1, "plain": True}]
    assert problems.is_held_out("Anna", 9, 14)
    asked = {rows[0]["question"]}
    while len(rows) < count:
        if len(rows) < plain:
            row = draw_plain(rng)
        else:
            p = problems.draw_held_out(rng)
            steps = sum("=" in line for line in p["reasoning"].split("\n"))
            row = {"question": p["question"], "answer": p["answer"], "steps": steps, "plain": False}
        if row["question"] not in asked:
            asked.add(row["question"])
            rows.append(row)
    return rows


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--out", type=pathlib.Path, required=True)
    p.add_argument("--count", type=int, default=500)
    p.add_argument("--plain", type=int, default=100)
    p.add_argument("--seed", type=int, default=2026)
    a = p.parse_args()
    a.out.write_text("".join(json.dumps(row) + "\n" for row in draw_set(a.count, a.plain, a.seed)))


if __name__ == "__main__":
    main()
