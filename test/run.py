#!/usr/bin/python3
"""Runs all tests of a build and sums them: test/run.py [BUILD_FOLDER].

Three kinds: lit (test/lit), GoogleTest binaries (BUILD/test/unit) and pytest (test/python). The output of what failed is
shown; the last line is "N passed, N failed". A binary that crashes, and a kind that cannot start, count as one failure.
Debian's own Python is asked for, as numpy and pytest come from Debian's packages.
"""
import argparse
import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as xml
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

SOURCE = Path(__file__).resolve().parent.parent
LIT = "/usr/lib/llvm-22/bin/lit"
RUN_SECONDS = 2700  # of one program; only what hangs takes as long


class Totals:
    """Counts of one kind of test."""

    def __init__(self, kind):
        self.kind, self.passed, self.failed, self.skipped = kind, 0, 0, 0
        self.start = time.monotonic()

    def fail(self, name, output):
        self.failed += 1
        print(f"FAILED {self.kind}: {name}\n{output.rstrip()}\n", flush=True)

    def skip(self, name, why="", count=1):
        """`count` tests that are skipped for the same reason, `name` the first of them."""
        self.skipped += count
        more = f" and {count - 1} more" if count > 1 else ""
        print(f"skipped {self.kind}: {name}{more}" + (f": {why}" if why else ""), flush=True)

    def report(self):
        seconds = time.monotonic() - self.start
        print(f"{self.kind}: {self.passed} passed, {self.failed} failed, {self.skipped} skipped, {seconds:.0f} s",
              flush=True)


def execute(command, **options):
    """Runs `command`; returns its exit status and what it printed. A run over time is killed with its children."""
    process = subprocess.Popen([str(word) for word in command], stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                               text=True, errors="replace", start_new_session=True, **options)
    try:
        output, _ = process.communicate(timeout=RUN_SECONDS)
        return process.returncode, output
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        output, _ = process.communicate()
        return -signal.SIGKILL, output + f"\nstopped after {RUN_SECONDS} s"


def run_lit(build, scratch):
    totals = Totals("lit")
    folder = build / "test" / "lit"
    if not (folder / "lit.site.cfg.py").exists():
        return totals
    result = scratch / "lit.json"
    status, output = execute([LIT, "-q", "--output", result, folder])
    if not result.exists():
        totals.fail("lit itself", output)
        return totals
    for test in json.loads(result.read_text())["tests"]:
        if test["code"] in ("PASS", "XFAIL", "FLAKYPASS"):
            totals.passed += 1
        elif test["code"] in ("UNSUPPORTED", "SKIPPED", "EXCLUDED"):
            totals.skip(test["name"], "what it needs is not here")
        else:
            totals.fail(f"{test['name']} ({test['code']})", test["output"])
    return totals


def run_gtest_binary(binary, scratch, totals):
    result = scratch / f"{binary.name}.xml"  # GoogleTest's JSON does not tell why a test was skipped
    status, output = execute([binary, f"--gtest_output=xml:{result}"], cwd=binary.parent)
    try:
        tests = list(xml.parse(result).getroot().iter("testcase"))
    except (OSError, xml.ParseError):
        totals.fail(binary.name, f"{output}\nended with status {status} without a result")
        return
    failures = 0
    skipped = {}
    for test in tests:
        name = f"{test.get('classname')}.{test.get('name')}"
        broken = test.findall("failure")
        if broken:
            failures += 1
            totals.fail(f"{binary.name}: {name}", "\n".join(failure.text or "" for failure in broken))
        elif test.get("result") == "skipped":
            why = [skip.get("message", "").strip().split("\n")[-1] for skip in test.findall("skipped")] or [""]
            skipped.setdefault(why[0], []).append(name)
        elif test.get("status") == "run":
            totals.passed += 1
    for why, names in skipped.items():
        totals.skip(names[0], why, len(names))
    if status != 0 and failures == 0:
        totals.fail(binary.name, f"{output}\nended with status {status} although no test failed")


def run_gtest(build, scratch):
    totals = Totals("GoogleTest")
    folder = build / "test" / "unit"
    for binary in sorted(folder.iterdir() if folder.is_dir() else []):
        if binary.is_file() and os.access(binary, os.X_OK) and re.fullmatch(r"[\w-]+", binary.name):
            run_gtest_binary(binary, scratch, totals)
    return totals


def run_pytest(build, scratch):
    totals = Totals("pytest")
    folder = SOURCE / "test" / "python"
    if not folder.is_dir():
        return totals
    result = scratch / "pytest.xml"
    environment = dict(os.environ, QUERN_BUILD=str(build), PYTHONDONTWRITEBYTECODE="1")
    status, output = execute(["/usr/bin/python3", "-m", "pytest", "-q", "-rs", "-p", "no:cacheprovider",
                              f"--junitxml={result}", folder], env=environment, cwd=SOURCE)
    if not result.exists():
        totals.fail("pytest itself", output)
        return totals
    for case in xml.parse(result).getroot().iter("testcase"):
        broken = [child for child in case if child.tag in ("failure", "error")]
        if broken:
            totals.fail(f"{case.get('classname')}.{case.get('name')}", broken[0].text or broken[0].get("message", ""))
        elif case.find("skipped") is not None:
            totals.skip(case.get("name"), case.find("skipped").get("message"))
        else:
            totals.passed += 1
    if status not in (0, 1, 5) and totals.failed == 0:
        totals.fail("pytest itself", output)
    return totals


def find_opencl(build):
    """Makes the OpenCL runtime of tools/install-opencl known to the tests, where it is and no other was asked for."""
    vendors = build / "opencl" / "vendors"
    if vendors.is_dir() and "OCL_ICD_VENDORS" not in os.environ:
        libraries = [str(build / "opencl" / "lib"), os.environ.get("LD_LIBRARY_PATH", "")]
        os.environ["OCL_ICD_VENDORS"] = str(vendors)
        os.environ["LD_LIBRARY_PATH"] = ":".join(filter(None, libraries))


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("build", nargs="?", default=SOURCE / "build", type=Path)
    build = parser.parse_args().build.resolve()
    find_opencl(build)
    with tempfile.TemporaryDirectory() as scratch:
        def run_kind(run):
            totals = run(build, Path(scratch))
            totals.report()
            return totals

        with ThreadPoolExecutor(2) as pool:  # most tests keep one processor busy
            kinds = list(pool.map(run_kind, (run_lit, run_gtest, run_pytest)))
    passed, failed = sum(kind.passed for kind in kinds), sum(kind.failed for kind in kinds)
    print(f"{passed} passed, {failed} failed")
    return 0 if passed > 0 and failed == 0 else 1


if __name__ == "__main__":
    sys.exit(main())
