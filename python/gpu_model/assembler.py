"""What NVIDIA's assembler says of kernels, where it is installed: registers, spills, machine instructions."""
import re
import shutil
import struct
import subprocess
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

from . import ModelError

NOTHING = 0x918  # the opcode of NOP, sm_70 to sm_90


@dataclass(frozen=True)
class Assembled:
    """What ptxas made of a kernel."""
    registers: int  # of a thread
    spilt: int  # bytes
    instructions: int = None


def read_registers(output):
    """Kernel -> Assembled, of what `ptxas -v` prints."""
    found, name, spilt = {}, None, 0
    for line in output.splitlines():
        if match := re.search(r"Compiling entry function '([^']+)'", line):
            name, spilt = match.group(1), 0
        elif match := re.search(r"(\d+) bytes spill stores, (\d+) bytes spill loads", line):
            spilt = int(match.group(1)) + int(match.group(2))
        elif name and (match := re.search(r"Used (\d+) registers", line)):
            found[name] = Assembled(int(match.group(1)), spilt)
    return found


def count_instructions(cubin):
    """Kernel -> machine instructions of its section of code: 16 bytes each since sm_70. NOPs are left out."""
    table, = struct.unpack_from("<Q", cubin, 0x28)
    count, names = struct.unpack_from("<HH", cubin, 0x3C)
    sections = [struct.unpack_from("<IIQQQQ", cubin, table + 64 * n) for n in range(count)]
    found = {}
    for name, _, _, _, offset, size in sections:
        start = sections[names][4] + name
        text = cubin[start:cubin.index(b"\0", start)].decode()
        if text.startswith(".text."):
            words = struct.unpack_from(f"<{size // 8}Q", cubin, offset)[::2]
            found[text[6:]] = sum(word & 0xFFF != NOTHING for word in words)
    return found


def assemble(text, arch, ptxas="ptxas"):
    """Kernel -> Assembled; {} where there is no assembler, or the device is no NVIDIA one."""
    program = shutil.which(ptxas)
    if not program or not arch:
        return {}
    with tempfile.TemporaryDirectory() as folder:
        path, cubin = Path(folder) / "kernels.ptx", Path(folder) / "kernels.cubin"
        path.write_text(text)
        done = subprocess.run([program, f"-arch={arch}", "-v", str(path), "-o", str(cubin)],
                              capture_output=True, text=True)
        if done.returncode:
            first = (done.stderr.strip() or "no message").splitlines()[0]
            raise ModelError(f"ptxas refuses the kernels for {arch}: {first}")
        counts = count_instructions(cubin.read_bytes())
    found = read_registers(done.stderr + done.stdout)
    return {name: replace(a, instructions=counts.get(name)) for name, a in found.items()}
