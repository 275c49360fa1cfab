"""A step's launches, summed by what is equal, as a table, Markdown or JSON."""
import json
from dataclasses import asdict, dataclass

from .costs import cost

# How launches follow each other, from what there is to what could be; see docs/gpu-performance.md.
MODES = {"as it is": lambda p, d, boundary: p.seconds + boundary,
         "enough loads in flight": lambda p, d, boundary: p.in_flight() + p.start + boundary,
         "and launches overlap": lambda p, d, boundary: p.in_flight() + d.overlapped_us * 1e-6,
         "or one persistent kernel": lambda p, d, boundary: p.prefetched(d.barrier_us * 1e-6)}
AS_IT_IS = "as it is"


@dataclass
class Row:
    kernel: str
    name: str
    count: int
    work: object
    prediction: object
    assembled: object  # None: unknown


@dataclass
class StepReport:
    device: object
    target: str  # of the code
    step: object
    rows: list
    boundary: float  # seconds between launches, None: the device's own
    overlaps: bool = False  # launches start before the one before them has ended

    def boundary_seconds(self):
        if self.boundary is not None:
            return self.boundary
        return (self.device.overlapped_us if self.overlaps else self.device.boundary_us) * 1e-6

    def launches(self):
        return sum(r.count for r in self.rows)

    def seconds(self, mode=AS_IT_IS):
        """Of the step."""
        return sum(r.count * MODES[mode](r.prediction, self.device, self.boundary_seconds()) for r in self.rows)

    def memory_bytes(self):
        return sum(r.count * r.prediction.memory_bytes for r in self.rows)

    def memory_seconds(self):
        """The limit: all bytes at the whole bandwidth of the interface."""
        return self.memory_bytes() / self.device.bandwidth

    def tensor_share(self, factors, peak_of):
        """What products of one type take of the peak of a type."""
        done = sum(r.count * float(r.work.tensor[factors].sum()) * r.work.scale for r in self.rows
                   if factors in r.work.tensor)
        peak = self.device.tensor.get(peak_of, 0) * self.device.sms * self.device.clock_ghz * 1e9
        return done / peak / self.seconds() if peak else 0.0

    def worst_first(self):
        """By the time that the memory's limit does not explain."""
        lost = lambda r: r.count * (r.prediction.seconds + self.boundary_seconds() -
                                    r.prediction.limit_seconds(self.device))
        return sorted(self.rows, key=lambda r: (-lost(r), r.kernel))

    def cells(self, row):
        p = row.prediction
        each = p.seconds + self.boundary_seconds()
        return [row.kernel, row.count, f"{p.seconds * 1e6:.2f}", f"{row.count * each * 1e6:.1f}",
                f"{100 * row.count * each / self.seconds():.1f} %", megabytes(p.memory_bytes),
                f"{100 * p.limit_seconds(self.device) / each:.0f} %" if p.memory_bytes else "-", p.bound,
                registers_of(row.assembled),
                f"{p.resident} of {self.device.warps} ({p.limit})", f"{p.warp_seconds * 1e6:.2f}"]

    HEAD = ["kernel", "launches", "us each", "us in all", "of the step", "MB", "of memory's limit", "bound by",
            "registers", "warps on an SM", "us a warp alone"]

    def summary(self):
        s = self.step
        lines = [f"{self.device.name}: {s.tokens} token{'s' * (s.tokens > 1)} after {s.depth}, {self.launches()} "
                 f"launches, {self.boundary_seconds() * 1e6:.2f} us between them; {megabytes(self.memory_bytes())} MB "
                 f"take {self.memory_seconds() * 1e6:.0f} us at {self.device.bandwidth / 1e9:.0f} GB/s"]
        for mode in MODES if s.tokens <= 8 else [AS_IT_IS]:
            seconds = self.seconds(mode)
            lines.append(f"  {mode}: {seconds * 1e6:.0f} us, {s.tokens / seconds:.0f} tok/s, "
                         f"{100 * self.memory_seconds() / seconds:.0f} % of the memory's limit")
        types = sorted({t for r in self.rows for t in r.work.tensor})
        for factors in types if self.device.tensor else []:
            own, bf16 = (100 * self.tensor_share(factors, t) for t in (factors, "bf16"))
            lines.append(f"  products of {factors}: {own:.0f} % of the tensor cores' peak for them, "
                         f"{bf16:.0f} % of that for bf16")
        return lines

    def as_json(self):
        rows = [{"kernel": r.kernel, "name": r.name, "launches": r.count, "seconds": r.prediction.seconds,
                 "bound": r.prediction.bound, "times": r.prediction.times, "memory_bytes": r.prediction.memory_bytes,
                 "assembled": r.assembled and asdict(r.assembled), "resident_warps": r.prediction.resident,
                 "residency_limit": r.prediction.limit, "warp_seconds": r.prediction.warp_seconds,
                 "tail_seconds": r.prediction.tail,
                 "instructions": r.work.classes, "exact": r.work.exact, "notes": r.work.run.notes()}
                for r in self.worst_first()]
        return {"device": self.device.key, "target": self.target, "tokens": self.step.tokens, "depth": self.step.depth,
                "outputs": self.step.outputs, "launches": self.launches(),
                "seconds": {mode: self.seconds(mode) for mode in MODES}, "memory_seconds": self.memory_seconds(),
                "memory_bytes": self.memory_bytes(), "kernels": rows}


def registers_of(assembled):
    if assembled is None:
        return "?"
    return str(assembled.registers) + (f" ({assembled.spilt} B spilt)" if assembled.spilt else "")


def megabytes(size):
    return f"{size / 1e6:.2f}" if size < 1e8 else f"{size / 1e6:.0f}"


def table(head, rows, markdown):
    rows = [[str(c) for c in row] for row in [head, *rows]]
    if markdown:
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([lines[0], "|" + "---|" * len(head), *lines[1:]])
    widths = [max(len(row[c]) for row in rows) for c in range(len(head))]
    return "\n".join("  ".join(cell.ljust(w) if n == 0 else cell.rjust(w)
                               for n, (cell, w) in enumerate(zip(row, widths))) for row in rows)


def counts_of(row):
    """Lines: what a kernel issues, in all and in a trip of each loop."""
    kinds = lambda counts: ", ".join(f"{k} {v:.6g}" for k, v in counts.items() if v)
    warps = row.work.blocks * len(row.work.run.block_of_warp) / row.work.run.executions.shape[1]
    each = {k: v / warps for k, v in row.work.classes.items()}
    lines = [f"{row.kernel}: {row.work.blocks} blocks, {'all' if row.work.exact else 'some'} followed; a warp issues "
             f"{kinds(each)}"]
    if row.assembled and row.assembled.instructions:
        estimate = sum(cost(i).slots for i in row.work.kernel.instructions())
        lines.append(f"  its PTX is taken for {estimate:.0f} machine instructions, ptxas makes "
                     f"{row.assembled.instructions} of it")
    for first, last, trips, counts in row.work.loops():
        lines.append(f"  loop in lines {first} to {last}, {trips:.3g} trips of a warp that enters: {kinds(counts)}")
    return lines


def print_notes(rows):
    """What was counted too low."""
    for row in rows:
        if row.work.run.notes():
            print(f"{row.kernel} is not counted in full: {'; '.join(row.work.run.notes())}")


def print_reports(reports, form, counts, most):
    if form == "json":
        print(json.dumps([r.as_json() for r in reports], indent=1))
        return
    for number, report in enumerate(reports):
        print(("\n" if number else "") + "\n".join(report.summary()) + "\n")
        rows = report.worst_first()
        print(table(report.HEAD, [report.cells(r) for r in rows[:most]], form == "markdown"))
        print_notes(rows)
    shown = {}
    for report in reports if counts else []:
        shown.setdefault(report.target, report)
    for target, report in shown.items():
        print(f"\ncode for {target}:")
        for row in report.worst_first()[:most]:
            print("\n".join(counts_of(row)))
