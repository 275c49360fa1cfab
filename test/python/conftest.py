"""Fixtures of the end-to-end tests: the built `quern`, tiny models made for the run, the embedded model."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(SOURCE / "python"), str(Path(__file__).parent)]
BUILD = Path(os.environ.get("QUERN_BUILD", SOURCE / "build"))


class Quern:
    """Runs the command; every run must end in time and by its own exit, never by a signal."""

    def __init__(self, folder):
        self.program, self.compiler = folder / "quern", folder / "quern-compiler"

    def start(self, *arguments, **options):
        options.setdefault("timeout", 600)
        result = subprocess.run([str(self.program), *map(str, arguments)], capture_output=True,
                                stdin=options.pop("stdin", subprocess.DEVNULL), **options)
        result.stdout, result.stderr = result.stdout.decode(), result.stderr.decode()
        assert result.returncode >= 0, f"quern {arguments} died of signal {-result.returncode}: {result.stderr}"
        return result

    def run(self, *arguments, **options):
        """Standard output of a run that must succeed."""
        result = self.start(*arguments, **options)
        assert result.returncode == 0, f"quern {arguments}: {result.stderr}"
        return result.stdout

    def fails(self, *arguments, **options):
        """The error of a run that must fail: one line that begins with "error: "."""
        result = self.start(*arguments, **options)
        assert result.returncode == 1, f"quern {arguments} ended with {result.returncode}: {result.stderr}"
        lines = result.stderr.splitlines()
        assert len(lines) == 1 and lines[0].startswith("error: "), result.stderr
        return lines[0]

    def compile(self, model, package, *flags):
        self.run("compile", model, "-o", package, *flags)
        return package

    def logits(self, model, prompts, *flags, **options):
        text = self.run("logits", model, "--prompts", prompts, *flags, **options)
        return [json.loads(line) for line in text.splitlines()]


@pytest.fixture(scope="session")
def quern():
    return Quern(BUILD / "bin")


@pytest.fixture(scope="session")
def prompts(tmp_path_factory):
    """Short prompts of plain text, as a file."""
    path = tmp_path_factory.mktemp("prompts") / "prompts.txt"
    path.write_text("the cat and then the hat\nHello, wörld 123\na\\nb\n10 in a row\nif (x > 0) { y = 1; }\nz\n"
                    "das Gerät läuft\n")
    return path


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A tiny Q8_0 model."""
    from tiny_model import write_model
    return write_model(tmp_path_factory.mktemp("tiny") / "tiny.gguf", "--type", "Q8_0", "--tied", "--vocab", "283")


@pytest.fixture(scope="session")
def tiny_package(quern, tiny):
    return quern.compile(tiny, tiny.with_suffix(".quern"))


@pytest.fixture(scope="session")
def embedded():
    found = sorted((SOURCE / "test" / "models").glob("*.gguf"))
    assert found, "the embedded model is missing from test/models"
    return found[0]


@pytest.fixture(scope="session")
def heldout():
    """Problems whose numbers and names never occur together in training, one JSON object a line."""
    return SOURCE / "test" / "models" / "heldout.jsonl"


@pytest.fixture(scope="session")
def embedded_package(quern, embedded, tmp_path_factory):
    return quern.compile(embedded, tmp_path_factory.mktemp("embedded") / "embedded.quern")
