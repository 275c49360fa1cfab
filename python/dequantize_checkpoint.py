"""Makes the Hugging Face folder that export_checkpoint.py and make_onnx_checkpoint.py start from: the weights of a
qwen2 GGUF file as F32, whatever they are quantized to, the head written out where it is tied.

    dequantize_checkpoint.py MODEL.gguf OUT

Needs the packages gguf, whose decoders are not ours, and safetensors.
"""
import sys
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType
from gguf.quants import dequantize
from safetensors.numpy import save_file

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "test" / "python"))
from hf_folder import HuggingFaceFolder  # noqa: E402


class FloatFolder(HuggingFaceFolder):
    def tensor(self, stored, _):
        data = np.frombuffer(stored.data, np.uint8).reshape(*stored.shape[:-1], -1)
        return "F32", stored.shape, dequantize(data, GGMLQuantizationType(stored.type_id))

    def write_tensors(self, path, names):
        save_file({name: self.tensors[name][2] for name in names}, path)


def main():
    folder = FloatFolder(sys.argv[1])
    folder.tensors.setdefault("lm_head.weight", folder.tensors["model.embed_tokens.weight"])
    folder.config["tie_word_embeddings"] = False
    for name in ("tokenizer.ggml.bos_token_id", "tokenizer.ggml.eos_token_id"):
        folder.config[name.split(".")[-1].removesuffix("_token_id") + "_token_id"] = folder.keys[name]
    folder.tokenizer.pop("post_processor")  # of a qwen2, which begins no prompt with a token of its own
    folder.tokenizer_config["add_bos_token"] = False
    folder.write(Path(sys.argv[2]))


if __name__ == "__main__":
    main()
