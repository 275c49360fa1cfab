"""How long one warp takes alone, by the path that it took.

Within a stretch without barriers ptxas is taken to move loads up as far as what they hang on lets it: an instruction
starts when its operands are there, and the stretch ends when all of it has started. Registers are not counted, so
this is the least that the code allows. A short loop is unrolled by four, and what is left by two.
"""
from itertools import groupby

from .costs import cost
from .memory import CACHE, WEIGHTS

UNROLLED_SLOTS = 50  # of the body of a loop that ptxas 13.0 unrolls; seen in what it made of matmuls with 20 to 76
QUEUEING = 2.0  # latency of a busy memory, as a multiple of that of an idle one


def loads_latency(device, region, busy):
    if region in (WEIGHTS, CACHE, None):  # None: an address that is not known
        return device.memory_latency * (QUEUEING if busy else 1)
    return device.l2_latency


class WarpClock:
    def __init__(self, device, kernel, regions, busy, overlaps=False):
        self.device, self.kernel, self.regions, self.busy, self.overlaps = device, kernel, regions, busy, overlaps
        self.now, self.issued, self.latest = 0.0, 0.0, 0.0
        self.ready, self.copies, self.groups, self.has_stored = {}, [], [], False
        self.static = [[(i, cost(i), i.reads()) for i in block.instructions] for block in kernel.blocks]

    def stretch_ends(self):
        self.now = max(self.now + self.issued, self.latest)
        self.issued, self.latest = 0.0, self.now

    def wait(self, i):
        """cp.async.wait_group N, wait_all."""
        self.stretch_ends()
        if "wait_group" in i.name:
            keep = int(i.operands[0]) if i.operands and i.operands[0].isdigit() else 0
            split = max(len(self.groups) - keep, 0)
            done, self.groups = self.groups[:split], self.groups[split:]
        else:
            done, self.groups, self.copies = self.groups + [self.copies], [], []
        self.now = max([self.now] + [t for group in done for t in group])
        self.latest = self.now

    def wait_for_launch(self):
        """What came before has been done while the launch before ended."""
        self.now, self.issued, self.latest = 0.0, 0.0, 0.0
        self.ready = {}

    def latency(self, place, i, c):
        if c.kind in ("load", "async copy"):
            return loads_latency(self.device, self.regions.get(place), self.busy)
        if c.kind == "shared load":
            return self.device.shared_latency
        return c.latency

    def unrolls(self, number):
        """Whether a basic block is a loop of its own that ptxas unrolls."""
        return self.kernel.blocks[number].target == number and \
            sum(c.slots for _, c, _ in self.static[number]) <= UNROLLED_SLOTS

    def trips(self, number, count):
        while count:
            together = next(n for n in (4, 2, 1) if n <= count) if self.unrolls(number) else 1
            for left in reversed(range(together)):
                self.block(number, ends=left == 0)
            count -= together

    def block(self, number, ends=True):
        for place, (i, c, reads) in enumerate(self.static[number]):
            if i.opcode == "cp" and "async" in i.parts:
                if "commit_group" in i.name:
                    self.groups.append(self.copies)
                    self.copies = []
                    continue
                if "wait" in i.name:
                    self.wait(i)
                    continue
            if self.overlaps and i.opcode == "griddepcontrol" and "wait" in i.parts:
                self.wait_for_launch()
                continue
            start = max([self.now] + [self.ready[r] for r in reads if r in self.ready])
            self.issued += c.slots
            if c.slots:  # what costs nothing, as a move into the next trip's register, does not wait
                self.latest = max(self.latest, start)
            done = start + self.latency((number, place), i, c)
            if c.kind == "async copy":
                self.copies.append(done)
            for result in i.results:
                self.ready[result] = done
            if c.kind == "barrier":
                self.stretch_ends()
            if c.kind == "store":
                self.has_stored = True
            if i.opcode in ("fence", "membar") and "cta" not in i.parts and self.has_stored:
                self.now += self.device.l2_latency  # until what was stored is there
                self.latest, self.has_stored = self.now, False
        if ends:
            self.stretch_ends()


def warp_cycles(device, kernel, trace, regions, busy=True, overlaps=False):
    """Cycles from the warp's first instruction to its last, along the basic blocks of `trace`; where launches overlap,
    from the end of its wait for the launch before."""
    clock = WarpClock(device, kernel, regions, busy, overlaps)
    for number, group in groupby(trace):
        clock.trips(number, len(list(group)))
    return clock.now
