"""Writes small ONNX models, as far as the tests need: protobuf by hand, so that no package is needed."""
import numpy as np

TYPES = {"float32": 1, "uint8": 2, "int32": 6, "int64": 7, "bool": 9, "float16": 10, "float64": 11, "uint64": 13}


def varint(value):
    out = bytearray()
    value &= (1 << 64) - 1
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes(out + bytes([value]))


def field(number, value):
    """A field of an int, of text, or of a message's bytes."""
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    data = value.encode() if isinstance(value, str) else value
    return varint(number << 3 | 2) + varint(len(data)) + data


def value_info(name, dtype, shape):
    """`shape` holds numbers and names."""
    dims = b"".join(field(1, field(1, size) if isinstance(size, int) else field(2, size)) for size in shape)
    return field(1, name) + field(2, field(1, field(1, TYPES[dtype]) + field(2, dims)))


def node(operator, inputs, outputs, domain="", **integers):
    attributes = b"".join(field(5, field(1, key) + field(3, value) + field(20, 2)) for key, value in integers.items())
    return (b"".join(field(1, name) for name in inputs) + b"".join(field(2, name) for name in outputs) +
            field(3, f"the_{operator}") + field(4, operator) + attributes +
            field(7, domain))


def tensor(name, array):
    return (b"".join(field(1, size) for size in array.shape) + field(2, TYPES[array.dtype.name]) + field(8, name) +
            field(9, np.ascontiguousarray(array).tobytes()))


def write_model(path, inputs, outputs, nodes, initializers=None):
    """`inputs` and `outputs`: (name, dtype, shape); `initializers`: arrays by name."""
    graph = (b"".join(field(1, one) for one in nodes) + field(2, "test") +
             b"".join(field(5, tensor(name, array)) for name, array in (initializers or {}).items()) +
             b"".join(field(11, value_info(*one)) for one in inputs) +
             b"".join(field(12, value_info(*one)) for one in outputs))
    path.write_bytes(field(1, 10) + field(7, graph) + field(8, field(1, "") + field(2, 21)))
    return path
