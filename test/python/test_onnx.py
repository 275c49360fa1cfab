"""ONNX graphs through the command and the C API: named tensors, dynamic sizes, files, errors."""
import json

import numpy as np
import pytest

from conftest import BUILD
from graph_library import Failure, Graph
from onnx_writer import node, write_model
from runtime_library import Library

TARGET = ("--target", "x86-64-v2")
BUFFER_TOO_SMALL, INVALID_ARGUMENT, UNSUPPORTED = 7, 1, 4


@pytest.fixture(scope="module")
def layer(quern, tmp_path_factory):
    """relu(x W + b) for any number of rows, for all targets; W is large enough to lie in the weights."""
    folder = tmp_path_factory.mktemp("layer")
    random = np.random.default_rng(1)
    weights = {"W": random.standard_normal((40, 24), np.float32), "b": random.standard_normal(24, np.float32)}
    model = write_model(folder / "layer.onnx", [("x", "float32", ["rows", 40])], [("y", "float32", ["rows", 24])],
                        [node("MatMul", ["x", "W"], ["xw"]), node("Add", ["xw", "b"], ["z"]),
                         node("Relu", ["z"], ["y"])],
                        weights)
    return quern.compile(model, folder / "layer.quern"), weights


@pytest.fixture(scope="module")
def library():
    return Library(BUILD / "lib" / "libquern_runtime.so")


def expected(x, weights):
    return np.maximum(x.astype(np.float64) @ weights["W"] + weights["b"], 0)


@pytest.mark.parametrize("rows", [1, 7, 0])
@pytest.mark.parametrize("target", ["auto", "x86-64-v2"])
def test_a_layer_of_any_number_of_rows(layer, library, rows, target):
    package, weights = layer
    x = np.random.default_rng(2).standard_normal((rows, 40), np.float32)
    graph = Graph(library, package, target=target.encode())
    assert graph.inputs == [("x", "f32", ["rows", 40])] and graph.outputs == [("y", "f32", ["rows", 24])]
    # 41 roundings of sums of at most 41 terms of about 1: far below 1e-4.
    np.testing.assert_allclose(graph(x)[0], expected(x, weights), atol=1e-4)
    graph.close()


def test_shapes_are_asked_for_and_told_and_the_callers_buffer_is_filled(layer, library):
    package, weights = layer
    graph = Graph(library, package)
    x = np.ones((3, 40), np.float32)
    assert graph.expected_shape(0) == [-1, 24]
    with pytest.raises(Failure, match="the request has not run, or its last run failed") as early:
        graph.output(0)
    assert early.value.status == INVALID_ARGUMENT
    graph.set_input(0, x)
    assert graph.expected_shape(0) == [3, 24]
    y = np.zeros((3, 24), np.float32)
    graph.set_output(0, y)
    graph.call("quern_request_run", graph.request)
    np.testing.assert_allclose(y, expected(x, weights), atol=1e-4)
    graph.set_output(0, y[:2])
    message = r"output 'y' of the shape \[3, 24\] needs 288 bytes, its buffer has 192"
    with pytest.raises(Failure, match=message) as small:
        graph.call("quern_request_run", graph.request)
    assert small.value.status == BUFFER_TOO_SMALL
    assert graph.output_shape(0) == [3, 24]  # it has run
    with pytest.raises(Failure, match=r"input 'x' has the shape \[3, 41\], but the model wants \[rows, 40\]"):
        graph(np.ones((3, 41), np.float32))
    graph.close()


def test_a_graph_is_no_language_model_and_the_other_way_round(quern, layer, tiny_package, library):
    assert "is a graph of tensors and takes no prompt; give its inputs: --inputs NAME=FILE.npy" in \
        quern.fails("run", layer[0], "-p", "hi")
    assert "is a language model; --inputs and --outputs are for graphs, give it a prompt: -p TEXT" in \
        quern.fails("run", tiny_package, "--inputs", "x=x.npy")
    with pytest.raises(Failure, match="is a language model; use sessions") as refused:
        Graph(library, tiny_package)
    assert refused.value.status == UNSUPPORTED
    with library.open(layer[0]) as model, pytest.raises(AssertionError, match="no language model"):
        model.session()


def test_run_reads_and_writes_npy_files(quern, layer, tmp_path):
    package, weights = layer
    x = np.random.default_rng(3).standard_normal((2, 40), np.float32)
    np.save(tmp_path / "x.npy", x)
    told = quern.run("run", package, "--inputs", f"x={tmp_path}/x.npy", "--outputs", f"y={tmp_path}/y.npy")
    assert told == f"y: f32 [2, 24] in {tmp_path}/y.npy\n"
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), expected(x, weights), atol=1e-4)
    np.save(tmp_path / "x64.npy", x.astype(np.float64))
    assert "holds f64, but input 'x' is f32" in quern.fails("run", package, "--inputs", f"x={tmp_path}/x64.npy")
    assert "the model has no input 'q'; it has x" in quern.fails("run", package, "--inputs", f"q={tmp_path}/x.npy")
    assert "input 'x' is missing" in quern.fails("run", package, "--outputs", f"y={tmp_path}/y.npy")
    (tmp_path / "a=b").mkdir()
    np.save(tmp_path / "a=b" / "x.npy", x)
    assert "y: f32 [2, 24]" in quern.run("run", package, "--inputs", f"x={tmp_path}/a=b/x.npy")
    (tmp_path / "cut.npy").write_bytes((tmp_path / "x.npy").read_bytes()[:-4])
    assert "holds 316 bytes of elements, its shape asks for 320" in \
        quern.fails("run", package, "--inputs", f"x={tmp_path}/cut.npy")


def test_shapes_that_depend_on_data(quern, library, tmp_path):
    model = write_model(tmp_path / "range.onnx", [("n", "int64", []), ("shape", "int64", [2])],
                        [("y", "int64", ["a", "b"])],
                        [node("Range", ["zero", "n", "one"], ["r"]), node("Reshape", ["r", "shape"], ["y"])],
                        {"zero": np.array(0), "one": np.array(1)})
    graph = Graph(library, quern.compile(model, tmp_path / "range.quern", *TARGET))
    assert graph.outputs[0][2] == [None, None] and graph.expected_shape(0) == [-1, -1]
    assert (graph(np.array(6), np.array([2, -1]))[0] == np.arange(6).reshape(2, 3)).all()
    with pytest.raises(Failure, match="node 'the_Reshape' .Reshape.: the new shape has another number of elements"):
        graph(np.array(7), np.array([2, -1]))
    with pytest.raises(Failure, match="the request has not run, or its last run failed"):
        graph.output_shape(0)
    assert (graph(np.array(4), np.array([4, 1]))[0] == np.arange(4).reshape(4, 1)).all()  # and it goes on
    graph.close()


def test_an_index_outside_is_an_error_when_it_runs(quern, library, tmp_path):
    model = write_model(tmp_path / "gather.onnx", [("x", "float32", [4]), ("i", "int64", ["n"])],
                        [("y", "float32", ["n"])], [node("Gather", ["x", "i"], ["y"])])
    graph = Graph(library, quern.compile(model, tmp_path / "gather.quern", *TARGET))
    x = np.arange(4, dtype=np.float32)
    assert graph(x, np.array([3, -1, -4]))[0].tolist() == [3, 3, 0]
    with pytest.raises(Failure, match="node 'the_Gather' .Gather.: an index lies outside its axis") as outside:
        graph(x, np.array([0, 4]))
    assert outside.value.status == INVALID_ARGUMENT
    graph.close()


def test_places_outside_end_the_run(quern, library, tmp_path):
    model = write_model(tmp_path / "places.onnx",
                        [("x", "float32", ["n"]), ("k", "int64", [1]), ("i", "int64", [1, 1])],
                        [("top", "float32", ["k"]), ("at", "int64", ["k"]), ("z", "float32", ["n"])],
                        [node("TopK", ["x", "k"], ["top", "at"]), node("ScatterND", ["x", "i", "u"], ["z"])],
                        {"u": np.array([9], np.float32)})
    graph = Graph(library, quern.compile(model, tmp_path / "places.quern", *TARGET))
    x = np.array([1, np.nan, 3, 3], np.float32)
    top, at, z = graph(x, np.array([3]), np.array([[-1]]))
    assert at.tolist() == [1, 2, 3] and top[1:].tolist() == [3, 3] and z[3] == 9  # NaN comes before all numbers
    with pytest.raises(Failure, match="node 'the_TopK' .TopK.: asks for more elements than its axis has"):
        graph(x, np.array([5]), np.array([[0]]))
    with pytest.raises(Failure, match="node 'the_ScatterND' .ScatterND.: an index lies outside its axis"):
        graph(x, np.array([1]), np.array([[4]]))
    graph.close()


@pytest.mark.parametrize("operator, inputs, error", [
    ("MatMul", ["x", "x"], "the inner sizes of its factors differ (3 and 2)"),
    ("PRelu", ["x"], "needs two inputs"),
    ("Split", ["x"], "has 7 parts, but 1 outputs"),
    ("Tile", ["x", "huge"], "its output 'y' would have more elements than any machine holds"),
    ("CumSum", ["x", "huge"], "needs one axis of a tensor that has axes"),
    ("Relu", ["x", "nowhere"], "uses 'nowhere', which nothing in the graph makes")])
def test_wrong_nodes_are_refused(quern, tmp_path, operator, inputs, error):
    model = write_model(tmp_path / "m.onnx", [("x", "float32", [2, 3])], [("y", "float32", ["a", "b"])],
                        [node(operator, inputs, ["y"], num_outputs=7)], {"huge": np.array([1 << 40, 1 << 12])})
    assert quern.fails("compile", model, "-o", tmp_path / "m.quern") == \
        f"error: '{model}': node 'the_{operator}' ({operator}): {error}"
    assert not (tmp_path / "m.quern").exists()


def test_inspect_shows_what_a_file_holds(quern, tmp_path):
    weights = {"W": np.ones((3, 2), np.float32), "n": np.array(1)}
    model = write_model(tmp_path / "m.onnx", [("x", "float32", ["rows", 3])], [("z", "float32", ["rows", 2])],
                        [node("MatMul", ["x", "W"], ["y"]), node("Foo", ["y"], ["a"]), node("Foo", ["a"], ["z"])],
                        weights)
    shown = json.loads(quern.run("inspect", model, "--json"))
    assert shown["inputs"] == [{"name": "x", "type": "f32", "shape": ["rows", 3]}]
    assert shown["outputs"] == [{"name": "z", "type": "f32", "shape": ["rows", 2]}]
    assert shown["operators"] == [{"operator": "Foo", "nodes": 2, "supported": False},
                                  {"operator": "MatMul", "nodes": 1, "supported": True}]
    assert shown["initializers"] == [
        {"type": "f32", "tensors": 1, "elements": 6, "bytes": 24, "bytes_outside": 0},
        {"type": "i64", "tensors": 1, "elements": 1, "bytes": 8, "bytes_outside": 0}]
    text = quern.run("inspect", model)
    assert "supported  all but Foo (2)" in text and "rows" in text
    assert "a model to be compiled carries no hashes" in quern.fails("inspect", model, "--verify")
    model.write_bytes(model.read_bytes()[:40])
    assert "is no ONNX model, or is cut off" in quern.fails("inspect", model)


def test_unsupported_operators_are_one_list(quern, tmp_path):
    model = write_model(tmp_path / "m.onnx", [("x", "float32", [1])], [("d", "float32", [1])],
                        [node("Foo", ["x"], ["a"]), node("Bar", ["a"], ["b"]), node("Foo", ["b"], ["c"]),
                         node("Relu", ["c"], ["d"])])
    error = quern.fails("compile", model, "-o", tmp_path / "m.quern")
    assert error.endswith("these operators are not supported, with the number of their nodes: Bar (1), Foo (2)")
    assert not (tmp_path / "m.quern").exists()


def test_errors_name_the_file_and_the_node(quern, tmp_path):
    model = write_model(tmp_path / "m.onnx", [("x", "float32", [2, 3]), ("y", "float32", [2, 4])],
                        [("z", "float32", [2, 3])], [node("Add", ["x", "y"], ["z"])])
    assert quern.fails("compile", model, "-o", tmp_path / "m.quern") == \
        f"error: '{model}': node 'the_Add' (Add): the shapes [2, 3] and [2, 4] do not fit each other"
    model.write_bytes(model.read_bytes()[:40])
    assert "is no ONNX model, or is cut off" in quern.fails("compile", model, "-o", tmp_path / "m.quern")
    assert "compile it first" in quern.fails("run", model, "--inputs", "x=x.npy")


def test_inspect_shows_a_graphs_package(quern, layer):
    manifest = json.loads(quern.run("inspect", layer[0], "--json"))["manifest"]
    assert manifest["model"] == {"kind": "graph", "name": "test", "parameters": 984}
    code = [entry["target"] for entry in manifest["code"]]
    assert "x86-64-v2" in code and "x86-64-avx512bf16" not in code  # graphs have no products of bf16 pairs
    assert manifest["inputs"] == [{"name": "x", "type": "f32", "shape": ["rows", 40]}]
    assert "rows" in quern.run("inspect", layer[0], "--verify")
