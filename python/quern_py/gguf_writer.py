"""Writes GGUF version 3 files: metadata of any type, tensors of any block format given as raw bytes.

Needs only the standard library; `add_array` takes numpy arrays of float32 and float16 as they are.

    w = GGUFWriter("qwen2")
    w.add("qwen2.block_count", U32, 4)
    w.add("tokenizer.ggml.tokens", STRINGS, ["a", "b"])
    w.add_array("output_norm.weight", norm)                          # float32 or float16 numpy array
    w.add_tensor("blk.0.attn_q.weight", (256, 256), Q4_0, raw)       # shape as in numpy: rows first
    w.write("model.gguf")
"""
import dataclasses
import math
import os
import struct

MAGIC, VERSION, ALIGNMENT = b"GGUF", 3, 32

# Value types of the metadata, by the id that the file stores.
U8, I8, U16, I16, U32, I32, F32V, BOOL, STRING, ARRAY, U64, I64, F64V = range(13)
SCALAR_CODES = {U8: "B", I8: "b", U16: "H", I16: "h", U32: "I", I32: "i", F32V: "f", BOOL: "?", U64: "Q", I64: "q",
                F64V: "d"}


@dataclasses.dataclass(frozen=True)
class ArrayOf:
    """Value type of an array whose elements have the value type `element`."""
    element: int


STRINGS, I32S, U32S, F32S = ArrayOf(STRING), ArrayOf(I32), ArrayOf(U32), ArrayOf(F32V)

# Tensor types: id -> (name, elements per block, bytes per block).
TENSOR_TYPES = {
    0: ("F32", 1, 4), 1: ("F16", 1, 2), 30: ("BF16", 1, 2),
    2: ("Q4_0", 32, 18), 3: ("Q4_1", 32, 20), 6: ("Q5_0", 32, 22), 7: ("Q5_1", 32, 24), 8: ("Q8_0", 32, 34),
    10: ("Q2_K", 256, 84), 11: ("Q3_K", 256, 110), 12: ("Q4_K", 256, 144), 13: ("Q5_K", 256, 176),
    14: ("Q6_K", 256, 210), 20: ("IQ4_NL", 32, 18), 23: ("IQ4_XS", 256, 136), 34: ("TQ1_0", 256, 54),
    35: ("TQ2_0", 256, 66), 39: ("MXFP4", 32, 17),
}
TYPE_IDS = {name: number for number, (name, _, _) in TENSOR_TYPES.items()}
F32, F16, BF16, Q4_0, Q8_0, Q4_K, Q5_K, Q6_K = (
    TYPE_IDS[n] for n in ("F32", "F16", "BF16", "Q4_0", "Q8_0", "Q4_K", "Q5_K", "Q6_K"))


def tensor_bytes(shape, type_id):
    """Bytes of a tensor of the given numpy shape; ValueError where a row is not a whole number of blocks."""
    name, elements, size = TENSOR_TYPES[type_id]
    if shape[-1] % elements:
        raise ValueError(f"a row of {shape[-1]} elements is not a whole number of {name} blocks of {elements}")
    return math.prod(shape) // elements * size


def _string(text):
    data = text.encode()
    return struct.pack("<Q", len(data)) + data


def _value(kind, value):
    if kind == STRING:
        return _string(value)
    return struct.pack("<" + SCALAR_CODES[kind], value)


def _padded(size):
    return -size % ALIGNMENT


class GGUFWriter:
    """Collects metadata and tensors in order, then writes them at once; data stay in memory until then."""

    def __init__(self, architecture):
        self.metadata, self.tensors = {}, {}
        self.add("general.architecture", STRING, architecture)

    def add(self, key, kind, value):
        """Adds a metadata entry; `kind` is a value type id or ArrayOf.  ValueError if the key was given before."""
        if key in self.metadata:
            raise ValueError(f"metadata key {key} is given twice")
        if isinstance(kind, ArrayOf):
            body = b"".join(_value(kind.element, v) for v in value)
            self.metadata[key] = struct.pack("<IIQ", ARRAY, kind.element, len(value)) + body
        else:
            self.metadata[key] = struct.pack("<I", kind) + _value(kind, value)

    def add_tensor(self, name, shape, type_id, data):
        """Adds a tensor by its bytes.  `shape` is in numpy's order ([rows, columns]; the file stores it reversed)."""
        if name in self.tensors:
            raise ValueError(f"tensor {name} is given twice")
        if len(name.encode()) >= 64:
            raise ValueError(f"tensor name {name} is longer than 63 bytes")
        expected = tensor_bytes(shape, type_id)
        if len(data) != expected:
            raise ValueError(f"tensor {name}: expected {expected} bytes, got {len(data)}")
        self.tensors[name] = (tuple(shape), type_id, bytes(data))

    def add_array(self, name, array):
        """Adds a numpy array of float32 or float16 as an F32 or F16 tensor."""
        type_id = {"float32": F32, "float16": F16}.get(array.dtype.name)
        if type_id is None:
            raise ValueError(f"tensor {name}: expected float32 or float16, got {array.dtype}")
        self.add_tensor(name, array.shape, type_id, array.tobytes())

    def header(self):
        """Everything before the tensor data, padded to the alignment."""
        parts = [MAGIC, struct.pack("<IQQ", VERSION, len(self.tensors), len(self.metadata))]
        parts += [_string(key) + value for key, value in self.metadata.items()]
        offset = 0
        for name, (shape, type_id, data) in self.tensors.items():
            dims = shape[::-1]
            parts.append(_string(name) + struct.pack(f"<I{len(dims)}QIQ", len(dims), *dims, type_id, offset))
            offset += len(data) + _padded(len(data))
        head = b"".join(parts)
        return head + bytes(_padded(len(head)))

    def write(self, path):
        """Writes the file beside its place and renames it, so that no half-written file is ever seen."""
        partial = f"{path}.partial"
        with open(partial, "wb") as file:
            file.write(self.header())
            for _, _, data in self.tensors.values():
                file.write(data + bytes(_padded(len(data))))
        os.replace(partial, path)
