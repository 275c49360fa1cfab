"""Machine code for NVIDIA GPUs, made by ptxas where it is: what of it is in packages, and what runs where."""
import json
import os
import shutil
import stat

import pytest
from test_devices import environment, needs_fake
from tiny_model import write_model

needs_ptxas = pytest.mark.skipif(not shutil.which("ptxas"), reason="there is no ptxas")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("machine-code") / "m.gguf", *"--type Q8_0 --layers 1 --hidden 64 "
                       "--heads 2 --kv-heads 1 --ffn 64 --vocab 285".split())


def without_ptxas(**more):
    return {name: value for name, value in os.environ.items() if name != "CUDA_HOME"} | {"PATH": "/nowhere"} | more


def program(path, text):
    path.parent.mkdir(parents=True)
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


# Stands for the assembler: what it was asked for becomes the machine code.
ECHO = 'printf %s "$1" > "$4"'


def cubins(quern, package):
    manifest = json.loads(quern.run("inspect", package, "--json"))["manifest"]
    return {device["target"]: device.get("cubins", {}) for device in manifest["devices"]}


def test_packages_without_machine_code_are_the_same_with_and_without_an_assembler(quern, model, tmp_path):
    flags = "--target", "nvptx:sm_80"
    none = tmp_path / "none.quern", tmp_path / "absent.quern"
    quern.compile(model, none[0], *flags, "--ptxas", "none")
    quern.run("compile", model, "-o", none[1], *flags, env=without_ptxas())
    assert none[0].read_bytes() == none[1].read_bytes()
    assert cubins(quern, none[0]) == {"nvptx:sm_80": {}}


def test_the_assembler_is_found_and_named(quern, model, tmp_path):
    assembler = program(tmp_path / "cuda" / "bin" / "ptxas", ECHO)
    package = tmp_path / "m.quern"
    targets = "--target", "nvptx:sm_86,nvptx:sm_89,nvptx:sm_75"
    expected = {"nvptx:sm_86": {"86": "cubin/sm_86", "89": "cubin/sm_89"}, "nvptx:sm_75": {"75": "cubin/sm_75"}}
    quern.run("compile", model, "-o", package, *targets, env=without_ptxas(CUDA_HOME=str(tmp_path / "cuda")))
    assert cubins(quern, package) == expected
    found = package.read_bytes()
    quern.run("compile", model, "-o", package, *targets, "--ptxas", assembler, env=without_ptxas())
    assert package.read_bytes() == found
    quern.run("inspect", package, "--verify")
    assert b"-arch=sm_89" in found
    assert "sm_86 sm_89" in quern.run("inspect", package)


def test_an_assembler_that_fails(quern, model, tmp_path):
    package = tmp_path / "m.quern"
    broken = program(tmp_path / "bin" / "ptxas", "echo 'ptxas fatal : no such chip'; echo aborted >&2; exit 3")
    flags = "compile", model, "-o", package, "--target", "nvptx:sm_80"
    error = quern.fails(*flags, "--ptxas", broken)
    assert f"'{broken}' makes no machine code for sm_80: it ends with status 3" in error
    assert error.endswith("it says: ptxas fatal : no such chip; aborted")
    assert not package.exists()
    warned = quern.start(*flags, env=without_ptxas(PATH=str(broken.parent)))
    assert warned.returncode == 0 and "it says: ptxas fatal : no such chip; aborted" in warned.stderr
    assert "warning: " in warned.stderr and "PTX alone" in warned.stderr
    assert cubins(quern, package) == {"nvptx:sm_80": {}}
    error = quern.fails(*flags, "--ptxas", tmp_path / "absent")
    assert f"--ptxas: '{tmp_path / 'absent'}' is no program that can be run" in error


@needs_ptxas
@needs_fake
def test_machine_code_of_the_real_assembler(quern, model, tmp_path):
    """The executor takes none and runs the PTX, which it says."""
    package = quern.compile(model, tmp_path / "m.quern", "--target", "nvptx:sm_80", "--ptxas", "ptxas")
    assert cubins(quern, package) == {"nvptx:sm_80": {"80": "cubin/sm_80"}}
    assert b"\x7fELF" in package.read_bytes()
    again = quern.compile(model, tmp_path / "again.quern", "--target", "nvptx:sm_80")
    assert again.read_bytes() == package.read_bytes()
    result = quern.start("run", package, "--raw", "-p", "ab", "-n", "2", "--temp", "0", "--verbose", "--device", "cuda",
                         env=environment(True))
    assert result.returncode == 0
    assert "code for nvptx:sm_80 (PTX, since machine code for sm_80 cannot be used: " in result.stderr
