"""Steps of a token for each of several sequences, against steps of one sequence."""
import ctypes

import numpy as np
import pytest
from conftest import BUILD
from runtime_library import Library
from test_devices import FAKE, needs_fake
from tiny_model import write_model

RUNTIME = BUILD / "lib" / "libquern_runtime.so"
pytestmark = [needs_fake, pytest.mark.skipif(not RUNTIME.exists(), reason="the runtime library is not built")]


def divergence(base, ours):
    """KL, in nats, of two rows of logits."""
    base, ours = (np.frombuffer(row, np.float32).astype(np.float64) for row in (base, ours))
    base, ours = (row - row.max() - np.log(np.exp(row - row.max()).sum()) for row in (base, ours))
    return float((np.exp(base) * (base - ours)).sum())


@pytest.mark.parametrize("count, type, capability", [(12, "Q8_0", 80), (17, "Q8_0", 80), (12, "F16", 90)])
def test_each_sequence_has_its_own_cache(quern, tmp_path, monkeypatch, count, type, capability):
    """Up to 16 rows attention splits the keys of each; beyond, it goes through rows in runs of one sequence. At 9.0
    launches overlap."""
    monkeypatch.setenv("QUERN_FAKE_CUDA_CAPABILITY", str(capability))
    monkeypatch.setenv("QUERN_FAKE_CUDA_VERSION", "12030")
    flags = f"--type {type} --layers 1 --hidden 64 --heads 2 --kv-heads 1 --ffn 64 --vocab 285".split()
    package = quern.compile(write_model(tmp_path / "m.gguf", *flags), tmp_path / "m.quern", "--target",
                            f"nvptx:sm_{capability}", "--ptxas", "none")
    ctypes.CDLL(str(FAKE))  # the runtime finds the driver that is loaded
    with Library(RUNTIME).open(package, device=b"cuda") as model:
        sessions = [model.session(100 + i) for i in range(count)]
        lengths = [1 + 7 * i % 60 for i in range(count)]
        for i, (session, length) in enumerate(zip(sessions, lengths, strict=True)):
            session.prefill([(i + 3 * t) % 250 for t in range(length)])
        tokens = [5 * i % 250 for i in range(count)]
        model.decode(sessions, tokens)
        together = [session.logits() for session in sessions]
        assert len(set(together)) == count
        for session, length, token, row in zip(sessions, lengths, tokens, together, strict=True):
            session.truncate(length)
            model.decode([session], [token])
            assert divergence(session.logits(), row) < 1e-5
