"""A byte-level BPE tokenizer as small as can be: 256 bytes, a few merges, the special tokens of the R1 distills."""
from . import gguf_writer as g

NORMAL, CONTROL, USER_DEFINED, UNUSED = 1, 3, 4, 5
MERGES = ["Ġ t", "h e", "Ġt he", "i n", "Ġ a", "1 0"]
SPECIALS = [("<｜end▁of▁sentence｜>", CONTROL), ("<｜User｜>", CONTROL), ("<｜Assistant｜>", CONTROL),
            ("<｜begin▁of▁sentence｜>", CONTROL), ("<think>", USER_DEFINED), ("</think>", USER_DEFINED)]


def byte_characters():
    """The printable character that stands for each byte."""
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{b: chr(b) for b in printable}, **{b: chr(256 + i) for i, b in enumerate(others)}}


def padded(tokens, kinds, vocabulary):
    """Tokens and kinds filled up to the rows of the embedding; ValueError if there are more tokens than rows."""
    if len(tokens) > vocabulary:
        raise ValueError(f"the vocabulary of {vocabulary} cannot hold the tokenizer's {len(tokens)} tokens")
    extra = range(len(tokens), vocabulary)
    return tokens + [f"[PAD{i}]" for i in extra], kinds + [UNUSED for _ in extra]


def add_to(writer, vocabulary, pre):
    """Adds the tokenizer's keys for the pre-tokenizer named `pre`."""
    tokens = list(byte_characters().values()) + [m.replace(" ", "") for m in MERGES]
    kinds = [NORMAL] * len(tokens) + [kind for _, kind in SPECIALS]
    tokens += [text for text, _ in SPECIALS]
    end, begin = tokens.index(SPECIALS[0][0]), tokens.index(SPECIALS[3][0])
    tokens, kinds = padded(tokens, kinds, vocabulary)
    writer.add("tokenizer.ggml.model", g.STRING, "gpt2")
    writer.add("tokenizer.ggml.pre", g.STRING, pre)
    writer.add("tokenizer.ggml.tokens", g.STRINGS, tokens)
    writer.add("tokenizer.ggml.token_type", g.I32S, kinds)
    writer.add("tokenizer.ggml.merges", g.STRINGS, MERGES)
    writer.add("tokenizer.ggml.bos_token_id", g.U32, begin)
    writer.add("tokenizer.ggml.eos_token_id", g.U32, end)
    writer.add("tokenizer.ggml.padding_token_id", g.U32, end)
    writer.add("tokenizer.ggml.add_bos_token", g.BOOL, True)


KINDS = {str: g.STRING, bool: g.BOOL, int: g.U32, float: g.F32V}
ARRAY_KINDS = {str: g.STRINGS, int: g.I32S, float: g.F32S}


def copy_to(writer, metadata, vocabulary):
    """Copies the `tokenizer.` keys of another file's metadata, filled up to `vocabulary` tokens."""
    copied = {key: value for key, value in metadata.items() if key.startswith("tokenizer.")}
    tokens, kinds = copied["tokenizer.ggml.tokens"], copied["tokenizer.ggml.token_type"]
    copied["tokenizer.ggml.tokens"], copied["tokenizer.ggml.token_type"] = padded(tokens, kinds, vocabulary)
    for key, value in copied.items():
        if isinstance(value, list):
            writer.add(key, ARRAY_KINDS[type(value[0])] if value else g.I32S, value)
        else:
            writer.add(key, KINDS[type(value)], value)
