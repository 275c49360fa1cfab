"""From what a launch does to the time that it takes on a device. docs/gpu-performance.md derives the formulas."""
import math
from dataclasses import dataclass, replace

from . import ModelError
from .devices import residency
from .execute import deciding
from .latency import warp_cycles
from .memory import CACHE, WEIGHTS
from .work import work_of

PIPES = {"fma": "fma", "alu": "integer", "multiply": "multiply", "convert": "convert", "special": "special",
         "memory": "load/store"}
SECTORS_A_CLOCK = 4  # of L1: 128 bytes


@dataclass
class Prediction:
    seconds: float  # of the launch, without the boundary to the next
    start: float  # of it, until first data are there
    bound: str
    times: dict  # term -> seconds
    memory_bytes: float  # from the device's memory
    resident: int  # warps on a multiprocessor, as many as there is work for at most
    limit: str  # of residency
    warp_seconds: float  # one warp alone, while nothing else asks the memory
    tail: float = 0.0  # of the seconds: what the last warp does when all others have ended

    def scaled(self, share):
        """The same if all but the memory's bytes took `share` of its time."""
        times = {name: t if name == "memory" else t * share for name, t in self.times.items()}
        bound = max(times, key=times.get)
        return replace(self, times=times, bound=bound, seconds=times[bound] + self.start + self.tail * share,
                       warp_seconds=self.warp_seconds * share, tail=self.tail * share)

    def in_flight(self):
        """Seconds but for the start, if enough loads were in flight."""
        return max(t for name, t in self.times.items() if name != "latency") + self.tail

    def prefetched(self, barrier):
        """The same if the bytes from memory were asked for before the barrier that all else waits for."""
        rest = max((t for name, t in self.times.items() if name not in ("latency", "memory")), default=0.0)
        return max(self.times["memory"], rest + barrier) + self.tail

    def limit_seconds(self, device):
        return self.memory_bytes / device.bandwidth


def memory_bytes(work, device):
    """Weights and caches come from memory; the rest stays in L2 unless it is larger than half of it."""
    streamed = sum(size for (region, _), size in work.footprint.items() if region in (WEIGHTS, CACHE))
    rest = sum(size for (region, _), size in work.footprint.items() if region not in (WEIGHTS, CACHE))
    return streamed + (rest if rest > device.l2_bytes / 2 else 0)


def of_busiest(by_block, work, device):
    """Cycles of the multiprocessor with most to do, given those of each block: blocks go round by whole ones."""
    largest = float(by_block.max()) if len(by_block) else 0.0
    if largest == 0:
        return 0.0
    active = float(by_block.sum()) * work.scale / largest
    return largest * math.ceil(active / device.sms - 1e-6)


def tensor_cycles(work, device):
    """By block. Where there are no tensor cores, products of bytes go through dp4a, others through fma."""
    total = 0
    for factors, count in work.tensor.items():
        rate = device.tensor.get(factors, 0) * device.mma_share
        if not rate:
            rate = device.multiply * 4 if factors == "s8" else device.fma
        total = total + count / rate
    return total


def pipe_times(work, device):
    """Seconds by term, of the busiest multiprocessor."""
    cycles = {"issue": work.slots * 32 / device.issue, "shared memory": work.run.passes,
              "L1": work.run.traffic.sectors / SECTORS_A_CLOCK, "L2 to SM": work.l2_bytes / device.l2_per_clock}
    for pipe, name in PIPES.items():
        if pipe in work.pipes:
            cycles[name] = work.pipes[pipe] * 32 / getattr(device, pipe)
    if work.tensor:
        cycles["tensor"] = tensor_cycles(work, device)
    return {name: of_busiest(c, work, device) / (device.clock_ghz * 1e9) for name, c in cycles.items()}


def latency_seconds(idle, busy, memory):
    """Time t of a launch that waits for its loads, where latency grows from `idle` to `busy` as the memory's own share
    of the time, memory / t, goes from 0 to 1: t = idle + (busy - idle) memory / t."""
    return (idle + math.sqrt(idle * idle + 4 * memory * (busy - idle))) / 2


def tail_seconds(work, device):
    """What the last warps to come take longer than others, one after those: by the busiest pipe of their
    multiprocessor, or their own latencies. What they read was just written, and comes from L2."""
    if not work.tail:
        return 0.0
    without, last = (dict(pipe_times(w, device)) for w in work.tail)
    for times, w in zip((without, last), work.tail):
        cycles = warp_cycles(device, w.kernel, w.slowest_trace(), w.run.regions, busy=False)
        times["latency"] = cycles / (device.clock_ghz * 1e9)
    return max(last[name] - without.get(name, 0.0) for name in last)


def predict(work, device, threads, registers, shared_bytes, overlaps=False):
    """The launch's Prediction. `registers` of a thread, None if unknown. Where launches overlap, what the first blocks
    do before they wait for the launch before takes no time, and what they asked for then is there."""
    blocks, limit = residency(device, threads, registers, shared_bytes)
    if not blocks:
        raise ModelError(f"kernel {work.kernel.name} does not fit a multiprocessor of {device.name}: {limit}")
    clock = device.clock_ghz * 1e9
    times = pipe_times(work, device)
    size = memory_bytes(work, device)
    times["memory"] = size / (device.bandwidth * device.reachable)
    times["L2"] = float(work.l2_bytes.sum()) * work.scale / device.l2_bandwidth
    largest = work.slots.max()
    active = work.slots.sum() * work.scale / largest if largest else 1
    rounds = math.ceil(active / (device.sms * blocks) - 1e-6)
    trace = work.slowest_trace()
    idle, busy = (warp_cycles(device, work.kernel, trace, work.run.regions, b) / clock for b in (False, True))
    early = idle - warp_cycles(device, work.kernel, trace, work.run.regions, False, True) / clock if overlaps else 0.0
    times["latency"] = latency_seconds(rounds * idle, rounds * busy, times["memory"]) - early
    bound = max(times, key=times.get)
    start = max((device.memory_latency if size else device.l2_latency) / clock - early, 0.0)
    held = min(blocks, math.ceil(active / device.sms - 1e-6)) * ((threads + 31) // 32)
    if held < blocks * ((threads + 31) // 32):
        limit = "grid"
    tail = tail_seconds(work, device)
    return Prediction(times[bound] + start + tail, start, bound, times, size, held, limit, idle, tail)


class Works:
    """Work of launches, each made once: those that differ in addresses, or in numbers that decide nothing, are one."""

    def __init__(self, source):
        self.source, self.made, self.deciding = source, {}, {}

    def of(self, launch):
        kernel = self.source.kernels[launch.kernel]
        if launch.kernel not in self.deciding:
            self.deciding[launch.kernel] = deciding(kernel)
        *rest, arguments = launch.key
        key = (*rest, tuple((kind, number if kind == "input" or place in self.deciding[launch.kernel] else None)
                            for place, (kind, number) in enumerate(arguments)))
        if key not in self.made:
            self.made[key] = work_of(kernel, launch.geometry)
        return key, self.made[key]
