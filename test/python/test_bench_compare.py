"""tools/bench: compare on a tiny model, beside a peer that answers from a script; a kernel alone."""
import json
import subprocess
import sys
from pathlib import Path

import pytest

COMPARE = Path(__file__).resolve().parents[2] / "tools" / "bench" / "compare"
PEER = """#!/bin/sh
echo "some words before, [also in brackets]"
echo '[{"n_prompt": 8, "n_gen": 0, "avg_ts": 1000000.0}, {"n_prompt": 0, "n_gen": 2, "avg_ts": 0.001}]'
"""


def compare(quern, tmp_path, *arguments, model):
    return subprocess.run([sys.executable, COMPARE, "--quern", quern.program, "--work", tmp_path / "work",
                           "--model", model, *map(str, arguments)], capture_output=True, text=True)


def test_gives_ratios_to_the_best_peer(quern, tiny, tmp_path):
    peer = tmp_path / "llama-bench"
    peer.write_text(PEER)
    peer.chmod(0o755)
    done = compare(quern, tmp_path, "-p", 8, "-n", 2, "-t", "1,2", "--rounds", 2, "--peer", f"other={peer} -x 1",
                   "--table", tmp_path / "table.md", "--json", tmp_path / "runs.json", model=tiny)
    assert done.returncode == 0, done.stderr
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in done.stdout.splitlines()]
    assert rows[0] == ["model", "threads", "test", "Quern tok/s", "of the limit", "other", "ratio to the best"]
    assert [(row[1], row[2]) for row in rows[2:]] == [("1", "pp8"), ("2", "pp8"), ("1", "tg2"), ("2", "tg2")]
    assert all(float(row[6]) < 1 for row in rows[2:4]) and all(float(row[6]) > 1 for row in rows[4:])
    assert (tmp_path / "table.md").read_text() == done.stdout
    runs = json.loads((tmp_path / "runs.json").read_text())
    assert {(r["program"], len(r["runs"])) for r in runs} == {("Quern", 2), ("other", 2)}


def test_draws_a_picture(quern, tiny, tmp_path):
    pytest.importorskip("matplotlib")
    done = compare(quern, tmp_path, "-p", 8, "-n", 2, "-t", 1, "--rounds", 1, "--picture", tmp_path / "r.svg",
                   model=tiny)
    assert done.returncode == 0, done.stderr
    assert "<svg" in (tmp_path / "r.svg").read_text()


@pytest.mark.parametrize("arguments, message", [
    (["-p", 0, "-n", 0], "nothing to measure"),
    (["--peer", "nameless"], "--peer needs NAME=COMMAND"),
    (["-p", -1, "-n", 8], "nothing to measure"),
    (["-t", "1,x"], "--threads needs numbers"),
    (["--peer", "Quern=llama-bench"], "NAME not Quern"),
    (["--quern", "/nowhere/quern"], "there is no /nowhere/quern"),
    (["--peer", "missing=/nowhere/llama-bench"], "there is no program /nowhere/llama-bench"),
    (["-p", 8, "-n", 0, "--peer", "talker=echo [words]"], "echo printed no results as JSON: "),
    (["-p", 8, "-n", 0, "--peer", "broken=false"], "false failed (1)"),
])
def test_says_what_is_wrong(quern, tiny, tmp_path, arguments, message):
    done = compare(quern, tmp_path, *arguments, model=tiny)
    assert done.returncode != 0 and message in done.stderr and "Traceback" not in done.stderr


def test_times_a_kernel_alone(quern):
    program = quern.program.parent / "quern-kernel-bench"
    if not program.exists():
        pytest.skip("built without Google Benchmark")
    done = subprocess.run([program, "--benchmark_filter=q4_0/4/", "--benchmark_min_time=0.001",
                           "--benchmark_format=json"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result, = json.loads(done.stdout)["benchmarks"]
    assert result["label"].startswith("matmul_c4z8") and result["of_limit"] > 0 and result["GOP/s"] > 0
