"""The real 0.5B against llama.cpp's logits, where the fetch script and the reference logits lie beside the clone."""
import subprocess
from pathlib import Path

import pytest
from compare_logits import agreement, divergence, read

SHARED = Path(__file__).resolve().parents[3] / "shared"
FETCH, GOLDENS = SHARED / "models" / "fetch-qwen05", SHARED / "data" / "goldens"
# llama.cpp's own divergence between quantized and float activations on these prompts.
LLAMA_DIVERGENCE = 3.83e-4


@pytest.fixture(scope="module")
def ours(quern, tmp_path_factory):
    if not FETCH.exists() or not GOLDENS.is_dir():
        pytest.skip(f"{FETCH} is not here")
    fetched = subprocess.run([FETCH], capture_output=True, text=True)
    if fetched.returncode != 0:
        pytest.skip(f"the 0.5B could not be fetched: {fetched.stderr.strip()[-200:]}")
    model = fetched.stdout.split()[-1]
    package = quern.compile(model, tmp_path_factory.mktemp("real") / "qwen05.quern")
    lines = quern.logits(package, GOLDENS / "prompts.txt", "--follow", GOLDENS / "qwen05-greedy.jsonl", "--top", "100",
                         timeout=1200)
    package.unlink()
    return lines


def test_same_best_tokens_as_llama(ours):
    theirs = read(GOLDENS / "qwen05-greedy.jsonl")
    same, total = agreement(theirs, ours, 0.3)
    assert same == total
    same, total = agreement(theirs, ours, 0.1)
    assert same >= 0.99 * total


def test_divergence_from_float_no_larger_than_llamas(ours):
    assert divergence(read(GOLDENS / "qwen05-float.jsonl"), ours) <= LLAMA_DIVERGENCE
