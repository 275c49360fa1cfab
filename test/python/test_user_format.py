"""A block format that the project does not know, given by a file, works from import to compiled code."""
import json
import math

import numpy as np
import pytest
from compare_logits import divergence
from quern_py import gguf_writer as g
from quern_py import random_model, tiny_tokenizer
from quern_py.random_blocks import random_bytes

# Q2_0 of recent GGUF files: a scale and 64 codes of two bits, four in a byte.
NAME, TYPE_ID, BLOCK, SIZE = "Q2_0", 42, 64, 18
FORMAT = """dq.format <q2_0, gguf = 42, block = 64, bytes = 18, group = 64,
  codes = [2 bits at 2 + i floordiv 4 shift (i mod 4) * 2] less 1, scale = f16 at 0>
"""


def decode(data, shape):
    blocks = np.frombuffer(data, np.uint8).reshape(-1, SIZE)
    codes = (blocks[:, 2:, None] >> np.array([0, 2, 4, 6], np.uint8)) & 3
    scales = blocks[:, :2].copy().view("<f2").astype(np.float32)
    return ((codes.reshape(-1, BLOCK).astype(np.float32) - 1) * scales).reshape(shape)


@pytest.fixture
def models(tmp_path, monkeypatch):
    """A model whose matrices are Q2_0, and the same in F32."""
    monkeypatch.setitem(g.TENSOR_TYPES, TYPE_ID, (NAME, BLOCK, SIZE))
    shape = random_model.Shape("qwen2", 1, 256, 4, 2, 64, 512, 300)
    coded, plain = g.GGUFWriter("qwen2"), g.GGUFWriter("qwen2")
    rng = np.random.default_rng(5)
    for writer in (coded, plain):
        random_model.add_metadata(writer, shape, "user format")
        tiny_tokenizer.add_to(writer, shape.vocabulary, "qwen2")
    for name, dims in random_model.tensors(shape):
        if len(dims) == 1:
            vector = random_model.vector(rng, name, dims[0])
            coded.add_array(name, vector)
            plain.add_array(name, vector)
        else:  # Q4_0 has as many bytes in a block, and the scale at the same place, for half as many weights
            data = random_bytes(rng, "Q4_0", math.prod(dims) // 2, 0.2)
            coded.add_tensor(name, dims, TYPE_ID, data)
            plain.add_array(name, decode(data, dims))
    coded.write(tmp_path / "coded.gguf")
    plain.write(tmp_path / "plain.gguf")
    return tmp_path / "coded.gguf", tmp_path / "plain.gguf"


def test_format_file_from_import_to_logits(quern, models, prompts, tmp_path):
    coded, plain = models
    assert "unsupported type 42" in quern.fails("compile", coded, "-o", tmp_path / "no.quern")
    text = tmp_path / "q2_0.mlir"
    text.write_text(FORMAT)
    exact = quern.logits(plain, prompts, "--reference", "--float-activations", "-n", "2", "--top", "100")
    same = quern.logits(coded, prompts, "--reference", "--float-activations", "-n", "2", "--top", "100",
                        "--format", text)
    assert divergence(exact, same) < 1e-9
    package = quern.compile(coded, tmp_path / "m.quern", "--format", text)
    rounded = quern.logits(coded, prompts, "--reference", "-n", "2", "--format", text)
    follow = tmp_path / "follow.jsonl"
    follow.write_text("\n".join(map(json.dumps, rounded)))
    ours = quern.logits(package, prompts, "--follow", follow, "-n", "2", "--top", "100")
    assert divergence(rounded, ours) < 1e-3
