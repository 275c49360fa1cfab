"""The runtime library as another program meets it: size, what it needs and shows, how it is installed and used."""
import os
import re
import subprocess
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
BUILD = Path(os.environ.get("QUERN_BUILD", SOURCE / "build"))
LIBRARY = BUILD / "lib" / "libquern_runtime.so"
SIZE_LIMIT = 1_000_000
SYSTEM_LIBRARIES = r"(libstdc\+\+|libm|libgcc_s|libc|ld-linux-[a-z0-9-]+)\.so"


def output_of(*command, **options):
    return subprocess.run([str(word) for word in command], check=True, capture_output=True, text=True, **options).stdout


def cached(name):
    """A variable of the build's CMake cache."""
    return re.search(rf"^{name}:[A-Z]+=(.*)$", (BUILD / "CMakeCache.txt").read_text(), re.M).group(1)


needs_plain_build = pytest.mark.skipif(
    (BUILD / "CMakeCache.txt").exists() and cached("QUERN_SANITIZE") == "ON",
    reason="the sanitizers' library is larger, exports their symbols and needs their flags in every program")


def test_needs_only_the_systems_libraries():
    needed = re.findall(r"NEEDED.*\[(.*)\]", output_of("readelf", "-d", LIBRARY))
    assert [name for name in needed if not re.match(SYSTEM_LIBRARIES, name)] == []


@needs_plain_build
def test_stripped_it_is_small(tmp_path):
    output_of("strip", "-o", tmp_path / "stripped.so", LIBRARY)
    assert (tmp_path / "stripped.so").stat().st_size < SIZE_LIMIT


@needs_plain_build
def test_shows_the_c_api_and_nothing_else():
    shown = {line.split()[-1] for line in output_of("nm", "-D", "--defined-only", LIBRARY).splitlines()}
    header = (SOURCE / "include" / "quern" / "quern.h").read_text()
    assert shown == set(re.findall(r"QUERN_API [^;(]*?(quern_\w+)\(", header))


def test_its_sources_include_no_mlir_and_no_llvm():
    for folder in ("lib/Runtime", "include/quern/Runtime"):
        for path in (SOURCE / folder).iterdir():
            assert not re.search(r'#include ["<](mlir|llvm)', path.read_text()), path


@pytest.fixture(scope="module")
def prefix(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prefix")
    output_of("cmake", "--install", BUILD, "--component", "runtime", "--prefix", folder)
    return folder


@needs_plain_build
def test_the_example_builds_with_the_cmake_package(prefix, tmp_path):
    example = SOURCE / "docs" / "examples" / "embed"
    assert len((example / "main.cpp").read_text().splitlines()) <= 30
    output_of("cmake", "-S", example, "-B", tmp_path, f"-DCMAKE_PREFIX_PATH={prefix}",
              f"-DCMAKE_CXX_COMPILER={cached('CMAKE_CXX_COMPILER')}")
    output_of("cmake", "--build", tmp_path)
    run = subprocess.run([tmp_path / "embed", tmp_path / "none.quern", "Hello?"], capture_output=True, text=True)
    assert run.returncode == 1
    assert run.stderr == f"embed: {tmp_path}/none.quern: cannot be opened: No such file or directory\n"


@needs_plain_build
def test_a_c_program_builds_with_pkg_config(prefix, tmp_path):
    (tmp_path / "version.c").write_text('#include <quern/quern.h>\n#include <stdio.h>\n'
                                        'int main(void) { puts(quern_version()); return 0; }\n')
    folder = next(prefix.rglob("quern.pc")).parent
    environment = dict(os.environ, PKG_CONFIG_PATH=str(folder))
    flags = output_of("pkg-config", "--cflags", "--libs", "quern", env=environment).split()
    output_of(cached("CMAKE_C_COMPILER"), "-std=c11", tmp_path / "version.c", *flags, "-o", tmp_path / "version")
    run_environment = dict(os.environ, LD_LIBRARY_PATH=str(folder.parent))
    assert output_of(tmp_path / "version", env=run_environment) == output_of("pkg-config", "--modversion", "quern",
                                                                             env=environment)
