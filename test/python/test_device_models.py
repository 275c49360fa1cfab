"""Whole models compiled for NVIDIA GPUs, run over the fake driver by the PTX executor, against the slow reference."""
import json

import pytest
from compare_logits import divergence
from conftest import SOURCE
from embedded_mixes import MIXES, quantize_embedded, write_problems
from quern_py.gguf_reader import GGUFFile
from test_devices import environment, needs_fake
from tiny_model import write_model

pytestmark = needs_fake

# Both take activations in the same codes, but sums over k run in another order, so that a value near a tie may become
# the neighbouring code: 1e-6 to 1e-4 each.
CLOSE = 1e-4
SMALL = "--layers 2 --hidden 256 --heads 4 --kv-heads 2 --ffn 256 --vocab 285".split()


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    """A prompt of a few tokens, and one for the kernels of prompts."""
    path = tmp_path_factory.mktemp("texts") / "prompts.txt"
    path.write_text("abcd\nThe end of it, or so one would have thought\n")
    return path


def compile_for_gpu(quern, model, capability=80):
    return quern.compile(model, model.with_suffix(".gpu.quern"), "--target", f"nvptx:sm_{capability}",
                         "--ptxas", "none")


def compare(quern, model, texts, seeds=(1,), capability=80, close=CLOSE, version=12000):
    package = compile_for_gpu(quern, model, capability)
    follow = model.with_suffix(".jsonl")
    follow.write_text(quern.run("logits", model, "--prompts", texts, "--reference", "-n", "2"))
    reference = quern.logits(model, texts, "--reference", "--follow", follow, "--top", "100")
    for seed in seeds:
        ours = quern.logits(package, texts, "--follow", follow, "--top", "100", "--device", "cuda",
                            env=environment(True, SEED=seed, CAPABILITY=capability, VERSION=version))
        each = [divergence([base], [our]) for base, our in zip(reference, ours, strict=True)]
        assert sum(each) / len(each) < close, (seed, each)


@pytest.mark.parametrize("format", ["Q8_0", "Q4_K", "Q5_K", "Q6_K", "F16", "BF16"])
def test_format(quern, tmp_path, texts, format):
    compare(quern, write_model(tmp_path / "m.gguf", "--type", format, *SMALL), texts)


@pytest.mark.parametrize("capability, version", [(75, 12000), (90, 12020), (90, 12030)])
def test_capability(quern, tmp_path, texts, capability, version):
    """Launches overlap at 9.0 from CUDA 12.3 on."""
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "Q4_K", *SMALL, "--tensor-type=attn_v.weight=Q6_K"),
            texts, capability=capability, version=version)


def test_formats_mixed_inside_fused_matmuls_in_several_orders_of_threads(quern, tmp_path, texts):
    mix = {"attn_q.weight": "Q5_0", "attn_k.weight": "Q4_K", "attn_v.weight": "Q6_K", "ffn_gate": "IQ4_XS",
           "ffn_up": "Q5_1", "ffn_down": "Q3_K"}
    flags = [f"--tensor-type={name}={kind}" for name, kind in mix.items()]
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "Q8_0", *SMALL, *flags), texts, seeds=(1, 2, 3))


@pytest.mark.parametrize("mix", MIXES)
def test_embedded_model(quern, tmp_path, mix):
    compare(quern, quantize_embedded(quern, tmp_path, mix), write_problems(tmp_path), seeds=(4, 5, 6))


@pytest.mark.parametrize("mix, close", [("Q8_0", CLOSE), ("F16", 1e-7)])
def test_embedded_model_in_steps_of_many_tokens(quern, tmp_path, mix, close):
    """Attention on tensor cores; this model feels what is rounded more than random ones do. In F16 they
    would be 8e-7 apart if rows of activations were only rounded to f16."""
    texts = tmp_path / "prompts.txt"
    texts.write_text("17*3+25-8*2+60-31*2=\n(12+5)*3-40+7-(2+3)*6=\n")
    compare(quern, quantize_embedded(quern, tmp_path, mix), texts, close=close)


def test_matmuls_so_large_that_prompts_multiply_f16(quern, tmp_path, texts):
    shape = "--layers 1 --hidden 512 --heads 4 --kv-heads 2 --ffn 2048 --vocab 285".split()
    mix = "--type", "Q4_K", "--tensor-type=ffn_down=Q6_K", "--tensor-type=ffn_up=Q8_0"
    model = write_model(tmp_path / "m.gguf", *mix, *shape)
    compare(quern, model, texts)
    package = model.with_suffix(".gpu.quern").read_bytes()
    assert b"prompt_f16_swiglu_q4_K_q8_0" in package and b"prompt_f16_q6_K" in package


@pytest.mark.parametrize("capability", [75, 80])
def test_formats_that_gguf_has_not(quern, tmp_path, texts, capability):
    """Against the code for processors, since the reference reads GGUF."""
    recipe = tmp_path / "recipe.json"
    recipe.write_text(json.dumps({r"blk.*ffn_gate.*": "Q8_0", r"blk.*ffn.*": "MXFP6_E3M2",
                                  r"blk.*attn.*|output.*": "MXFP6_E2M3"}))
    package = quern.compile(write_model(tmp_path / "m.gguf", "--type", "F16", *SMALL), tmp_path / "m.quern", "--recipe",
                            recipe, "--target", f"x86-64-v2,nvptx:sm_{capability}", "--ptxas", "none")
    assert b"prompt_f16_mxfp6_e3m2" in package.read_bytes()
    follow = tmp_path / "follow.jsonl"
    follow.write_text(quern.run("logits", package, "--prompts", texts, "-n", "2"))
    arguments = package, texts, "--follow", follow, "--top", "100"
    expected = quern.logits(*arguments)
    ours = quern.logits(*arguments, "--device", "cuda", env=environment(True, CAPABILITY=capability))
    assert divergence(expected, ours) < CLOSE


@pytest.mark.parametrize("format, block, scale", [("Q8_0", 34, b"\xff\x7b"), ("MXFP4", 17, b"\x8c")])
def test_weights_beyond_what_prompts_multiply_are_refused(quern, tmp_path, format, block, scale):
    model = write_model(tmp_path / "m.gguf", "--type", format, *SMALL)
    stored = bytes(GGUFFile(model).tensors["blk.1.ffn_up.weight"].data[:block * 8])
    whole = model.read_bytes()
    assert whole.count(stored) == 1
    model.write_bytes(whole.replace(stored, scale + stored[len(scale):]))  # of a block: 65504, 2^13
    package = tmp_path / "m.quern"
    error = quern.fails("compile", model, "-o", package, "--target", "nvptx:sm_80", "--ptxas", "none")
    assert "blk.1.ffn_up.weight" in error and "beyond 4094" in error and not package.exists()
    quern.compile(model, package, "--target", "x86-64-v2")


SHAPES = {
    "tied, rows that fill no block": "--hidden 192 --heads 3 --kv-heads 1 --ffn 352 --vocab 301 --tied",
    "qwen3, norms of heads": "--arch qwen3 --hidden 128 --heads 4 --kv-heads 2 --head-size 48 --ffn 160",
    "qwen3, one key-value head, whose norm is as long as its row":
        "--arch qwen3 --hidden 128 --heads 2 --kv-heads 1 --head-size 96 --ffn 160",
    "llama, frequency factors": "--arch llama --hidden 128 --heads 4 --kv-heads 2 --ffn 160 --rope-freqs",
}


def test_gate_that_takes_other_activations_than_the_values(quern, tmp_path, texts):
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "Q8_0", *SMALL, "--tensor-type=ffn_gate=F16"), texts)


def test_f16_where_copies_take_registers(quern, tmp_path, texts):
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "F16", *SMALL), texts, capability=75)


@pytest.mark.parametrize("shape", SHAPES)
def test_shapes(quern, tmp_path, texts, shape):
    compare(quern, write_model(tmp_path / "m.gguf", "--type", "Q8_0", *SHAPES[shape].split()), texts)


def test_package_of_gpu_code_alone(quern, tmp_path, texts):
    model = write_model(tmp_path / "m.gguf", "--type", "Q8_0", *SMALL)
    both = quern.compile(model, tmp_path / "both.quern", "--target", "x86-64-v2,nvptx:sm_86", "--target", "nvptx:sm_75")
    manifest = json.loads(quern.run("inspect", both, "--json"))["manifest"]
    assert [code["target"] for code in manifest["code"]] == ["x86-64-v2"]
    assert [device["target"] for device in manifest["devices"]] == ["nvptx:sm_86", "nvptx:sm_75"]
    alone = compile_for_gpu(quern, model)
    quern.run("inspect", alone, "--verify")
    error = quern.fails("logits", alone, "--prompts", texts, "--device", "cpu", env=environment(False))
    assert "nvptx:sm_80" in error


def test_refuses_targets_that_there_are_not(quern, tiny, tmp_path):
    error = quern.fails("compile", tiny, "-o", tmp_path / "x.quern", "--target", "nvptx:sm_20")
    assert error.startswith("error: there is no target 'nvptx:sm_20'; the targets are cpu, x86-64-")
    assert error.endswith(", nvptx:sm_90, nvptx:sm_86, nvptx:sm_80, nvptx:sm_75, spirv")
    assert not (tmp_path / "x.quern").exists()


def test_says_what_has_no_kernel(quern, tmp_path):
    model = write_model(tmp_path / "m.gguf", "--type", "Q8_0", *"--hidden 96 --heads 4 --kv-heads 2 --ffn 96".split())
    error = quern.fails("compile", model, "-o", tmp_path / "m.quern", "--target", "nvptx:sm_80")
    assert "m.gguf': at 'blk.0.attn': attention of heads of 24 elements has no GPU kernel; multiples of 16" in error
    graph = SOURCE / "test" / "models" / "onnx" / "perceptron.onnx"
    error = quern.fails("compile", graph, "-o", tmp_path / "m.quern", "--target", "cpu,nvptx:sm_80")
    assert error.endswith("there is code for GPUs of language models only; leave out --target nvptx:sm_80")
    assert not (tmp_path / "m.quern").exists()
