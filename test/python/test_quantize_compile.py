"""`quern compile` with types by mix or recipe: what quantizing first would give, and refusals that leave nothing."""
import pytest
from compare_logits import divergence
from float_model import write_float_model, write_json
from hf_folder import HuggingFaceFolder
from importance_file import write_importance
from tiny_model import write_model


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_float_model(tmp_path_factory.mktemp("quantize") / "bf16.gguf")


def test_compiling_with_a_mix_is_quantizing_first(quern, model, tmp_path):
    quern.run("quantize", model, "--quant", "Q4_K_M", "-o", tmp_path / "q.gguf")
    quern.compile(tmp_path / "q.gguf", tmp_path / "first.quern", "--target", "x86-64-v2")
    (tmp_path / "q.gguf").unlink()
    quern.compile(model, tmp_path / "once.quern", "--target", "x86-64-v2", "--quant", "Q4_K_M")
    assert (tmp_path / "first.quern").read_bytes() == (tmp_path / "once.quern").read_bytes()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["first.quern", "once.quern"]


def test_compiling_by_a_recipe_that_cannot_be_followed_leaves_nothing(quern, model, tmp_path):
    recipe = write_json(tmp_path / "r.json", {"blk.0.attn_q.weight": "Q9_9"})
    assert "Q9_9" in quern.fails("compile", model, "--recipe", recipe, "-o", tmp_path / "out.quern")
    assert "--quant" in quern.fails("compile", model, "--imatrix", recipe, "-o", tmp_path / "out.quern")
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


@pytest.mark.parametrize("arch", ["qwen2", "llama"])
def test_a_folder_compiles_straight_to_what_its_quantized_file_gives(quern, tmp_path, prompts, arch):
    """Of llama, rows of Q and K have another order in GGUF files, into which `quern quantize` brings them."""
    made = write_model(tmp_path / "m.gguf", "--type", "BF16", "--arch", arch)
    HuggingFaceFolder(made).write(tmp_path / "hf")
    quern.run("convert", tmp_path / "hf", "-o", tmp_path / "converted.gguf")
    for source in ("hf", "converted.gguf"):
        quern.run("quantize", tmp_path / source, "--quant", "Q5_K_M", "-o", tmp_path / f"{source}.q.gguf")
    assert (tmp_path / "hf.q.gguf").read_bytes() == (tmp_path / "converted.gguf.q.gguf").read_bytes()
    first = quern.compile(tmp_path / "hf.q.gguf", tmp_path / "a.quern", "--target", "x86-64-v2")
    once = quern.compile(tmp_path / "hf", tmp_path / "b.quern", "--target", "x86-64-v2", "--quant", "Q5_K_M")
    if arch == "qwen2":
        assert first.read_bytes() == once.read_bytes()
    logits = [quern.logits(package, prompts, "-n", "1", "--top", "100") for package in (first, once)]
    assert divergence(*logits) < 1e-6  # llama's heads add up in another order, which may change a code of an activation


def test_compiling_by_recipe_with_importance_is_quantizing_first(quern, model, tmp_path):
    recipe = write_json(tmp_path / "r.json", {r"blk\.[0-3]\.ffn_.*": "Q3_K", "blk.5.ffn_up.weight": "Q4_0",
                                              "output.weight": "F16", "token_embd.weight": "Q6_K"})
    flags = ["--recipe", recipe, "--imatrix", write_importance(tmp_path / "importance", model, False)]
    quern.run("quantize", model, *flags, "-o", tmp_path / "q.gguf")
    target = ["--target", "x86-64-v2"]
    first = quern.compile(tmp_path / "q.gguf", tmp_path / "first.quern", *target)
    once = quern.compile(model, tmp_path / "once.quern", *target, *flags, "-t", 3)
    plain = quern.compile(model, tmp_path / "plain.quern", *target, "--recipe", recipe)
    assert first.read_bytes() == once.read_bytes() != plain.read_bytes()


def test_bad_weight_stops_a_compilation(quern, tmp_path):
    model = write_float_model(tmp_path / "m.gguf", bad="blk.2.attn_k.weight")
    error = quern.fails("compile", model, "--quant", "Q4_K_M", "-o", tmp_path / "out.quern")
    assert "'blk.2.attn_k.weight': row 1 has a value" in error
    assert not list(tmp_path.glob("out*"))


def test_weights_too_large_for_a_type_are_refused(quern, tmp_path):
    model = write_float_model(tmp_path / "m.gguf", bad="blk.2.attn_k.weight", bad_bits=b"\x80\x7e")  # 2^126
    recipe = write_json(tmp_path / "r.json", {"blk.2.attn_k.weight": "Q8_0"})
    for command, out in (("quantize", "out.gguf"), ("compile", "out.quern")):
        error = quern.fails(command, model, "--recipe", recipe, "-o", tmp_path / out)
        assert "'blk.2.attn_k.weight'" in error and "row 1 has values that are too large for Q8_0" in error
    assert not list(tmp_path.glob("out*"))


def test_mxfp6_compiles_but_is_no_type_of_gguf(quern, model, tmp_path, prompts):
    recipe = write_json(tmp_path / "r.json", {r"blk.*attn.*": "MXFP6_E2M3", r"blk.*ffn.*": "MXFP6_E3M2",
                                              "token_embd.weight": "MXFP6_E3M2", "output.weight": "MXFP6_E2M3"})
    error = quern.fails("quantize", model, "--recipe", recipe, "-o", tmp_path / "out.gguf")
    assert "MXFP6" in error and "GGUF has no type" in error
    assert not list(tmp_path.glob("out*"))
    packages = [quern.compile(model, tmp_path / "m.quern", "--recipe", recipe),
                quern.compile(model, tmp_path / "float.quern", "--target", "x86-64-v2")]
    ours, plain = (quern.logits(package, prompts, "-n", "1", "--top", "100") for package in packages)
    assert divergence(plain, ours) < 0.05
    for masked in ("avx512f,avxvnni", "all"):
        others = quern.logits(packages[0], prompts, "-n", "1", "--top", "100", "--mask-features", masked)
        assert divergence(ours, others) < 1e-4
