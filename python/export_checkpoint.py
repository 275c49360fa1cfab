"""Exports a Hugging Face checkpoint of any size as ONNX, and writes what onnxruntime gives for prompts:

    export_checkpoint.py CHECKPOINT OUT FORM PROMPTS

FORM: torch-script, torch-dynamo, or the model builder's fp32, fp16, int4. OUT becomes a folder that `quern compile`
takes; OUT/logits.jsonl is for `quern logits --follow` and test/python/compare_logits.py. Needs what
export_onnx_models.py needs.
"""
import json
import shutil
import sys
from pathlib import Path

import transformers
from export_onnx_models import run_builder, torch_export
from make_onnx_models import logits

BESIDE = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")
STEPS, TOP = 8, 200


def export(checkpoint, out, form):
    if not form.startswith("torch-"):
        run_builder(checkpoint, out, form, "cuda" if form == "fp16" else "cpu", out.with_suffix(".cache"))
        return
    model = transformers.AutoModelForCausalLM.from_pretrained(checkpoint, dtype="auto").eval()
    out.mkdir(parents=True)
    torch_export(out / "model.onnx", form == "torch-dynamo", "sdpa", model, external=True)
    for name in BESIDE:
        shutil.copy(checkpoint / name, out)


def main():
    checkpoint, out, form, prompts = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3], Path(sys.argv[4])
    export(checkpoint, out, form)
    config = transformers.AutoConfig.from_pretrained(checkpoint)
    size = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    tokenizer = transformers.AutoTokenizer.from_pretrained(checkpoint)
    lines = [json.dumps(logits(out / "model.onnx", tokenizer(text.replace("\\n", "\n")).input_ids, STEPS, TOP,
                               (config.num_key_value_heads, size))) for text in prompts.read_text().splitlines()]
    (out / "logits.jsonl").write_text("\n".join(lines) + "\n")


if __name__ == "__main__":
    main()
