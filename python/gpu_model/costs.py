"""What an instruction takes of a multiprocessor: slots of the scheduler, and of the pipe that it runs on.

PTX is not what runs: these are estimates of the machine instructions that ptxas makes of it. Arithmetic on 64 bits is
two of 32 (but fusion.py); parameters, address conversions and signs cost nothing; divisions and roots are sequences.
"""
from dataclasses import dataclass, replace

from .ptx import MMA_SHAPE, TYPE_BYTES

CLASSES = ["load", "store", "async copy", "shared load", "shared store", "mma", "dp4a", "fma", "integer", "convert",
           "special", "shuffle", "barrier", "control"]


@dataclass(frozen=True)
class Cost:
    kind: str  # of CLASSES
    slots: float  # issued for a warp
    pipe: str = None  # field of Device
    work: float = 1  # instructions for that pipe, of a warp
    latency: int = 5  # cycles; memory's are the device's
    multiply_adds: int = 0  # of an mma
    factors: str = None  # their type


FREE = Cost("control", 0, latency=0)
# Machine instructions that a sequence has besides the special function.
SEQUENCES = {"div.rn": 9, "rcp.rn": 7, "sqrt.rn": 9, "div.full": 4, "div.approx": 1, "ex2.approx": 2, "lg2.approx": 2,
             "rsqrt.approx": 2, "rcp.approx": 2, "sqrt.approx": 2, "sin.approx": 1, "cos.approx": 1, "tanh.approx": 0}


def is_float(kind):
    return kind is not None and kind.startswith(("f", "bf"))


def of_memory(i):
    parts = i.parts
    if "param" in parts or "const" in parts:
        return FREE
    shared = "shared" in parts
    if i.opcode == "cp":
        return Cost("async copy", 1, "memory") if "shared" in parts or "global" in parts else Cost("barrier", 1)
    if i.opcode == "ldmatrix":
        return Cost("shared load", 1, "memory")
    kind = "store" if i.opcode in ("st", "red") else "load"
    return Cost(("shared " if shared else "") + kind, 1, "memory")


def of_mma(i):
    """m16n8k32 and the like; the factors' type is the first after the result's."""
    m, n, k = (int(size) for size in MMA_SHAPE.search(i.name).groups())
    types = [p for p in i.parts if p in TYPE_BYTES or p in ("tf32", "e4m3", "e5m2")]
    factors = types[1] if len(types) > 1 else "f16"
    factors = "s8" if factors in ("u8", "s8", "b8") else factors
    return Cost("mma", 1, latency=25, multiply_adds=m * n * k, factors=factors)


def of_conversion(i):
    types = [p for p in i.parts[1:] if p in TYPE_BYTES]
    to, source = (types + [None, None])[:2]
    if source is None:
        return Cost("convert", 1, "convert", latency=12)
    if not is_float(to) and not is_float(source):
        wide = TYPE_BYTES[to] == 8 and TYPE_BYTES[source] < 8 and source.startswith("s")
        return Cost("integer", 1, "alu") if wide or TYPE_BYTES[source] < 4 else FREE
    if is_float(to) and is_float(source) and TYPE_BYTES[source] == 2:
        return Cost("convert", 1, "fma")  # widening is an addition of halves
    if to in ("bf16x2", "f16x2", "bf16", "f16"):
        return Cost("convert", 1, "alu", work=2)
    return Cost("convert", 1, "convert", latency=12)


def of_multiply(i):
    if is_float(i.type):
        return Cost("fma", 1, "fma")
    if i.type.endswith("64") and "wide" not in i.parts:
        return Cost("integer", 3, "multiply", work=3)
    return Cost("integer", 1, "multiply")


def of_special(i):
    name = ".".join(i.parts[:2])
    return Cost("special", 1 + SEQUENCES.get(name, 4), "special", latency=20 + 5 * SEQUENCES.get(name, 4))


def cost(i):
    """Of one instruction, for a warp."""
    whole = cost_alone(i)
    return whole if i.share == 1 else replace(whole, slots=whole.slots * i.share, work=whole.work * i.share)


def cost_alone(i):
    opcode, kind = i.opcode, i.type
    if opcode in ("ld", "ldu", "st", "cp", "ldmatrix", "red", "atom"):
        return of_memory(i)
    if opcode == "mma":
        return of_mma(i)
    if opcode in ("dp4a", "dp2a"):
        return Cost("dp4a", 1, "multiply")
    if opcode == "cvt":
        return of_conversion(i)
    if opcode in ("cvta", "neg") and (opcode == "cvta" or is_float(kind)) or opcode == "abs" and is_float(kind):
        return FREE
    if opcode in ("bar", "barrier", "membar", "fence", "griddepcontrol"):
        return Cost("barrier", 1, latency=20)
    if opcode in ("bra", "ret", "exit"):
        return Cost("control", 1)
    if opcode in ("shfl", "redux", "vote", "activemask", "match"):
        return Cost("shuffle", 1, "memory", work=2 if opcode == "redux" else 1, latency=23)
    if opcode in ("mul", "mad", "fma"):
        return of_multiply(i)
    if opcode in ("rcp", "sqrt", "rsqrt", "ex2", "lg2", "sin", "cos", "tanh") or opcode == "div" and is_float(kind):
        return of_special(i)
    if opcode in ("div", "rem"):
        steps = 70 if kind and kind.endswith("64") else 20
        return Cost("integer", steps, "alu", work=steps, latency=5 * steps)
    if opcode in ("popc", "clz", "brev"):
        return Cost("integer", 1, "special", latency=12)
    if opcode in ("add", "sub") and is_float(kind):
        return Cost("fma", 1, "fma")
    return of_alu(i, opcode, kind)


def of_alu(i, opcode, kind):
    """The rest: integers and moves. Moves of 64 bits between registers vanish, others are often constants."""
    twice = 2 if kind and kind.endswith("64") else 1
    if opcode == "mov":
        special = any(s.startswith(("%tid", "%ctaid", "%laneid", "%ntid", "%nctaid")) for s in i.sources)
        return Cost("integer", 1, "alu") if special or not i.sources[0].startswith("%") else FREE
    return Cost("integer", twice, "alu", work=twice)
