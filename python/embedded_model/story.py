"""Word problems told as a chain: an opening amount, actions that change it, and a question about the end.

A `Story` gathers the sentences of the question and the lines of the reasoning side by side.  Verbs are written
`[buys|bought|buy]` (present singular, past, present plural) and resolved when a sentence is told.
"""
import random
import re

from . import words

VERB = re.compile(r"\[([^|\]]*)\|([^|\]]*)\|([^|\]]*)\]")
LARGEST = 100  # no number of a problem, given or computed, exceeds this


class Refused(Exception):
    """Raised where the drawn numbers admit no continuation; the caller draws again."""


class Story:
    """State of a problem being told: the actor, the thing counted and its current amount."""

    def __init__(self, rng: random.Random):
        self.rng = rng
        self.sentences, self.lines, self.names, self.numbers = [], [], [], []
        self.past = rng.random() < 0.4
        self.money = rng.random() < 0.06
        self.thing = ("dollar", "dollars") if self.money else words.thing(rng)
        self.eatable = self.thing in words.FOOD
        self.amount = 0
        self.joinable = False  # may an action be appended to the last sentence with "and"?
        self.they = rng.random() < 0.06
        if self.they:
            self.actor = self._group()
        else:
            self.actor = words.person(rng)
            self.names.append(self.actor.name)
        self.other = self.new_person()

    def _group(self):
        group = words.Person("", True)
        one = words.person(self.rng)
        two = words.person(self.rng, one)
        group.name = self.rng.choice([f"{one.name} and {two.name}", "the children", f"{one.name} and {two.name}"])
        if group.name[0:4] != "the ":
            self.names += [one.name, two.name]
        group.he, group.him, group.his = "they", "them", "their"
        return group

    def new_person(self):
        """Draws a person whom the problem has not named yet, and whom no pronoun can confuse with the actor."""
        she = None if self.they else self.actor.he == "he"
        while (drawn := words.person(self.rng, she=she)).name in self.names:
            pass
        return drawn

    def mention(self, person):
        """Records that `person` is named in the text, and returns the name."""
        if person.name not in self.names:
            self.names.append(person.name)
        return person.name

    def number(self, n):
        """Writes a given number: mostly digits, a small one now and then as a word."""
        self.numbers.append(n)
        if n < len(words.NUMBER_WORDS) and self.rng.random() < 0.07:
            return words.NUMBER_WORDS[n]
        return str(n)

    def count(self, n, more=False, thing=None):
        """`n apples`, or `n more apples`, or (the thing being known) `n more`."""
        one, many = thing or self.thing
        noun = one if n == 1 else many
        digits = self.number(n)
        if not more:
            return f"{digits} {noun}"
        return self.rng.choice([f"{digits} more {noun}", f"{digits} more {noun}", f"another {digits} {noun}", f"{digits} more"])

    def tell(self, template, plural=None, **fields):
        """Formats a template with the actor's name and pronouns, resolves its verbs and capitalises it."""
        form = 2 if (self.they if plural is None else plural) else 0
        if self.past:
            form = 1
        text = VERB.sub(lambda m: m.group(form + 1), template)
        a = self.actor
        text = text.format(N=a.name, he=a.he, him=a.him, his=a.his, T=self.thing[1], **fields)
        self.sentences.append(text[0].upper() + text[1:])
        self.joinable = template.startswith(("{N} ", "{he} ")) and template.count(".") == 1

    def step(self, label, left, op, right):
        """Adds one reasoning line `label: left op right = result.` and returns the result, in bounds or refused."""
        if op == "/":
            if right == 0 or left % right:
                raise Refused
            result = left // right
        else:
            result = {"+": left + right, "-": left - right, "*": left * right}[op]
        if not 0 <= result <= LARGEST:
            raise Refused
        self.lines.append(f"{label}: {left} {op} {right} = {result}.")
        return result


def draw_amount(rng, low=1, high=LARGEST):
    """A number in low..high, small ones preferred in half of the draws."""
    if high < low:
        raise Refused
    return rng.randint(low, min(high, 20) if rng.random() < 0.45 and low <= 20 else high)


# ---- openings: (function, reasoning steps) ---------------------------------------------------------------------

def open_has(s):
    n = draw_amount(s.rng, 2)
    s.amount = n
    if s.money:
        templates = ["{N} [has|had|have] {c}.", "{N} [saves|saved|save] {c}.", "{N} [has|had|have] {c} in {his} purse."]
    else:
        templates = ["{N} [has|had|have] {c}."] * 8 + [
            "{N} [buys|bought|buy] {c}.", "{N} [finds|found|find] {c}.", "{N} [picks|picked|pick] {c}.",
            "{N} [collects|collected|collect] {c}.", "{N} [gets|got|get] {c} for {his} birthday.",
            "{N} [owns|owned|own] {c}.", "{N} [starts|started|start] with {c}.",
            "{N} [has|had|have] {c} in a box.", "{N} [has|had|have] {c} at home."]
        if s.rng.random() < 0.1:
            templates = ["{N} [has|had|have] a " + s.rng.choice(["box", "bag", "basket", "bowl"]) + " with {c}.",
                         "there [are|were|are] {c} in {N}'s " + s.rng.choice(["box", "bag", "basket", "room"]) + "."]
    s.tell(s.rng.choice(templates), c=s.count(n))
    s.lines.append(f"Start with {n} {s.thing[0] if n == 1 else s.thing[1]}.")


def open_groups(s):
    if s.money:
        raise Refused
    box = s.rng.choice(words.BOXES + words.PLACES)
    n, m = s.rng.randint(2, 10), s.rng.randint(2, 10)
    boxes, items = s.count(n, thing=box), s.count(m)
    s.tell(s.rng.choice([
        "{N} [has|had|have] {b}. Each {o} has {i}.", "{N} [has|had|have] {b} with {i} in each {o}.",
        "{N} [has|had|have] {b} of {T} with {i} in each {o}.", "{N} [has|had|have] {b} with {i} each.",
        "{N} [buys|bought|buy] {b}. Each {o} contains {i}.", "{N} [has|had|have] {b}. There are {i} in each {o}.",
        "{N} [fills|filled|fill] {b} with {i} each.", "{N} [puts|put|put] {i} in each of {b}.",
        "{N} [buys|bought|buy] {b} of {T}. Every {o} holds {i}."]), b=boxes, i=items, o=box[0])
    s.amount = s.step(f"{n} {box[1]} of {m}", n, "*", m)


def open_kinds(s):
    if s.money:
        raise Refused
    a = draw_amount(s.rng, 1, 90)
    b = draw_amount(s.rng, 1, LARGEST - a)
    if s.rng.random() < 0.6:
        one, two = s.rng.sample(words.COLORS, 2)
        first, second = (s.count(n, thing=(f"{color} {s.thing[0]}", f"{color} {s.thing[1]}")) for n, color in ((a, one), (b, two)))
        if s.rng.random() < 0.3:
            first = f"{a} {one}"
    else:
        kinds = words.FOOD if s.eatable else words.OBJECTS
        x, y = s.rng.sample(kinds, 2)
        first, second = s.count(a, thing=x), s.count(b, thing=y)
        s.thing = ("piece of fruit", "pieces of fruit") if s.eatable and s.rng.random() < 0.3 else ("thing", "things")
    s.tell(s.rng.choice(["{N} [has|had|have] {f} and {g}.", "{N} [buys|bought|buy] {f} and {g}.",
                         "{N} [has|had|have] {f} and also {g}.", "{N} [picks|picked|pick] {f} and {g}.",
                         "in {his} bag {N} [has|had|have] {f} and {g}."]), f=first, g=second)
    s.numbers += [n for n in (a, b) if n not in s.numbers]
    s.amount = s.step("Together", a, "+", b)


def open_compared(s):
    if s.they:
        raise Refused
    a = draw_amount(s.rng, 2)
    other = s.other
    base = f"{s.mention(other)} {'had' if s.past else 'has'} {s.count(a)}."
    kind = s.rng.choice(["more", "fewer", "times"])
    if kind == "times":
        k = s.rng.choice([2, 2, 3, 4, 5])
        as_many = s.rng.choice(["as many {T} as {o}", "as many as {o}", "the number of {T} that {o} has"])
        word = {2: s.rng.choice(["twice", "two times", "2 times"]), 3: s.rng.choice(["three times", "3 times"])}.get(k, f"{k} times")
        text = base + " {N} [has|had|have] " + word + " " + as_many + "."
        fields = {"o": other.name}
        s.numbers.append(k)
        s.tell(text, **fields)
        s.amount = s.step(f"{k} times {a}", k, "*", a)
        return
    b = draw_amount(s.rng, 1, LARGEST - a if kind == "more" else a - 1)
    word = kind if kind == "more" else s.rng.choice(["fewer", "fewer", "less"])
    if s.money and kind == "fewer":
        word = "less"
    noun = s.thing[0] if b == 1 else s.thing[1]
    than = s.rng.choice([f"{s.number(b)} {word} {noun} than {other.name}", f"{b} {word} than {other.name}",
                         f"{b} {noun} {word} than {other.name}"])
    s.numbers.append(b)
    s.tell(base + " {N} [has|had|have] {than}.", than=than)
    s.amount = s.step(f"{b} more" if kind == "more" else f"{b} fewer", a, "+" if kind == "more" else "-", b)


OPENINGS = [(open_has, 0, 8), (open_groups, 1, 2), (open_kinds, 1, 2), (open_compared, 1, 2.5)]
