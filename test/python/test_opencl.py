"""SPIR-V on an OpenCL device against the reference: tiny models, and the real 0.5B where it was fetched."""
import json
import os
import subprocess

import pytest
from compare_logits import agreement, divergence, read
from conftest import BUILD
from embedded_mixes import MIXES, quantize_embedded, write_problems
from runtime_library import Library
from test_real_model import FETCH, GOLDENS
from tiny_model import write_model

# Sums over k run in f32 in another order than the reference's.
BOUND = 1e-4
RUNTIME = BUILD / "lib" / "libquern_runtime.so"


@pytest.fixture(scope="module", autouse=True)
def cache(tmp_path_factory):
    """No program of an earlier run of the tests, and none of the user."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("QUERN_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", autouse=True)
def device(quern):
    found = json.loads(quern.run("devices", "--json"))
    usable = [device for device in found if device.get("target") == "spirv"]
    if not usable:
        pytest.skip(next((device["problem"] for device in found if device["id"] == "opencl"), "no OpenCL device"))


def on_device(quern, package, prompts, *flags, **options):
    return quern.logits(package, prompts, "--device", "opencl", "--top", "100", *flags, **options)


def divergences(quern, tmp_path, model, prompts):
    """Of each prompt and what follows it on the device from the reference."""
    package = quern.compile(model, tmp_path / "m.quern", "--target", "spirv")
    follow = tmp_path / "follow.jsonl"
    follow.write_text(quern.run("logits", model, "--prompts", prompts, "--reference", "-n", "4", "--top", "100"))
    ours = on_device(quern, package, prompts, "--follow", follow)
    return [divergence([base], [our]) for base, our in zip(read(follow), ours, strict=True)]


# A driver of OpenCL takes most of the time, compiling.
MODELS = {"Q8_0": ["--type", "Q8_0"],
          "mix": ["--type", "Q4_K", "--tensor-type=attn_v.weight=Q6_K", "--tensor-type=ffn_down=Q8_0",
                  "--tensor-type=attn_q.weight=Q5_0"]}


@pytest.mark.parametrize("name", MODELS)
def test_tiny_models_are_as_the_reference(quern, tmp_path, prompts, name):
    each = divergences(quern, tmp_path, write_model(tmp_path / "m.gguf", *MODELS[name]), prompts)
    assert max(each) < BOUND, each


@pytest.mark.parametrize("mix", MIXES)
def test_embedded_model(quern, tmp_path, mix):
    each = divergences(quern, tmp_path, quantize_embedded(quern, tmp_path, mix), write_problems(tmp_path))
    assert sum(each) / len(each) < BOUND, each


def small_package(quern, folder, ffn=64):
    flags = f"--type Q8_0 --layers 1 --hidden 64 --heads 2 --kv-heads 1 --ffn {ffn} --vocab 285".split()
    return quern.compile(write_model(folder / "m.gguf", *flags), folder / "m.quern", "--target", "spirv")


def resident_bytes():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.skipif(not RUNTIME.exists(), reason="the runtime library is not built")
def test_sessions_leave_nothing_behind(quern, tmp_path):
    library = Library(RUNTIME)
    with library.open(small_package(quern, tmp_path, ffn=96), device=b"opencl") as model:
        for i in range(1000):
            session = model.session(1024)
            if i % 10 == 0:
                session.prefill([i % 250])
            library.c.quern_session_close(model.sessions.pop().handle)
            if i == 20:
                before, files = resident_bytes(), len(os.listdir("/proc/self/fd"))
        assert resident_bytes() - before < 32 << 20, "the caches are 128 KiB each"
        assert len(os.listdir("/proc/self/fd")) == files


def test_programs_are_compiled_once(quern, tmp_path, cache):
    package = small_package(quern, tmp_path)
    before = set(cache.iterdir())

    def run():
        result = quern.start("run", package, "--device", "opencl", "--raw", "-p", "ab", "-n", "4", "--temp", "0",
                             "--verbose")
        assert result.returncode == 0, result.stderr
        return result.stdout, "code for spirv (SPIR-V, compiled by an earlier run)" in result.stderr

    text, found = run()
    assert not found
    assert run() == (text, True)
    kept, = set(cache.iterdir()) - before
    program = kept.read_bytes()
    kept.write_bytes(program[:-1] + bytes([program[-1] ^ 1]))
    assert run() == (text, False)
    assert run() == (text, True)


def test_the_real_model_follows_llama(quern, tmp_path):
    """The first prompts and steps: it takes a second or more a token."""
    cached = subprocess.run([FETCH], capture_output=True, text=True) if FETCH.exists() else None
    if not cached or cached.returncode != 0:
        pytest.skip("the 0.5B is not here")
    package = quern.compile(cached.stdout.split()[-1], tmp_path / "qwen05.quern", "--target", "spirv")
    theirs = [line | {"steps": line["steps"][:16]} for line in read(GOLDENS / "qwen05-greedy.jsonl")[:2]]
    prompts = tmp_path / "prompts.txt"
    prompts.write_text("".join((GOLDENS / "prompts.txt").read_text().splitlines(keepends=True)[:2]))
    follow = tmp_path / "follow.jsonl"
    follow.write_text("".join(json.dumps(line) + "\n" for line in theirs))
    ours = on_device(quern, package, prompts, "--follow", follow, timeout=1200)
    same, total = agreement(theirs, ours, 0.3)
    assert same == total > 0
