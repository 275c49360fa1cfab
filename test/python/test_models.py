"""Compiled code against the slow reference, whole models: every format, odd shapes, every target that runs here."""
import json

import pytest
from compare_logits import divergence
from tiny_model import FORMATS, write_model

# The reference computes in double on the very codes to which compiled code rounds activations, so what is left is the
# rounding of f32 sums and of the printed logits: 2e-9 at most. A single code more or less shows as 1e-6 to 1e-4.
EXACT = 1e-8
# Whether the target has fused multiply-add decides between neighbouring codes where a value lies near a tie.
TARGETS = {"fma": ([], []), "avx2": ([], ["--mask-features", "avx512f,avxvnni"]),
           "no fma": (["--no-fma"], ["--mask-features", "all"])}


def compare(quern, model, prompts, *cache):
    package = quern.compile(model, model.with_suffix(".quern"))
    follow = model.with_suffix(".jsonl")
    follow.write_text(quern.run("logits", model, "--prompts", prompts, "--reference", "-n", "4", *cache))
    for name, (arithmetic, masked) in TARGETS.items():
        reference = quern.logits(model, prompts, "--reference", "--follow", follow, "--top", "100", *arithmetic, *cache)
        ours = quern.logits(package, prompts, "--follow", follow, "--top", "100", *masked, *cache)
        each = [divergence([base], [our]) for base, our in zip(reference, ours, strict=True)]
        assert max(each) < EXACT, (name, each)


@pytest.mark.parametrize("format", FORMATS)
def test_format_everywhere(quern, tmp_path, prompts, format):
    tied = [] if format == "Q8_0" else ["--tied"]
    compare(quern, write_model(tmp_path / "m.gguf", "--type", format, *tied), prompts)


def test_formats_mixed_inside_fused_matmuls(quern, tmp_path, prompts):
    mix = {"attn_q.weight": "Q5_0", "attn_k.weight": "Q4_K", "attn_v.weight": "Q6_K", "ffn_gate": "IQ4_XS",
           "ffn_up": "Q5_1", "ffn_down": "Q3_K", "token_embd": "F16"}
    flags = [f"--tensor-type={name}={kind}" for name, kind in mix.items()]
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "Q8_0", *flags), prompts)


def test_floats_mixed_inside_fused_matmuls(quern, tmp_path, prompts):
    mix = {"attn_q.weight": "F16", "attn_v.weight": "F32", "ffn_gate": "F16", "ffn_down": "Q8_0"}
    flags = [f"--tensor-type={name}={kind}" for name, kind in mix.items()]
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "BF16", *flags), prompts)


@pytest.mark.parametrize("format", ["Q8_0", "F16"])
def test_rows_quantized_with_zero_points(quern, tmp_path, prompts, format):
    """Most products of a model round their input by row, as DynamicQuantizeLinear does; the output's does not."""
    mix = ("--tensor-type", "attn_k=Q6_K", "--tensor-type", "ffn_up=IQ4_NL", "--dynamic-quantize", "^blk")
    compare(quern, write_model(tmp_path / "m.gguf", "--type", format, *mix), prompts)


def test_bf16_gives_the_same_bits_on_every_target_with_fma(quern, tmp_path, prompts):
    package = quern.compile(write_model(tmp_path / "m.gguf", "--type", "BF16"), tmp_path / "m.quern")
    targets = [code["target"] for code in json.loads(quern.run("inspect", package, "--json"))["manifest"]["code"]]
    assert targets[0] == "x86-64-avx512bf16"
    logits = quern.run("logits", package, "--prompts", prompts, "-n", "4")
    for masked in ("avx512bf16", "avx512f,avxvnni"):
        assert quern.run("logits", package, "--prompts", prompts, "-n", "4", "--mask-features", masked) == logits


def test_code_for_bf16_is_left_out_where_it_is_not_needed(quern, tiny, tiny_package, tmp_path):
    def targets(package):
        return [code["target"] for code in json.loads(quern.run("inspect", package, "--json"))["manifest"]["code"]]
    assert targets(tiny_package)[0] == "x86-64-avx512vnni"
    asked = quern.compile(tiny, tmp_path / "asked.quern", "--target", "x86-64-avx512bf16")
    assert targets(asked) == ["x86-64-avx512bf16"]


SHAPES = {
    "one key-value head, odd feed-forward": "--hidden 192 --heads 3 --kv-heads 1 --ffn 352 --vocab 301 --tied",
    "heads wider than hidden": "--hidden 128 --heads 7 --kv-heads 1 --head-size 64 --ffn 96",
    "head size 128": "--hidden 256 --heads 2 --kv-heads 2 --head-size 128 --ffn 288 --vocab 285",
    "qwen3": "--arch qwen3 --hidden 128 --heads 4 --kv-heads 2 --head-size 48 --ffn 160",
    "llama": "--arch llama --hidden 128 --heads 4 --kv-heads 2 --ffn 160 --rope-freqs",
    "one block": "--layers 1 --hidden 32 --heads 1 --kv-heads 1 --ffn 32 --vocab 273 --tied",
}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("format", ["Q8_0", "Q4_0", "F16", "BF16"])
def test_odd_shapes(quern, tmp_path, prompts, shape, format):
    compare(quern, write_model(tmp_path / "m.gguf", "--type", format, *SHAPES[shape].split()), prompts)


@pytest.mark.parametrize("shape", ["one key-value head, odd feed-forward", "head size 128"])
def test_cache_in_bytes(quern, tmp_path, prompts, shape):
    """The reference takes codes of keys and values from the exact evaluation, and rounds neither query nor weight."""
    model = write_model(tmp_path / "m.gguf", "--type", "Q8_0", *SHAPES[shape].split())
    compare(quern, model, prompts, "--cache-type", "q8_0")


def test_cache_in_floats(quern, tmp_path, prompts):
    """Over an f32 cache a model of floats rounds nothing but sums: against a reference that rounds nothing at all."""
    model = write_model(tmp_path / "m.gguf", "--type", "F32")
    compare(quern, model, prompts, "--cache-type", "f32")
    unrounded = ("--reference", "--float-activations")
    package, follow = model.with_suffix(".quern"), tmp_path / "floats.jsonl"
    follow.write_text(quern.run("logits", model, "--prompts", prompts, "-n", "4", *unrounded))
    reference = quern.logits(model, prompts, "--follow", follow, "--top", "100", *unrounded)
    for name, (_, masked) in TARGETS.items():
        half, whole = (divergence(reference, quern.logits(package, prompts, "--follow", follow, "--top", "100",
                                                          "--cache-type", kind, *masked)) for kind in ("f16", "f32"))
        assert whole < EXACT / 10 and 10 * whole < half, (name, whole, half)


def test_split_files_are_one_model(quern, tmp_path, prompts):
    write_model(tmp_path / "m", "--type", "Q4_0", "--split", "3")
    whole = write_model(tmp_path / "whole.gguf", "--type", "Q4_0")
    parts = quern.compile(tmp_path / "m-00001-of-00003.gguf", tmp_path / "parts.quern")
    assert quern.logits(parts, prompts, "-n", "3") == quern.logits(quern.compile(whole, tmp_path / "w.quern"), prompts,
                                                                  "-n", "3")


def test_threads_do_not_change_logits(quern, tiny_package, prompts):
    one = quern.run("logits", tiny_package, "--prompts", prompts, "-n", "8", "-t", "1")
    assert quern.run("logits", tiny_package, "--prompts", prompts, "-n", "8", "-t", "2") == one
    assert quern.run("logits", tiny_package, "--prompts", prompts, "-n", "8", "-t", "5") == one
