"""Names and things that the word problems are about.

Names carry the pronouns that a question may use for them.  Things are (singular, plural) pairs.
A share of the training problems uses invented names, so the model learns to copy rather than to recall.
"""
import random

SHE = """Anna Maria Lena Sara Emma Julia Nora Lisa Mia Sofia Clara Eva Ida Laura Olivia Ava Emily Grace Alice Amy Jane
Kate Lucy Ruth Rosa Nina Elena Zoe Hannah Mary Helen Susan Linda Karen Betty Janet Natalia Wendy Carla Marta""".split()
HE = """Tom Ben Max Paul Jonas Felix Leo Peter Jack Sam John James David Daniel Lukas Oscar Hugo Adam Noah Liam Henry
Mark Luke Eric Carlos Ivan Omar Ali Kevin Jim Bob Bill Joe Mike Tim Weng Ken Karl Simon Martin""".split()
SYLLABLES = "ba be da do el fa fi ga ha is jo ka ki la le li lo ma me mi mo na ne no or pa ra ri ro sa se su ta te ti to va ve yo za".split()

FOOD = [("apple", "apples"), ("orange", "oranges"), ("cookie", "cookies"), ("banana", "bananas"), ("pear", "pears"),
        ("candy", "candies"), ("muffin", "muffins"), ("cherry", "cherries"), ("peach", "peaches"), ("egg", "eggs"),
        ("plum", "plums"), ("cake", "cakes"), ("lemon", "lemons"), ("nut", "nuts"), ("sandwich", "sandwiches"),
        ("tomato", "tomatoes"), ("potato", "potatoes"), ("carrot", "carrots"), ("strawberry", "strawberries"),
        ("chocolate", "chocolates"), ("sweet", "sweets"), ("grape", "grapes"), ("donut", "donuts")]
OBJECTS = [("book", "books"), ("pencil", "pencils"), ("marble", "marbles"), ("sticker", "stickers"), ("stamp", "stamps"),
           ("coin", "coins"), ("card", "cards"), ("ball", "balls"), ("toy", "toys"), ("shell", "shells"),
           ("flower", "flowers"), ("button", "buttons"), ("pen", "pens"), ("balloon", "balloons"), ("stone", "stones"),
           ("bead", "beads"), ("crayon", "crayons"), ("photo", "photos"), ("ticket", "tickets"), ("cup", "cups"),
           ("plate", "plates"), ("block", "blocks"), ("rose", "roses"), ("ribbon", "ribbons"), ("leaf", "leaves"),
           ("toy car", "toy cars"), ("rock", "rocks"), ("doll", "dolls"), ("key", "keys"), ("bottle", "bottles")]
BOXES = [("box", "boxes"), ("bag", "bags"), ("basket", "baskets"), ("jar", "jars"), ("pack", "packs"),
         ("crate", "crates"), ("packet", "packets"), ("tray", "trays")]
PLACES = [("shelf", "shelves"), ("row", "rows"), ("table", "tables"), ("drawer", "drawers"), ("pile", "piles")]
SHARERS = ["friends", "children", "students", "classmates", "cousins", "kids", "people", "neighbors", "boys", "girls"]
RELATIVES = ["mother", "father", "brother", "sister", "friend", "teacher", "uncle", "aunt", "grandmother", "cousin",
             "neighbor", "grandfather"]
COLORS = ["red", "blue", "green", "yellow", "black", "white", "big", "small", "old", "new"]
NUMBER_WORDS = ("zero one two three four five six seven eight nine ten eleven twelve").split()


class Person:
    """A name with its pronouns, in lower case: he, him, his."""

    def __init__(self, name, she):
        self.name = name
        self.he, self.him, self.his = ("she", "her", "her") if she else ("he", "him", "his")


def person(rng: random.Random, other=None, she=None):
    """Draws a person, of the given pronoun if any; one in eight has an invented name, never that of `other`."""
    drawn = she
    while True:
        she = rng.random() < 0.5 if drawn is None else drawn
        if rng.random() < 0.125:
            name = "".join(rng.choice(SYLLABLES) for _ in range(rng.choice((2, 2, 3)))).capitalize()
        else:
            name = rng.choice(SHE if she else HE)
        if other is None or name != other.name:
            return Person(name, she)


def thing(rng: random.Random, eatable=False):
    """Draws a (singular, plural) pair; `eatable` restricts it to food."""
    return rng.choice(FOOD if eatable or rng.random() < 0.45 else OBJECTS)
