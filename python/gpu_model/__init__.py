"""A performance model of GPU code: counts what PTX does in each launch of a program, and says how long it would take.

The data's way: `source` reads a package or files, `ptx` parses kernels, `program` gives the launches of a step,
`execute` follows the control flow and the addresses of some of their blocks (with `values` and `memory`), `costs` says
what an instruction takes of a multiprocessor, `work` sums it up, `latency` says how long one warp takes alone, and
`predict` puts all together for a device of `devices`. docs/gpu-performance.md has the formulas and their
sources. Nothing here runs on a GPU.
"""


class ModelError(Exception):
    """What is wrong with the input, in one sentence."""
