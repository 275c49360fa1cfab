"""What NVIDIA's assembler makes of all kernels of a model: no spills, and no more registers and shared memory than the
table says, from which it has the occupancy. After kernels have changed, write it anew:

    test/python/test_gpu_resources.py build/bin/quern > test/python/gpu_resources.txt
"""
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parents[2] / "python")]
from gpu_model import source  # noqa: E402
from gpu_model.assembler import assemble  # noqa: E402
from gpu_model.devices import DEVICES, residency  # noqa: E402
from tiny_model import write_model  # noqa: E402

TABLE = Path(__file__).with_name("gpu_resources.txt")
# A layer of the 1.5B in a mix of Q4_K and Q6_K, with fewer tokens.
SHAPE = "--layers 1 --hidden 1536 --heads 12 --kv-heads 2 --ffn 8960 --vocab 1000 --type Q4_K_M".split()
A100 = DEVICES["a100-40"]
T4 = replace(A100, arch="sm_75", warps=32, blocks=16, shared_bytes=64 << 10, shared_of_block=64 << 10)
TARGETS = {"sm_75": T4, "sm_80": A100, "sm_90": DEVICES["h100"]}
ROUNDING = 8  # registers are given out by eights, and other versions of the assembler take a few more or less


def compile_model(quern, folder):
    model = write_model(Path(folder) / "layer.gguf", *SHAPE)
    targets = ",".join(f"nvptx:{chip}" for chip in TARGETS)
    package = Path(folder) / "layer.quern"
    subprocess.run([str(quern), "compile", str(model), "-o", str(package), "--target", targets], check=True)
    return package


def measure(package):
    """(chip, kernel) -> registers, shared bytes, resident warps, spilt bytes."""
    rows = {}
    for chip, device in TARGETS.items():
        read = source.from_package(package, f"nvptx:{chip}")
        launches = {l["kernel"]: l for plan in read.program["plans"] for l in plan["launches"]}
        for name, made in assemble(read.ptx_text, chip).items():
            threads = launches[name]["threads"]
            shared = read.kernels[name].shared_bytes + launches[name]["sharedBytes"]
            blocks, _ = residency(device, threads, made.registers, shared)
            rows[chip, name] = (made.registers, shared, blocks * threads // 32, made.spilt)
    return rows


def read_table():
    rows = {}
    for line in TABLE.read_text().splitlines():
        if not line.startswith("#"):
            chip, name, registers, shared, warps = line.split()
            rows[chip, name] = (int(registers), int(shared), int(warps))
    return rows


@pytest.mark.skipif(not shutil.which("ptxas"), reason="ptxas is not on the path")
def test_kernels_take_no_more_than_the_table_says(quern, tmp_path):
    rows, table = measure(compile_model(quern.program, tmp_path)), read_table()
    assert {chip for chip, _ in rows} == set(TARGETS)
    assert set(rows) == set(table), "kernels came or went: write the table anew"
    for key, (registers, shared, warps, spilt) in rows.items():
        assert spilt == 0, key
        assert registers <= table[key][0] + ROUNDING and shared <= table[key][1], (key, registers, shared)


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(compile_model(sys.argv[1], folder))
    print("# ptxas 13.0: target, kernel, registers of a thread, shared bytes of a block, warps that a multiprocessor holds")
    for (chip, name), (registers, shared, warps, spilt) in sorted(rows.items()):
        print(chip, name, registers, shared, warps)
        if spilt:
            print(f"{chip} {name}: {spilt} bytes spilt", file=sys.stderr)


if __name__ == "__main__":
    main()
