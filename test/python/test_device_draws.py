"""Tokens drawn on the device, against those that the host's sampler draws from the same logits."""
import json

import pytest
from test_devices import environment, needs_fake
from tiny_model import write_model

MODEL = "--type Q8_0 --layers 1 --hidden 64 --heads 2 --kv-heads 1 --ffn 64 --vocab 285".split()
SETTINGS = ["--temp 0.7 --top-p 0.9", "--temp 1.3 --top-k 20 --min-p 0.02", "--temp 0.9 --top-p 1",
            "--temp 3 --top-k 50 --top-p 0.6", "--temp 0.5 --top-p 1 --min-p 0.1"]
# Divides by what changes no logit by more than rounding does, but has the host draw.
ON_HOST = ("--repeat-penalty", "1.0000001")


def has_opencl(quern):
    return any(device.get("target") == "spirv" for device in json.loads(quern.run("devices", "--json")))


@pytest.fixture(scope="module")
def package(quern, tmp_path_factory):
    model = write_model(tmp_path_factory.mktemp("draws") / "m.gguf", *MODEL)
    return quern.compile(model, model.with_suffix(".quern"), "--target", "x86-64-v2,nvptx:sm_80,spirv",
                         "--ptxas", "none")


def reply(quern, package, device, settings, seed, *flags):
    env = environment(True) if device == "cuda" else None
    return quern.run("run", package, "--device", device, "--raw", "-p", "ab", "-n", "8", *settings.split(),
                     "--seed", seed, *flags, env=env)


def compare(quern, package, device):
    replies = set()
    for seed, settings in enumerate(SETTINGS):
        drawn = reply(quern, package, device, settings, seed)
        assert drawn == reply(quern, package, device, settings, seed, *ON_HOST), settings
        replies.add(drawn)
    assert len(replies) == len(SETTINGS), "seeds and settings should tell"


@needs_fake
def test_ptx(quern, package):
    compare(quern, package, "cuda")


def test_spirv(quern, package):
    if not has_opencl(quern):
        pytest.skip("no OpenCL device")
    compare(quern, package, "opencl")
