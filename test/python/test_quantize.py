"""`quern quantize`: types by mix and by recipe, the same bytes however it is run, and refusals that leave nothing."""
import json
import resource
import signal
from pathlib import Path

import numpy as np
import pytest
from float_model import LAYERS, write_float_model, write_json
from hf_folder import HuggingFaceFolder
from importance_file import write_importance
from quern_py import gguf_writer as g
from quern_py import quantization_mix, random_model
from quern_py.gguf_reader import GGUFFile

RECIPES = Path(__file__).resolve().parents[3] / "shared" / "data" / "recipes"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return write_float_model(tmp_path_factory.mktemp("quantize") / "bf16.gguf")


def types(path):
    return {name: g.TENSOR_TYPES[tensor.type_id][0] for name, tensor in GGUFFile(path).tensors.items()}


@pytest.mark.parametrize("mix", ["Q4_K_S", "Q4_K_M", "Q5_K_S", "Q5_K_M", "Q6_K", "Q8_0"])
def test_mix_gives_each_tensor_its_type(quern, model, tmp_path, mix):
    out = tmp_path / "out.gguf"
    quern.run("quantize", model, "--quant", mix, "-o", out)
    got, raised = types(out), {"Q4_K_S": {"attn_v": 4, "ffn_down": 1}}.get(mix, {})
    for name, tensor in GGUFFile(model).tensors.items():
        if len(tensor.shape) == 1:
            expected = "F32"
        else:
            expected = quantization_mix.tensor_type(name, tensor.shape[1], mix, LAYERS, False, False, [])
            part = name.split(".")
            if len(part) == 4 and int(part[1]) < raised.get(part[2], 0):
                expected = "Q5_K"  # the first layers in the small mix
        assert got[name] == expected, name
    assert GGUFFile(out).metadata["general.file_type"] == {"Q4_K_S": 14, "Q4_K_M": 15, "Q5_K_S": 16, "Q5_K_M": 17,
                                                           "Q6_K": 18, "Q8_0": 7}[mix]
    assert [p.name for p in tmp_path.iterdir()] == ["out.gguf"]


def test_rows_that_blocks_do_not_divide_fall_back(quern, tmp_path):
    model = write_float_model(tmp_path / "m.gguf", hidden=96 * 2)
    quern.run("quantize", model, "--quant", "Q4_K_M", "-o", tmp_path / "out.gguf")
    got = types(tmp_path / "out.gguf")
    assert got["blk.0.attn_q.weight"] == "Q5_0" and got["blk.0.ffn_down.weight"] == "Q6_K"
    assert got["output.weight"] == "Q8_0"


def test_quantized_model_is_near_the_float_one_and_compiles(quern, model, tmp_path):
    out = tmp_path / "out.gguf"
    quern.run("quantize", model, "--quant", "Q8_0", "-o", out)
    tensors = GGUFFile(out).tensors
    bits = np.frombuffer(GGUFFile(model).tensors["blk.1.ffn_up.weight"].data, np.uint16)
    before = (bits.astype(np.uint32) << 16).view(np.float32).reshape(-1, 32)
    blocks = np.frombuffer(tensors["blk.1.ffn_up.weight"].data, np.dtype([("d", "<f2"), ("q", "i1", 32)]))
    after = blocks["d"].astype(np.float32)[:, None] * blocks["q"]
    step = np.abs(before).max(axis=1, keepdims=True) / 127  # half of it, and 127 times its own rounding to F16
    assert np.all(np.abs(before - after) <= step * (0.5 + 127 / 2048))
    assert "compiles   yes" in quern.run("inspect", out)


def test_threads_do_not_change_the_bytes(quern, model, tmp_path):
    outs = [tmp_path / f"{threads}.gguf" for threads in (1, 3)]
    for threads, out in zip((1, 3), outs):
        quern.run("quantize", model, "--quant", "Q4_K_M", "-o", out, "-t", threads)
    assert outs[0].read_bytes() == outs[1].read_bytes()


def test_more_threads_than_there_can_be(quern, model, tmp_path):
    beyond = quern.start("quantize", model, "--quant", "Q8_0", "-o", tmp_path / "out.gguf", "-t", 1000000)
    assert beyond.returncode == 2 and "not in range" in beyond.stderr
    # 1000 stacks need 8 GiB of addresses: with 2, it goes on with the threads that start, or tells that memory is out.
    short = quern.start("quantize", model, "--quant", "Q8_0", "-o", tmp_path / "out.gguf", "-t", 1000,
                        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2 << 30, 2 << 30)))
    assert short.returncode == 0 or short.stderr == "error: out of memory\n"
    assert [path.name for path in tmp_path.iterdir()] == ["out.gguf"][short.returncode:]


def test_recipe_takes_names_before_patterns_and_keeps_the_rest(quern, model, tmp_path):
    recipe = write_json(tmp_path / "r.json", {r"blk\.[0-3]\.ffn_.*": "Q3_K", r"blk\.\d\.ffn_(up|down)\.weight": "Q5_0",
                                              "blk.0.ffn_up.weight": "IQ4_XS", "output_norm.weight": "F32",
                                              "token_embd.weight": "F16"})
    quern.run("quantize", model, "--recipe", recipe, "-o", tmp_path / "out.gguf")
    got = types(tmp_path / "out.gguf")
    assert got["blk.0.ffn_up.weight"] == "IQ4_XS"
    assert got["blk.1.ffn_up.weight"] == "Q3_K" and got["blk.0.ffn_norm.weight"] == "F32"
    assert got["blk.5.ffn_up.weight"] == "Q5_0" and got["blk.5.ffn_gate.weight"] == "BF16"
    assert got["token_embd.weight"] == "F16"


def test_dry_run_tells_the_sizes_of_the_file(quern, model, tmp_path):
    text = quern.run("quantize", model, "--quant", "Q5_K_M", "--dry-run")
    quern.run("quantize", model, "--quant", "Q5_K_M", "-o", tmp_path / "out.gguf")
    rows = {line.split()[0]: line.split() for line in text.splitlines() if ".weight" in line or ".bias" in line}
    total = 0
    for name, tensor in GGUFFile(tmp_path / "out.gguf").tensors.items():
        size = g.tensor_bytes(tensor.shape, tensor.type_id)
        assert int(rows[name][4]) == size and rows[name][3] == g.TENSOR_TYPES[tensor.type_id][0]
        total += size + -size % 32
    assert f" {total} bytes" in text


def test_importance_of_both_kinds_of_file(quern, model, tmp_path):
    outs = {}
    for kind in ("none", "gguf", "list"):
        outs[kind] = tmp_path / f"{kind}.gguf"
        flags = [] if kind == "none" else ["--imatrix", write_importance(tmp_path / kind, model, kind == "list")]
        quern.run("quantize", model, "--quant", "Q4_K_S", "-o", outs[kind], *flags)
    assert outs["gguf"].read_bytes() == outs["list"].read_bytes()
    assert outs["gguf"].read_bytes() != outs["none"].read_bytes()


def test_importance_of_another_model_or_none_is_refused(quern, model, tmp_path):
    other = write_float_model(tmp_path / "other.gguf", hidden=512)
    wrong = write_importance(tmp_path / "wrong", other, False)
    arguments = ["quantize", model, "--quant", "Q4_K_S", "-o", tmp_path / "out.gguf", "--imatrix"]
    assert "another model" in quern.fails(*arguments, wrong)
    (tmp_path / "cut").write_bytes(write_importance(tmp_path / "list", model, True).read_bytes()[:300])
    assert "cut off" in quern.fails(*arguments, tmp_path / "cut")
    assert "no weight" in quern.fails(*arguments, model)
    assert not (tmp_path / "out.gguf").exists()


REFUSED = [
    ({"blk.9.attn_q.weight": "Q8_0"}, "'blk.9.attn_q.weight' names no tensor"),
    ({"blk.0.attn_q.weight": "Q9_9"}, "unknown type 'Q9_9'"),
    ({"blk.0.attn_q.weight": 8}, "name of a type"),
    ({"blk.(.weight": "Q8_0"}, "regular expression"),
    ({"blk.0.attn_q.weight": "MXFP6_E2M3"}, "GGUF has no type"),
    ({"output_norm.weight": "Q8_0"}, "only F32"),
    ([], "JSON object"),
]


@pytest.mark.parametrize("content, message", REFUSED)
def test_recipe_that_cannot_be_followed(quern, model, tmp_path, content, message):
    recipe = write_json(tmp_path / "r.json", content)
    assert message in quern.fails("quantize", model, "--recipe", recipe, "-o", tmp_path / "out.gguf")
    assert [p.name for p in tmp_path.iterdir()] == ["r.json"]


def test_blocks_that_do_not_divide_a_row_are_refused_in_recipes(quern, tmp_path):
    model = write_float_model(tmp_path / "m.gguf", hidden=192)
    recipe = write_json(tmp_path / "r.json", {"blk.*attn_q.weight": "Q4_K"})
    error = quern.fails("quantize", model, "--recipe", recipe, "-o", tmp_path / "out.gguf")
    assert "blocks of 256 do not divide the rows of 192" in error and "blk.0.attn_q.weight" in error


def test_quantizing_twice_needs_leave(quern, model, tmp_path):
    once = tmp_path / "once.gguf"
    quern.run("quantize", model, "--quant", "Q8_0", "-o", once)
    arguments = ["quantize", once, "--quant", "Q4_0", "-o", tmp_path / "twice.gguf"]
    assert "quantized already" in quern.fails(*arguments)
    quern.run(*arguments, "--allow-requantize")
    assert types(tmp_path / "twice.gguf")["blk.0.attn_q.weight"] == "Q4_0"


def test_bad_weight_names_its_row(quern, tmp_path):
    model = write_float_model(tmp_path / "m.gguf", bad="blk.2.attn_k.weight")
    error = quern.fails("quantize", model, "--quant", "Q4_K_M", "-o", tmp_path / "out.gguf")
    assert "'blk.2.attn_k.weight': row 1 has a value" in error
    assert not list(tmp_path.glob("out*"))


def test_what_to_do_must_be_said_once(quern, model, tmp_path):
    assert "either" in quern.fails("quantize", model, "-o", tmp_path / "out.gguf")
    assert "-o" in quern.fails("quantize", model, "--quant", "Q8_0")
    assert "Q5_K_M" in quern.fails("quantize", model, "--quant", "Q5_K_X", "--dry-run")


def test_full_disk_leaves_the_old_file(quern, model, tmp_path):
    def small_files():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # then a write past the limit fails like one to a full disk
        resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))

    out = tmp_path / "out.gguf"
    out.write_text("old")
    error = quern.fails("quantize", model, "--quant", "Q8_0", "-o", out, preexec_fn=small_files)
    assert "writing failed" in error and str(out) in error
    assert out.read_text() == "old" and [p.name for p in tmp_path.iterdir()] == ["out.gguf"]


@pytest.mark.skipif(not RECIPES.exists(), reason="recipes not at hand")
@pytest.mark.parametrize("name, size", [("dynamic-1.5b-baseline-1.74gb", 1731301376),
                                        ("dynamic-1.5b-pct5-1.57gb", 1561134080)])
def test_sizes_of_the_1_5b_by_recipe(name, size):
    """The recipes' bytes; with the tokenizer's 5.9 MB the files have 1.737 and 1.567 GB."""
    recipe, shape = json.loads((RECIPES / f"{name}.json").read_text()), random_model.R1_QWEN_1_5B
    total = sum(g.tensor_bytes(dims, g.TYPE_IDS[recipe.get(tensor, "F32")])
                for tensor, dims in random_model.tensors(shape))
    assert total == size


def test_a_folder_gives_what_its_gguf_file_gives(quern, model, tmp_path):
    HuggingFaceFolder(model).write(tmp_path / "hf")
    quern.run("convert", tmp_path / "hf", "-o", tmp_path / "bf16.gguf")
    for source, out in (("hf", "a.gguf"), ("bf16.gguf", "b.gguf")):
        quern.run("quantize", tmp_path / source, "--quant", "Q5_K_M", "-o", tmp_path / out)
    assert (tmp_path / "a.gguf").read_bytes() == (tmp_path / "b.gguf").read_bytes()
