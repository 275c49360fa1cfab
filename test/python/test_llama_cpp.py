"""Files of `quern quantize` in llama.cpp: every format that GGUF has loads there and gives Quern's logits. Runs where
the package llama-cpp-python is installed."""
import json
import math

import numpy as np
import pytest
from compare_logits import divergence
from float_model import write_float_model

llama_cpp = pytest.importorskip("llama_cpp")

# With the greatest mean KL divergence in nats. Weights are the same bits, so a wrong layout shows as whole nats. Both
# keep keys and values in f16, and round activations: beside BF16 both to BF16, beside F16 llama.cpp alone to F16,
# beside blocks to bytes, Quern in groups of 32, llama.cpp in groups of as many as a block has, 32 or 256.
LIMITS = {1e-6: ["F32", "F16"], 3e-5: ["BF16"],
          2e-4: ["Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "IQ4_NL", "MXFP4"],
          5e-4: ["Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K", "IQ4_XS"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_float_model(tmp_path_factory.mktemp("llama") / "f32.gguf", kind="F32", layers=2)


def llama_logits(path, record):
    """The record's prompts and its tokens fed to llama.cpp, as records of `quern logits`."""
    llama = llama_cpp.Llama(str(path), n_ctx=128, n_batch=128, n_threads=1, logits_all=True, verbose=False)
    out = []
    for one in record:
        tokens = one["prompt_tokens"] + [step["top"][0][0] for step in one["steps"]]
        llama.reset()
        llama.eval(tokens)
        steps = []
        for i in range(len(one["steps"])):
            logits = np.array(llama.scores[len(one["prompt_tokens"]) - 1 + i], np.float64)
            best = np.argsort(-logits)
            steps.append({"top": [[int(t), float(logits[t])] for t in best],
                          "lse": float(logits.max() + math.log(np.exp(logits - logits.max()).sum()))})
        out.append({"steps": steps})
    return out


@pytest.mark.parametrize("format, limit", [(format, limit) for limit, formats in LIMITS.items() for format in formats])
def test_same_logits(quern, model, tmp_path, prompts, format, limit):
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({".*weight": format}))
    quern.run("quantize", model, "--recipe", recipe, "-o", tmp_path / "q.gguf")
    package = quern.compile(tmp_path / "q.gguf", tmp_path / "q.quern", "--target", "x86-64-v2")
    ours = quern.logits(package, prompts, "-n", "4", "--top", "320")
    theirs = llama_logits(tmp_path / "q.gguf", ours)
    assert divergence(theirs, ours) < limit
