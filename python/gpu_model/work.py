"""What a launch does, on any device: instructions, bytes and shared memory, by block and in all."""
from dataclasses import dataclass

import numpy as np

from .cfg import order_and_loops
from .costs import CLASSES, cost
from .execute import Execution, Run
from .memory import OF_BLOCK, REGION_SHIFT, SECTOR

EXACT = 4_000_000  # instructions of warps up to which all blocks of a launch are followed


@dataclass
class Work:
    kernel: object
    blocks: int  # of the launch
    scale: float  # of sums over the sampled blocks
    run: Run
    slots: np.ndarray  # issued, by sampled block
    pipes: dict  # pipe -> instructions of warps, by sampled block
    tensor: dict  # type of factors -> multiply-adds, by sampled block
    classes: dict  # kind -> instructions of warps, in the whole launch
    l2_bytes: np.ndarray  # read or written by a block, each sector once
    footprint: dict  # (region, is load) -> bytes that the launch touches
    tail: tuple = ()  # Work of some blocks without and with what only the last one to come does

    @property
    def exact(self):
        return self.scale == 1

    def slowest_trace(self):
        """Basic blocks that the longest warp went through."""
        lengths = np.array([len(b.instructions) for b in self.kernel.blocks])
        total = np.zeros(len(self.run.block_of_warp))
        for number, warps in self.run.steps:
            total += lengths[number] * warps
        return self.run.trace(int(total.argmax()))

    def loops(self):
        """(first line, last line, trips of a warp that enters, by class what a trip issues) of each loop."""
        found = []
        totals = self.run.executions.sum(axis=1)
        for head, members in order_and_loops(self.kernel)[1]:
            inside = [i for n in members for i in self.kernel.blocks[n].instructions]
            counts = {}
            for i in inside:
                c = cost(i)
                if c.slots:
                    counts[c.kind] = counts.get(c.kind, 0) + 1
            lines = [i.line for i in inside]
            found.append((min(lines), max(lines), float(totals[head]) / max(self.run.entries[head], 1), counts))
        return found


def sample(grid):
    """Blocks at both ends, at quarters, and one in the middle with its neighbour in each dimension."""
    count = grid[0] * grid[1] * grid[2]

    def place(number):
        return number % grid[0], number // grid[0] % grid[1], number // (grid[0] * grid[1])
    middle = tuple(max((g - 1) // 2, 0) for g in grid)
    neighbours = [tuple(m + (axis == a) for a, m in enumerate(middle)) for axis in range(3) if grid[axis] > 1]
    spread = [place(n) for n in {0, count // 4, 3 * count // 4, count - 1}]
    return [middle] + neighbours + [b for b in spread if b != middle and b not in neighbours], neighbours


def all_blocks(grid):
    return [(x, y, z) for z in range(grid[2]) for y in range(grid[1]) for x in range(grid[0])]


def instruction_sums(kernel, executions):
    """slots, pipes, tensor by block, and kinds in all."""
    blocks = executions.shape[1]
    slots, pipes, tensor, kinds = np.zeros(blocks), {}, {}, dict.fromkeys(CLASSES, 0.0)
    for number, block in enumerate(kernel.blocks):
        ran = executions[number]
        for i in block.instructions:
            c = cost(i)
            slots += c.slots * ran
            if c.pipe:
                pipes[c.pipe] = pipes.get(c.pipe, 0) + c.work * ran
            if c.multiply_adds:
                tensor[c.factors] = tensor.get(c.factors, 0) + c.multiply_adds * ran
            if c.slots:
                kinds[c.kind] += float(ran.sum())
    return slots, pipes, tensor, kinds


def footprints(keys, grid, neighbours):
    """Bytes of each region that a launch touches, from (block, sector) pairs. Where blocks are sampled (`neighbours` is
    a list), a block's bytes times, for each dimension, one and the share that a neighbour does not have in common."""
    sectors, blocks = keys & ((1 << OF_BLOCK) - 1), keys >> OF_BLOCK
    regions = sectors >> (REGION_SHIFT - SECTOR)
    found = {}
    for region in np.unique(regions):
        of_region = regions == region
        if neighbours is None:
            found[int(region)] = len(np.unique(sectors[of_region])) << SECTOR
            continue
        first = sectors[of_region & (blocks == 0)]
        total = float(len(first) << SECTOR)
        for number, neighbour in enumerate(neighbours, 1):
            other = sectors[of_region & (blocks == number)]
            axis = [a for a in range(3) if grid[a] > 1][number - 1]
            fresh = len(np.setdiff1d(other, first)) / max(len(other), 1)
            total *= 1 + fresh * (grid[axis] - 1)
        found[int(region)] = total
    return found


def work_of(kernel, geometry):
    """Runs a sample of a launch's blocks, or all of them if that is not much. What only the last ones to come do, as
    `atom.inc` tells them, is no part of it, but of `tail`."""
    grid = geometry.grid
    count = grid[0] * grid[1] * grid[2]
    chosen, neighbours = sample(grid)
    run = Execution(kernel, geometry, chosen).run()
    lengths = np.array([[len(b.instructions)] for b in kernel.blocks])
    if (run.executions * lengths).sum() / len(chosen) * count <= EXACT:
        chosen, neighbours = all_blocks(grid), None
        run = Execution(kernel, geometry, chosen).run()
    work = sum_up(kernel, grid, chosen, neighbours, run)
    if any(i.opcode == "atom" and "inc" in i.parts for i in kernel.instructions()):
        some = sample(grid)[0]
        work.tail = tuple(sum_up(kernel, (len(some), 1, 1), some, None, Execution(kernel, geometry, some, last).run())
                          for last in (False, True))
    return work


def sum_up(kernel, grid, chosen, neighbours, run):
    count = grid[0] * grid[1] * grid[2]
    scale = count / len(chosen)
    slots, pipes, tensor, kinds = instruction_sums(kernel, run.executions)
    l2_bytes, footprint = np.zeros(len(chosen)), {}
    for loads in (True, False):
        keys = run.traffic.unique(loads)
        l2_bytes += np.bincount(keys >> OF_BLOCK, minlength=len(chosen)) << SECTOR
        for region, size in footprints(keys, grid, neighbours).items():
            footprint[region, loads] = size
    kinds = {kind: number * scale for kind, number in kinds.items() if number}
    return Work(kernel, count, scale, run, slots, pipes, tensor, kinds, l2_bytes, footprint)
