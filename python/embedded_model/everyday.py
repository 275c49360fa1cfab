"""More everyday forms: a purchase out of a purse, passengers who get on and off, wages, a goal told first, an unknown
beginning before a gain.

Each function draws one problem and returns (sentences, reasoning lines, answer, names, numbers), as in singles.py.
"""
from .story import LARGEST, Refused, Story, draw_amount

GOODS = ["book", "toy", "game", "shirt", "hat", "ball", "doll", "lamp", "bag", "cake", "sandwich", "ticket", "pen"]


def _person_story(rng):
    s = Story(rng)
    if s.they:
        raise Refused
    s.money = False
    return s, s.actor.name, s.actor.he


def _result(s, answer):
    return s.sentences, s.lines, answer, s.names, s.numbers


def purchase(rng):
    s, name, he = _person_story(rng)
    purse = draw_amount(rng, 2)
    cost = draw_amount(rng, 1, purse)
    s.numbers += [purse, cost]
    item = rng.choice(GOODS)
    have, buys = rng.choice([("has", "buys"), ("had", "bought")])
    s.sentences += [f"{name} {have} {purse} dollars.", rng.choice([f"{he} {buys} a {item} for {cost} dollars.", f"{he} {buys} a {item} that costs {cost} dollars."])]
    s.lines.append(f"Start with {purse} dollars.")
    left = s.step(f"Take away {cost}", purse, "-", cost)
    if left and rng.random() < 0.3:
        second = draw_amount(rng, 1, left)
        s.numbers.append(second)
        s.sentences[-1] = f"{he} {buys} a {item} for {cost} dollars and a {rng.choice(GOODS)} for {second} dollars."
        left = s.step(f"Take away {second}", left, "-", second)
    s.sentences.append(rng.choice([f"How much money does {he} have left?", f"How much money does {name} have left?", f"How many dollars does {he} have left?",
                                   "How much money is left?", f"How many dollars does {name} have left?"]))
    return _result(s, left)


def passengers(rng):
    s = Story(rng)
    s.names.clear()
    what, who = rng.choice([("bus", "passengers"), ("bus", "people"), ("train", "people"), ("train", "passengers"), ("boat", "people")])
    a = draw_amount(rng, 3)
    off = draw_amount(rng, 1, a)
    on = draw_amount(rng, 1, LARGEST - a)
    s.numbers += [a, off, on]
    s.sentences.append(rng.choice([f"A {what} has {a} {who}.", f"There are {a} {who} on a {what}.", f"A {what} carries {a} {who}."]))
    s.lines.append(f"Start with {a} {who}.")
    if rng.random() < 0.5:
        s.sentences.append(rng.choice([f"{off} get off and {on} get on.", f"At a stop {off} {who} get off and {on} get on.", f"{off} {who} get off. Then {on} get on."]))
        x = s.step(f"Add {on}", s.step(f"Take away {off}", a, "-", off), "+", on)
    else:
        s.sentences.append(rng.choice([f"{on} get on and {off} get off.", f"At a stop {on} more get on and {off} get off.", f"{on} {who} get on. Then {off} get off."]))
        x = s.step(f"Take away {off}", s.step(f"Add {on}", a, "+", on), "-", off)
    s.sentences.append(rng.choice([f"How many {who} are on the {what}?", f"How many {who} are on the {what} now?"]))
    return _result(s, x)


def wages(rng):
    s, name, he = _person_story(rng)
    hours = rng.randint(2, 9)
    pay = rng.randint(2, min(20, LARGEST // hours))
    s.numbers += [pay, hours]
    s.sentences += [rng.choice([f"{name} earns {pay} dollars an hour.", f"{name} earns {pay} dollars per hour.", f"{name} gets {pay} dollars for every hour of work."]),
                    rng.choice([f"{he} works {hours} hours.", f"Yesterday {he} worked {hours} hours.", f"Today {he} works {hours} hours."]),
                    rng.choice([f"How much does {he} earn?", f"How much did {he} earn?", f"How many dollars does {name} earn?", f"How much money did {he} earn?"])]
    return _result(s, s.step(f"{hours} times {pay}", hours, "*", pay))


def goal_first(rng):
    s, name, he = _person_story(rng)
    goal = draw_amount(rng, 3)
    owned = draw_amount(rng, 1, goal)
    many = rng.choice(["dollars", "dollars", s.thing[1]])
    s.numbers += [goal, owned]
    what = rng.choice([f" for a {rng.choice(GOODS)}", ""]) if many == "dollars" else ""
    s.sentences += [rng.choice([f"{name} needs {goal} {many}{what}.", f"{name} wants to have {goal} {many}."]),
                    rng.choice([f"{he} has {owned} {many}.", f"{he} already has {owned} {many}.", f"{he} has {owned}."]),
                    f"How many more {many} does {he} need?"]
    return _result(s, s.step("Needed", goal, "-", owned))


def before_gain(rng):
    s, name, he = _person_story(rng)
    before = draw_amount(rng, 1, 90)
    more = draw_amount(rng, 1, LARGEST - before)
    many = s.thing[1]
    s.numbers += [before + more, more]
    verb = rng.choice(["bought", "found", "got", "picked"])
    s.sentences += [rng.choice([f"{name} had some {many}. {he.capitalize()} {verb} {more} more and now has {before + more} {many}.",
                                f"{name} {verb} {more} {many} and now has {before + more}.", f"After {name} {verb} {more} more {many}, {he} had {before + more}."]),
                    rng.choice([f"How many {many} did {he} have at first?", f"How many {many} did {name} have at first?", f"How many {many} did {he} have before?"])]
    return _result(s, s.step("Before", before + more, "-", more))


EVERYDAY = [(purchase, 1.2), (passengers, 0.8), (wages, 0.8), (goal_first, 0.8), (before_gain, 0.8)]
