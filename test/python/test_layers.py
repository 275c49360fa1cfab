"""The arrows between libraries point one way: a room of lib/ may include only rooms that lie below it, and the runtime
knows neither MLIR nor LLVM."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

# What each room may include besides itself. Package's and Runtime's headers hold the two contracts that compiler and
# runtime share: the package format and the kernel ABI.
BELOW = {
    "Support": set(),
    "Formats": {"Support"},
    "Runtime": {"Support", "Package"},
    "Package": {"Support", "Runtime"},
    "Import": {"Support", "Formats", "Package", "Runtime"},
    "Quantize": {"Support", "Formats", "Import"},
    "Transforms": {"Support", "Formats", "Quantize"},
    "Codegen": {"Support", "Formats", "Runtime", "Transforms"},
    "Pipelines": {"Support", "Formats", "Runtime", "Package", "Import", "Quantize", "Transforms", "Codegen"},
    "Reference": {"Support", "Formats", "Import", "Transforms", "Codegen", "Pipelines"},
}
INCLUDE = re.compile(r'#include ["<](?:quern|lib)/([A-Za-z]+)/')


def sources(room):
    for folder in (ROOT / "lib" / room, ROOT / "include" / "quern" / room):
        yield from (path for path in folder.rglob("*") if path.suffix in (".cpp", ".h"))


def test_every_room_is_listed():
    assert {path.name for path in (ROOT / "lib").iterdir() if path.is_dir()} == set(BELOW)


@pytest.mark.parametrize("room", BELOW)
def test_includes_point_downwards(room):
    wrong = []
    for path in sources(room):
        for other in INCLUDE.findall(path.read_text()):
            if other != room and other not in BELOW[room]:
                wrong.append(f"{path.relative_to(ROOT)} includes {other}")
    assert not wrong


def test_runtime_sources_know_no_compiler():
    for path in [*sources("Runtime"), *(ROOT / "include" / "quern").glob("quern.h*")]:
        assert not re.search(r'#include ["<](mlir|llvm|dialects)/', path.read_text()), path
