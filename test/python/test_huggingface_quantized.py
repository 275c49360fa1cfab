"""Checkpoints of GPTQ and AWQ: what arrives is exactly (code - zero point) * scale of the packed tensors."""
import numpy as np
import pytest
from hf_folder import HuggingFaceFolder, checkpoint_name
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


def quantize(hf, rng, method, bits, group, zero):
    """Replaces the matrices of all layers; `zero(shape)` draws zero points. Gives the true values by their names."""
    true, per = {}, group
    for name in [n for n in hf.tensors if n.startswith("model.layers") and n.endswith("proj.weight")]:
        _, (rows, columns), _ = hf.tensors.pop(name)
        size = columns if group == -1 else group
        codes, zeros = rng.integers(0, 1 << bits, (columns, rows)), zero((columns // size, rows))
        scales = (rng.uniform(0.5, 1, zeros.shape) / 64).astype(np.float16)
        index = np.arange(columns, dtype=np.int32) // size
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
    "act-order": (spoil("g_idx", lambda t, s, raw: (t, s, raw[4:] + raw[:4])), "(desc_act) are not supported"),
    "a shape": (spoil("scales", lambda t, s, raw: (t, s[::-1], raw)), "up_proj.scales' is not of the type F16"),
    "scales of another type": (spoil("scales", lambda t, s, raw: ("BF16", s, raw)), "up_proj.scales' is not of the type"),
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
