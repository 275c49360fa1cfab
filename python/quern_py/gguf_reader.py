"""Reads GGUF version 2 and 3 files into Python values and numpy arrays."""
import dataclasses
import math
import struct

import numpy as np

from . import gguf_writer as g


@dataclasses.dataclass
class Tensor:
    """A stored tensor: numpy-ordered shape, type id, raw bytes."""
    name: str
    shape: tuple
    type_id: int
    data: memoryview

    def array(self):
        """The values as float32 [shape]; only unquantized types, ValueError for others."""
        kind = {g.F32: "<f4", g.F16: "<f2"}.get(self.type_id)
        if kind is None:
            raise ValueError(f"tensor {self.name}: type {self.type_id} is not F32 or F16")
        return np.frombuffer(self.data, kind).astype(np.float32).reshape(self.shape)


class GGUFFile:
    """`metadata` maps keys to values (arrays become lists), `tensors` maps names to Tensor."""

    def __init__(self, path):
        with open(path, "rb") as file:
            self._bytes = memoryview(file.read())
        self._at = 4
        version, tensors, entries = self._take("<IQQ")
        if self._bytes[:4] != g.MAGIC or version not in (2, 3):
            raise ValueError(f"{path} is not a GGUF file of version 2 or 3")
        self.metadata = {}
        for _ in range(entries):
            key = self._string()
            self.metadata[key] = self._value(*self._take("<I"))
        infos = [self._info() for _ in range(tensors)]
        alignment = self.metadata.get("general.alignment", g.ALIGNMENT)
        start = -(-self._at // alignment) * alignment
        self.tensors = {name: self._tensor(name, shape, type_id, start + offset)
                        for name, shape, type_id, offset in infos}

    def _take(self, pattern):
        values = struct.unpack_from(pattern, self._bytes, self._at)
        self._at += struct.calcsize(pattern)
        return values

    def _string(self):
        (size,) = self._take("<Q")
        self._at += size
        return bytes(self._bytes[self._at - size:self._at]).decode()

    def _value(self, kind):
        if kind == g.STRING:
            return self._string()
        if kind == g.ARRAY:
            element, count = self._take("<IQ")
            return [self._value(element) for _ in range(count)]
        return self._take("<" + g.SCALAR_CODES[kind])[0]

    def _info(self):
        name = self._string()
        (rank,) = self._take("<I")
        dims = self._take(f"<{rank}Q")
        type_id, offset = self._take("<IQ")
        return name, dims[::-1], type_id, offset

    def _tensor(self, name, shape, type_id, begin):
        _, elements, size = g.TENSOR_TYPES[type_id]
        end = begin + math.prod(shape) // elements * size
        if end > len(self._bytes):
            raise ValueError(f"tensor {name} reaches beyond the end of the file")
        return Tensor(name, shape, type_id, self._bytes[begin:end])
