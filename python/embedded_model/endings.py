"""The question of a story: the amount itself, or one more step (sharing, packing, comparing, missing, price, sum)."""
from . import words
from .story import LARGEST, Refused, draw_amount

NOW = ["How many {T} {does} {N} have now?"] * 4 + [
    "How many {T} {does} {N} have?", "How many {T} {does} {he} have now?", "How many {T} {does} {N} have in total?",
    "How many {T} {does} {he} have in total?", "How many {T} {does} {he} have?", "How many {T} are there now?",
    "How many {T} {does} {N} have altogether?", "How many {T} {does} {N} have in the end?",
    "How many {T} {does} {N} now have?", "How many does {he1} have now?", "How many {T} {does} {N} have after that?",
    "What is the number of {T} that {N} [has|had|have] now?", "How many {T} {does} {N} have at the end?"]
LEFT = ["How many {T} {does} {N} have left?", "How many {T} {does} {he} have left?", "How many {T} are left?",
        "How many {T} {does} {N} still have?", "How many {T} remain?", "How many {T} {does} {N} have now?",
        "How many {T} {does} {he} still have?", "How many {T} {does} {N} have left now?", "How many are left?",
        "How many {T} are left over?"]
MONEY = ["How much money {does} {N} have now?", "How many dollars {does} {N} have now?", "How many dollars {does} {he} have?",
         "How much money {does} {he} have now?", "How much money {does} {N} have?"]
MONEY_LEFT = ["How much money {does} {N} have left?", "How many dollars {does} {he} have left?", "How much money is left?",
              "How many dollars are left?"]


def _ask(s, templates):
    template = s.rng.choice(templates)
    does = "do" if s.they else "does"
    past, s.past = s.past, False
    s.tell(template.replace("{does}", does).replace("does {he1}", does + " {he}"))
    s.past = past


def now(s):
    lost = " - " in s.lines[-1] or "Half" in s.lines[-1]
    if s.money:
        templates = MONEY_LEFT + MONEY[:2] if lost else MONEY
    else:
        templates = LEFT + NOW[:1] if lost else NOW
    _ask(s, templates)


def share(s):
    n = s.rng.randint(2, 10)
    if s.amount < 2 or s.amount % n or (s.amount // n > 12 and n > 2):
        raise Refused
    who = s.rng.choice(words.SHARERS)
    group = s.rng.choice([f"{s.number(n)} {who}", f"{s.actor.his} {s.number(n)} {who}", f"{n} {who}"])
    s.tell(s.rng.choice(["{he} [shares|shared|share] them equally among {g}.", "{N} [shares|shared|share] them equally among {g}.",
                         "{he} [shares|shared|share] all the {T} equally between {g}.",
                         "then {he} [divides|divided|divide] them equally among {g}.",
                         "{he} [gives|gave|give] them to {g}, the same number to each.",
                         "{N} [splits|split|split] the {T} equally among {g}."]), g=group)
    each = {"children": "child", "people": "person"}.get(who, who[:-1])
    _ask(s, [f"How many {{T}} does each {each} get?", f"How many {{T}} does each of them get?", f"How many does each {each} get?",
             "How many {T} does each one get?", f"How many {{T}} will each {each} get?"])
    s.amount = s.step(f"Share among {n}", s.amount, "/", n)


def pack(s):
    m = s.rng.randint(2, 10)
    if s.money or s.amount < 2 or s.amount % m or (s.amount // m > 12 and m > 2):
        raise Refused
    box = s.rng.choice(words.BOXES)
    s.tell(s.rng.choice([f"{{he}} [packs|packed|pack] them in {box[1]} of {{m}}.",
                         f"{{N}} [packs|packed|pack] them into {box[1]} of {{m}}.",
                         f"{{he}} [puts|put|put] them in {box[1]} of {{m}}.",
                         f"{{he}} [packs|packed|pack] the {{T}} in {box[1]} of {{m}} each.",
                         f"{{he}} [puts|put|put] {{m}} {{T}} in each {box[0]}.",
                         f"each {box[0]} [holds|held|holds] {{m}} {{T}}."]), m=s.number(m))
    _ask(s, [f"How many {box[1]} {{does}} {{N}} need?", f"How many {box[1]} {{does}} {{he}} need?", f"How many {box[1]} {{does}} {{he}} fill?",
             f"How many {box[1]} are there?", f"How many {box[1]} {{does}} {{N}} fill?", f"How many {box[1]} are needed?",
             f"How many {box[1]} {{does}} {{he}} have?"])
    s.amount = s.step(f"{box[1].capitalize()} of {m}", s.amount, "/", m)


def missing(s):
    goal = draw_amount(s.rng, s.amount + 1)
    want = s.count(goal)
    s.tell(s.rng.choice(["{N} [wants|wanted|want] to have {c}.", "{he} [needs|needed|need] {c}.", "{he} [wants|wanted|want] {c}.",
                         "{N} [needs|needed|need] {c} in total.", "{he} [wants|wanted|want] to have {c} in the end."]), c=want)
    _ask(s, ["How many more {T} {does} {N} need?", "How many more {T} {does} {he} need?", "How many {T} are missing?",
             "How many more {T} must {N} get?"])
    s.amount = s.step("Needed", goal, "-", s.amount)


def compare(s):
    if s.they:
        raise Refused
    other = s.other = s.new_person()
    b = draw_amount(s.rng, 1, LARGEST)
    if b == s.amount:
        raise Refused
    count = s.count(b)
    s.sentences.append(f"{s.mention(other)} {'had' if s.past else 'has'} {count}.")
    high, low = (s.actor, other) if s.amount > b else (other, s.actor)
    if s.rng.random() < 0.7:
        _ask(s, [f"How many more {{T}} does {high.name} have than {low.name}?"])
    else:
        _ask(s, [f"How many fewer {{T}} does {low.name} have than {high.name}?"])
    s.amount = s.step("Difference", max(b, s.amount), "-", min(b, s.amount))


def together(s):
    if s.they:
        raise Refused
    s.other = s.new_person()
    b = draw_amount(s.rng, 1, LARGEST - s.amount)
    count = s.count(b)
    s.sentences.append(f"{s.mention(s.other)} {'had' if s.past else 'has'} {count}.")
    _ask(s, ["How many {T} do they have together?", "How many {T} do they have in total?", "How many {T} do they have altogether?",
             f"How many {{T}} do {s.actor.name} and {s.other.name} have together?"])
    s.amount = s.step("Together", s.amount, "+", b)


def both(s):
    """After a comparison of two people: what they have together."""
    if not s.lines or len(s.lines) != 1 or s.other.name not in s.names or s.lines[0].startswith("Start"):
        raise Refused
    first = s.numbers[0]
    _ask(s, ["How many {T} do they have together?", "How many {T} do they have in total?", "How many {T} do they have altogether?",
             f"How many {{T}} do {s.actor.name} and {s.other.name} have together?"])
    s.amount = s.step("Together", first, "+", s.amount)


def price(s):
    p = s.rng.randint(2, 10)
    if s.money or s.amount < 1 or (s.amount > 12 and p not in (2, 3, 5, 10)):
        raise Refused
    one, cost = s.thing[0], f"{s.number(p)} dollars"
    s.tell(s.rng.choice([f"{{he}} [sells|sold|sell] them for {cost} each.", f"{{N}} [sells|sold|sell] each {one} for {cost}.",
                         f"{{he}} [sells|sold|sell] all of them for {cost} each.", f"each {one} [costs|cost|costs] {cost}."]))
    if "cost" in s.sentences[-1]:
        _ask(s, ["How much do all the {T} cost?", "How much do they cost in total?", "How many dollars do the {T} cost together?"])
    else:
        _ask(s, ["How much money {does} {N} get?", "How many dollars {does} {he} get?", "How much money {does} {he} earn?",
                 "How much {does} {N} earn?"])
    s.amount = s.step(f"{s.amount} times {p}", s.amount, "*", p)


ENDINGS = [(now, 0, 9), (share, 1, 2.5), (pack, 1, 2), (missing, 1, 1), (compare, 1, 1.2), (together, 1, 1), (price, 1, 1)]
