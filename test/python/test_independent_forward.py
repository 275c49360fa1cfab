"""The imported graph means what the model's publishers mean: the reference agrees with an independent numpy model."""
import numpy as np
import pytest
from numpy_model import NumpyModel
from tiny_model import write_model

SHAPES = {
    "qwen2": "--theta 1e6",
    "qwen2 tied": "--tied --heads 3 --kv-heads 1 --head-size 32 --eps 1e-5",
    "qwen3": "--arch qwen3 --heads 4 --kv-heads 2 --head-size 48 --theta 1e6",
    "llama": "--arch llama --eps 1e-5 --theta 5e5",
    "llama with frequency factors": "--arch llama --rope-freqs --tied --heads 8 --kv-heads 2 --layers 3",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["F32", "F16"])
def test_reference_agrees_with_numpy(quern, tmp_path, prompts, shape, kind):
    path = write_model(tmp_path / "m.gguf", "--type", kind, *SHAPES[shape].split())
    model = NumpyModel(path)
    for line in quern.logits(path, prompts, "--reference", "--float-activations", "-n", "3"):
        chosen = [step["top"][0][0] for step in line["steps"]]
        logits = model.logits(line["prompt_tokens"] + chosen[:-1])[-len(chosen):]
        for step, ours in zip(line["steps"], logits, strict=True):
            for token, logit in step["top"]:
                assert abs(logit - ours[token]) < 2e-4, (token, logit, ours[token])
            assert abs(step["lse"] - np.log(np.exp(ours).sum())) < 2e-4
