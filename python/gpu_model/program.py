"""The launches of a step: a plan of a device's program with the sizes of a step put in (docs/package-format.md)."""
from dataclasses import dataclass

import numpy as np

from . import ModelError
from .execute import Geometry, cache_address
from .memory import ARENA, INPUTS, OUTPUTS, REGION_SHIFT, WEIGHTS
from .source import list_of

GRANULE = 64
MOST = 1 << 40
ANY = (1 << 63) - 1
MOST_BLOCKS = ((1 << 31) - 1, 65535, 65535)  # of a grid, by dimension


@dataclass(frozen=True)
class Step:
    """What is computed: `tokens` rows of one sequence, after `depth` others; the last `outputs` of them give logits,
    from which tokens are drawn or the likeliest one is taken."""
    tokens: int = 1
    depth: int = 0
    outputs: int = 1
    draws: bool = False


@dataclass
class Launch:
    kernel: str
    name: str  # op and tensor
    geometry: Geometry
    shared_bytes: int  # dynamic
    key: tuple  # equal for launches that do the same at other addresses


class Program:
    """Checks what it reads; `source` names the package."""

    def __init__(self, source):
        self.source = source
        self.sizes = list_of(source.manifest, "sizes", source.name)
        inputs, self.plans = (list_of(h, k, source.name) for h, k in ((source.manifest, "inputs"),
                                                                      (source.program, "plans")))
        if not all(isinstance(value, dict) for value in inputs + self.plans) or \
                not all(isinstance(size, str) for size in self.sizes):
            self.fail("inputs and plans have to be objects, sizes names")
        self.inputs = [str(i.get("name")) for i in inputs]

    def fail(self, what):
        raise ModelError(f"the program of {self.source.name} is wrong: {what}")

    def number(self, value, what, least=0, most=MOST):
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            self.fail(f"{what} is {str(value)[:40]!r}, expected a number from {least} on")
        return value

    def expression(self, value, sizes, what):
        if isinstance(value, dict):
            factors = value.get("perSize", [])
            if not isinstance(factors, list) or len(factors) > len(sizes):
                self.fail(f"{what} has more factors than the model has sizes")
            total = self.number(value.get("constant", 0), what)
            return self.number(total + sum(self.number(f, what) * s for f, s in zip(factors, sizes)), what)
        return self.number(value, what)

    def most_tokens(self):
        return max((self.number(p.get("most"), "a plan's 'most'", 1) for p in self.plans), default=0)

    def plan(self, tokens):
        for plan in self.plans:
            if self.number(plan.get("least"), "a plan's 'least'", 1) <= tokens <= \
                    self.number(plan.get("most"), "a plan's 'most'", 1):
                return plan
        raise ModelError(f"{self.source.name} has no plan for {tokens} tokens; it takes up to {self.most_tokens()}")

    def launches(self, step):
        """Those of a step, in order."""
        values = {"tokens": step.tokens, "outputs": step.outputs}
        sizes = [values.get(name, step.tokens) for name in self.sizes]
        found = []
        for number, launch in enumerate(list_of(self.plan(step.tokens), "launches", self.source.name)):
            if not isinstance(launch, dict) or str(launch.get("kernel")) not in self.source.kernels:
                self.fail(f"launch {number} names no kernel of the module")
            made = self.launch(launch, sizes, step, f"launch {number} ({launch['kernel']})")
            if made:
                found.append(made)
        return found

    def launch(self, launch, sizes, step, what):
        if not self.holds(launch.get("when"), sizes, what):
            return None
        blocks = self.grid(launch.get("grid"), sizes, what)
        if 0 in blocks:
            return None
        threads = self.number(launch.get("threads"), f"{what}: threads", 1)
        if threads > 1024:
            self.fail(f"{what}: {threads} threads, a block has 1024 at most")
        arguments = [self.argument(a, sizes, what) for a in list_of(launch, "arguments", what)]
        if not step.draws and any(kind == "draw" for _, kind in arguments):
            return None
        kinds = tuple((k, a if k in ("constant", "size", "input") else None) for a, k in arguments)
        geometry = Geometry(blocks, threads, [a for a, _ in arguments], self.input_values(step))
        shared = self.number(launch.get("sharedBytes", 0), f"{what}: sharedBytes")
        name = " ".join(str(launch[k]) for k in ("op", "name") if launch.get(k))
        return Launch(launch["kernel"], name, geometry, shared, (launch["kernel"], blocks, threads, shared, kinds))

    def holds(self, when, sizes, what):
        """Whether the launch is made for these sizes."""
        if when is None:
            return True
        index = self.number(when.get("index"), f"{what}: index of 'when'") if isinstance(when, dict) else len(sizes)
        if index >= len(sizes):
            self.fail(f"{what}: 'when' names no size")
        least, most = (self.number(when.get(k, d), f"{what}: '{k}'", 0, ANY) for k, d in (("least", 0), ("most", ANY)))
        return least <= sizes[index] <= most

    def grid(self, grid, sizes, what):
        if not isinstance(grid, list) or len(grid) != 3 or not all(isinstance(g, dict) for g in grid):
            self.fail(f"{what}: expected a grid of three dimensions")
        blocks = tuple(-(-self.expression(g.get("numerator", 1), sizes, f"{what}: a grid's numerator") //
                         self.number(g.get("divisor", 1), f"{what}: a grid's divisor", 1)) for g in grid)
        if any(b > most for b, most in zip(blocks, MOST_BLOCKS)):
            self.fail(f"{what}: no device takes a grid of {blocks}")
        return blocks

    def argument(self, argument, sizes, what):
        """(value, kind). Addresses have their region in the upper bits."""
        kind = argument.get("kind") if isinstance(argument, dict) else None
        if kind == "weights":
            return (WEIGHTS << REGION_SHIFT) + self.number(argument.get("offset", 0), f"{what}: offset"), kind
        if kind == "arena":
            place = self.expression(argument.get("place", 0), sizes, f"{what}: place")
            return (ARENA << REGION_SHIFT) + place, kind
        if kind == "constant":
            value = argument.get("offset", 0)
            return self.number(value, f"{what}: constant", -MOST), kind
        index = self.number(argument.get("index", 0), f"{what}: index") if kind else 0
        if kind == "size" and index < len(sizes):
            return sizes[index], kind
        if kind == "input" and index < OUTPUTS - INPUTS:
            return (INPUTS + index) << REGION_SHIFT, kind
        if kind in ("choice", "draw", "counters"):
            return (OUTPUTS + {"choice": 63, "draw": 62, "counters": 61}[kind]) << REGION_SHIFT, kind
        if kind == "output" and index < OUTPUTS:
            return (OUTPUTS + index) << REGION_SHIFT, kind
        return self.fail(f"{what}: cannot read the argument {str(argument)[:60]}")

    def input_values(self, step):
        """What a kernel reads from the inputs: rows of one sequence after each other."""
        capacity = -(-(step.depth + step.tokens) // GRANULE) * GRANULE
        values = {"positions": lambda i: step.depth + i, "cache_capacities": lambda i: np.full_like(i, capacity),
                  "caches": lambda i: np.full_like(i, cache_address()), "token_ids": lambda i: 1 + 37 * i,
                  "output_rows": lambda i: step.tokens - step.outputs + i}

        def read(index, element, _bytes):
            name = self.inputs[index] if index < len(self.inputs) else None
            return values[name](element) if name in values else None
        return read
