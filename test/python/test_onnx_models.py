"""ONNX files of language models: the same logits as onnxruntime gave for them (test/models/onnx, which
python/make_onnx_models.py made), whichever operators they are made of."""
import json
import re
import shutil

import numpy as np
import pytest
from compare_logits import divergence
from conftest import SOURCE
from hf_folder import HuggingFaceFolder
from quern_py.gguf_reader import GGUFFile
from tiny_model import write_model

MODELS = SOURCE / "test" / "models" / "onnx"
PROMPTS = "Kz7!\nQuern+Q\n"  # those of the maker
FLOAT, QUANTIZED = 1e-6, 1e-3

# The type of the matrices of layers, the output's, and the divergence allowed.
FORMS = {
    "genai-int4": ("i4_f32", "i4_f32", QUANTIZED),
    "genai-int4-zeros": ("q5_0", "i8_f32", QUANTIZED),
    "genai-llama": ("i8_f32", "i8_f32", QUANTIZED),
    "plain": ("f32", "f32", FLOAT),
    "plain-llama-tied": ("f32", None, FLOAT),
    "plain-tables": ("i4_f32", "i4_f32", QUANTIZED),
    "plain-dynamic": ("i8_f32", "i8_f32", QUANTIZED),
    "plain-dynamic-unsigned": ("f32", "f32", QUANTIZED),  # differences from zero points that no signed byte holds
    "opset23-int4": ("i4_f32", "i4_f32", QUANTIZED),
    "opset23-uint4": ("i5_f32", "f32", QUANTIZED),
    "opset24-scatter": ("i8_f32", "i8_f32", QUANTIZED),
    # By real exporters: python/export_onnx_models.py.
    "torch-script": ("f32", "f32", FLOAT),
    "torch-script-eager": ("f32", None, FLOAT),
    "torch-dynamo": ("f32", "f32", FLOAT),
    "torch-dynamo-llama3": ("f32", None, FLOAT),
    "torch-dynamo-qwen3": ("f32", "f32", FLOAT),
    "builder-qwen3": ("i4_f32", "i4_f32", QUANTIZED),
    "builder-float": ("f32", "f32", FLOAT),
    "builder-half": ("f16", "f16", QUANTIZED),  # onnxruntime rounds all activations to f16
    "builder-int4": ("i4_f32", "i4_f32", QUANTIZED),
    "builder-int8": ("i8_f32", "i8_f32", QUANTIZED),
    "builder-int4-tied": ("i4_f32", None, QUANTIZED),
}


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    """A folder with the tokenizer of the models."""
    folder = tmp_path_factory.mktemp("tokenizer")
    gguf = write_model(folder / "m.gguf", "--type", "F16", "--layers", "1", "--vocab", "270")
    return HuggingFaceFolder(gguf).write(folder / "hf")


def folder_of(name, tokenizer, folder):
    """A folder as exporters leave it: the model and its tokenizer."""
    folder.mkdir()
    shutil.copy(MODELS / f"{name}.onnx", folder / "model.onnx")
    for file in ("tokenizer.json", "tokenizer_config.json"):
        shutil.copy(tokenizer / file, folder / file)
    if (MODELS / f"{name}.genai.json").exists():
        shutil.copy(MODELS / f"{name}.genai.json", folder / "genai_config.json")
    return folder


@pytest.mark.parametrize("name", FORMS)
def test_logits_of_onnxruntime(quern, tmp_path, tokenizer, name):
    inner, output, limit = FORMS[name]
    folder = folder_of(name, tokenizer, tmp_path / name)
    package = quern.compile(folder, tmp_path / "m.quern", "--target", "x86-64-v2", "--dump-phases", tmp_path / "ir")
    raised = (tmp_path / "ir" / "02-raise.mlir").read_text()
    parts = re.findall(r"= onnx\.(embedding|rms_norm|swiglu|attention) ", raised)
    assert {part: parts.count(part) for part in parts} == {"embedding": 1, "rms_norm": 5, "swiglu": 2, "attention": 2}
    assert "= onnx.node " in (tmp_path / "ir" / "01-onnx.mlir").read_text()
    ir = (tmp_path / "ir" / "03-import.mlir").read_text()
    kinds = dict(re.findall(r"dq.source @([\w.]+) : tensor<[\dx]*x!?(\w+)>", ir))
    assert {kinds[f"blk.{i}.{part}.weight"] for i in range(2) for part in
            ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down")} == {inner}, kinds
    assert kinds.get("output.weight") == output  # none: the embedding stands for it
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    wanted = MODELS / f"{name}.jsonl"
    ours = quern.logits(package, tmp_path / "prompts.txt", "--follow", wanted, "--top", "270")
    theirs = [json.loads(line) for line in wanted.read_text().splitlines()]
    assert divergence(theirs, ours) < limit


def test_dynamic_quantization_is_that_of_onnxruntime(quern, tmp_path, tokenizer):
    """onnxruntime read one token at a time; keys and values are kept as f32, as it keeps them. A single activation with
    another code shows as some 1e-5."""
    folder = folder_of("plain-dynamic", tokenizer, tmp_path / "model")
    package = quern.compile(folder, tmp_path / "m.quern", "--target", "x86-64-avx512vnni", "--target", "x86-64-avx2")
    (tmp_path / "prompts.txt").write_text(PROMPTS)
    wanted = MODELS / "plain-dynamic.jsonl"
    theirs = [json.loads(line) for line in wanted.read_text().splitlines()]
    for masked in ("", "avx512f,avxvnni"):
        ours = quern.logits(package, tmp_path / "prompts.txt", "--follow", wanted, "--top", "270",
                            "--cache-type", "f32", "--mask-features", masked)
        assert divergence(theirs, ours) < 1e-10, masked
    assert "rows that are quantized with a zero point (!dq.act8<row>, of DynamicQuantizeLinear) have kernels on CPUs " \
        "only" in quern.fails("compile", folder, "-o", tmp_path / "gpu.quern", "--target", "nvptx:sm_80")


# Operators of the same length in the file's bytes, so that the message stays whole.
SPOILED = {
    "something behind the logits": ("plain", b"Identity", b"Softplus", "'last' (Softplus): stands between the product"),
    "another activation": ("plain", b"Sigmoid", b"Softmax", "of silu(gate) * up, but computes something else of them"),
    "another weighting": ("plain", b"Softmax", b"Sigmoid", "the last product of causal grouped-query attention"),
    "another norm": ("plain", b"Sqrt", b"Relu", "stands where a language model has the RMS norm of its hidden state"),
    "no rotary embedding": ("genai-int4", b"do_rotary", b"no_rotary", "turns some pairs of its heads backwards or"),
    "another layout of weights": ("genai-int4", b"block_size", b"block_sizd", "its N, K, block_size or bits are none"),
    "scales along the rows": ("builder-int4-tied", b"quantize_axis\x18\x01", b"quantize_axis\x18\x00",
                              "is quantized along another axis than the second"),
    "products of other sizes": ("plain", b"Transpose", b"Transform", "(Transform): has no place in a language model"),
}


@pytest.mark.parametrize("what", SPOILED)
def test_refuses_what_computes_something_else(quern, tmp_path, tokenizer, what):
    name, old, new, message = SPOILED[what]
    folder = folder_of(name, tokenizer, tmp_path / "folder")
    data = (folder / "model.onnx").read_bytes()
    assert old in data
    (folder / "model.onnx").write_bytes(data.replace(old, new))
    assert message in quern.fails("compile", folder, "-o", tmp_path / "m.quern")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_a_model_without_tokenizer_is_refused(quern, tmp_path):
    message = quern.fails("compile", MODELS / "plain.onnx", "-o", tmp_path / "m.quern")
    assert "tokenizer.json: cannot open the file" in message


def test_one_model_in_gguf_and_onnx(quern, tmp_path, tokenizer, prompts):
    """A GGUF file made of the ONNX model gives the same logits; formats that GGUF does not have are not written."""
    folder = folder_of("plain", tokenizer, tmp_path / "folder")
    quern.run("convert", folder, "-o", tmp_path / "m.gguf")
    packages = [quern.compile(model, tmp_path / f"{i}.quern", "--target", "x86-64-v2")
                for i, model in enumerate([folder, tmp_path / "m.gguf"])]
    assert quern.logits(packages[0], prompts, "-n", "2") == quern.logits(packages[1], prompts, "-n", "2")
    quern.compile(folder, tmp_path / "q.quern", "--target", "x86-64-v2", "--quant", "Q8_0")
    folder = folder_of("genai-int4", tokenizer, tmp_path / "int4")
    assert "has a block format that GGUF does not have" in quern.fails("convert", folder, "-o", tmp_path / "i.gguf")


def metadata_of(quern, tmp_path, tokenizer, name):
    folder = folder_of(name, tokenizer, tmp_path / "model")
    quern.run("convert", folder, "-o", tmp_path / "m.gguf")
    return GGUFFile(tmp_path / "m.gguf")


@pytest.mark.parametrize("name", ["torch-script", "builder-float"])
def test_configuration_follows_from_the_graph(quern, tmp_path, tokenizer, name):
    keys = metadata_of(quern, tmp_path, tokenizer, name).metadata
    context = 64 if name == "builder-float" else 32768  # as genai_config.json says, or as nothing says
    wanted = {"block_count": 2, "embedding_length": 32, "feed_forward_length": 64, "attention.head_count": 4,
              "attention.head_count_kv": 2, "attention.key_length": 16, "vocab_size": 270, "rope.freq_base": 10000.0,
              "attention.layer_norm_rms_epsilon": float(np.float32(1e-6)), "context_length": context}
    assert {key: keys[f"qwen2.{key}"] for key in wanted} == wanted
    assert keys["general.name"] == "model"


def test_norms_of_heads_make_a_qwen3(quern, tmp_path, tokenizer):
    """Each layer's weights are its own, though only one layer is sampled."""
    file = metadata_of(quern, tmp_path, tokenizer, "torch-dynamo-qwen3")
    assert file.metadata["general.architecture"] == "qwen3"
    norms = [file.tensors[f"blk.{i}.attn_{x}_norm.weight"].array().tobytes() for i in range(2) for x in "qk"]
    data = (MODELS / "torch-dynamo-qwen3.onnx").read_bytes()
    assert len({norm for norm in norms if norm in data}) == 4


def test_scaled_frequencies_become_divisors(quern, tmp_path, tokenizer):
    """llama3 scaling of base 500000 by 8, from 1 and 4 turns in 1024 tokens on, worked out from its definition."""
    file = metadata_of(quern, tmp_path, tokenizer, "torch-dynamo-llama3")
    assert file.metadata["llama.rope.freq_base"] == 500000.0
    turns = 1024 * 500000.0 ** (-np.arange(8) / 8) / (2 * np.pi)
    kept = np.clip((turns - 1) / 3, 0, 1)
    assert np.allclose(file.tensors["rope_freqs.weight"].array(), 1 / ((1 - kept) / 8 + kept), rtol=1e-5)


def test_a_sliding_window_is_refused(quern, tmp_path, tokenizer):
    """The builder's attribute that says the window is -1, none, made to say 64."""
    folder = folder_of("builder-float", tokenizer, tmp_path / "folder")
    data = (folder / "model.onnx").read_bytes()
    none = b"\x0a\x11local_window_size\x18" + b"\xff" * 9 + b"\x01"
    assert none in data
    window = b"\x0a\x11local_window_size\x18" + b"\xc0" + b"\x80" * 8 + b"\x00"
    (folder / "model.onnx").write_bytes(data.replace(none, window))
    assert "has a sliding window (local_window_size)" in quern.fails("compile", folder, "-o", tmp_path / "m.quern")


@pytest.mark.parametrize("name", ["window", "window-half"])
def test_a_sliding_window_made_of_mask_operators_is_refused(quern, tmp_path, tokenizer, name):
    """It is in the first layer only, of 100 tokens."""
    folder = folder_of(name, tokenizer, tmp_path / "folder")
    message = quern.fails("compile", folder, "-o", tmp_path / "m.quern")
    assert "its attention does not see all tokens of a long context; sliding windows" in message


def test_a_window_wider_than_samples_of_attention_is_refused(quern, tmp_path, tokenizer):
    folder = folder_of("window", tokenizer, tmp_path / "folder")
    data, width = (folder / "model.onnx").read_bytes(), 99 .to_bytes(8, "little")
    assert data.count(width) == 1
    (folder / "model.onnx").write_bytes(data.replace(width, 49999 .to_bytes(8, "little")))
    message = quern.fails("compile", folder, "-o", tmp_path / "m.quern")
    assert "hides keys from a token at position 262144 that it shows to nearer ones; sliding windows" in message


def test_errors_name_what_stands_in_the_file(quern, tmp_path, tokenizer):
    """A weight that is no number by its initializer; what a pass refuses by that and the node."""
    folder = folder_of("torch-script", tokenizer, tmp_path / "folder")
    data = (folder / "model.onnx").read_bytes()
    start = data.index(b"\x42\x10onnx::MatMul_727\x4a\x80\x40") + 21  # its name, then 8192 bytes of data
    (folder / "model.onnx").write_bytes(data[:start] + np.float32(np.inf).tobytes() + data[start + 4:])
    assert "tensor 'onnx::MatMul_727' (blk.0.attn_q.weight): row 0 has a value that is infinite or no number" in \
        quern.fails("compile", folder, "-o", tmp_path / "m.quern")
    folder = folder_of("builder-int4", tokenizer, tmp_path / "int4")
    assert re.search(r"at '.*weight_Q4', '/model/layers.0/attn/qkv_proj/MatMul_Q4'.* \(blk.0.attn_q.weight\): .* is "
                     "quantized already", quern.fails("compile", folder, "--quant", "Q8_0", "-o", tmp_path / "m.quern"))


def test_a_sliding_window_of_the_configuration_is_refused(quern, tmp_path, tokenizer):
    folder = folder_of("plain", tokenizer, tmp_path / "folder")
    (folder / "config.json").write_text(json.dumps({"max_position_embeddings": 8192, "sliding_window": 4096}))
    assert "'sliding_window' is 4096" in quern.fails("compile", folder, "-o", tmp_path / "m.quern")
    (folder / "config.json").write_text(json.dumps({"sliding_window": 4096, "use_sliding_window": False}))
    quern.compile(folder, tmp_path / "m.quern", "--target", "x86-64-v2")


def test_types_that_gguf_lacks_are_not_copied_into_a_file(quern, tmp_path, tokenizer):
    folder = folder_of("builder-int4", tokenizer, tmp_path / "model")
    out = tmp_path / "out.gguf"
    assert "--allow-requantize" in quern.fails("quantize", folder, "--quant", "Q8_0", "-o", out)
    assert [p.name for p in tmp_path.iterdir()] == ["model"]
    quern.run("quantize", folder, "--quant", "Q8_0", "--allow-requantize", "-o", out)
    assert {t.type_id for t in GGUFFile(out).tensors.values()} <= {0, 8}  # F32, Q8_0


def test_inspect_names_a_language_model(quern, tmp_path, tokenizer):
    model = folder_of("builder-int4", tokenizer, tmp_path / "model") / "model.onnx"
    assert "compiles   as a language model, by what" in quern.run("inspect", model)
    told = json.loads(quern.run("inspect", "--json", model))
    assert told["language_model"] and told["compiles"] and told["reason"] == ""
    told = quern.run("inspect", MODELS / "window.onnx")
    assert "compiles   not as the language model that it is: " in told
    assert "its attention does not see all tokens of a long context" in told
    assert "tokenizer.json: cannot open the file" in quern.run("inspect", MODELS / "builder-int4.onnx")
    assert "supported  all operators" in quern.run("inspect", MODELS / "encoder.onnx")
