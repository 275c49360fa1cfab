"""Says how long the GPU code of a package would take, on GPUs that need not be there.

It follows the control flow and the addresses of the package's PTX, counts instructions and bytes, and puts them into
the formulas of docs/gpu-performance.md. Nothing runs on a GPU, and nothing printed here was measured on one. Kernels
stand in the order of the time that they lose to the limit of the memory. Registers come from ptxas, if it is on the
path.
"""
import argparse
import math
import re
import sys
from pathlib import Path

from . import ModelError
from .assembler import assemble
from .devices import DEVICES
from .predict import Works, predict
from .program import Program, Step
from .ptx import text_of
from .report import Row, StepReport, print_reports
from .source import Files, Package

EXAMPLES = """examples:
  tools/bench/gpu-model model.quern                                  a token after 512 others, on all devices
  tools/bench/gpu-model model.quern --device h100 --depth 4096       the same after 4096
  tools/bench/gpu-model model.quern --tokens 512 --depth 0           a prompt
  tools/bench/gpu-model model.quern --device a100-80 --counts        also what each kernel issues, loop by loop
  tools/bench/gpu-model model.quern --what-if attention=0.5          what a faster kernel would be worth
  tools/bench/gpu-model --ptx kernels.ptx --program program.json     without a package
  tools/bench/gpu-model model.quern --format json --boundary-us 2    for scripts; another time between kernels"""


def parse_arguments(words):
    p = argparse.ArgumentParser(prog="gpu-model", description=__doc__, epilog=EXAMPLES,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("package", nargs="?", type=Path, metavar="MODEL.quern", help="a package with code for NVIDIA GPUs")
    p.add_argument("--target", metavar="NAME", help="which code, as nvptx:sm_80; else the first that a device takes")
    p.add_argument("--ptx", type=Path, help="PTX text, instead of a package's")
    p.add_argument("--program", type=Path, help="with --ptx: a program of launches, JSON as in docs/package-format.md")
    p.add_argument("--manifest", type=Path, help="with --ptx: names of sizes and inputs; else a language model's")
    p.add_argument("--device", help=f"which of {','.join(DEVICES)}; else all that take the code")
    p.add_argument("--tokens", type=int, default=1, help="rows of the step: of a prompt, or 1 (%(default)s)")
    p.add_argument("--depth", type=int, default=512, help="tokens in the cache before them (%(default)s)")
    p.add_argument("--outputs", type=int, default=1, help="rows whose logits are wanted (%(default)s)")
    p.add_argument("--draw", action="store_true", help="tokens are drawn, not the likeliest taken")
    p.add_argument("--format", choices=["text", "markdown", "json"], default="text", help="(%(default)s)")
    p.add_argument("--top", type=int, default=1000, metavar="N", help="at most so many kernels of each device")
    p.add_argument("--counts", action="store_true", help="also what a warp issues, in all and in each loop")
    p.add_argument("--boundary-us", type=float, metavar="US", help="between dependent kernels, instead of the device's")
    p.add_argument("--what-if", action="append", default=[], metavar="KERNEL=SHARE",
                   help="as if kernels whose names begin so took SHARE of their time, but for the memory's bytes; 0: "
                        "without them and their boundaries")
    p.add_argument("--ptxas", default="ptxas", metavar="FILE", help="the assembler; '' for none (%(default)s)")
    a = p.parse_args(words)
    if (a.package is None) == (a.ptx is None) or (a.ptx is None) != (a.program is None):
        p.error("give a package, or --ptx and --program")
    a.shares = {}
    for assumed in a.what_if:
        name, _, share = assumed.partition("=")
        if not name or not re.fullmatch(r"\d+(\.\d+)?", share):
            p.error(f"--what-if needs KERNEL=SHARE, got '{assumed}'")
        a.shares[name] = float(share)
    a.devices = [d for d in a.device.split(",") if d] if a.device else list(DEVICES)
    for name in a.devices:
        if name not in DEVICES:
            p.error(f"no device '{name}'; there are {', '.join(DEVICES)}")
    if a.boundary_us is not None and not (math.isfinite(a.boundary_us) and a.boundary_us >= 0):
        p.error("--boundary-us needs a time of 0 or more")
    if not 1 <= a.tokens <= 1 << 20 or not 0 <= a.depth <= 1 << 24 or not 0 <= a.outputs <= a.tokens or a.top < 1:
        p.error("expected --tokens of 1 to 1048576, --depth of 0 to 16777216, --outputs up to --tokens, --top from 1")
    return a


class Code:
    """What one source does in a step, for all devices that take it."""

    def __init__(self, source, step, ptxas):
        self.source, self.ptxas, self.made = source, ptxas, {}
        self.launches = Program(source).launches(step)
        if not self.launches:
            raise ModelError(f"{source.name} launches nothing in this step")
        self.works = Works(source)

    def assembled(self, arch):
        """What ptxas makes of the step's kernels; asked once for an architecture."""
        if arch not in self.made:
            names = {launch.kernel for launch in self.launches}
            text = text_of(self.source.ptx_text, self.source.kernels, names)
            self.made[arch] = assemble(text, arch, self.ptxas) if self.ptxas else {}
        return self.made[arch]


def report_of(device, step, code, arguments):
    assembled, rows = code.assembled(device.arch), {}
    overlaps = bool(code.source.program.get("overlaps"))
    for launch in code.launches:
        share = next((s for name, s in arguments.shares.items() if launch.kernel.startswith(name)), 1.0)
        if share == 0:
            continue
        key, work = code.works.of(launch)
        if key not in rows:
            made = assembled.get(launch.kernel)
            shared = work.kernel.shared_bytes + launch.shared_bytes
            prediction = predict(work, device, launch.geometry.threads, made and made.registers, shared, overlaps)
            if share != 1:
                prediction = prediction.scaled(share)
            rows[key] = Row(launch.kernel, launch.name, 0, work, prediction, made)
        rows[key].count += 1
    if not rows:
        raise ModelError("--what-if leaves out every launch")
    boundary = None if arguments.boundary_us is None else arguments.boundary_us * 1e-6
    return StepReport(device, code.source.target, step, list(rows.values()), boundary, overlaps)


def sources(holder, arguments):
    """(device, its source) of the devices asked for. Where none was named, those that take no code are left out."""
    found = [(DEVICES[name], holder.source(DEVICES[name])) for name in arguments.devices]
    without = ", ".join(device.name for device, source in found if source is None)
    said = f"{without}: no code of {holder.path} ({', '.join(holder.targets)}) runs there"
    if without and (arguments.device or not any(source for _, source in found)):
        raise ModelError(f"{said}; compile it with --target nvptx:sm_80")
    if without:
        print(f"gpu-model: left out {said}", file=sys.stderr)
    return [(device, source) for device, source in found if source]


def run(arguments):
    if arguments.package:
        holder = Package(arguments.package, arguments.target)
    else:
        holder = Files(arguments.ptx, arguments.program, arguments.manifest)
    step, codes, reports = Step(arguments.tokens, arguments.depth, arguments.outputs, arguments.draw), {}, []
    for device, source in sources(holder, arguments):
        if source.target not in codes:
            codes[source.target] = Code(source, step, arguments.ptxas)
        reports.append(report_of(device, step, codes[source.target], arguments))
    print_reports(reports, arguments.format, arguments.counts, arguments.top)


def main(words=None):
    """The command: `words` are its arguments. Wrong input ends it with one sentence."""
    arguments = parse_arguments(words)
    try:
        run(arguments)
    except ModelError as error:
        sys.exit(f"gpu-model: {error}")
