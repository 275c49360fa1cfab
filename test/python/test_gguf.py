"""Round trips of the GGUF writer and reader that make the test models."""
import pathlib
import tempfile
import unittest

import numpy as np

from quern_py import gguf_writer as g
from quern_py.gguf_reader import GGUFFile


class RoundTrip(unittest.TestCase):
    def written(self, writer):
        with tempfile.TemporaryDirectory() as folder:
            path = pathlib.Path(folder, "model.gguf")
            writer.write(path)
            return path.read_bytes(), GGUFFile(path)

    def test_metadata_keeps_types_and_order(self):
        w = g.GGUFWriter("qwen2")
        w.add("a.count", g.U32, 4)
        w.add("a.rate", g.F32V, 0.5)
        w.add("a.flag", g.BOOL, True)
        w.add("a.names", g.STRINGS, ["Ġx", ""])
        w.add("a.kinds", g.I32S, [-1, 2])
        _, file = self.written(w)
        self.assertEqual(list(file.metadata.items()), [
            ("general.architecture", "qwen2"), ("a.count", 4), ("a.rate", 0.5), ("a.flag", True),
            ("a.names", ["Ġx", ""]), ("a.kinds", [-1, 2])])

    def test_tensors_keep_shape_and_bytes_and_are_aligned(self):
        w = g.GGUFWriter("qwen2")
        norm, matrix = np.arange(3, dtype=np.float32), np.arange(6, dtype=np.float16).reshape(2, 3)
        blocks = bytes(range(36))  # two rows of one Q4_0 block each
        w.add_array("norm", norm)
        w.add_array("matrix", matrix)
        w.add_tensor("blocks", (2, 32), g.Q4_0, blocks)
        data, file = self.written(w)
        self.assertEqual(len(data) % g.ALIGNMENT, 0)
        np.testing.assert_array_equal(file.tensors["norm"].array(), norm)
        np.testing.assert_array_equal(file.tensors["matrix"].array(), matrix)
        self.assertEqual(file.tensors["blocks"].shape, (2, 32))
        self.assertEqual(bytes(file.tensors["blocks"].data), blocks)

    def test_header_of_a_minimal_file_byte_for_byte(self):
        w = g.GGUFWriter("x")
        w.add_array("t", np.array([[1.0, 2.0, 3.0]], np.float32))
        data, _ = self.written(w)
        expected = (b"GGUF" + bytes([3, 0, 0, 0]) + bytes([1] + [0] * 7) + bytes([1] + [0] * 7)
                    + bytes([20] + [0] * 7) + b"general.architecture" + bytes([8, 0, 0, 0]) + bytes([1] + [0] * 7)
                    + b"x" + bytes([1] + [0] * 7) + b"t" + bytes([2, 0, 0, 0]) + bytes([3] + [0] * 7)
                    + bytes([1] + [0] * 7) + bytes(4) + bytes(8))
        self.assertEqual(data[:len(expected)], expected)

    def test_refusals(self):
        w = g.GGUFWriter("qwen2")
        w.add_tensor("t", (1, 32), g.Q8_0, bytes(34))
        with self.assertRaisesRegex(ValueError, "given twice"):
            w.add_tensor("t", (1, 32), g.Q8_0, bytes(34))
        with self.assertRaisesRegex(ValueError, "expected 34 bytes, got 33"):
            w.add_tensor("short", (1, 32), g.Q8_0, bytes(33))
        with self.assertRaisesRegex(ValueError, "whole number of Q4_K blocks"):
            w.add_tensor("ragged", (2, 128), g.Q4_K, bytes(144))
        with self.assertRaisesRegex(ValueError, "given twice"):
            w.add("general.architecture", g.STRING, "llama")
