"""Which type each tensor of a model gets: one for all, a mix as common quantizers make it, or by patterns."""
import re

from . import gguf_writer as g

# Mixes by name: the type of most matrices. Those that end in _M raise attn_v and ffn_down of some layers to Q6_K.
MIXES = {"Q4_K_S": "Q4_K", "Q4_K_M": "Q4_K", "Q5_K_S": "Q5_K", "Q5_K_M": "Q5_K"}
# Where a row is no whole number of blocks, the next better type of block 32 is taken, and F16 where that fails too.
SMALLER_BLOCK = {"Q4_K": "Q5_0", "Q5_K": "Q5_1", "Q6_K": "Q8_0", "Q2_K": "Q4_0", "Q3_K": "Q4_0", "IQ4_XS": "IQ4_NL"}


def _fits(kind, columns):
    return columns % g.TENSOR_TYPES[g.TYPE_IDS[kind]][1] == 0


def fitting(kind, columns):
    """`kind`, or what stands in for it on rows of that many columns."""
    if not _fits(kind, columns):
        kind = SMALLER_BLOCK.get(kind, kind)
    return kind if _fits(kind, columns) else "F16"


def use_more_bits(layer, layers):
    """The first and the last eighth of the layers, and every third between."""
    return layer < layers // 8 or layer >= 7 * layers // 8 or (layer - layers // 8) % 3 == 2


def mixed_type(mix, name, layers, tied):
    """The type of a matrix in a mix, or in a file of one type (then only the output differs, as quantizers make it)."""
    default = MIXES.get(mix, mix)
    is_output = name == "output.weight" or (tied and name == "token_embd.weight")
    if is_output:
        return default if default in ("F32", "F16", "BF16", "Q8_0") else "Q6_K"
    layer = re.match(r"blk\.(\d+)\.(attn_v|ffn_down)\.weight", name)
    if layer and mix.endswith("_M") and use_more_bits(int(layer[1]), layers):
        return "Q6_K"
    return default


def parse_rules(rules):
    """`REGEX=TYPE` texts as pairs; ValueError names a text that is none, or an unknown type."""
    pairs = []
    for rule in rules:
        pattern, separator, kind = rule.rpartition("=")
        if not separator or kind not in g.TYPE_IDS:
            raise ValueError(f"expected REGEX=TYPE with TYPE one of {', '.join(g.TYPE_IDS)}, got {rule}")
        pairs.append((re.compile(pattern), kind))
    return pairs


def tensor_type(name, columns, mix, layers, tied, pure, rules):
    """The type of a matrix: by the first rule whose pattern is found in its name, else by the mix (`pure`: its default
    type for all), fitted to the row."""
    for pattern, kind in rules:
        if pattern.search(name):
            return kind
    kind = MIXES.get(mix, mix) if pure else mixed_type(mix, name, layers, tied)
    return fitting(kind, columns)
