"""Problems with a fixed plot: shopping, pages, ages, unknown beginnings, places with people, and bare sums.

Each function draws one problem and returns (sentences, reasoning lines, answer, names, numbers).
"""
from . import words
from .story import LARGEST, Refused, Story, draw_amount


def _finish(s, answer):
    return s.sentences, s.lines, answer, s.names, s.numbers


def shopping(rng):
    s = Story(rng)
    one, many = words.thing(rng)
    n, p = rng.randint(2, 10), rng.randint(2, 10)
    cost = f"{s.number(p)} dollars"
    name = s.actor.name
    buys = "bought" if s.past else ("buy" if s.they else "buys")
    pay = rng.choice([f"How much does {name} pay?", f"How much does it cost?", "How much is that in total?", f"How many dollars does {name} pay?",
                      f"How much money does {s.actor.he} spend?"])
    if s.they:
        pay = "How much is that in total?"
    first = rng.choice([f"A {one} costs {cost}. {name} {buys} {s.number(n)} {many}.", f"One {one} costs {cost}. {name} {buys} {n} {many}.",
                        f"{name} {buys} {s.number(n)} {many} for {cost} each.", f"{name} {buys} {n} {many}. Each {one} costs {cost}."])
    s.numbers.append(n)
    total = s.step(f"{n} {many} at {p}", n, "*", p)
    roll = rng.random()
    if roll < 0.4:
        s.sentences += [first, pay]
        return _finish(s, total)
    purse = draw_amount(rng, total)
    have = "had" if s.past else ("have" if s.they else "has")
    s.sentences += [f"{name} {have} {s.number(purse)} dollars.", first] if rng.random() < 0.6 else [
        first, f"{'They' if s.they else s.actor.he.capitalize()} {'paid' if s.past else 'pay' if s.they else 'pays'} with {s.number(purse)} dollars."]
    s.sentences.append(rng.choice(["How much money is left?", "How many dollars are left?"]) if " with " not in s.sentences[-1] else
                       rng.choice(["How much change is there?", "How many dollars of change are there?", "How much money comes back?"]))
    return _finish(s, s.step(f"Take away {total}", purse, "-", total))


def unknown_start(rng):
    s = Story(rng)
    if s.they or s.money:
        raise Refused
    n, he, many = s.actor.name, s.actor.he, s.thing[1]
    after = draw_amount(rng, 0, 90)
    change = draw_amount(rng, 1, LARGEST - after)
    kind = rng.choice(["start", "lost", "gained"])
    if kind == "start":
        verb = rng.choice(["gave away", "sold", "lost", "used"] + (["ate"] if s.eatable else []))
        s.sentences += [f"{n} had some {many}. {he.capitalize()} {verb} {s.number(change)} of them and now has {s.number(after)} left."
                        if rng.random() < 0.5 else f"After {n} {verb} {s.number(change)} {many}, {he} had {s.number(after)} left.",
                        rng.choice([f"How many {many} did {n} have at first?", f"How many {many} did {he} have at the beginning?",
                                    f"How many {many} did {n} have before?"])]
        return _finish(s, s.step("Before", after, "+", change))
    if kind == "lost":
        verb, base = rng.choice([("gave away", "give away"), ("sold", "sell"), ("lost", "lose")] + ([("ate", "eat")] * 2 if s.eatable else []))
        s.sentences += [f"{n} had {s.number(after + change)} {many}. {he.capitalize()} {verb} some of them and now has {s.number(after)} left.",
                        rng.choice([f"How many {many} did {n} {base}?", f"How many {many} did {he} {base}?"])]
        return _finish(s, s.step("Difference", after + change, "-", after))
    s.sentences += [f"{n} had {s.number(after)} {many}. {he.capitalize()} {rng.choice(['bought', 'found', 'got'])} some more and now has {s.number(after + change)}.",
                    f"How many {many} did {he} get?"]
    return _finish(s, s.step("Difference", after + change, "-", after))


def daily(rng):
    s = Story(rng)
    s.they = s.money = s.past = False
    if s.actor.he == "they":
        raise Refused
    n, he = s.actor.name, s.actor.he
    verb, base, unit = rng.choice([("reads", "read", "pages"), ("runs", "run", "miles"), ("walks", "walk", "miles"), ("writes", "write", "letters"),
                                   ("earns", "earn", "dollars"), ("saves", "save", "dollars"), ("drinks", "drink", "cups of tea"),
                                   ("bakes", "bake", "cakes"), ("paints", "paint", "pictures"), ("solves", "solve", "problems")])
    span = rng.choice([("day", "days"), ("day", "days"), ("week", "weeks"), ("hour", "hours")])
    a, d = rng.randint(2, 10), rng.randint(2, 10)
    every = rng.choice([f"{s.number(a)} {unit} every {span[0]}", f"{s.number(a)} {unit} a {span[0]}", f"{s.number(a)} {unit} per {span[0]}", f"{s.number(a)} {unit} each {span[0]}"])
    s.numbers.append(d)
    if rng.random() < 0.7:
        s.sentences += [f"{n} {verb} {every}.", rng.choice([f"How many {unit} does {n} {base} in {d} {span[1]}?", f"How many {unit} does {he} {base} in {d} {span[1]}?",
                                                           f"How many {unit} is that in {d} {span[1]}?"])]
        return _finish(s, s.step(f"{d} times {a}", d, "*", a))
    total = a * d
    s.numbers += [total]
    s.sentences += [f"{n} {verb} {every}.", rng.choice([f"How many {span[1]} does {he} need to {base} {total} {unit}?", f"In how many {span[1]} does {n} {base} {total} {unit}?"])]
    return _finish(s, s.step(f"{total} by {a}", total, "/", a))


def pages(rng):
    s = Story(rng)
    if s.they:
        raise Refused
    total = draw_amount(rng, 10)
    one = draw_amount(rng, 1, total)
    kind = rng.choice([("a book", "pages", "read"), ("a path", "miles", "walked"), ("a puzzle", "pieces", "placed"), ("a test", "questions", "answered")])
    s.sentences.append(f"{s.actor.name} has {kind[0]} with {s.number(total)} {kind[1]}.")
    s.lines.append(f"Start with {total} {kind[1]}.")
    he = s.actor.he.capitalize()
    s.sentences.append(f"{he} {kind[2]} {s.number(one)} {kind[1]}" + rng.choice([" yesterday.", " on Monday.", ".", " so far."]))
    left = s.step(f"Take away {one}", total, "-", one)
    if left and rng.random() < 0.5:
        two = draw_amount(rng, 1, left)
        s.sentences.append(f"{he} {kind[2]} {s.number(two)} {kind[1]}" + rng.choice([" today.", " on Tuesday."]))
        left = s.step(f"Take away {two}", left, "-", two)
    s.sentences.append(rng.choice([f"How many {kind[1]} are left?", f"How many {kind[1]} remain?"]))
    return _finish(s, left)


def ages(rng):
    s = Story(rng)
    if s.they:
        raise Refused
    a, b = rng.randint(2, 60), rng.randint(1, 30)
    n, m = s.actor.name, s.mention(s.other)
    older = rng.random() < 0.5
    if not older and b >= a:
        raise Refused
    word = "older" if older else "younger"
    s.sentences += [f"{n} is {s.number(a)} years old. {m} is {s.number(b)} years {word} than {n}."]
    age = s.step(f"{b} {word}", a, "+" if older else "-", b)
    if rng.random() < 0.3:
        later = rng.randint(1, 20)
        s.sentences.append(f"How old will {m} be in {s.number(later)} years?")
        return _finish(s, s.step(f"Add {later}", age, "+", later))
    s.sentences.append(f"How old is {m}?")
    return _finish(s, age)


def places(rng):
    """People or animals somewhere; some come, some go.  Nobody is named."""
    s = Story(rng)
    s.names.clear()
    s.they, s.money = True, False
    place, kinds = rng.choice([("on a bus", ["people", "passengers", "children"]), ("in a class", ["students", "children"]),
                               ("in the park", ["children", "people", "dogs", "birds"]), ("on a farm", ["cows", "sheep", "chickens", "horses"]),
                               ("in a tree", ["birds", "apples"]), ("in a pond", ["ducks", "fish", "frogs"]), ("in a shop", ["people", "toys", "books"]),
                               ("on the table", ["cups", "plates", "apples"])])
    kind = rng.choice(kinds)
    a = draw_amount(rng, 2)
    s.sentences.append(rng.choice([f"There are {s.number(a)} {kind} {place}.", f"There were {s.number(a)} {kind} {place}."]))
    s.lines.append(f"Start with {a} {kind}.")
    x = a
    for _ in range(rng.choice([1, 1, 2])):
        if rng.random() < 0.5:
            b = draw_amount(rng, 1, LARGEST - x)
            s.sentences.append(rng.choice([f"{s.number(b)} more {kind} come.", f"Then {s.number(b)} more {kind} come.", f"{s.number(b)} more are added.", f"{s.number(b)} more arrive."]))
            x = s.step(f"Add {b}", x, "+", b)
        else:
            b = draw_amount(rng, 1, x)
            s.sentences.append(rng.choice([f"{s.number(b)} of them leave.", f"{s.number(b)} {kind} leave.", f"Then {s.number(b)} are taken away.", f"{s.number(b)} {kind} go away."]))
            x = s.step(f"Take away {b}", x, "-", b)
    s.sentences = [t[0].upper() + t[1:] for t in s.sentences]
    s.sentences.append(rng.choice([f"How many {kind} are there now?", f"How many {kind} are {place} now?"] + ([f"How many {kind} are left?"] if " - " in s.lines[-1] else [])))
    return _finish(s, x)


def bare(rng):
    """A sum without a story."""
    s = Story(rng)
    s.names.clear()
    op = rng.choice("+-+-*/")
    if op in "+-":
        a = draw_amount(rng, 0)
        b = draw_amount(rng, 0, LARGEST - a if op == "+" else a)
    else:
        a, b = rng.randint(1, 10), rng.randint(1, 10)
        if op == "/":
            a *= b
    word = {"+": "plus", "-": "minus", "*": "times", "/": "divided by"}[op]
    sign = rng.choice({"+": ["+"], "-": ["-"], "*": ["*", "x", "×"], "/": ["/", "÷"]}[op])
    s.numbers += [a, b]
    s.sentences.append(rng.choice([f"What is {a} {sign} {b}?", f"What is {a} {word} {b}?", f"{a} {sign} {b} = ?", f"Compute {a} {sign} {b}.", f"How much is {a} {sign} {b}?",
                                   f"What is {a}{sign}{b}?", f"Calculate {a} {sign} {b}."]))
    return _finish(s, s.step("Compute", a, op, b))


SINGLES = [(shopping, 1.5), (unknown_start, 1.5), (daily, 1.5), (pages, 0.8), (ages, 1), (places, 1.5), (bare, 2.5)]
