"""Writes the ONNX project's backend node tests into a folder: make_onnx_cases.py FOLDER.

Needs the package `onnx` (1.23.2 is what docs/onnx-support.md counts); the tests that read the folder do not. Each case
is NAME.onnx and NAME.npz with its inputs and outputs; index.json says what each one needs. Inputs that choose axes
become initializers, since the rank of a compiled tensor is fixed; the index names them.
"""
import json
import sys
import warnings
from pathlib import Path

import numpy
import onnx
from onnx import numpy_helper

# Inputs by operator and position whose values decide about ranks or which axes are meant.
AXES = {"Squeeze": 1, "Unsqueeze": 1, "Slice": 3, "Pad": 3}


def axes_inputs(graph):
    names = set()
    for node in graph.node:
        at = 1 if node.op_type.startswith("Reduce") else AXES.get(node.op_type)
        if at is not None and len(node.input) > at and node.input[at]:
            names.add(node.input[at])
    return names


def as_array(value):
    """A numpy array of a case's value, bf16 as its bits; None for sequences, optionals and types that numpy lacks."""
    if isinstance(value, onnx.TensorProto):
        if value.data_type == onnx.TensorProto.BFLOAT16:
            return numpy.frombuffer(value.raw_data, numpy.uint16).reshape(list(value.dims))
        value = numpy_helper.to_array(value)
    if not isinstance(value, (numpy.ndarray, numpy.generic)):
        return None
    value = numpy.asarray(value)
    if value.dtype.name == "bfloat16":
        return value.view(numpy.uint16)
    return value if value.dtype.kind in "fiub" and value.dtype.name[:5] not in ("float8", "float4") else None


def freeze(model, inputs):
    """The model with its axes as initializers, the inputs that are left, and the names of the others."""
    frozen, left = [], []
    choosing = axes_inputs(model.graph)
    for info, value in zip(list(model.graph.input), inputs):
        if info.name in choosing:
            model.graph.initializer.append(numpy_helper.from_array(numpy.asarray(value), info.name))
            model.graph.input.remove(info)
            frozen.append(info.name)
        else:
            left.append(value)
    return left, frozen


def write_case(folder, case):
    model = onnx.ModelProto()
    model.CopyFrom(case.model)
    inputs, outputs = case.data_sets[0]
    inputs, frozen = freeze(model, inputs)
    operators = sorted({f"{node.domain}.{node.op_type}".lstrip(".") for node in model.graph.node})
    types = sorted({info.type.tensor_type.elem_type for info in [*model.graph.input, *model.graph.output]})
    arrays = {f"{kind}{i}": as_array(value)
              for kind, values in (("in", inputs), ("out", outputs)) for i, value in enumerate(values)}
    entry = {"operators": operators, "types": types, "rtol": case.rtol, "atol": case.atol, "frozen": frozen,
             "tensors": all(array is not None for array in arrays.values())}
    if entry["tensors"]:
        numpy.savez(folder / f"{case.name}.npz", **arrays)
    (folder / f"{case.name}.onnx").write_bytes(model.SerializeToString())
    return entry


def main():
    from onnx.backend.test.case.node import collect_testcases
    warnings.filterwarnings("ignore")
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    cases = [case for case in collect_testcases(None) if case.model is not None]
    index = {case.name: write_case(folder, case) for case in cases}
    (folder / "index.json").write_text(json.dumps({"onnx": onnx.__version__, "cases": index}, indent=1))
    print(f"{len(index)} cases of onnx {onnx.__version__} in {folder}")


if __name__ == "__main__":
    main()
