"""Logits depend on the tokens alone, to the bit: not on threads, chunks, batches, context or what was cut off."""
import math
import random

import pytest
from conftest import BUILD
from runtime_library import Library, floats
from tiny_model import write_model

TOKENS = [random.Random(5).randrange(256) for _ in range(600)]  # many key tiles of 64, more than one span of 512
SOME = (0, 1, 62, 63, 64, 65, 128, 511, 512, 599)


@pytest.fixture(scope="module")
def library():
    return Library(BUILD / "lib" / "libquern_runtime.so")


@pytest.fixture(scope="module", params=[("", "f16"), ("avx512f,avxvnni", "f16"), ("all", "f16"), ("", "q8_0"),
                                        ("", "f32")],
                ids=["best code", "AVX2", "baseline", "q8_0 cache", "f32 cache"])
def masked(request):
    features, cache = request.param
    return {"masked_features": features.encode(), "cache_type": cache.encode()}


def test_an_unknown_cache_type_is_refused(library, tiny_package):
    with pytest.raises(AssertionError, match="type 'f64' .*the types are f16, f32, q8_0$"):
        library.open(tiny_package, cache_type=b"f64")


@pytest.fixture(scope="module")
def expected(library, tiny_package, masked):
    """The row of each token, one thread, one token at a time."""
    with library.open(tiny_package, threads=1, **masked) as model:
        session = model.session()
        rows = []
        for token in TOKENS:
            model.decode([session], [token])
            rows.append(session.logits())
    assert all(math.isfinite(value) for value in floats(rows[-1]))
    assert len(set(rows)) > len(rows) // 2
    return rows


def test_rows_with_zero_points_in_chunks(library, quern, tmp_path):
    """A row's range is its own, whatever it is read together with."""
    model = write_model(tmp_path / "m.gguf", "--type", "Q8_0", "--dynamic-quantize", "^(blk|output)")
    package = quern.compile(model, tmp_path / "m.quern", "--target", "x86-64-avx512vnni", "--target", "x86-64-avx2")
    for features in (b"", b"avx512f,avxvnni"):
        got = []
        for threads, chunk in (1, 1), (2, 7), (5, 600):
            with library.open(package, threads=threads, chunk_tokens=chunk, masked_features=features) as opened:
                got.append(opened.session().all_logits(TOKENS[:100]))
        assert got[0] == got[1] == got[2] and len(set(got[0])) > 50


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize("chunk", [1, 7, 64, 600])
def test_prompts_in_chunks(library, tiny_package, masked, expected, threads, chunk):
    with library.open(tiny_package, threads=threads, chunk_tokens=chunk, **masked) as model:
        session = model.session()
        session.prefill(TOKENS)
        assert session.logits() == expected[-1]
        assert model.session().all_logits(TOKENS) == expected
        assert model.session().all_logits(TOKENS, 100) == expected[100:]


def test_batches(library, tiny_package, masked, expected):
    with library.open(tiny_package, threads=2, **masked) as model:
        sessions = []
        for position in SOME[1:]:
            sessions.append(model.session(600 + position))  # another capacity, another layout of the cache
            sessions[-1].prefill(TOKENS[:position])
        model.decode(sessions, [TOKENS[position] for position in SOME[1:]])
        assert [session.logits() for session in sessions] == [expected[position] for position in SOME[1:]]


def test_sessions_cut_back(library, tiny_package, masked, expected):
    with library.open(tiny_package, threads=2, **masked) as model:
        session = model.session()
        session.prefill(TOKENS)
        for position in SOME[::-1]:
            session.prefill([255] * 3)
            session.truncate(position)
            session.prefill(TOKENS[position:position + 1])
            assert session.logits() == expected[position]
