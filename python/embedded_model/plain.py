"""Short everyday problems that begin otherwise than the chained stories do: relatives and trades as actors, two
recipients, parts of a day, conditional questions, sharing told from the sharers' side.

Each function draws one problem and returns (sentences, reasoning lines, answer, names, numbers), as in singles.py.
"""
from . import words
from .story import LARGEST, Refused, Story, draw_amount

TRADES = ["A farmer", "A baker", "A teacher", "A boy", "A girl", "A man", "A woman"]
PARTS = [("in the morning", "in the afternoon"), ("in the morning", "in the evening"), ("on Monday", "on Tuesday"),
         ("yesterday", "today"), ("on Saturday", "on Sunday"), ("in April", "in May"), ("for a friend", "for a cousin")]
SPENDING = [("sells", "sold", "sell"), ("uses", "used", "use"), ("gives away", "gave away", "give away"), ("loses", "lost", "lose")]
GAINING = [("buys", "bought", "buy"), ("finds", "found", "find"), ("picks", "picked", "pick"), ("gets", "got", "get"),
           ("makes", "made", "make"), ("collects", "collected", "collect")]


def _start(rng):
    """A story about one person or trade, with its name and pronoun ready."""
    s = Story(rng)
    if s.they or s.money:
        raise Refused
    if rng.random() < 0.15:
        s.names.clear()
        s.actor.name = rng.choice(TRADES)
    return s


def _later(s):
    """How the actor is named after the first sentence."""
    name = s.actor.name
    return name.replace("A ", "the ", 1) if name.startswith("A ") else name


def _result(s, answer):
    return s.sentences, s.lines, answer, s.names, s.numbers


def _begin(s, n):
    s.lines.append(f"Start with {n} {s.thing[0] if n == 1 else s.thing[1]}.")


def two_losses(rng):
    """... gives 6 to one and 3 to another; ... sells 35 in the morning and 18 in the afternoon."""
    s = _start(rng)
    a = draw_amount(rng, 3)
    b = draw_amount(rng, 1, a - 1)
    c = draw_amount(rng, 1, a - b)
    many, he = s.thing[1], s.actor.he
    tense = rng.choice([0, 1])
    have = ("has", "had")[tense]
    first, second = s.number(b), s.number(c)
    if rng.random() < 0.5:
        m = s.mention(s.other)
        k = s.mention(s.new_person())
        give = ("gives", "gave")[tense]
        if rng.random() < 0.3:
            m, k = "his friend".replace("his", s.actor.his), f"{s.actor.his} {rng.choice(words.RELATIVES)}"
        middle = rng.choice([f"{give} {first} {many} to {m} and {second} {many} to {k}", f"{give} {first} {many} to {m} and {second} to {k}",
                             f"{give} {first} to {m} and {second} to {k}", f"{give} {m} {first} {many} and {k} {second}"])
    else:
        verb = rng.choice(SPENDING + ([("eats", "ate", "eat")] * 3 if s.eatable else []))[tense]
        one, two = rng.choice(PARTS)
        middle = rng.choice([f"{verb} {first} {one} and {second} {two}", f"{verb} {first} {many} {one} and {second} {two}",
                             f"{verb} {first} {many} {one} and {second} {many} {two}", f"{verb} {first} of them {one} and {second} {two}"])
    s.sentences += [f"{s.actor.name} {have} {s.count(a)}.", f"{rng.choice([he, he, _later(s)])} {middle}.",
                    rng.choice([f"How many {many} are left?", f"How many {many} does {he} have left?", f"How many {many} does {_later(s)} have left?",
                                f"How many {many} were left?", f"How many {many} does {_later(s)} still have?", "How many are left?"])]
    _begin(s, a)
    x = s.step(f"Take away {b}", a, "-", b)
    return _result(s, s.step(f"Take away {c}", x, "-", c))


def two_gains(rng):
    """... picks 12 in the morning and 9 in the afternoon.  How many in all?"""
    s = _start(rng)
    a = draw_amount(rng, 1, 90)
    b = draw_amount(rng, 1, LARGEST - a)
    many, (present, past, base) = s.thing[1], rng.choice(GAINING + [("sells", "sold", "sell")])
    tense = rng.choice([present, past])
    one, two = rng.choice(PARTS)
    do = "did" if tense == past else "does"
    ask = rng.choice([f"How many {many} {do} {_later(s)} {base} in total?", f"How many {many} {do} {s.actor.he} {base} altogether?",
                      f"How many {many} {do} {s.actor.he} {base} in all?", f"How many {many} is that in total?"])
    if rng.random() < 0.35 and a % 2 == 0:
        half = rng.random() < 0.6 or 3 * a > LARGEST
        word = "half as many" if half else "twice as many"
        s.numbers.append(2)
        s.sentences += [f"{s.actor.name} {tense} {s.count(a)} {one}, and then {s.actor.he} {tense} {word} {rng.choice([many + ' ', ''])}{two}.", ask]
        b = s.step(f"Half of {a}", a, "/", 2) if half else s.step(f"2 times {a}", 2, "*", a)
    else:
        s.sentences += [f"{s.actor.name} {tense} {s.count(a)} {one} and {s.number(b)} {rng.choice([many + ' ', ''])}{two}.", ask]
    return _result(s, s.step("Together", a, "+", b))


def relatives(rng):
    """Anna has 45 stickers.  Her brother has 27 (or 8 more).  Difference, sum or the brother's amount."""
    s = _start(rng)
    a = draw_amount(rng, 2, 90)
    b = draw_amount(rng, 1, LARGEST - a)
    many, name = s.thing[1], s.actor.name
    kin = f"{s.actor.his} {rng.choice(words.RELATIVES)}"
    kind = rng.choice(["difference", "sum", "more", "fewer", "both"])
    if rng.random() < 0.35:
        kin = s.mention(s.other)
    second = rng.choice([f"{kin} has {s.number(b)} {many}", f"{kin} has {b}"])
    if kind in ("difference", "sum"):
        text = rng.choice([f"{name} has {s.count(a)}. {second[0].upper() + second[1:]}.", f"{name} has {s.count(a)} and {second}."])
        _begin(s, a)
        if kind == "sum":
            s.sentences += [text, rng.choice([f"How many {many} do they have altogether?", f"How many {many} do they have together?",
                                              f"How many {many} do they have in total?", f"How many {many} do they have in all?"])]
            return _result(s, s.step("Together", a, "+", b))
        if a == b:
            raise Refused
        high, low = (name, kin) if a > b else (kin, name)
        s.sentences += [text, rng.choice([f"How many more {many} does {high} have than {low}?"] * 3 + [f"How many fewer {many} does {low} have than {high}?"])]
        return _result(s, s.step("Difference", max(a, b), "-", min(a, b)))
    op, word = ("-", "fewer") if kind == "fewer" else ("+", "more")
    more = rng.choice([f"{b} {word} {many} than {name}", f"{b} {word} than {name}", f"{b} {word} {many}", f"{b} {word}"])
    s.sentences += [f"{name} has {s.count(a)}.", f"{kin} has {more}."]
    x = s.step(f"{b} {word}", a, op, b)
    if kind == "both":
        s.sentences.append(rng.choice([f"How many {many} do they have together?", f"How many {many} do they have altogether?"]))
        return _result(s, s.step("Together", a, "+", x))
    s.sentences.append(f"How many {many} does {kin} have?")
    return _result(s, x)


def twice_first(rng):
    """Sam has twice as many as Leo.  Leo has 7.  The multiple is told before the amount."""
    s = _start(rng)
    k, a = rng.choice([2, 2, 2, 3, 4, 5]), rng.randint(2, 30)
    word = {2: "twice", 3: "three times"}.get(k, f"{k} times")
    m = s.mention(s.other)
    s.numbers.append(k)
    s.sentences += [f"{s.actor.name} has {word} as many {s.thing[1]} as {m}.", f"{m} has {s.count(a)}.",
                    f"How many {s.thing[1]} does {s.actor.name} have?"]
    x = s.step(f"{k} times {a}", k, "*", a)
    if rng.random() < 0.25:
        s.sentences[-1] = f"How many {s.thing[1]} do they have together?"
        x = s.step("Together", a, "+", x)
    return _result(s, x)


def conditional(rng):
    """If Anna has 14 apples and buys 9 more, how many does she have?"""
    s = _start(rng)
    plus = rng.random() < 0.5
    a = draw_amount(rng, 1 if plus else 2, 90 if plus else LARGEST)
    b = draw_amount(rng, 1, LARGEST - a if plus else a)
    he, many = s.actor.he, s.thing[1]
    verb = rng.choice(GAINING)[0] + f" {b} more" if plus else rng.choice(SPENDING + [("eats", "ate", "eat")])[0] + rng.choice([f" {b}", f" {b} of them"])
    s.numbers.append(b)
    left = "" if plus else " left"
    ask = rng.choice([f"how many {many} does {he} have{left or ' now'}?", f"how many {many} does {he} have{left}?", f"how many does {he} have{left}?"])
    s.sentences.append(rng.choice([f"If {s.actor.name} has {s.count(a)} and {verb}, {ask}", f"{s.actor.name} has {s.count(a)}. If {he} {verb}, {ask}",
                                   f"{s.actor.name} has {s.count(a)} and {verb}, {ask}"]))
    _begin(s, a)
    return _result(s, s.step(f"Add {b}" if plus else f"Take away {b}", a, "+" if plus else "-", b))


def boxes(rng):
    """Boxes and rows without an owner, both orders of the numbers; sharing told from the sharers' side."""
    s = Story(rng)
    s.names.clear()
    n, m = rng.randint(2, 10), rng.randint(2, 10)
    box, many = rng.choice(words.BOXES + words.PLACES), s.thing[1]
    kind = rng.choice(["product", "product", "share", "pack"])
    if kind == "product":
        s.sentences.append(rng.choice([
            f"A {box[0]} holds {s.number(m)} {many}. How many {many} are in {n} {box[1]}?", f"One {box[0]} has {m} {many}. How many {many} do {n} {box[1]} have?",
            f"There are {s.number(n)} {box[1]} with {s.number(m)} {many} in each {box[0]}. How many {many} are there?",
            f"There are {n} {box[1]} of {many} with {m} {many} in each {box[0]}. How many {many} are there in total?",
            f"Each {box[0]} has {m} {many}. How many {many} are there in {n} {box[1]}?", f"How many {many} are in {n} {box[1]} of {m} {many}?"]))
        s.numbers += [n, m]
        return _result(s, s.step(f"{n} {box[1]} of {m}", n, "*", m))
    total = n * m
    if kind == "share":
        who = rng.choice(words.SHARERS)
        each = {"children": "child", "people": "person"}.get(who, who[:-1])
        s.sentences.append(rng.choice([f"{s.number(n)} {who} share {s.number(total)} {many} equally.", f"{n} {who} share {total} {many}.",
                                       f"{total} {many} are shared equally among {n} {who}.", f"There are {total} {many} for {n} {who}."]))
        s.sentences.append(rng.choice([f"How many {many} does each {each} get?", "How many does each of them get?", f"How many {many} does each get?"]))
        s.numbers += [n, total]
        return _result(s, s.step(f"Share among {n}", total, "/", n))
    s.sentences.append(rng.choice([f"{total} {many} are packed in {box[1]} of {m}.", f"There are {s.number(total)} {many}. Each {box[0]} holds {m} {many}."]))
    s.sentences.append(rng.choice([f"How many {box[1]} are needed?", f"How many {box[1]} are there?"]))
    s.numbers += [total, m]
    return _result(s, s.step(f"{box[1].capitalize()} of {m}", total, "/", m))


def tables(rng):
    """Sharing or packing of an owner's things, no other step: practises division."""
    s = _start(rng)
    n, m = rng.randint(2, 10), rng.randint(1, 10)
    total, many, he, name = n * m, s.thing[1], s.actor.he, s.actor.name
    s.sentences.append(rng.choice([f"{name} has {s.count(total)}.", f"{name} bakes {s.count(total)}.", f"{name} buys {s.count(total)}."]))
    _begin(s, total)
    if rng.random() < 0.5:
        who = rng.choice(words.SHARERS)
        each = {"children": "child", "people": "person"}.get(who, who[:-1])
        s.sentences += [f"{he} shares them equally among {rng.choice(['', '', s.actor.his + ' '])}{s.number(n)} {who}.",
                        f"How many {many} does each {each} get?"]
        return _result(s, s.step(f"Share among {n}", total, "/", n))
    box = rng.choice(words.BOXES)
    s.sentences += [f"{he} {rng.choice(['packs', 'puts'])} them {rng.choice(['in', 'into'])} {box[1]} of {s.number(n)}.",
                    f"How many {box[1]} does {rng.choice([he, _later(s)])} {rng.choice(['need', 'need', 'fill'])}?"]
    return _result(s, s.step(f"{box[1].capitalize()} of {n}", total, "/", n))


PLAIN = [(two_losses, 1.5), (two_gains, 1.2), (relatives, 1.5), (twice_first, 0.7), (conditional, 0.7), (boxes, 1.3), (tables, 1.5)]
