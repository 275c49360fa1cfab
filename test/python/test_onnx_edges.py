"""ONNX graphs at the edges: empty axes, sizes beyond 64 bits, signs, and sizes that cannot fit each other."""
import numpy as np
import pytest

from conftest import BUILD
from graph_library import Failure, Graph
from onnx_writer import node, write_model
from runtime_library import Library

TARGET = ("--target", "x86-64-v2")
LEAST, MOST = -2**63, 2**63 - 1


@pytest.fixture(scope="module")
def library():
    return Library(BUILD / "lib" / "libquern_runtime.so")


@pytest.fixture
def graph_of(quern, library, tmp_path):
    """Compiles a graph of these nodes and opens it."""
    opened = []

    def make(inputs, outputs, nodes, initializers=None, **options):
        model = write_model(tmp_path / "m.onnx", inputs, outputs, nodes, initializers, **options)
        opened.append(Graph(library, quern.compile(model, tmp_path / f"m{len(opened)}.quern", *TARGET)))
        return opened[-1]

    yield make
    for graph in opened:
        graph.close()


@pytest.fixture
def refusal(quern, tmp_path):
    """What the compiler says after the file's name on a graph that it must refuse."""

    def refuse(inputs, outputs, nodes, initializers=None):
        model = write_model(tmp_path / "m.onnx", inputs, outputs, nodes, initializers)
        error = quern.fails("compile", model, "-o", tmp_path / "m.quern", timeout=60)
        assert not (tmp_path / "m.quern").exists()
        return error.removeprefix(f"error: '{model}': ")

    return refuse


def numbers(*values):
    return np.array(values, np.int64)


def test_slices_of_empty_axes_and_of_the_widest_step(graph_of):
    constants = {"end": numbers(-1), "begin": numbers(LEAST), "axis": numbers(0), "back": numbers(-1),
                 "one": numbers(1), "far": numbers(LEAST), "none": np.zeros(0, np.int64)}
    graph = graph_of([("x", "float32", ["n"])], [("r", "float32", ["a"]), ("f", "float32", ["b"]), ("e", "int64", [0])],
                     [node("Slice", ["x", "end", "begin", "axis", "back"], ["r"]),
                      node("Slice", ["x", "one", "one", "axis", "far"], ["f"]),
                      node("Slice", ["none", "end", "begin", "axis", "back"], ["e"])], constants)
    for n in (0, 1, 3):
        reverse, far, empty = graph(np.arange(n, dtype=np.float32))
        assert reverse.tolist() == list(range(n))[::-1] and far.size == 0 and empty.size == 0


def test_parts_are_summed_before_they_are_read(graph_of, quern, tmp_path):
    graph = graph_of([("x", "float32", ["n"])], [("a", "float32", [3]), ("b", "float32", [3])],
                     [node("Split", ["x", "parts"], ["a", "b"])], {"parts": numbers(3, 3)})
    for n in (2, 7):
        with pytest.raises(Failure, match="node 'the_Split' .Split.: its parts do not add up to the axis"):
            graph(np.zeros(n, np.float32))
    assert [part.tolist() for part in graph(np.arange(6, dtype=np.float32))] == [[0, 1, 2], [3, 4, 5]]
    quern.compile(tmp_path / "m.onnx", tmp_path / "m.quern", "--stop-after=import", f"--dump-phases={tmp_path}")
    imported = next(tmp_path.glob("*import.mlir")).read_text()
    assert imported.index("its parts do not add up") < imported.index("tensor.extract")


def test_followed_sizes_without_elements(graph_of):
    graph = graph_of([("x", "int64", [1])], [("y", "int64", [0]), ("z", "int64", [1])],
                     [node("Add", ["one", "none"], ["y"]), node("Add", ["one", "x"], ["z"])],
                     {"one": numbers(1), "none": np.zeros(0, np.int64)})
    empty, two = graph(numbers(1))
    assert empty.shape == (0,) and two.tolist() == [2]


def test_a_size_of_0_beside_one_that_is_known_at_run_time(graph_of):
    graph = graph_of([("x", "float32", [0, "n"])], [("y", "float32", [1, 0, "n"]), ("z", "float32", [0, "m"])],
                     [node("Unsqueeze", ["x", "axes"], ["y"]), node("Concat", ["x", "x", "x"], ["z"], axis=1)],
                     {"axes": numbers(0)})
    y, z = graph(np.zeros((0, 5), np.float32))
    assert y.shape == (1, 0, 5) and z.shape == (0, 15)


def test_sizes_known_at_run_time_that_fit_only_modulo_2_to_the_64(graph_of):
    graph = graph_of([("x", "float32", ["n"]), ("shape", "int64", [2])], [("y", "float32", ["a"])],
                     [node("Reshape", ["x", "shape"], ["r"], allowzero=1),
                      node("ReduceSum", ["r", "axes"], ["y"], keepdims=0)],
                     {"axes": numbers(1)})
    assert graph(np.arange(6, dtype=np.float32), numbers(2, 3))[0].tolist() == [3, 12]
    assert graph(np.zeros(0, np.float32), numbers(2, 0))[0].tolist() == [0, 0]
    with pytest.raises(Failure, match="the new shape has another number of elements"):
        graph(np.zeros(0, np.float32), numbers(2**32, 2**32))
    with pytest.raises(Failure, match="the new shape has a negative size"):
        graph(np.ones(6, np.float32), numbers(-2, -3))


def test_repeats_that_pass_64_bits(graph_of, refusal):
    tile = ([("x", "float32", [4]), ("r", "int64", [1])], [("y", "float32", ["n"])], [node("Tile", ["x", "r"], ["y"])])
    graph = graph_of(*tile)
    assert graph(np.arange(4, dtype=np.float32), numbers(2))[0].tolist() == [0, 1, 2, 3] * 2
    with pytest.raises(Failure, match="a repeat makes its axis longer than any machine holds"):
        graph(np.zeros(4, np.float32), numbers(2**62))
    with pytest.raises(Failure, match="has a negative repeat"):
        graph(np.zeros(4, np.float32), numbers(-1))
    assert "a repeat makes its axis longer than any machine holds" in \
        refusal(tile[0][:1], tile[1], tile[2], {"r": numbers(2**62)})


def test_negative_indices_into_unsigned_elements(graph_of):
    graph = graph_of([("x", "uint8", [3]), ("i", "int64", ["n"])], [("g", "uint8", ["n"]), ("e", "uint8", ["n"])],
                     [node("Gather", ["x", "i"], ["g"]), node("GatherElements", ["x", "i"], ["e"])])
    gathered, elements = graph(np.array([7, 8, 9], np.uint8), numbers(-1, 0))
    assert gathered.tolist() == [9, 7] and elements.tolist() == [9, 7]
    with pytest.raises(Failure, match="an index lies outside its axis"):
        graph(np.zeros(3, np.uint8), numbers(-4))


def test_numbers_beyond_an_integer_become_its_nearest_end(graph_of):
    targets = {"uint8": 2, "int32": 6, "int64": 7, "uint64": 13}
    for kind in (np.float32, np.float64):
        graph = graph_of([("x", np.dtype(kind).name, [8])], [(f"y{name}", name, [8]) for name in targets],
                         [node("Cast", ["x"], [f"y{name}"], to=to) for name, to in targets.items()])
        x = np.array([3e9, -3e9, 1e30, -1e30, np.inf, -np.inf, np.nan, 100.5], kind)
        for name, got in zip(targets, graph(x)):
            ends = np.iinfo(name)
            wanted = [0 if np.isnan(v) else int(v) if np.isfinite(v) else ends.max if v > 0 else ends.min for v in x]
            assert got.tolist() == [min(max(v, ends.min), ends.max) for v in wanted], name


def test_powers_of_integers(graph_of):
    graph = graph_of([("x", "int64", [11]), ("e", "int64", [11])], [("y", "int64", [11])],
                     [node("Pow", ["x", "e"], ["y"])])
    cases = [(0, 64, 0), (2, 64, 0), (2, 62, 2**62), (3, 5, 243), (7, 0, 1), (-1, 2**40 + 1, -1), (-3, 3, -27),
             (2, -1, 0), (1, -5, 1), (-1, -3, -1), (-1, LEAST, 1)]
    x, e, wanted = map(list, zip(*cases))
    assert graph(numbers(*x), numbers(*e))[0].tolist() == wanted


def test_a_classifier_of_two_token_types_is_no_language_model(graph_of):
    """Its last product gives as many numbers as the table of token types has rows, and has a bias."""
    random = np.random.default_rng(5)
    tokens, types, weight, bias = (random.standard_normal(shape, np.float32) for shape in ((9, 4), (2, 4), (4, 2), 2))
    graph = graph_of([("ids", "int64", ["n"]), ("types", "int64", ["n"])], [("y", "float32", [1, 2])],
                     [node("Gather", ["tokens", "ids"], ["t"]), node("Gather", ["kinds", "types"], ["k"]),
                      node("Add", ["t", "k"], ["x"]), node("ReduceMean", ["x", "axes"], ["mean"]),
                      node("Gemm", ["mean", "w", "b"], ["y"])],
                     {"tokens": tokens, "kinds": types, "axes": numbers(0), "w": weight, "b": bias})
    ids, kinds = numbers(3, 8, 0), numbers(0, 1, 1)
    wanted = (tokens[ids] + types[kinds]).mean(0, keepdims=True) @ weight + bias
    np.testing.assert_allclose(graph(ids, kinds)[0], wanted, atol=1e-5)


def test_the_standard_domain_goes_by_two_names(graph_of):
    graph = graph_of([("x", "float32", [1, 2, 2])], [("y", "float32", [1, 2, 2])],
                     [node("Softmax", ["x"], ["y"], domain="ai.onnx")])
    assert graph(np.zeros((1, 2, 2), np.float32))[0].tolist() == [[[0.5, 0.5], [0.5, 0.5]]]  # over the last axis


@pytest.mark.parametrize("nodes, constants, sentence", [
    ([node("Constant", [], [], value_int=1), node("Relu", ["x"], ["y"])], {},
     "node 'the_Constant' (Constant): makes nothing; a node has at least one output"),
    ([node("MatMul", ["x", "w"], ["y"])], {"w": np.zeros((4, 5), np.float32)},
     "node 'the_MatMul' (MatMul): the inner sizes of its factors differ (3 and 4)"),
    ([node("Gemm", ["x", "w"], ["y"])], {"w": np.zeros((4, 5), np.float32)},
     "node 'the_Gemm' (Gemm): the inner sizes of its factors differ (3 and 4)"),
    ([node("Split", ["x"], ["y"], num_outputs=10**11)], {},
     "node 'the_Split' (Split): has 100000000000 parts, but 1 outputs"),
    ([node("Split", ["x"], ["y"], num_outputs=0)], {}, "node 'the_Split' (Split): has 0 parts, but 1 outputs"),
    ([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": numbers(2, 2)},
     "node 'the_Split' (Split): its parts do not add up to the axis (4 and 3)"),
    ([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": numbers(LEAST, LEAST)},
     f"node 'the_Split' (Split): has a part of negative size ({LEAST} and 0)"),
    ([node("Split", ["x", "s"], ["y", "z"], axis=1)], {"s": numbers(MOST, MOST)},
     "node 'the_Split' (Split): its parts do not add up to the axis (-2 and 0)"),
    ([node("Reshape", ["x", "s"], ["y"])], {"s": numbers(-2, -3)},
     "node 'the_Reshape' (Reshape): the new shape has a negative size (-2 and 0)"),
    ([node("Reshape", ["x", "s"], ["y"])], {"s": numbers(LEAST, 2)},
     f"node 'the_Reshape' (Reshape): the new shape has a negative size ({LEAST} and 0)"),
    ([node("Reshape", ["x", "s"], ["y"])], {"s": numbers(2**32, 2**32)},
     f"node 'the_Reshape' (Reshape): the new shape has another number of elements (6 and {MOST})"),
    ([node("Concat", ["x", "w"], ["y"], axis=1)], {"w": np.zeros((4, 5), np.float32)},
     "node 'the_Concat' (Concat): its inputs have different sizes along axis 0 (4 and 2)"),
    ([node("Expand", ["x", "s"], ["y"])], {"s": numbers(-1, 3)},
     "node 'the_Expand' (Expand): asks for a negative size (-1 and 0)"),
    ([node("GatherElements", ["x", "s"], ["y"], axis=1)], {"s": numbers([0], [0], [0])},
     "node 'the_GatherElements' (GatherElements): its indices reach beyond the data (3 and 2)"),
])
def test_sizes_that_cannot_fit_are_refused_with_both_numbers(refusal, nodes, constants, sentence):
    assert refusal([("x", "float32", [2, 3])], [("y", "float32", ["a", "b"])], nodes, constants) == sentence
