"""Hugging Face folders: the same model, to the logit, as the GGUF file that they could have become."""
import json
import subprocess

import pytest
from compare_logits import divergence
from hf_folder import HuggingFaceFolder
from quern_py.gguf_reader import GGUFFile
from tiny_model import write_model

SHAPES = {
    "qwen2": ("BF16", "", 1),
    "qwen2 tied, in shards": ("F16", "--tied --heads 3 --kv-heads 1 --head-size 32 --theta 1e6 --eps 1e-5", 3),
    "qwen3": ("F16", "--arch qwen3 --heads 3 --kv-heads 1 --head-size 128 --theta 1e6", 1),
    "llama": ("BF16", "--arch llama --eps 1e-5 --theta 5e5 --layers 3 --heads 8", 1),
    "llama in f32": ("F32", "--arch llama --tied --head-size 32", 2),
}


@pytest.mark.parametrize("shape", SHAPES)
def test_same_logits_as_gguf(quern, tmp_path, prompts, shape):
    kind, flags, shards = SHAPES[shape]
    gguf = write_model(tmp_path / "m.gguf", "--type", kind, *flags.split())
    folder = HuggingFaceFolder(gguf).write(tmp_path / "folder", shards)
    quern.run("convert", folder, "-o", tmp_path / "converted.gguf")
    models = [quern.compile(model, tmp_path / f"{i}.quern", "--target", "x86-64-v2")
              for i, model in enumerate([gguf, tmp_path / "converted.gguf", folder])]
    ours, converted, from_folder = (quern.logits(m, prompts, "-n", "4", "--top", "100") for m in models)
    assert converted == ours
    # Of llama, rows of Q and K lie in another order, so that dot products of heads add up in another order. Where they
    # meet bf16 weights, a last bit decides now and then which bf16 number an activation becomes.
    limit = 1e-15 if "llama" not in flags else 1e-6 if kind == "BF16" else 1e-9
    assert divergence(ours, from_folder) < limit


@pytest.mark.parametrize("arch", ["qwen2", "qwen3", "llama"])
def test_converted_file_is_the_original(quern, tmp_path, arch):
    gguf = write_model(tmp_path / "m.gguf", "--type", "BF16", "--arch", arch)
    folder = HuggingFaceFolder(gguf).write(tmp_path / "folder")
    quern.run("convert", folder, "-o", tmp_path / "converted.gguf")
    wanted, made = GGUFFile(gguf), GGUFFile(tmp_path / "converted.gguf")
    assert list(made.tensors) == list(wanted.tensors)
    for name, tensor in wanted.tensors.items():
        ours = made.tensors[name]
        assert (ours.type_id, bytes(ours.data)) == (tensor.type_id, bytes(tensor.data)), name
    told = {"general.name": "folder", "general.file_type": 32, "general.sampling.temp": 0.5,
            "general.sampling.top_k": 7, "general.sampling.top_p": 0.75,
            "tokenizer.chat_template": "{{ '<｜User｜>' }}",
            f"{arch}.vocab_size": made.metadata[f"{arch}.vocab_size"]}
    assert made.metadata == {**wanted.metadata, **told}
    assert sorted(path.name for path in tmp_path.iterdir()) == ["converted.gguf", "folder", "m.gguf"]


def test_vectors_in_half_precision_are_widened(quern, tmp_path):
    gguf = write_model(tmp_path / "m.gguf", "--type", "BF16")
    folder = HuggingFaceFolder(gguf, vectors="BF16").write(tmp_path / "folder")
    quern.run("convert", folder, "-o", tmp_path / "c.gguf")
    wanted, made = (GGUFFile(p).tensors["blk.0.attn_q.bias"].array().view("u4") for p in (gguf, tmp_path / "c.gguf"))
    assert ((wanted & 0xffff0000) == made).all() and (wanted != made).any()


def test_llama3_scaling_becomes_divisors(quern, tmp_path):
    gguf = write_model(tmp_path / "m.gguf", "--type", "F16", "--arch", "llama", "--theta", "500000",
                       "--head-size", "128")
    hf = HuggingFaceFolder(gguf)
    hf.config["rope_scaling"] = {"rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                                 "original_max_position_embeddings": 8192}
    quern.run("convert", hf.write(tmp_path / "folder"), "-o", tmp_path / "c.gguf")
    factors = GGUFFile(tmp_path / "c.gguf").tensors["rope_freqs.weight"].array()
    assert len(factors) == 64 and (factors[:28] == 1).all() and (factors[36:] == 8).all()
    # Worked by hand for i = 32: a wavelength of 2 pi sqrt(500000) = 4442.9, so 8192 / 4442.9 = 1.8439 turns.
    kept = (8192 / (2 * 3.141592653589793 * 500000**0.5) - 1) / 3
    assert abs(factors[32] - 1 / ((1 - kept) / 8 + kept)) < 1e-5


def test_newer_forms_of_the_same_facts(quern, tmp_path):
    gguf = write_model(tmp_path / "m.gguf", "--type", "BF16", "--theta", "1e6")
    old = HuggingFaceFolder(gguf)
    old.tokenizer["model"]["merges"] = [" ".join(merge) for merge in old.tokenizer["model"]["merges"]]
    quern.run("convert", old.write(tmp_path / "m"), "-o", tmp_path / "old.gguf")
    new = HuggingFaceFolder(gguf)
    new.config["rope_parameters"] = {"rope_theta": new.config.pop("rope_theta"), "rope_type": "default"}
    (tmp_path / "m").rename(tmp_path / "former")
    template = new.tokenizer_config.pop("chat_template")
    folder = new.write(tmp_path / "m")
    (folder / "chat_template.jinja").write_text(template)
    quern.run("convert", folder, "-o", tmp_path / "new.gguf")
    assert (tmp_path / "new.gguf").read_bytes() == (tmp_path / "old.gguf").read_bytes()


def change(what, key, value):
    def apply(hf):
        getattr(hf, what)[key] = value
    return apply


def without(key):
    return lambda hf: hf.config.pop(key)


def drop(name):
    return lambda hf: hf.tensors.pop(name)


def split_pattern(hf):
    hf.tokenizer["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"] = r"\w+"


def byte_level(**members):
    """Changes the second step of the pre-tokenizer; None takes a member out."""
    def apply(hf):
        step = hf.tokenizer["pre_tokenizer"]["pretokenizers"][1]
        step.update(members)
        for key in [key for key, value in step.items() if value is None]:
            del step[key]
    return apply


NORM = "model.layers.1.input_layernorm.weight"
REFUSALS = {
    "another model type": (change("config", "model_type", "gpt2"), "config.json: model type 'gpt2' is not supported"),
    "a size too many": (change("config", "hidden_size", -1), "config.json: 'hidden_size' must be from 1 to"),
    "a size missing": (without("intermediate_size"), "config.json: 'intermediate_size' is missing"),
    "a size that is text": (change("config", "num_hidden_layers", "2"), "'num_hidden_layers' must be an integer"),
    "other heads": (change("config", "num_key_value_heads", 3), "heads must be a multiple of key-value heads"),
    "wide heads": (change("config", "head_dim", 2**30), "config.json: 'head_dim' must be from 1 to 65536"),
    "another activation": (change("config", "hidden_act", "gelu"), "'hidden_act' is 'gelu'"),
    "a window": (change("config", "use_sliding_window", True), "sliding windows are not supported"),
    "yarn": (change("config", "rope_scaling", {"type": "yarn", "factor": 4.0}),
             "scaling of type 'yarn' is not supported"),
    "half a llama3 scaling": (change("config", "rope_scaling", {"rope_type": "llama3"}), "'factor' must be a positive"),
    "quantized": (change("config", "quantization_config", {"quant_method": "bitsandbytes"}),
                  "quantized by 'bitsandbytes'"),
    "GPTQ of three bits": (change("config", "quantization_config", {"quant_method": "gptq", "bits": 3}),
                           "of 3 bits are"),
    "another AWQ": (change("config", "quantization_config", {"quant_method": "awq", "version": "gemv"}),
                    "'gemv' of AWQ"),
    "a tensor missing": (drop(NORM), f"tensor '{NORM}' is missing"),
    "the output missing": (drop("lm_head.weight"), "tensor 'lm_head.weight' is missing"),
    "a tensor too many": (change("tensors", "model.layers.0.mlp.extra.weight", ("F32", (1,), bytes(4))),
                          "'model.layers.0.mlp.extra.weight' is not part of a model of type qwen2"),
    "another shape": (change("config", "intermediate_size", 96),
                      "tensor 'model.layers.0.mlp.gate_proj.weight' has shape [512, 256], but config.json "
                      "makes it [96, 256]"),
    "infinite": (change("tensors", "model.norm.weight", ("F16", (256,), b"\x00\x7c" * 256)),
                 "tensor 'model.norm.weight' (output_norm.weight): element 0 is inf"),
    "a value that is no number": (change("tensors", "model.layers.1.mlp.up_proj.weight",
                                         ("F16", (512, 256), bytes(512 * 400) + b"\x01\x7e" + bytes(512 * 112 - 2))),
                                  "'model.layers.1.mlp.up_proj.weight' (blk.1.ffn_up.weight): row 400 has a value"),
    "another tokenizer": (change("tokenizer", "model", {"type": "Unigram"}),
                          "tokenizer.json: the model is no byte-level"),
    "another pattern": (split_pattern, "is neither that of Qwen2 nor that of Llama 3"),
    "a second split by default": (byte_level(use_regex=None), "neither add a space nor split again"),
    "a space in front": (byte_level(add_prefix_space=True), "neither add a space nor split again"),
    "another normalizer": (change("tokenizer", "normalizer", {"type": "NFKC"}),
                           "the normalizer 'NFKC' is not supported"),
    "more tokens than rows": (change("tokenizer", "added_tokens", [{"content": "x", "id": 300}]),
                              "has the id 300, but"),
    "one id twice": (change("tokenizer", "added_tokens", [{"content": "x", "id": 5}]), "contradicts another token"),
    "stripping": (change("tokenizer", "added_tokens", [{"content": "x", "id": 290, "lstrip": True}]), "has lstrip"),
    "an unknown end": (change("tokenizer_config", "eos_token", "</s>"), "'eos_token' is '</s>', which tokenizer.json"),
    "a token after the text": (change("tokenizer", "post_processor", {"type": "TemplateProcessing", "single": [
        {"Sequence": {"id": "A"}}, {"SpecialToken": {"id": "</s>"}}]}), "must put one token before the text"),
    "odd forms": (change("tokenizer", "post_processor", ["x"]), "must put one token before the text"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    return write_model(tmp_path_factory.mktemp("plain") / "m.gguf", "--type", "BF16")


@pytest.mark.parametrize("what", REFUSALS)
def test_refusals(quern, tmp_path, plain, what):
    spoil, message = REFUSALS[what]
    hf = HuggingFaceFolder(plain)
    spoil(hf)
    folder = hf.write(tmp_path / "folder")
    assert message in quern.fails("convert", folder, "-o", tmp_path / "out.gguf")
    assert message in quern.fails("compile", folder, "-o", tmp_path / "out.quern")
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


def test_passes_name_parts_as_the_checkpoint_does(quern, tmp_path):
    made = write_model(tmp_path / "m.gguf", "--type", "BF16", "--hidden", "32", "--heads", "4", "--kv-heads", "2")
    folder = HuggingFaceFolder(made).write(tmp_path / "folder")
    error = quern.fails("compile", folder, "-o", tmp_path / "out.quern")
    assert "at 'model.layers.0.self_attn' (blk.0.attn): the head size 8 is not a multiple of 16" in error


def test_refuses_what_is_no_folder_of_a_model(quern, tmp_path, plain):
    assert "config.json: cannot open" in quern.fails("compile", tmp_path, "-o", tmp_path / "out.quern")
    folder = HuggingFaceFolder(plain).write(tmp_path / "folder")
    (folder / "tokenizer.json").write_text(json.dumps({})[:-1])
    assert "tokenizer.json: is no JSON object" in quern.fails("convert", folder, "-o", tmp_path / "o.gguf")
    config = (folder / "config.json").read_text()
    (folder / "config.json").write_text(config[:-1] + ', "eos_token_id": ' + "[" * 100000 + "]" * 100000 + "}")
    assert "config.json: is no JSON object, or one that is damaged or nests more than 64 lists and objects" in \
        quern.fails("convert", folder, "-o", tmp_path / "o.gguf")
    (folder / "config.json").write_text(config)
    (folder / "model.safetensors").unlink()
    assert "has neither model.safetensors nor" in quern.fails("convert", folder, "-o", tmp_path / "o.gguf")
    assert "creating a file beside it failed" in quern.fails("convert", plain, "-o", tmp_path / "none" / "o.gguf")


def test_a_full_disk_leaves_nothing(quern, tmp_path, plain):
    limited = ["/bin/sh", "-c", 'ulimit -f 64; trap "" XFSZ; exec "$@"', "sh", quern.program, "convert", plain, "-o",
               tmp_path / "o.gguf"]
    result = subprocess.run([str(word) for word in limited], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and "writing failed: File too large" in result.stderr, result.stderr
    assert not list(tmp_path.iterdir())
