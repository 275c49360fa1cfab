"""Graphs that are no language models, with onnxruntime's results; python/compare_onnxruntime.py made them."""
import numpy as np
import pytest

from conftest import BUILD, SOURCE
from graph_library import Graph
from runtime_library import Library

FOLDER = SOURCE / "test" / "models" / "onnx"


@pytest.mark.parametrize("name", ["perceptron", "encoder", "attention"])
def test_results_are_those_of_onnxruntime(quern, tmp_path, name):
    package = quern.compile(FOLDER / f"{name}.onnx", tmp_path / "m.quern", "--target", "x86-64-v2")
    graph = Graph(Library(BUILD / "lib" / "libquern_runtime.so"), package, target=b"x86-64-v2")
    arrays = np.load(FOLDER / f"{name}.npz")
    result = graph(*(arrays[of] for of, _, _ in graph.inputs))[0]
    # A few hundred roundings of numbers up to about 4: below 1e-4.
    np.testing.assert_allclose(result, arrays["y"], rtol=0, atol=1e-4)
    graph.close()
