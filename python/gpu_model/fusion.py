"""What ptxas makes of several instructions together, marked as the share of its cost that each has left.

* Addresses of shared memory have 32 bits in machine code: 64-bit numbers that only become such addresses are computed
  in 32.
* Two bitwise operations on three numbers are one (LOP3).
"""
import re
from collections import defaultdict

REGISTER = re.compile(r"%\w+")

BITWISE = {"and", "or", "xor"}
LOW_BITS = {"add", "sub", "mul", "shl", "and", "or", "xor", "mov", "cvta"}  # the result's low 32 bits hang on low ones


def uses_of(kernel):
    """Of each register, the instructions that read it, and how many write it."""
    uses, writes = defaultdict(list), defaultdict(int)
    for i in kernel.instructions():
        for register in set(i.reads()):
            uses[register].append(i)
        for register in i.results:
            writes[register] += 1
    return uses, writes


def is_shared_address(i, register):
    if "shared" not in i.parts and i.opcode != "ldmatrix":
        return False
    address = next((n for n, o in enumerate(i.operands) if o.startswith("[")), None)
    places = [n for n, o in enumerate(i.operands) if register in REGISTER.findall(o)]
    return places == [address]


def takes_low_bits(i, register, narrow):
    if is_shared_address(i, register) or i.name in ("cvt.u32.u64", "cvt.u16.u64"):
        return True
    if i.opcode not in LOW_BITS or "wide" in i.parts or i.guard == register:
        return False
    if i.opcode == "shl" and register in i.sources[1:]:
        return False
    return all(result in narrow for result in i.results)


def mark_addresses(kernel, uses):
    """Half of the cost of 64-bit integers is left where nothing but shared memory's addresses is made of them."""
    narrow = {r for i in kernel.instructions() if i.type in ("s64", "u64", "b64") for r in i.results}
    while True:
        wide = {r for r in narrow if not all(takes_low_bits(i, r, narrow) for i in uses[r])}
        if not wide:
            break
        narrow -= wide
    for i in kernel.instructions():
        if i.opcode in LOW_BITS and i.results and all(r in narrow for r in i.results):
            i.share = 0.5


def mark_bitwise(kernel, uses, writes):
    full = set()  # those that have three numbers already
    for i in kernel.instructions():
        if i.opcode not in BITWISE or i.type != "b32" or id(i) in full:
            continue
        (result,) = i.results
        readers = uses[result]
        if writes[result] != 1 or len(readers) != 1:
            continue
        reader = readers[0]
        if reader.opcode in BITWISE and reader.type == "b32" and reader.sources.count(result) == 1 \
                and id(reader) not in full:
            full.add(id(reader))
            i.share = 0


def mark(kernel):
    uses, writes = uses_of(kernel)
    mark_addresses(kernel, uses)
    mark_bitwise(kernel, uses, writes)
