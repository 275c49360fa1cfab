"""Lines of mixed text for comparing tokenizers: words of many scripts, numbers, code, spaces of all kinds, marks that
combine, emoji, the texts of control tokens, and single characters from everywhere."""
import random

WORDS = """the and that Hello world don't I'LL we've isn't it's naïve Straße Ångström façade über Müller Größe niño año
Привет мир нещо Български Ελληνικά λόγος שלום עולם مرحبا بالعالم नमस्ते दुनिया สวัสดีชาวโลก ខ្មែរ 你好 世界 我想在apple工作 東京都
こんにちは カタカナ 안녕하세요 한국어 tiếng Việt Türkçe ığdır İstanbul lắm return std::vector<int> x+=1; foo_bar(baz[0]) #include
<div class="a"> </div> https://example.org/a?b=c&d=%20 C:\\temp\\x {"key": [1, 2.5e-3, null]} === --- ... !!! ?! :-)
½ ² Ⅷ ٣ ५ 123 1234567 3.14159 0xFF 1,000,000 20:35 100% $5 €7 № © ™ e\u0301 A\u030a n\u0303 o\u0308 \u1100\u1161\u11a8 \ufb01n
🦙 👩‍👩‍👧‍👦 🇩🇪 😁 ſt K Ω""".split()
SPACES = [" ", " ", " ", " ", "  ", "   ", "\t", "\n", "\n\n", "\r\n", " \n ", "\u00a0", "\u3000", "\u2009", "\u200b",
          ""]


def line(rng, controls):
    parts = []
    for _ in range(rng.randrange(1, 24)):
        kind = rng.random()
        if kind < 0.02:
            parts.append(rng.choice(controls))
        elif kind < 0.07:
            point = rng.choice([rng.randrange(0x20, 0x300), rng.randrange(0x300, 0xd800),
                                rng.randrange(0xe000, 0x30000)])
            parts.append(chr(point))
        else:
            word = rng.choice(WORDS)
            parts.append(rng.choice([word, word, word.upper(), word.capitalize(),
                                     word[:rng.randrange(1, len(word) + 1)]]))
        parts.append(rng.choice(SPACES))
    return "".join(parts)


def lines(count, controls, seed=1):
    rng = random.Random(seed)
    return [line(rng, controls) for _ in range(count)]
