"""A model compiled for the processor and a GPU: where it runs, what it says, and what happens when the device fails."""
import re

import pytest
from test_devices import environment, needs_fake
from tiny_model import write_model

pytestmark = needs_fake


@pytest.fixture(scope="module")
def package(quern, tmp_path_factory):
    model = tmp_path_factory.mktemp("both") / "m.gguf"
    write_model(model, "--type", "Q8_0", "--layers", "1", "--hidden", "64", "--heads", "2", "--kv-heads", "1", "--ffn",
                "64", "--vocab", "285")
    return quern.compile(model, model.with_suffix(".quern"), "--target", "x86-64-v2,nvptx:sm_80",
                         "--ptxas", "none")


def run(quern, package, *flags, **settings):
    """What one token follows a short prompt, and what is said on standard error."""
    result = quern.start("run", package, "--raw", "-p", "ab", "-n", "3", "--temp", "0", "--verbose", *flags,
                         env=environment(True, **settings))
    return result.stdout, result.stderr


def test_runs_on_the_device_where_there_is_one(quern, package):
    text, said = run(quern, package)
    assert "code for nvptx:sm_80 (PTX), cuda:0 (PTX executor)" in said and "processor" not in said
    on_processor, said = run(quern, package, "--device", "cpu", "-t", "1")
    assert on_processor == text
    assert "code for x86-64-v2, 1 threads" in said and "quern:" not in said
    chosen, said = run(quern, package, "--target", "x86-64-v2")
    assert chosen == text and "code for x86-64-v2" in said and "quern:" not in said


@pytest.mark.parametrize(("settings", "why"), [
    ({"DEVICES": 0}, "NVIDIA's driver finds no device"),
    ({"VERSION": 11080}, "NVIDIA's driver is too old: it is for CUDA 11.8"),
    ({"CAPABILITY": 75}, "has no code for cuda:0 (PTX executor, nvptx:sm_75)"),
    ({"CAPABILITY": 70}, "has the compute capability 7.0; 7.5 or later is needed"),
    ({"MEMORY": 1000}, "the model needs "),
])
def test_falls_back_to_the_processor_and_says_why(quern, package, settings, why):
    text, said = run(quern, package, **settings)
    assert text and said.startswith("quern: runs on the processor: ") and why in said.splitlines()[0]
    assert "code for x86-64-v2" in said
    refused = quern.fails("run", package, "-p", "ab", "--device", "cuda", env=environment(True, **settings))
    assert why in refused


def test_falls_back_where_the_context_does_not_fit(quern, package):
    """The model's own context of 2,048 takes 256 KiB; one of 512 fits beside the model."""
    refused = quern.fails("run", package, "-p", "ab", "--device", "cuda", env=environment(True, MEMORY=1000))
    needed = float(re.search(r"the model needs ([0-9.]+) MiB", refused)[1])
    settings = {"MEMORY": int((needed + 0.15) * 2**20)}
    why = "the key-value cache of a context of 2048 tokens needs 256.0 KiB on cuda:0"
    text, said = run(quern, package, **settings)
    assert text and said.startswith(f"quern: runs on the processor: {why}") and "code for x86-64-v2" in said
    refused = quern.fails("run", package, "-p", "ab", "--device", "cuda", env=environment(True, **settings))
    assert why in refused and " would fit (-c " in refused
    fitting, said = run(quern, package, "-c", "512", **settings)
    assert fitting == text and "code for nvptx:sm_80" in said and "processor" not in said


def test_a_fault_names_its_op(quern, package, prompts):
    arguments = "logits", package, "--prompts", prompts, "-n", "8", "--device", "cuda"
    error = quern.fails(*arguments, env=environment(True, FAIL_LAUNCH=1))
    assert " in lm.embedding 'token_embd.weight' (kernel embedding_" in error
    launches = 60  # beyond the first prompt and the first token after it, before the next prompt
    error = quern.fails(*arguments, env=environment(True, FAIL_LAUNCH=launches))
    assert "in a step of 1 tokens (--check-kernels tells in which op)" in error
    error = quern.fails(*arguments, "--check-kernels", env=environment(True, FAIL_LAUNCH=launches))
    assert "(kernel " in error and "(--device cpu)" in error


def test_measures_speed_and_kernels(quern, package):
    table = quern.run("bench", "-m", package, "-p", "3", "-n", "2", "-r", "1", "--device", "cuda", "--per-op",
                      env=environment(True))
    assert "| nvptx:sm_80 " in table and "tg2, cuda:0 (PTX executor): " in table
    assert "lm.embedding" in table and "dq.matmul" in table and "of the time" in table


def test_inspect_shows_the_code_for_devices(quern, package):
    shown = quern.run("inspect", package, "--verify")
    assert "code for devices" in shown and "nvptx:sm_80  cuda" in shown
    assert "all sections, the weights included, are as they were written" in shown
