"""Input that is not as it should be: each ends in one clear sentence."""
import os
import resource
import shutil
import signal
import struct

import pytest
from conftest import SOURCE
from quern_py import gguf_writer as g


@pytest.fixture
def copy(tiny_package, tmp_path):
    return shutil.copy(tiny_package, tmp_path / "copy.quern")


def overwrite(path, offset, data):
    with open(path, "r+b") as file:
        file.seek(offset)
        file.write(data)


def sections(path):
    """Name -> (offset, size) of a package's sections."""
    data = path.read_bytes()
    (count,) = struct.unpack_from("<I", data, 12)
    table = [struct.unpack_from("<48sQQ", data, 32 + 80 * i) for i in range(count)]
    return {name.rstrip(b"\0").decode(): (offset, size) for name, offset, size in table}


@pytest.mark.parametrize("command", ["run", "inspect", "perplexity", "logits", "compile"])
def test_missing_file_and_directory(quern, tmp_path, command):
    more = {"run": ["-p", "a"], "perplexity": ["-f", "x"], "logits": ["--prompts", "x"],
            "compile": ["-o", tmp_path / "out"]}.get(command, [])
    assert "nowhere" in quern.fails(command, tmp_path / "nowhere", *more)
    assert str(tmp_path) in quern.fails(command, tmp_path, *more)


def test_running_a_gguf_tells_to_compile(quern, tiny):
    assert "quern compile" in quern.fails("run", tiny, "-p", "a")


@pytest.mark.parametrize("size", [0, 3, 20, 1000, 9000, -1])
def test_truncated_gguf(quern, tiny, tmp_path, size):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(tiny.read_bytes()[:size])
    quern.fails("compile", cut, "-o", tmp_path / "out.quern")
    assert not (tmp_path / "out.quern").exists()


def test_unknown_architecture(quern, tmp_path):
    writer = g.GGUFWriter("mamba")
    writer.write(str(tmp_path / "m.gguf"))
    assert "mamba" in quern.fails("compile", tmp_path / "m.gguf", "-o", tmp_path / "out.quern")


def test_missing_tensor_is_named(quern, tmp_path):
    from quern_py import random_model, tiny_tokenizer
    shape = random_model.Shape("qwen2", 1, 64, 1, 1, 64, 64, 300)
    writer = g.GGUFWriter("qwen2")
    random_model.add_metadata(writer, shape, "no tensors")
    tiny_tokenizer.add_to(writer, shape.vocabulary, "qwen2")
    writer.write(str(tmp_path / "m.gguf"))
    assert "token_embd.weight" in quern.fails("compile", tmp_path / "m.gguf", "-o", tmp_path / "out.quern")


def test_unknown_target_phase_and_unwritable_output(quern, tiny, tmp_path):
    assert "z80" in quern.fails("compile", tiny, "-o", tmp_path / "out", "--target", "z80")
    assert "no-phase" in quern.fails("compile", tiny, "-o", tmp_path / "out", "--stop-after", "no-phase")
    assert "only ONNX files have" in quern.fails("compile", tiny, "-o", tmp_path / "out", "--stop-after", "raise")
    assert "nowhere" in quern.fails("compile", tiny, "-o", tmp_path / "nowhere" / "out")
    quern.fails("compile", tiny)


@pytest.mark.parametrize("kind, size, message", [
    ("language model", 1 << 14, "set TMPDIR to a folder with room"), ("graph", 1 << 12, "set TMPDIR to a folder"),
    ("language model", 1 << 20, "m.quern: reserving room failed"), ("dump", 1 << 12, "01-import.mlir")])
def test_a_full_disk_leaves_no_package(quern, tiny, tmp_path, kind, size, message):
    """Object code passes through a temporary file before the package is written."""
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write past the limit fails like one to a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))

    model = SOURCE / "test" / "models" / "onnx" / "encoder.onnx" if kind == "graph" else tiny
    folders = [tmp_path / "temporary", tmp_path / "out"]
    for folder in folders:
        folder.mkdir()
    out = folders[1] / "m.quern"
    out.write_text("old")
    dump = ["--dump-phases", tmp_path / "ir"] if kind == "dump" else []
    error = quern.fails("compile", model, "--target", "x86-64-v2", "-o", out, *dump, preexec_fn=small_files,
                        env={**os.environ, "TMPDIR": str(folders[0])})
    assert message in error and "File too large" in error
    assert out.read_text() == "old" and [[p.name for p in f.iterdir()] for f in folders] == [[], ["m.quern"]]


@pytest.mark.parametrize("size", [0, 8, 31, 100, 5000, -1])
def test_truncated_package(quern, copy, size):
    data = open(copy, "rb").read()
    open(copy, "wb").write(data[:size])
    quern.fails("run", copy, "-p", "a")


def test_package_of_another_version(quern, copy):
    overwrite(copy, 8, struct.pack("<I", 99))
    assert "version" in quern.fails("run", copy, "-p", "a")


def test_something_else_than_a_package(quern, tmp_path):
    text = tmp_path / "text"
    text.write_text("once upon a time " * 1000)
    assert "text" in quern.fails("run", text, "-p", "a")


@pytest.mark.parametrize("name", ["manifest", "plan", "tokenizer", "code.x86-64-v2"])
def test_damaged_section_is_named(quern, copy, tiny_package, name):
    offset, size = sections(tiny_package)[name]
    overwrite(copy, offset + size // 2, b"\xff\x00\xff\x01\xfe")
    assert name in quern.fails("run", copy, "-p", "a")


def test_damaged_weights_are_found_on_demand(quern, copy, tiny_package):
    offset, size = sections(tiny_package)["weights"]
    overwrite(copy, offset + size // 2, b"\xa5\x5a\xa5\x5a")
    assert "weights" in quern.fails("inspect", copy, "--verify")


def test_no_code_for_this_processor(quern, tiny, tmp_path):
    package = quern.compile(tiny, tmp_path / "one.quern", "--target", "x86-64-avx512vnni")
    quern.fails("run", package, "-p", "a", "--mask-features", "all")


def test_prompts_that_cannot_be(quern, tiny_package, tmp_path):
    assert "context" in quern.fails("run", tiny_package, "-c", "64", "-n", "4", "--raw", "-p", "word " * 200)
    bad = tmp_path / "bad"
    bad.write_bytes(b"caf\xe9")
    assert "UTF-8" in quern.fails("run", tiny_package, "--raw", "-f", bad)


def test_chat_templates_that_are_not_known(quern, tiny_package):
    error = quern.fails("run", tiny_package, "-p", "a")  # the tiny model has none of its own
    assert "--raw" in error and "--template" in error
    assert "deepseek-r1" in quern.fails("run", tiny_package, "-p", "a", "--template", "no-such")


def test_perplexity_refuses_short_texts_and_foreign_files(quern, tiny_package, tmp_path):
    short = tmp_path / "short"
    short.write_text("the cat")
    assert "longer" in quern.fails("perplexity", tiny_package, "-f", short)
    assert "_logits_" in quern.fails("perplexity", tiny_package, "--kl-divergence-base", short, "--kl-divergence")


def test_following_other_prompts(quern, tiny_package, prompts, tmp_path):
    follow = tmp_path / "follow.jsonl"
    follow.write_text('{"prompt_tokens": [1], "steps": [{"lse": 1.0, "top": [[1, 1.0]]}]}\n' * 7)
    assert "other tokens" in quern.fails("logits", tiny_package, "--prompts", prompts, "--follow", follow)
    follow.write_text("nonsense\n")
    assert "line 1" in quern.fails("logits", tiny_package, "--prompts", prompts, "--follow", follow)
