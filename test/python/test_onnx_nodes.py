"""The ONNX project's backend node tests, each through `quern compile` and the runtime.

`tools/make-onnx-cases` brings them (package onnx 1.23.2 from PyPI) into BUILD/onnx-cases; without them these tests are
skipped. Every case of supported operators and element types must pass, or be in LEFT_OUT with its reason. The run also
writes BUILD/onnx-support.md, which must be what docs/onnx-support.md says.
"""
import collections
import json
import re
import subprocess
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from conftest import BUILD, SOURCE
from graph_library import Failure, Graph
from onnx_left_out import LEFT_OUT
from runtime_library import Library

FOLDER = BUILD / "onnx-cases"
COMPUTABLE = {1, 2, 3, 4, 5, 6, 7, 9, 10, 11, 12, 13, 16}  # numbers of element types, see lib/Import/Onnx/Emitter.h
TARGET = "x86-64-v2"  # runs everywhere


@pytest.fixture(scope="module")
def index():
    if not (FOLDER / "index.json").exists():
        pytest.skip("no ONNX cases; make them with tools/make-onnx-cases")
    return json.loads((FOLDER / "index.json").read_text())


def as_floats(array, kind):
    return (array.astype(np.uint32) << 16).view(np.float32) if kind == "bf16" else array


def run_case(library, quern, name, entry, scratch):
    """None if the case passes, else what is wrong."""
    package = scratch / f"{name}.quern"
    try:
        compiled = quern.start("compile", FOLDER / f"{name}.onnx", "-o", package, "--target", TARGET)
    except AssertionError as crash:
        return str(crash).split("\n")[0]
    if compiled.returncode != 0:
        return compiled.stderr.strip()
    arrays = np.load(FOLDER / f"{name}.npz")
    graph = Graph(library, package, target=TARGET.encode())
    try:
        results = graph(*(arrays[f"in{i}"] for i in range(len(graph.inputs))))
        for i, (result, (_, kind, _)) in enumerate(zip(results, graph.outputs)):
            wanted = arrays[f"out{i}"]
            assert result.dtype == wanted.dtype and result.shape == wanted.shape, \
                f"{result.dtype}{result.shape} instead of {wanted.dtype}{wanted.shape}"
            np.testing.assert_allclose(as_floats(result, kind), as_floats(wanted, kind), entry["rtol"], entry["atol"])
    except (AssertionError, Failure, ValueError) as error:
        return " ".join(str(error).split())[:300]
    finally:
        graph.close()
        package.unlink()
    return None


def reason_for(name):
    return next((reason for pattern, reason in LEFT_OUT.items() if re.fullmatch(pattern, name)), None)


def classify(index, operators):
    """Names to run, and the others with the reason why they are not."""
    run, left = [], {}
    for name, entry in index["cases"].items():
        if not set(entry["operators"]) <= operators:
            continue
        if not entry["tensors"] or not set(entry["types"]) <= COMPUTABLE:
            left[name] = "element types without arithmetic here: strings, complex, FP8, FP4, 4 and 2 bits, sequences"
        elif reason_for(name):
            left[name] = reason_for(name)
        else:
            run.append(name)
    return run, left


def support_page(index, operators, passed, left):
    """docs/onnx-support.md."""
    counts = {name: [0, 0] for name in sorted(operators)}
    for names, column in ((passed, 0), (left, 1)):
        for name in names:
            for operator in index["cases"][name]["operators"]:
                counts[operator][column] += 1
    reasons = collections.Counter(left.values())
    frozen = sum(bool(index["cases"][name]["frozen"]) for name in passed)
    lines = ["# Supported ONNX operators", "",
             f"Written by `test/python/test_onnx_nodes.py`, which runs the {len(index['cases'])} backend node tests of "
             f"the package onnx {index['onnx']}", "through `quern compile` and the runtime. "
             f"{len(passed) + len(left)} of them use supported operators only: {len(passed)} pass, {len(left)} are "
             "left out.", f"In {frozen} of those that pass, axes that the test gives as an input are an initializer "
             "instead: they must be known when", "compiling.", "", "| reason for leaving out | cases |", "|---|---|"]
    lines += [f"| {reason} | {count} |" for reason, count in sorted(reasons.items())]
    lines += ["", "A case counts for each operator in it.", "", "| operator | pass | left out |", "|---|---|---|"]
    lines += [f"| {name} | {good} | {bad} |" for name, (good, bad) in counts.items()]
    return "\n".join(lines) + "\n"


def test_backend_node_cases(quern, index, tmp_path_factory):
    operators = set(subprocess.run([str(quern.compiler), "onnx-operators"], check=True, capture_output=True,
                                   text=True).stdout.split())
    run, left = classify(index, operators)
    scratch, library = tmp_path_factory.mktemp("onnx"), Library(BUILD / "lib" / "libquern_runtime.so")
    with ThreadPoolExecutor(2) as pool:
        results = pool.map(lambda name: run_case(library, quern, name, index["cases"][name], scratch), run)
        failures = {name: wrong for name, wrong in zip(run, results) if wrong}
    assert not failures, "\n".join(f"{name}: {wrong}" for name, wrong in failures.items())
    page = support_page(index, operators, run, left)
    (BUILD / "onnx-support.md").write_text(page)
    assert page == (SOURCE / "docs" / "onnx-support.md").read_text(), \
        "docs/onnx-support.md is out of date; copy onnx-support.md of the build folder there"
