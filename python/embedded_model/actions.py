"""The middle of a story: actions that raise or lower the amount, one or two reasoning steps each."""
from . import words
from .story import LARGEST, Refused, draw_amount

GAIN = ["[buys|bought|buy] {c}", "[finds|found|find] {c}", "[gets|got|get] {c}", "[gets|got|get] {c} from {his} {r}",
        "[receives|received|receive] {c} from {his} {r}", "[picks|picked|pick] {c}", "[collects|collected|collect] {c}",
        "[wins|won|win] {c}", "[adds|added|add] {c}", "[is given|was given|are given] {c}",
        "[buys|bought|buy] {c} at the store", "[buys|bought|buy] {c} at the market", "[gets|got|get] {c} from {m}",
        "[finds|found|find] {c} on the way home"]
GAIN_BY = ["{his} {r} [gives|gave|gives] {him} {c}.", "{m} [gives|gave|gives] {him} {c}.",
           "{m} [gives|gave|gives] {N} {c}.", "{his} {r} [buys|bought|buys] {him} {c}.",
           "{his} {r} [brings|brought|brings] {him} {c}."]
LOSS = ["[gives|gave|give] {c} to {m}", "[gives|gave|give] {m} {c}", "[gives|gave|give] away {c}",
        "[gives|gave|give] {c} away", "[gives|gave|give] {c} to {his} {r}", "[gives|gave|give] {his} {r} {c}",
        "[loses|lost|lose] {c}", "[sells|sold|sell] {c}", "[drops|dropped|drop] {c}", "[uses|used|use] {c}",
        "[throws|threw|throw] away {c}", "[breaks|broke|break] {c}", "[leaves|left|leave] {c} at school",
        "[hands|handed|hand] {c} to {m}", "[sells|sold|sell] {c} at the market"]
EAT = ["[eats|ate|eat] {c}", "[eats|ate|eat] {c} for lunch", "[eats|ate|eat] {c} for breakfast"]
LOSS_BY = ["{m} [takes|took|takes] {c}.", "{his} {r} [takes|took|takes] {c}.", "{m} [takes|took|takes] {c} from {him}."]
LOSS_BY_FOOD = ["{his} {r} [eats|ate|eats] {c}.", "{m} [eats|ate|eats] {c}."]
EARN = ["[earns|earned|earn] {c}", "[gets|got|get] {c} from {his} {r}", "[finds|found|find] {c}", "[saves|saved|save] {c}"]
SPEND = ["[spends|spent|spend] {c}", "[spends|spent|spend] {c} on a book", "[pays|paid|pay] {c} for lunch",
         "[spends|spent|spend] {c} on a toy", "[loses|lost|lose] {c}", "[gives|gave|give] {c} to {his} {r}"]
STARTS = ["{he} ", "{he} ", "{he} ", "then {he} ", "then {he} ", "{N} ", "later {he} ", "after that, {he} ",
          "the next day {he} ", "{N} then ", "today {he} "]


def _tell_clause(s, clause, count, joined=True):
    fields = {"c": count, "r": s.rng.choice(words.RELATIVES)}
    if "{m}" in clause:
        fields["m"] = s.mention(s.other)
    if joined and s.joinable and s.rng.random() < 0.18:  # append to the sentence before: "... has 14 apples and buys 9 more."
        before = s.sentences.pop()
        s.tell(clause + ".", **fields)
        text = s.sentences.pop()
        s.sentences.append(before[:-1] + s.rng.choice([" and ", ", then ", " and then ", ". Then " + s.actor.he + " "])
                           + text[0].lower() + text[1:])
        s.joinable = True
        return
    start = s.rng.choice(STARTS)
    s.tell(start + clause + ".", **fields)


def _tell_by(s, template, count):
    fields = {"c": count, "r": s.rng.choice(words.RELATIVES)}
    if "{m}" in template:
        fields["m"] = s.mention(s.other)
    s.tell(template, plural=False, **fields)


def gain(s):
    b = draw_amount(s.rng, 1, LARGEST - s.amount)
    count = s.count(b, more=s.rng.random() < 0.75)
    if not s.money and s.rng.random() < 0.2:
        _tell_by(s, s.rng.choice(GAIN_BY), count)
    else:
        _tell_clause(s, s.rng.choice(EARN if s.money else GAIN), count)
    s.amount = s.step(f"Add {b}", s.amount, "+", b)


def _less_count(s, b):
    return s.rng.choice([s.count(b), s.count(b), s.number(b), f"{s.number(b)} of them", f"{s.number(b)} of the {s.thing[1]}",
                         f"{s.number(b)} of {s.actor.his} {s.thing[1]}"])


def loss(s):
    b = draw_amount(s.rng, 1, s.amount)
    count = s.count(b) if s.money else _less_count(s, b)
    if not s.money and s.rng.random() < 0.15:
        _tell_by(s, s.rng.choice(LOSS_BY + (LOSS_BY_FOOD if s.eatable else [])), count)
    else:
        verbs = SPEND if s.money else (EAT if s.eatable and s.rng.random() < 0.4 else LOSS)
        _tell_clause(s, s.rng.choice(verbs), count)
    s.amount = s.step(f"Take away {b}", s.amount, "-", b)


def half(s):
    if s.amount % 2 or s.amount == 0:
        raise Refused
    clauses = ["[spends|spent|spend] half of it"] if s.money else [
        "[gives|gave|give] half of them to {m}", "[gives|gave|give] away half of them", "[sells|sold|sell] half of them",
        "[loses|lost|lose] half of {c}", "[gives|gave|give] half of {c} to {his} {r}"]
    _tell_clause(s, s.rng.choice(clauses), f"the {s.thing[1]}")
    s.amount = s.step(f"Half of {s.amount}", s.amount, "/", 2)


def gain_groups(s):
    if s.money:
        raise Refused
    box = s.rng.choice(words.BOXES)
    n, m = s.rng.randint(2, 9), s.rng.randint(2, 10)
    clause = s.rng.choice([f"[buys|bought|buy] {{b}} with {{c}} each", f"[buys|bought|buy] {{b}} with {{c}} in each {box[0]}",
                           f"[gets|got|get] {{b}} with {{c}} each", f"[buys|bought|buy] {{b}} of {{c}} each"])
    clause = clause.replace("{b}", s.count(n, thing=(f"more {box[0]}", f"more {box[1]}") if s.rng.random() < 0.3 else box))
    _tell_clause(s, clause, s.count(m), joined=False)
    bought = s.step(f"{n} {box[1]} of {m}", n, "*", m)
    s.amount = s.step(f"Add {bought}", s.amount, "+", bought)


def loss_groups(s):
    n, m = s.rng.randint(2, 9), s.rng.randint(1, 10)
    who = s.rng.choice(words.SHARERS)
    if s.money:
        item = words.thing(s.rng)
        clause = s.rng.choice([f"[buys|bought|buy] {s.count(n, thing=item)} for {{c}} each",
                               f"[buys|bought|buy] {s.count(n, thing=item)} that cost {{c}} each"])
        label = f"{n} {item[1]} at {m}"
    else:
        clause = s.rng.choice([f"[gives|gave|give] {{c}} to each of {s.number(n)} {who}",
                               f"[gives|gave|give] {{c}} to each of {{his}} {s.number(n)} {who}",
                               f"[gives|gave|give] {s.number(n)} {who} {{c}} each"])
        label = f"{n} times {m}"
    _tell_clause(s, clause, s.count(m), joined=False)
    given = s.step(label, n, "*", m)
    s.amount = s.step(f"Take away {given}", s.amount, "-", given)


ACTIONS = [(gain, 1, 5), (loss, 1, 6), (half, 1, 0.6), (gain_groups, 2, 1), (loss_groups, 2, 1.2)]
