"""Integer arithmetic of PTX over all lanes at once, as far as it is known: numbers that come from memory are not.

A value is an int64 array with one element for each lane, or None where nothing is known. Numbers of up to 32 bits are
kept as unsigned, those of 64 bits as signed.
"""
import numpy as np

from .ptx import TYPE_BYTES


def bits_of(kind):
    return 8 * TYPE_BYTES[kind]


def wrap(value, bits):
    return value if bits >= 64 else value & ((1 << bits) - 1)


def signed(value, bits):
    if bits >= 64:
        return value
    half = 1 << (bits - 1)
    return ((value & ((1 << bits) - 1)) ^ half) - half


def as_type(value, kind):
    """The number that bits mean in a type. Unsigned ones of 64 bits are taken as signed: addresses and sizes are."""
    return signed(value, bits_of(kind)) if kind.startswith("s") else wrap(value, bits_of(kind))


def shift_right(value, by, kind):
    bits = bits_of(kind)
    within = np.minimum(by, 63)
    if kind.startswith("s"):
        return signed(value, bits) >> within
    if bits < 64:
        return value >> within
    shifted = np.where(by == 0, value, (value >> within) & ~(np.int64(-1) << np.maximum(64 - within, 1)))
    return np.where(by >= 64, 0, shifted)


def divide(a, b, remainder=False):
    """As PTX does: towards zero. By zero: all zeros, where PTX leaves it open."""
    safe = np.where(b == 0, 1, b)
    quotient = np.abs(a) // np.abs(safe) * np.sign(a) * np.sign(safe)
    return np.where(b == 0, 0, a - quotient * safe if remainder else quotient)


COMPARE = {"eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
           "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal}


def compare(name, kind, a, b):
    if kind == "u64" or name in ("lo", "ls", "hi", "hs") and kind.endswith("64"):
        flip = np.int64(-1 << 63)
        return COMPARE[name](a ^ flip, b ^ flip).astype(np.int64)
    return COMPARE[name](as_type(a, kind), as_type(b, kind)).astype(np.int64)


def upper_half(a, b, is_signed):
    """The upper 64 bits of a product, from halves."""
    x, y = (np.asarray(v, dtype=np.int64).view(np.uint64) for v in (a, b))
    half, low = np.uint64(32), np.uint64(0xFFFFFFFF)
    x1, x0, y1, y0 = x >> half, x & low, y >> half, y & low
    middle = x1 * y0 + (x0 * y0 >> half)
    other = x0 * y1 + (middle & low)
    high = (x1 * y1 + (middle >> half) + (other >> half)).astype(np.int64)
    return high - np.where(a < 0, b, 0) - np.where(b < 0, a, 0) if is_signed else high


def multiply(parts, kind, a, b, more=None):
    """mul and mad: lo, wide or hi."""
    bits = bits_of(kind)
    if "hi" in parts and bits == 64:
        high = upper_half(a, b, kind.startswith("s"))
        return high if more is None else high + more
    product = as_type(a, kind) * as_type(b, kind)
    if "hi" in parts:
        product = product >> bits
    elif "wide" in parts:
        bits *= 2
    return wrap(product if more is None else product + more, bits)


SIMPLE = {"add": lambda a, b: a + b, "sub": lambda a, b: a - b, "and": lambda a, b: a & b, "or": lambda a, b: a | b,
          "xor": lambda a, b: a ^ b}
TYPED = {"min": np.minimum, "max": np.maximum}


def convert(parts, a):
    """cvt between integers; others give nothing."""
    types = [p for p in parts[1:] if p in TYPE_BYTES]
    if len(types) != 2 or any(t[0] not in "us" for t in types):
        return None
    return wrap(as_type(a, types[1]), bits_of(types[0]))


def evaluate(instruction, operands):
    """The result of an instruction whose operands are known, or None where it is none of these."""
    opcode, parts, kind = instruction.opcode, instruction.parts, instruction.type
    if kind is None or kind.startswith(("f", "bf")) and opcode != "mov":
        return None
    if opcode == "mov" or opcode == "cvta":
        return operands[0] if len(operands) == 1 else None
    bits = bits_of(kind)
    if kind == "pred":
        bits = 1
    if opcode in SIMPLE and len(operands) == 2:
        return wrap(SIMPLE[opcode](*operands), bits)
    if opcode in TYPED and len(operands) == 2:
        return wrap(TYPED[opcode](*(as_type(o, kind) for o in operands)), bits)
    return other(instruction, operands, opcode, parts, kind, bits)


REDUCTIONS = {"min": np.minimum, "max": np.maximum, "add": np.add, "and": np.bitwise_and, "or": np.bitwise_or,
              "xor": np.bitwise_xor}


def exchange(instruction, operands, mask):
    """redux and shfl over the lanes of `mask` of each warp; None for others."""
    lanes = np.where(mask, np.broadcast_to(operands[0], mask.shape), 0).reshape(-1, 32)
    taking_part = mask.reshape(-1, 32)
    name = next((p for p in instruction.parts[1:] if p in REDUCTIONS), None)
    if instruction.opcode == "redux" and name:
        first = lanes[np.arange(len(lanes)), taking_part.argmax(axis=1)][:, None]
        values = as_type(np.where(taking_part | (name in ("add", "xor")), lanes, first), instruction.type)
        return wrap(np.repeat(REDUCTIONS[name].reduce(values, axis=1), 32), bits_of(instruction.type))
    mode = next((p for p in instruction.parts[1:] if p in ("bfly", "idx", "up", "down")), None)
    if instruction.opcode != "shfl" or mode is None or len(operands) < 3:
        return None
    by, clamp = (np.broadcast_to(o, mask.shape).reshape(-1, 32) for o in operands[1:3])
    return np.take_along_axis(lanes, source_lanes(mode, by & 31, clamp & 31, clamp >> 8 & 31), axis=1).ravel()


def source_lanes(mode, by, clamp, segment):
    """The lane that each one reads in a shfl, as its description in PTX says; its own beyond the segment's bounds."""
    lane = np.arange(32)
    first = lane & segment
    last = first | clamp & ~segment
    from_lane = {"bfly": lane ^ by, "idx": first | by & ~segment, "up": lane - by, "down": lane + by}[mode]
    inside = from_lane >= last if mode == "up" else from_lane <= last
    return np.where(inside, from_lane, lane)


def other(instruction, operands, opcode, parts, kind, bits):
    if opcode == "not":
        return wrap(~operands[0], bits)
    if opcode == "neg":
        return wrap(-operands[0], bits)
    if opcode == "shl":
        return np.where(operands[1] >= bits, 0, wrap(operands[0] << np.minimum(operands[1], 63), bits))
    if opcode == "shr":
        return wrap(shift_right(operands[0], operands[1], kind), bits)
    if opcode in ("mul", "mad"):
        return multiply(parts, kind, *operands)
    if opcode in ("div", "rem"):
        return wrap(divide(*(as_type(o, kind) for o in operands), remainder=opcode == "rem"), bits)
    if opcode == "setp" and len(operands) == 2:
        return compare(parts[1], kind, *operands)
    if opcode == "selp":
        return np.where(operands[2] != 0, operands[0], operands[1])
    if opcode == "cvt":
        return convert(parts, operands[0])
    if opcode == "bfe":
        return extract(kind, *operands)
    return None


def extract(kind, a, first, length):
    """bfe: `length` bits from bit `first` on."""
    field = shift_right(wrap(a, bits_of(kind)), first, kind.replace("s", "u"))
    field = np.where(length >= bits_of(kind), field, field & ((np.int64(1) << np.minimum(length, 62)) - 1))
    if kind.startswith("u"):
        return field
    top = np.int64(1) << np.clip(length - 1, 0, 62)
    return wrap(np.where(length == 0, 0, (field ^ top) - top), bits_of(kind))
