"""Follows the control flow and the addresses of some blocks of a launch: no floats, no memory but the inputs.

Lanes stand at a basic block each; the first block at which any stands, in an order in which those that have parted meet
again, runs for all of them at once. So loops take the trips that they would take, and accesses have the addresses they
would have. A branch that hangs on numbers from memory is noted, and not taken: what it would skip is counted, and a
loop ends.
"""
import re
from dataclasses import dataclass, field

import numpy as np

from . import ModelError
from .cfg import order_and_loops, successors
from .memory import CACHE, INPUTS, OF_BLOCK, OUTPUTS, REGION_SHIFT, SECTOR, Traffic, passes_of_warps
from .ptx import ACCESSES, TYPE_BYTES, parse_operand
from .values import evaluate, exchange

MOST_STEPS = 300_000
ADDRESSES = 1 << (OF_BLOCK + SECTOR)
SHARED_LOOKS = 4  # at an instruction's accesses to banks; later ones are taken to be like those


@dataclass
class Geometry:
    """What is launched: `inputs(index, element, bytes)` gives numbers of an input, or None."""
    grid: tuple
    threads: int
    arguments: list
    inputs: object = None

    @property
    def warps(self):
        return (self.threads + 31) // 32


@dataclass
class Run:
    """What the sampled blocks did."""
    executions: np.ndarray  # [basic blocks of the kernel, sampled blocks]: warps
    traffic: Traffic
    passes: np.ndarray  # over the banks of shared memory, by sampled block
    regions: dict  # (basic block, instruction) -> region it reads or writes
    steps: list  # (basic block, warps that ran it)
    entries: dict  # head of a loop -> warps that came to it from outside
    block_of_warp: np.ndarray
    unknown_branches: set = field(default_factory=set)  # lines
    unknown_addresses: set = field(default_factory=set)

    def notes(self):
        """Sentences on what could not be followed."""
        said = []
        if self.unknown_branches:
            said.append(f"branches that hang on data, taken to go on: {len(self.unknown_branches)}, the first in line "
                        f"{min(self.unknown_branches)}")
        if self.unknown_addresses:
            said.append(f"addresses that hang on data, whose bytes are not counted: {len(self.unknown_addresses)}, the "
                        f"first in line {min(self.unknown_addresses)}")
        return said

    def trace(self, warp):
        return [block for block, warps in self.steps if warps[warp]]


def relevant(kernel):
    """Registers that addresses and branches hang on."""
    wanted = set()
    for i in kernel.instructions():
        if i.guard:
            wanted.add(i.guard)
        for operand in i.operands:
            if operand.startswith("["):
                wanted.update(r for r in parse_operand(operand) if r.startswith("%"))
    while True:
        before = len(wanted)
        for i in kernel.instructions():
            if not wanted.isdisjoint(i.results):
                wanted.update(i.reads())
        if len(wanted) == before:
            return wanted


class Execution:
    """`last`: whoever counts itself in is the last to come; otherwise nobody is."""

    def __init__(self, kernel, geometry, blocks, last=False):
        self.kernel, self.geometry, self.last = kernel, geometry, last
        lanes = geometry.warps * 32
        thread = np.tile(np.arange(lanes, dtype=np.int64), len(blocks))
        place = np.repeat(np.array(blocks, dtype=np.int64).reshape(-1, 3), lanes, axis=0)
        self.block_of_warp = np.repeat(np.arange(len(blocks)), geometry.warps)
        self.special = {"%tid.x": thread, "%laneid": thread % 32, "%warpid": thread // 32,
                        "%ntid.x": np.int64(geometry.threads), "%tid.y": np.int64(0), "%tid.z": np.int64(0),
                        "%ntid.y": np.int64(1), "%ntid.z": np.int64(1)}
        for axis, letter in enumerate("xyz"):
            self.special[f"%ctaid.{letter}"] = place[:, axis].copy()
            self.special[f"%nctaid.{letter}"] = np.int64(geometry.grid[axis])
        self.place, loops = order_and_loops(kernel)
        self.order = sorted(self.place, key=self.place.get)
        self.loops = {head: set(members) for head, members in loops}
        self.after = successors(kernel)
        self.at = np.where(thread < geometry.threads, self.place[0], len(kernel.blocks))  # places in the order
        self.registers, self.wanted, self.looks = {}, relevant(kernel), {}
        self.result = Run(np.zeros((len(kernel.blocks), len(blocks)), dtype=np.int64), Traffic(len(blocks)),
                          np.zeros(len(blocks)), {}, [], dict.fromkeys(self.loops, 0), self.block_of_warp)

    @np.errstate(over="ignore")
    def run(self):
        end = len(self.kernel.blocks)
        while (first := int(self.at.min())) < end:
            number = self.order[first]
            if len(self.result.steps) >= MOST_STEPS:
                raise ModelError(f"kernel {self.kernel.name} does not end within {MOST_STEPS} steps of the model")
            mask = self.at == first
            warps = mask.reshape(-1, 32).any(axis=1)
            self.result.steps.append((number, warps))
            self.result.executions[number] += np.bincount(self.block_of_warp[warps],
                                                          minlength=self.result.executions.shape[1])
            self.at[mask] = self.place.get(number + 1, end)
            for place, instruction in enumerate(self.kernel.blocks[number].instructions):
                self.step(number, place, instruction, mask)
            for head in self.after[number]:
                if number not in self.loops.get(head, {number}):
                    came = (mask & (self.at == self.place[head])).reshape(-1, 32).any(axis=1)
                    self.result.entries[head] += int(came.sum())
        return self.result

    def operand(self, text):
        """Values and which of them are known (True: all); (None, False) for none."""
        if text.startswith("%"):
            if text in self.special:
                return self.special[text], True
            return self.registers.get(text, (None, False))
        if text in self.kernel.shared:
            return np.int64(self.kernel.shared[text]), True
        if text in self.kernel.parameters:
            return np.int64(0), True
        number = re.fullmatch(r"(-?)(0[xX][0-9a-fA-F]+|\d+)U?", text)
        if number:
            value = int(number.group(2), 0 if number.group(2)[:2] in ("0x", "0X") else 10)
            value = -value if number.group(1) else value
            return np.int64(value - (1 << 64) if value >= 1 << 63 else value), True
        if text[:2] in ("0f", "0d") and re.fullmatch(r"[0-9a-fA-F]+", text[2:]):
            value = int(text[2:], 16)
            return np.int64(value - (1 << 64) if value >= 1 << 63 else value), True
        return None, False

    def assign(self, name, values, known, mask):
        if values is None:
            values, known = np.int64(0), False
        values = np.broadcast_to(values, mask.shape)
        old, before = self.registers.get(name, (None, False))
        if old is not None and not mask.all():
            values = np.where(mask, values, old)
            known = np.where(mask, known, before)
        if known is not True and np.all(known):
            known = True
        self.registers[name] = (values, known)

    def address(self, text):
        """Of a bracket operand."""
        total, known = np.int64(0), True
        for part in parse_operand(text):
            value, is_known = self.operand(part)
            if value is None:
                return None, False
            total, known = total + value, known & np.asarray(is_known)
        return total, known

    def step(self, number, place, i, mask):
        active = mask
        if i.guard and i.opcode not in ("bra", "ret", "exit"):
            values, known = self.operand(i.guard)
            if values is not None:
                active = mask & (((values != 0) ^ i.negated) | ~np.broadcast_to(known, mask.shape))
        if i.opcode in ("bra", "ret", "exit"):
            self.leave(number, i, mask)
        elif i.opcode == "cp" or i.opcode in ACCESSES:
            self.access(number, place, i, active)
        elif i.results and not self.wanted.isdisjoint(i.results):
            operands = [self.operand(s) for s in i.sources]
            value, known = None, False
            if all(v is not None for v, _ in operands):
                known = True
                for _, k in operands:
                    known = known if k is True else k & np.asarray(known)
                values = [v for v, _ in operands]
                if i.opcode not in ("redux", "shfl"):
                    value = evaluate(i, values)
                elif (active & np.broadcast_to(known, active.shape) == active).all():
                    value = exchange(i, values, active)
            for result in i.results:
                self.assign(result, value if len(i.results) == 1 else None, known, active)

    def leave(self, number, i, mask):
        taken = mask.copy()
        if i.guard:
            values, known = self.operand(i.guard)
            known = np.broadcast_to(known, mask.shape)
            if (mask & ~known).any():
                self.result.unknown_branches.add(i.line)
            taken &= known
            if values is not None:
                taken &= (values != 0) ^ i.negated
        end = len(self.kernel.blocks)
        self.at[taken] = self.place[self.kernel.blocks[number].target] if i.opcode == "bra" else end

    def access(self, number, place, i, active):
        brackets = [o for o in i.operands if o.startswith("[")]
        parts = i.parts
        if "param" in parts:
            return self.load_parameter(i, brackets[0], active)
        if i.opcode == "cp" and ("async" not in parts or len(brackets) < 2):
            return None
        size = access_bytes(i)
        loaded = None
        for which, bracket in enumerate(brackets[:2]):
            is_shared = "shared" in parts and (i.opcode != "cp" or which == 0)
            addresses, known = self.address(bracket)
            addresses = np.broadcast_to(np.int64(0) if addresses is None else addresses, active.shape)
            known = np.broadcast_to(known, active.shape) & (addresses >= 0) & (addresses < ADDRESSES)
            if (active & ~known).any():
                self.result.unknown_addresses.add(i.line)
            if is_shared:
                self.shared(number, place, addresses, active & known, size)
            elif (active & known).any():
                self.touch(number, place, i, addresses, active & known, size)
            loaded = addresses, known
        if i.opcode == "atom":
            return self.count_in(i, active)
        if i.opcode in ("ld", "ldu") and not self.wanted.isdisjoint(i.results):
            self.load_inputs(i, *loaded, active, size)

    def count_in(self, i, active):
        """`atom.inc` gives the counter, which is its bound for the last one to come."""
        bound, known = self.operand(i.operands[2]) if "inc" in i.parts and len(i.operands) > 2 else (None, False)
        if bound is not None and not self.last:
            bound = bound + 1
        self.assign(i.results[0], bound, known, active)

    def shared(self, number, place, addresses, mask, size):
        looks = self.looks.setdefault((number, place), [])
        warps = mask.reshape(-1, 32).any(axis=1)
        if len(looks) < SHARED_LOOKS:
            passes = passes_of_warps(addresses, mask, size)
            looks.append(passes[warps].mean() if warps.any() else 0)
        else:
            passes = warps * (sum(looks) / len(looks))
        self.result.passes += np.bincount(self.block_of_warp, weights=passes, minlength=len(self.result.passes))

    def touch(self, number, place, i, addresses, mask, size):
        self.result.traffic.add(i.opcode not in ("st", "red"), addresses, mask, size, self.block_of_warp)
        self.result.regions.setdefault((number, place), int(addresses[mask.argmax()] >> REGION_SHIFT))

    def load_parameter(self, i, bracket, active):
        name, *offset = parse_operand(bracket)
        names = self.kernel.parameters
        if name not in names or offset or names.index(name) >= len(self.geometry.arguments):
            raise ModelError(f"kernel {self.kernel.name} reads the argument {bracket} in line {i.line}; the launch has "
                             f"{len(self.geometry.arguments)} arguments")
        self.assign(i.results[0], np.int64(self.geometry.arguments[names.index(name)]), True, active)

    def load_inputs(self, i, addresses, known, active, size):
        """Numbers that the model knows: those of the inputs."""
        region = int(addresses[active.argmax()] >> REGION_SHIFT) if active.any() else 0
        each = size // max(len(i.results), 1)
        for number, result in enumerate(i.results):
            values = None
            if INPUTS <= region < OUTPUTS and self.geometry.inputs:
                offset = (addresses & ((1 << REGION_SHIFT) - 1)) + number * each
                values = self.geometry.inputs(region - INPUTS, offset // each, each)
            self.assign(result, values, known, active)


def access_bytes(i):
    """Of one lane."""
    if i.opcode == "ldmatrix":
        return 16
    if i.opcode == "cp":
        sizes = [o for o in i.operands if o.isdigit()]
        return int(sizes[0]) if sizes else 16
    vector = 4 if "v4" in i.parts else 2 if "v2" in i.parts else 8 if "v8" in i.parts else 1
    return vector * TYPE_BYTES.get(i.type, 4)


def cache_address():
    return CACHE << REGION_SHIFT


def deciding(kernel):
    """Places of the parameters on which branches hang."""
    wanted = {i.guard for i in kernel.instructions() if i.guard}
    before = -1
    while len(wanted) != before:
        before = len(wanted)
        for i in kernel.instructions():
            if not wanted.isdisjoint(i.results):
                wanted.update(i.reads() + i.sources)
    return {place for place, name in enumerate(kernel.parameters) if name in wanted}
