"""Compiled graphs through the C API: numpy arrays in, numpy arrays out."""
import ctypes

import numpy as np

from runtime_library import Library, ModelOptions

DTYPES = {"bool": np.bool_, "i8": np.int8, "u8": np.uint8, "i16": np.int16, "u16": np.uint16, "i32": np.int32,
          "u32": np.uint32, "i64": np.int64, "u64": np.uint64, "f16": np.float16, "bf16": np.uint16, "f32": np.float32,
          "f64": np.float64}


class TensorInfo(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("type", ctypes.c_char_p), ("rank", ctypes.c_size_t),
                ("shape", ctypes.POINTER(ctypes.c_int64)), ("dimension_names", ctypes.POINTER(ctypes.c_char_p))]


class Failure(Exception):
    """A call of the C API that did not succeed: its status and its sentence."""

    def __init__(self, status, message):
        super().__init__(message)
        self.status = status


class Graph:
    """An open package of a graph. bf16 tensors are arrays of their bits."""

    def __init__(self, library: Library, path, **options):
        self.c, self.handle, self.request = library.c, ctypes.c_void_p(), ctypes.c_void_p()
        for name in ("quern_model_input_count", "quern_model_output_count"):
            getattr(self.c, name).restype = ctypes.c_size_t
        chosen = ModelOptions(struct_size=ctypes.sizeof(ModelOptions), **options)
        self.call("quern_model_open", str(path).encode(), ctypes.byref(chosen), ctypes.byref(self.handle))
        self.call("quern_request_create", self.handle, ctypes.byref(self.request))
        self.inputs, self.outputs = self.describe("input"), self.describe("output")

    def call(self, name, *arguments):
        status = getattr(self.c, name)(*arguments)
        if status != 0:
            raise Failure(status, self.c.quern_last_error().decode())

    def describe(self, kind):
        """(name, type, shape) of each; a dynamic dimension is its name, or None."""
        out = []
        for i in range(getattr(self.c, f"quern_model_{kind}_count")(self.handle)):
            info = TensorInfo()
            self.call(f"quern_model_{kind}", self.handle, ctypes.c_size_t(i), ctypes.byref(info))
            shape = [info.shape[d] if info.shape[d] >= 0 else (info.dimension_names[d] or b"").decode() or None
                     for d in range(info.rank)]
            out.append((info.name.decode(), info.type.decode(), shape))
        return out

    def set_input(self, index, array):
        shape = (ctypes.c_int64 * array.ndim)(*array.shape)
        self.call("quern_request_set_input", self.request, ctypes.c_size_t(index), ctypes.c_void_p(array.ctypes.data),
                  shape, ctypes.c_size_t(array.ndim))

    def expected_shape(self, index):
        rank = len(self.outputs[index][2])
        shape = (ctypes.c_int64 * rank)()
        self.call("quern_request_expected_shape", self.request, ctypes.c_size_t(index), shape, ctypes.c_size_t(rank))
        return list(shape)

    def set_output(self, index, array):
        self.call("quern_request_set_output", self.request, ctypes.c_size_t(index),
                  ctypes.c_void_p(array.ctypes.data), ctypes.c_uint64(array.nbytes))

    def stored(self, index):
        """Address and shape of an output."""
        data, shape, rank = ctypes.c_void_p(), ctypes.POINTER(ctypes.c_int64)(), ctypes.c_size_t()
        self.call("quern_request_output", self.request, ctypes.c_size_t(index), ctypes.byref(data), ctypes.byref(shape),
                  ctypes.byref(rank))
        return data, [shape[d] for d in range(rank.value)]

    def output_shape(self, index):
        return self.stored(index)[1]

    def output(self, index):
        (data, sizes), dtype = self.stored(index), np.dtype(DTYPES[self.outputs[index][1]])
        size = int(np.prod(sizes, dtype=np.int64)) * dtype.itemsize
        return np.frombuffer(ctypes.string_at(data, size) if size else b"", dtype).reshape(sizes)

    def __call__(self, *arrays):
        """Runs it on one array for each input; returns one for each output."""
        assert len(arrays) == len(self.inputs)
        kept = [np.require(array, DTYPES[kind], "C") for array, (_, kind, _) in zip(arrays, self.inputs)]
        for i, array in enumerate(kept):
            self.set_input(i, array)
        self.call("quern_request_run", self.request)
        return [self.output(i) for i in range(len(self.outputs))]

    def close(self):
        self.c.quern_request_close(self.request)
        self.c.quern_model_close(self.handle)
