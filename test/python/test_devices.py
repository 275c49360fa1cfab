"""`quern` and its choice of a device, over the fake driver of CUDA and without any driver."""
import ctypes
import json
import os

import pytest

from conftest import BUILD

FAKE = BUILD / "test" / "ptx" / "libcuda.so.1"

needs_fake = pytest.mark.skipif(not FAKE.exists(), reason="the fake driver is not built")


def environment(fake, **settings):
    env = {name: value for name, value in os.environ.items() if name != "LD_LIBRARY_PATH"}
    if fake:
        env["LD_LIBRARY_PATH"] = str(FAKE.parent)
    return env | {f"QUERN_FAKE_CUDA_{name}": str(value) for name, value in settings.items()}


def has_driver():
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


without_driver = pytest.mark.skipif(has_driver(), reason="there is a driver")


@needs_fake
def test_lists_devices(quern):
    def listed(**settings):
        found = json.loads(quern.run("devices", "--json", env=environment(True, **settings)))
        return [device for device in found if device["id"].startswith("cuda")]
    assert listed(CAPABILITY=86, MEMORY=3000) == [
        {"id": "cuda:0", "name": "PTX executor", "target": "nvptx:sm_86", "memory_bytes": 3000}]
    lines = quern.run("devices", env=environment(True)).splitlines()
    assert ["cuda:0", "PTX", "executor", "nvptx:sm_80", "1.00", "GiB"] in [line.split() for line in lines]
    assert listed(DEVICES=0) == [{"id": "cuda", "problem": "NVIDIA's driver finds no device"}]


OPENCL = BUILD / "test" / "opencl" / "libOpenCL.so.1"


@pytest.mark.skipif(not OPENCL.exists(), reason="the fake library of OpenCL is not built")
def test_lists_opencl_devices_that_cannot_be_used_with_the_reason(quern):
    def env(devices):
        return os.environ | {"LD_LIBRARY_PATH": str(OPENCL.parent), "QUERN_FAKE_OPENCL": devices}

    def listed(devices):
        found = json.loads(quern.run("devices", "--json", env=env(devices)))
        return [device for device in found if device["id"].startswith("opencl")]

    old = "the OpenCL device fake old (driver 7.1) lacks SPIR-V 1.3"
    usable = [{"id": f"opencl:{i}", "name": f"fake {kind}", "target": "spirv", "memory_bytes": 4 << 30}
              for i, kind in enumerate(["gpu", "cpu"])]
    assert listed("old,cpu,gpu") == [*usable, {"id": "opencl", "problem": old}]
    text = quern.run("devices", env=env("plain,gpu,old")).splitlines()
    assert f"opencl: {old}" in text
    assert any(line.startswith("opencl: the OpenCL device fake plain (driver 7.1) lacks sub-groups of 32 ") and
               "cl_khr_fp16" in line for line in text)
    groups = "sub-groups of 32 (cl_intel_required_subgroup_size), shuffles in sub-groups (cl_khr_subgroup_shuffle)"
    assert listed("single")[0]["problem"] == \
        f"the OpenCL device fake single (driver 7.1) lacks {groups}; update the driver"
    assert listed("floats")[0]["problem"] == \
        "the OpenCL device fake floats (driver 7.1) lacks numbers of 16 bits (cl_khr_fp16); update the driver"
    assert listed("old") == [{"id": "opencl", "problem": old + "; update the driver"}]
    assert listed("") == [{"id": "opencl", "problem": "OpenCL knows no device on this machine; install its driver"}]


@without_driver
def test_says_that_there_is_no_driver(quern, tiny_package, prompts):
    assert "cuda: none, there is no NVIDIA driver (libcuda.so.1: " in quern.run("devices", env=environment(False))
    error = quern.fails("logits", tiny_package, "--prompts", prompts, "--device", "cuda", env=environment(False))
    assert error.startswith("error: there is no NVIDIA driver (libcuda.so.1: ")


def test_says_that_a_driver_lacks_a_function(quern, tiny_package, prompts, tmp_path):
    """Drivers from before a function: some other library stands for them."""
    for name in ("libcuda.so.1", "libOpenCL.so.1"):
        (tmp_path / name).symlink_to(BUILD / "lib" / "libquern_runtime.so")
    env = environment(False) | {"LD_LIBRARY_PATH": str(tmp_path)}
    old = "NVIDIA's driver is too old: it has no function cuInit; CUDA 12.0 (driver 525) or later is needed"
    assert quern.fails("logits", tiny_package, "--prompts", prompts, "--device", "cuda", env=env) == f"error: {old}"
    listed = quern.run("devices", env=env)
    assert f"cuda: none, {old}" in listed
    assert "opencl: none, the OpenCL loader on this machine is too old: it has no clGetPlatformIDs" in listed


@needs_fake
def test_says_what_the_package_has_code_for(quern, tiny_package, prompts):
    error = quern.fails("logits", tiny_package, "--prompts", prompts, "--device", "cuda:0", env=environment(True))
    assert "has no code for cuda:0 (PTX executor, nvptx:sm_80); it has x86-64" in error
    assert error.endswith("compile the model with --target nvptx:sm_80")
    error = quern.fails("logits", tiny_package, "--prompts", prompts, "--device", "gpu", env=environment(True))
    assert "'gpu' names no device; it should be one of cpu, auto, cuda, cuda:N" in error


def test_auto_falls_back_and_says_so_where_it_was_asked_for(quern, tiny_package, prompts):
    arguments = ("logits", tiny_package, "--prompts", prompts, "-n", 1)
    quiet, asked, cpu = (quern.start(*arguments, *flags) for flags in ([], ["--device", "auto"], ["--device", "cpu"]))
    assert quiet.stdout == asked.stdout == cpu.stdout != ""
    assert quiet.stderr == cpu.stderr == ""
    lines = asked.stderr.splitlines()
    assert len(lines) == 1 and lines[0].startswith("quern: runs on the processor: ")
    assert "has no code for devices; compile the model for one too, e.g. with --target nvptx:sm_80" in lines[0]
