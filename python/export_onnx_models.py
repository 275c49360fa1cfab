"""Exports a tiny Qwen2 with the real exporters, and writes the logits that onnxruntime gives, as make_onnx_models.py:

    export_onnx_models.py FOLDER [NAME...]

Needs torch (2.15), transformers (5.24), onnx, onnxscript, onnxruntime (1.32) and onnxruntime-genai; the tests that read
the folder need none of them.
"""
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import onnx
import torch
import transformers

from make_onnx_models import PROMPTS, logits
from quern_py import onnx_builder as tiny

sys.path.append(str(Path(__file__).resolve().parents[1] / "test" / "python"))
from hf_folder import HuggingFaceFolder  # noqa: E402
from tiny_model import write_model  # noqa: E402


COMMON = {
    "vocab_size": tiny.VOCABULARY, "hidden_size": tiny.HIDDEN, "intermediate_size": tiny.FFN,
    "num_hidden_layers": tiny.LAYERS, "num_attention_heads": tiny.HEADS, "num_key_value_heads": tiny.KV_HEADS,
    "head_dim": tiny.SIZE, "rms_norm_eps": tiny.EPSILON, "max_position_embeddings": 64, "bos_token_id": tiny.BEGIN,
    "eos_token_id": 262}
LLAMA3 = {"rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
          "original_max_position_embeddings": 1024}


def make_model(kind="Qwen2", tied=False):
    torch.manual_seed(1)
    rope = LLAMA3 if kind == "Llama" else {"rope_type": "default", "rope_theta": tiny.THETA}
    config = getattr(transformers, kind + "Config")(**COMMON, rope_parameters=rope, tie_word_embeddings=tied,
                                                    initializer_range=0.2)
    model = getattr(transformers, kind + "ForCausalLM")(config).eval()
    with torch.no_grad():
        for name, value in model.named_parameters():
            if "norm" in name or name.endswith("bias"):
                value.copy_(("norm" in name) + 0.3 * torch.randn_like(value))
    return model


def save(model, path):
    """Without what only says where nodes come from, which is most of some files."""
    for node in model.graph.node:
        node.doc_string = ""
        del node.metadata_props[:]
    for values in (model.graph.value_info, model.graph.metadata_props, model.metadata_props):
        del values[:]
    onnx.save(model, path)


class WithCache(torch.nn.Module):
    """Takes and gives the cache as plain tensors."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_ids, attention_mask, position_ids, *past):
        cache = transformers.DynamicCache(tuple(zip(past[0::2], past[1::2])))
        out = self.model(input_ids=input_ids, attention_mask=attention_mask, position_ids=position_ids,
                         past_key_values=cache, use_cache=True)
        return out.logits, *[one for layer in out.past_key_values.layers for one in (layer.keys, layer.values)]


def torch_export(path, dynamo, attention, model, external=False):
    """`external`: weights lie beside the file, as they must where they are large."""
    config = model.config
    config._attn_implementation = attention
    past, tokens, layers = 3, 2, config.num_hidden_layers
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    caches = [torch.randn(1, config.num_key_value_heads, past, size, dtype=model.dtype) for _ in range(2 * layers)]
    inputs = (torch.tensor([[5, 7]]), torch.ones(1, past + tokens, dtype=torch.int64), torch.tensor([[3, 4]]), *caches)
    names = [f"{{}}.{layer}.{kind}" for layer in range(layers) for kind in ("key", "value")]
    more = {"input_names": ["input_ids", "attention_mask", "position_ids",
                            *[n.format("past_key_values") for n in names]],
            "output_names": ["logits", *[n.format("present") for n in names]]}
    if dynamo:
        dim = torch.export.Dim
        batch, rows, old, all_rows = dim("batch"), dim("tokens"), dim("past"), dim("total")
        cache = {0: batch, 2: old}
        more["dynamic_shapes"] = ({0: batch, 1: rows}, {0: batch, 1: all_rows}, {0: batch, 1: rows},
                                  tuple(cache for _ in caches))
    else:
        more["dynamic_axes"] = {"input_ids": {0: "batch", 1: "tokens"}, "attention_mask": {0: "batch", 1: "total"},
                                "position_ids": {0: "batch", 1: "tokens"},
                                **{n.format("past_key_values"): {0: "batch", 2: "past"} for n in names}}
        more["opset_version"] = 17
    torch.onnx.export(WithCache(model), inputs, str(path), dynamo=dynamo, external_data=external, **more)
    if not external:
        save(onnx.load(path), path)


def run_builder(checkpoint, out, precision, device, cache, *options):
    """The model builder, as its command line runs it."""
    subprocess.run([sys.executable, "-m", "onnxruntime_genai.models.builder", "-m", "any", "-i", checkpoint, "-o", out,
                    "-p", precision, "-e", device, "-c", cache, "--extra_options", "hf_remote=false", *options],
                   check=True)


def genai_export(path, precision, *options, kind="Qwen2", tied=False, device="cpu"):
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, out = Path(folder) / "checkpoint", Path(folder) / "out"
        make_model(kind, tied).save_pretrained(checkpoint)
        tokenizer = HuggingFaceFolder(write_model(Path(folder) / "m.gguf", "--type", "F16", "--vocab",
                                                  str(tiny.VOCABULARY))).write(Path(folder) / "tokenizer")
        shutil.copy(tokenizer / "tokenizer.json", checkpoint)
        (checkpoint / "tokenizer_config.json").write_text('{"tokenizer_class": "PreTrainedTokenizerFast"}')
        run_builder(checkpoint, out, precision, device, Path(folder) / "cache", *options)
        save(onnx.load(out / "model.onnx"), path)  # with its external data
        shutil.copy(out / "genai_config.json", path.with_suffix(".genai.json"))


MODELS = {
    "torch-script": lambda path: torch_export(path, False, "sdpa", make_model()),
    "torch-script-eager": lambda path: torch_export(path, False, "eager", make_model(tied=True)),
    "torch-dynamo": lambda path: torch_export(path, True, "sdpa", make_model()),
    "torch-dynamo-qwen3": lambda path: torch_export(path, True, "sdpa", make_model("Qwen3")),
    "torch-dynamo-llama3": lambda path: torch_export(path, True, "eager", make_model("Llama", tied=True)),
    "builder-float": lambda path: genai_export(path, "fp32"),
    "builder-int4": lambda path: genai_export(path, "int4", "int4_block_size=32"),
    "builder-int4-tied": lambda path: genai_export(path, "int4", "int4_block_size=32", "shared_embeddings=true",
                                                   "int4_is_symmetric=false", tied=True),
    "builder-half": lambda path: genai_export(path, "fp16", device="cuda"),
    "builder-int8": lambda path: genai_export(path, "int8"),
    "builder-qwen3": lambda path: genai_export(path, "int4", "int4_block_size=32", kind="Qwen3"),
}


def main():
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for name in sys.argv[2:] or MODELS:
        path = folder / f"{name}.onnx"
        MODELS[name](path)
        lines = [json.dumps(logits(path, prompt)) for prompt in PROMPTS]
        path.with_suffix(".jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
