"""Checkpoints of GPTQ and AWQ: what arrives is exactly (code - zero point) * scale of the packed tensors."""
import json
import numpy as np
import pytest
from compare_logits import divergence
from hf_folder import HuggingFaceFolder, checkpoint_name
from importance_file import write_importance
from quern_py import gguf_writer as g
from quern_py.gguf_reader import GGUFFile
from tiny_model import write_model

AWQ_ORDER = [0, 2, 4, 6, 1, 3, 5, 7]


def pack(codes, axis, bits, order=None):
    """Unsigned codes along an axis into words of 32 bits; the i-th lowest holds the `order[i]`-th of a word's codes."""
    per = 32 // bits
    moved = np.moveaxis(codes.astype(np.uint32), axis, -1)
    grouped = moved.reshape(*moved.shape[:-1], -1, per)[..., order or range(per)]
    words = (grouped << (np.arange(per, dtype=np.uint32) * bits)).sum(-1, dtype=np.uint32)
    return np.ascontiguousarray(np.moveaxis(words, -1, axis))


def quantize(hf, rng, method, bits, group, zero, act_order=False):
    """Replaces the matrices of all layers; `zero(shape)` draws zero points. Gives the true values by their names.
    `act_order`: columns belong to groups in a random order, the same for all that have as many columns."""
    seed = rng.integers(1 << 30)
    true, per = {}, group
    for name in [n for n in hf.tensors if n.startswith("model.layers") and n.endswith("proj.weight")]:
        _, (rows, columns), _ = hf.tensors.pop(name)
        size = columns if group == -1 else group
        codes, zeros = rng.integers(0, 1 << bits, (columns, rows)), zero((columns // size, rows))
        scales = (rng.uniform(0.5, 1, zeros.shape) / 64).astype(np.float16)
        index = np.arange(columns, dtype=np.int32) // size
        if act_order:
            index = np.random.default_rng(seed).permutation(index)
        true[name] = ((codes - zeros[index]) * scales[index].astype(np.float64)).T
        order = AWQ_ORDER if method == "awq" else None
        stored = (zeros - 1) & ((1 << bits) - 1) if method == "gptq" else zeros
        stem = name.removesuffix("weight")
        for suffix, array in (("qweight", pack(codes, 0 if order is None else 1, bits, order)),
                              ("qzeros", pack(stored, 1, bits, order))):
            hf.tensors[stem + suffix] = "I32", array.shape, array.tobytes()
        hf.tensors[stem + "scales"] = "F16", scales.shape, scales.tobytes()
        if method != "awq":
            hf.tensors[stem + "g_idx"] = "I32", index.shape, index.tobytes()
            hf.tensors.setdefault(stem + "bias", ("F16", (rows,), bytes(2 * rows)))
    hf.config["quantization_config"] = (
        {"quant_method": "awq", "bits": bits, "group_size": group, "version": "gemm"} if method == "awq" else
        {"quant_method": "gptq", "bits": bits, "group_size": group, "checkpoint_format": method})
    return true


def values(tensor):
    """What a Q4_0, Q5_0 or Q8_0 tensor holds, in float64, by the published layouts."""
    block = g.TENSOR_TYPES[tensor.type_id][2]
    raw = np.frombuffer(tensor.data, np.uint8).reshape(-1, block)
    scale = raw[:, :2].copy().view(np.float16).astype(np.float64)
    if tensor.type_id == g.Q8_0:
        codes = raw[:, 2:].view(np.int8).astype(np.int64)
    else:
        low = raw[:, -16:]
        codes = np.concatenate([low & 15, low >> 4], 1).astype(np.int64) - (8 if tensor.type_id == g.Q4_0 else 16)
        if tensor.type_id != g.Q4_0:
            codes += 16 * np.unpackbits(raw[:, 2:6], axis=1, bitorder="little").astype(np.int64)
    return (codes * scale).reshape(tensor.shape)


Q5_0 = g.TYPE_IDS["Q5_0"]
CASES = {
    "GPTQ, symmetric": ("gptq", 4, 128, lambda shape: np.full(shape, 8), g.Q4_0),
    "GPTQ, one group": ("gptq", 4, -1, lambda shape: np.full(shape, 8), g.Q4_0),
    "GPTQ v2": ("gptq_v2", 4, 64, lambda shape: np.arange(np.prod(shape)).reshape(shape) % 16, Q5_0),
    "GPTQ of 8 bits": ("gptq", 8, 32, lambda shape: np.full(shape, 128), g.Q8_0),
    "AWQ": ("awq", 4, 64, lambda shape: np.arange(np.prod(shape)).reshape(shape) % 16, Q5_0),
}


@pytest.mark.parametrize("case", CASES)
def test_weights_are_taken_as_they_are(quern, tmp_path, prompts, case):
    *how, kind = CASES[case]
    gguf = write_model(tmp_path / "m.gguf", "--type", "F16", "--arch", "qwen2", "--layers", "1")
    hf = HuggingFaceFolder(gguf)
    true = quantize(hf, np.random.default_rng(3), *how)
    folder = hf.write(tmp_path / "folder")
    quern.run("convert", folder, "-o", tmp_path / "c.gguf")
    file = GGUFFile(tmp_path / "c.gguf")
    assert file.metadata["general.file_type"] == {g.Q4_0: 2, Q5_0: 8, g.Q8_0: 7}[kind]  # numbers of their own
    made = {checkpoint_name(t.name): t for t in file.tensors.values()}
    assert len(true) == 7
    for name, wanted in true.items():
        assert made[name].type_id == kind
        assert (values(made[name]) == wanted).all(), name
    packages = [quern.compile(model, tmp_path / f"{i}.quern", "--target", "x86-64-v2")
                for i, model in enumerate([folder, tmp_path / "c.gguf"])]
    assert quern.logits(packages[0], prompts, "-n", "2") == quern.logits(packages[1], prompts, "-n", "2")


def f8_values():
    """The numbers of E4M3 by their bits: from the definition, with NaN where all bits but the sign are set."""
    bits = np.arange(256)
    exponent, fraction = bits >> 3 & 15, bits & 7
    size = np.where(exponent > 0, (1 + fraction / 8) * 2.0 ** (exponent - 7), fraction * 2.0 ** -9)
    size[(bits & 127) == 127] = np.nan
    return np.where(bits & 128, -size, size)


F8_CASES = {
    "blocks": ({"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]},
               "weight_scale_inv", lambda n, k: (-(-n // 128), -(-k // 128)), "F32"),
    "odd blocks, scales in bf16": ({"quant_method": "fp8", "weight_block_size": [48, 80]}, "weight_scale_inv",
                                   lambda n, k: (-(-n // 48), -(-k // 80)), "BF16"),
    "one scale": ({"quant_method": "fp8", "activation_scheme": "static"}, "weight_scale", lambda n, k: (), "F32"),
    "one scale a row": ({"quant_method": "compressed-tensors", "format": "float-quantized"}, "weight_scale",
                        lambda n, k: (n, 1), "BF16"),
}


def to_float8(hf, case):
    """Replaces the matrices of all layers; gives the true values by their names, in float64."""
    config, suffix, shape, kind = F8_CASES[case]
    rng, true = np.random.default_rng(7), {}
    for name in [n for n in hf.tensors if n.startswith("model.layers") and n.endswith("proj.weight")]:
        _, (rows, columns), _ = hf.tensors[name]
        codes = rng.integers(0, 256, (rows, columns), np.uint8)
        codes[(codes & 127) == 127] = 1
        scales = (rng.uniform(0.5, 1, shape(rows, columns)) / 4096).astype("<f4")
        stored = scales if kind == "F32" else (np.asarray(scales).view("<u4") >> 16).astype("<u2")
        scales = scales if kind == "F32" else (stored.astype("<u4") << 16).view("<f4")
        block = config.get("weight_block_size", [1, columns] if len(scales.shape) == 2 else [rows, columns])
        grid = scales.reshape(-(-rows // block[0]), -(-columns // block[1]))
        each = np.repeat(np.repeat(grid, block[0], 0), block[1], 1)[:rows, :columns]
        true[name] = f8_values()[codes] * each
        hf.tensors[name] = "F8_E4M3", (rows, columns), codes.tobytes()
        hf.tensors[name.removesuffix("weight") + suffix] = kind, scales.shape, stored.tobytes()
        if config.get("activation_scheme") == "static":
            hf.tensors[name.removesuffix("weight") + "input_scale"] = "F32", (), np.float32(0.5).tobytes()
    hf.config["quantization_config"] = dict(config)
    return true


@pytest.mark.parametrize("case", F8_CASES)
def test_floats_of_8_bits_are_widened_to_bf16(quern, tmp_path, case):
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "BF16", "--layers", "1", "--ffn", "416"))
    true = to_float8(hf, case)
    quern.run("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")
    made = {checkpoint_name(t.name): t for t in GGUFFile(tmp_path / "c.gguf").tensors.values()}
    assert len(true) == 7
    for name, wanted in true.items():
        bits = wanted.astype("<f4").view("<u4")  # to f32, then to bf16, each time to nearest even
        rounded = (bits + 0x7fff + (bits >> 16 & 1)) >> 16
        assert (np.frombuffer(made[name].data, "<u2").reshape(wanted.shape) == rounded).all(), name


def without(hf, name):
    del hf.tensors[name]


F8_REFUSALS = {
    "no scales": (lambda hf: without(hf, "model.layers.0.mlp.up_proj.weight_scale_inv"),
                  "weight_scale_inv' is missing"),
    "scales of another shape": (lambda hf: hf.tensors.update({"model.layers.0.mlp.up_proj.weight_scale_inv": (
        "F32", (1, 4), bytes(16))}), "does not have the shape that scales"),
    "scales of integers": (lambda hf: hf.tensors.update({"model.layers.0.mlp.up_proj.weight_scale_inv": (
        "I32", (4, 2), bytes(32))}), "scales must be F32"),
    "no number": (lambda hf: hf.tensors.update({"model.layers.0.mlp.up_proj.weight": (
        "F8_E4M3", (416, 256), b"\x7f" * (416 * 256))}), "infinite or no number"),
    "another kind": (lambda hf: hf.config["quantization_config"].update(fmt="e5m2"), "'e5m2' are not supported"),
    "a rotation": (lambda hf: hf.config["quantization_config"].update(transform_config={"config_groups": {"R1": {}}}),
                   "'transform_config' is not supported"),
    "no format": (lambda hf: hf.config["quantization_config"].update(quant_method="compressed-tensors"),
                  "'format' is missing"),
    "blocks of nothing": (lambda hf: hf.config["quantization_config"].update(weight_block_size=[0, 128]), "two sizes"),
}


@pytest.mark.parametrize("what", F8_REFUSALS)
def test_refusals_of_floats_of_8_bits(quern, tmp_path, what):
    apply, message = F8_REFUSALS[what]
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "BF16", "--layers", "1", "--ffn", "416"))
    to_float8(hf, "blocks")
    apply(hf)
    assert message in quern.fails("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")


def test_act_order_means_what_the_weights_mean(quern, tmp_path, prompts):
    gguf = write_model(tmp_path / "m.gguf", "--type", "F16", "--ffn", "384")
    hf, plain = HuggingFaceFolder(gguf), HuggingFaceFolder(gguf)
    for name, wanted in quantize(hf, np.random.default_rng(9), *CASES["GPTQ, symmetric"][:-1], act_order=True).items():
        plain.tensors[name] = "F32", wanted.shape, wanted.astype(np.float32).tobytes()
    folder, floats = hf.write(tmp_path / "folder"), plain.write(tmp_path / "floats")
    exact = [quern.logits(model, prompts, "-n", "3", "--top", "100", "--reference", "--float-activations")
             for model in (folder, floats)]
    assert divergence(*exact) < 1e-12
    package = quern.compile(folder, tmp_path / "m.quern")
    follow = tmp_path / "follow.jsonl"
    follow.write_text(quern.run("logits", folder, "--prompts", prompts, "--reference", "-n", "3"))
    reference = quern.logits(folder, prompts, "--reference", "--follow", follow, "--top", "100")
    for masked in ([], ["--mask-features", "avx512f,avxvnni"]):
        ours = quern.logits(package, prompts, "--follow", follow, "--top", "100", *masked)
        assert divergence(reference, ours) < 1e-8
    # One order for all that read the same rows: q, k and v, then o, then gate and up, then down.
    dump = tmp_path / "ir"
    quern.run("compile", folder, "--dump-phases", dump, "--stop-after", "quantize")
    (text,) = [path.read_text() for path in dump.glob("*quantize.mlir")]
    assert text.count("lm.gather_columns") == 2 * 4


def test_act_order_has_no_place_in_gguf_files(quern, tmp_path):
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "F16", "--layers", "1"))
    quantize(hf, np.random.default_rng(10), *CASES["GPTQ, symmetric"][:-1], act_order=True)
    folder = hf.write(tmp_path / "folder")
    for command in (["convert"], ["quantize", "--quant", "Q8_0", "--allow-requantize"]):
        error = quern.fails(command[0], folder, *command[1:], "-o", tmp_path / "c.gguf")
        assert "columns in an order of their own (act-order)" in error and not (tmp_path / "c.gguf").exists()


def test_act_order_has_no_importance(quern, tmp_path):
    model = write_model(tmp_path / "m.gguf", "--type", "F16", "--layers", "1")
    hf = HuggingFaceFolder(model)
    quantize(hf, np.random.default_rng(10), *CASES["GPTQ, symmetric"][:-1], act_order=True)
    error = quern.fails("compile", hf.write(tmp_path / "folder"), "--quant", "Q5_0", "--allow-requantize", "--imatrix",
                        write_importance(tmp_path / "importance", model, False), "-o", tmp_path / "c.quern")
    assert "has its columns in an order of their own, which an importance matrix does not know" in error


@pytest.mark.parametrize("group", [8, 16])
def test_groups_that_no_block_of_32_fits_become_floats(quern, tmp_path, group):
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "F16", "--layers", "1"))
    zeros = lambda shape: np.arange(np.prod(shape)).reshape(shape) % 15 + 1
    true = quantize(hf, np.random.default_rng(8), "gptq", 4, group, zeros)
    quern.run("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")
    shown = [json.loads(quern.run("inspect", model, "--json")) for model in (tmp_path / "folder", tmp_path / "c.gguf")]
    assert shown[0]["formats"] == shown[1]["formats"] and all(one["bytes"] > 0 for one in shown[0]["formats"])
    made = {checkpoint_name(t.name): t for t in GGUFFile(tmp_path / "c.gguf").tensors.values()}
    for name, wanted in true.items():
        assert made[name].type_id == g.F32 and (made[name].array() == wanted).all(), name


def test_llama_heads_are_brought_into_pairs(quern, tmp_path):
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "F16", "--arch", "llama", "--layers", "1"))
    name = "model.layers.0.self_attn.q_proj.weight"
    wanted = quantize(hf, np.random.default_rng(4), *CASES["AWQ"][:-1])[name]
    quern.run("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")
    made = values(GGUFFile(tmp_path / "c.gguf").tensors["blk.0.attn_q.weight"])
    heads = wanted.reshape(4, 2, 32, -1)
    assert (made.reshape(4, 32, 2, -1) == heads.swapaxes(1, 2)).all()


def spoil(suffix, make):
    def apply(hf):
        name = "model.layers.0.mlp.up_proj." + suffix
        hf.tensors[name] = make(*hf.tensors[name])
    return apply


REFUSALS = {
    "groups of unequal size": (spoil("g_idx", lambda t, s, raw: (t, s, raw[4:] + raw[-4:])), "does not give each of"),
    "a group that is none": (spoil("g_idx", lambda t, s, raw: (t, s, raw[:-4] + b"\xff\xff\xff\xff")), "does not give"),
    "a shape": (spoil("scales", lambda t, s, raw: (t, s[::-1], raw)), "up_proj.scales' is not of the type F16"),
    "scales of another type": (spoil("scales", lambda t, s, raw: ("BF16", s, raw)),
                               "up_proj.scales' is not of the type"),
    "no scales": (lambda hf: hf.tensors.pop("model.layers.0.mlp.up_proj.scales"), "up_proj.scales' is missing"),
    "a bias that is none of the model": (spoil("bias", lambda t, s, raw: (t, s, raw[2:] + b"\1\0")),
                                         "up_proj.bias' is not part of a model"),
}


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(quern, tmp_path, what):
    apply, message = REFUSALS[what]
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "F16", "--layers", "1"))
    quantize(hf, np.random.default_rng(5), *CASES["GPTQ, symmetric"][:-1])
    apply(hf)
    assert message in quern.fails("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")


def test_differences_beyond_a_byte_are_refused(quern, tmp_path):
    hf = HuggingFaceFolder(write_model(tmp_path / "m.gguf", "--type", "F16", "--layers", "1"))
    quantize(hf, np.random.default_rng(6), "gptq_v2", 8, 64, lambda shape: np.full(shape, 3))
    message = quern.fails("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")
    assert "go from -3 to 252, which no block format holds" in message
