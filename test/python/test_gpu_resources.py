"""What NVIDIA's assembler makes of all kernels of a model: no spills, and no more registers and shared memory and no
fewer warps on a multiprocessor than the table says. After kernels have changed, write it anew:

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
TARGETS = {"sm_75": T4, "sm_80": A100, "sm_86": DEVICES["rtx4090"], "sm_90": DEVICES["h100"]}
ROUNDING = 8  # registers are given out by eights, and other versions of the assembler take a few more or less


def compile_model(quern, folder):
    model = write_model(Path(folder) / "layer.gguf", *SHAPE)
    targets = ",".join(f"nvptx:{chip}" for chip in TARGETS)
    package = Path(folder) / "layer.quern"
    subprocess.run([str(quern), "compile", str(model), "-o", str(package), "--target", targets,
                    "--ptxas", "none"], check=True)
    return package


def measure(package):
    """(chip, kernel) -> registers, shared bytes, resident warps, spilt bytes; of the launch that takes the most."""
    rows = {}
    for chip, device in TARGETS.items():
        read = source.Package(package, f"nvptx:{chip}").source(device)
        launches = [launch for plan in read.program["plans"] for launch in plan["launches"]]
        for name, made in assemble(read.ptx_text, chip).items():
            threads, dynamic = most([launch for launch in launches if launch["kernel"] == name])
            shared = read.kernels[name].shared_bytes + dynamic
            warps = warps_of(device, threads, made.registers, shared)
            rows[chip, name] = (made.registers, shared, warps, made.spilt)
    return rows


def most(launches):
    """(threads, dynamic shared bytes) of a kernel's launches, which all have as many threads."""
    threads, = {launch["threads"] for launch in launches}
    return threads, max(launch["sharedBytes"] for launch in launches)


def warps_of(device, threads, registers, shared):
    """On a multiprocessor."""
    blocks, _ = residency(device, threads, registers, shared)
    return blocks * ((threads + 31) // 32)


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
    worse = [said for key, measured in rows.items() for said in complaints(key, measured, table[key])]
    assert not worse, "\n".join(worse)


def test_multiprocessors_hold_eight_warps_of_kernels_of_prompts():
    """With both halves of the shared memory: one is filled while the other is multiplied."""
    held = {key: warps for key, (_, _, warps) in read_table().items() if key[1].startswith("prompt_")}
    assert {chip for chip, _ in held} == set(TARGETS)
    assert not {key: warps for key, warps in held.items() if warps < 8}


def test_kernels_fit_all_devices_that_take_them():
    """Of the capabilities 8.6, 8.9 and 12.0, which take code for sm_80, sm_86 and sm_90, a block has 99 KiB."""
    most = {"sm_75": 64 << 10, "sm_80": 99 << 10, "sm_86": 99 << 10, "sm_90": 99 << 10}
    assert not {key: shared for key, (_, shared, _) in read_table().items() if shared > most[key[0]]}


def complaints(key, measured, expected):
    """What is worse than the table says: (registers, shared bytes, warps, spilt bytes) beside its first three."""
    names = ("registers", "shared bytes", "warps", "bytes spilt")
    limits = (expected[0] + ROUNDING, expected[1], expected[2], 0)
    worse = [now < limit if name == "warps" else now > limit for name, now, limit in zip(names, measured, limits)]
    return [f"{key}: {now} {name}, the table allows {limit}"
            for name, now, limit, is_worse in zip(names, measured, limits, worse) if is_worse]


def test_sees_what_is_worse():
    expected = (64, 2048, 24)
    assert not complaints("k", (64 + ROUNDING, 2048, 24, 0), expected)
    for worse, said in [((73, 2048, 24, 0), "73 registers"), ((64, 2049, 24, 0), "2049 shared bytes"),
                        ((64, 2048, 16, 0), "16 warps"), ((64, 2048, 24, 8), "8 bytes spilt")]:
        found, = complaints("k", worse, expected)
        assert said in found
    assert most([{"threads": 64, "sharedBytes": size} for size in (16, 4096, 0)]) == (64, 4096)


def main():
    with tempfile.TemporaryDirectory() as folder:
        rows = measure(compile_model(sys.argv[1], folder))
    print("# ptxas 13.0: target, kernel, registers of a thread, shared bytes of a block, warps that a multiprocessor "
          "holds")
    for (chip, name), (registers, shared, warps, spilt) in sorted(rows.items()):
        print(chip, name, registers, shared, warps)
        if spilt:
            print(f"{chip} {name}: {spilt} bytes spilt", file=sys.stderr)


if __name__ == "__main__":
    main()
