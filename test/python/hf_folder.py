"""Writes the Hugging Face folder that a GGUF file could have been converted from, with code of its own: names, order of
rows, config.json, tokenizer.json. The GGUF file is one of python/make_test_model.py with F32, F16 or BF16 matrices."""
import json
import math
import struct

import numpy as np
from quern_py import gguf_writer as g
from quern_py.gguf_reader import GGUFFile

DTYPES = {g.F32: "F32", g.F16: "F16", g.BF16: "BF16"}
OUTER = {"token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head"}
INNER = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_q_norm": "self_attn.q_norm",
         "attn_k_norm": "self_attn.k_norm", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}%s| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+"
           r"|\s+(?!\S)|\s+")


def checkpoint_name(name):
    parts = name.split(".")
    if parts[0] != "blk":
        return f"{OUTER[parts[0]]}.{parts[1]}"
    return f"model.layers.{parts[1]}.{INNER[parts[2]]}.{parts[3]}"


def in_halves(rows, heads):
    """Heads whose pairs lie side by side, as the original checkpoint has them: first elements, then second ones."""
    size = len(rows) // heads
    return rows.reshape(heads, size // 2, 2, -1).swapaxes(1, 2).reshape(rows.shape)


class HuggingFaceFolder:
    """What the folder will hold, to be changed before `write`. `vectors`: element type of norms and biases;
    `tokenizer`: metadata of another GGUF file, whose tokenizer goes before the model's own."""

    def __init__(self, gguf, vectors="F32", tokenizer={}):
        file = GGUFFile(gguf)
        self.arch = file.metadata["general.architecture"]
        self.keys = {k.removeprefix(self.arch + "."): v for k, v in file.metadata.items()}
        self.keys.update({k: v for k, v in tokenizer.items() if k.startswith("tokenizer.")})
        self.tensors = {checkpoint_name(t.name): self.tensor(t, vectors) for t in file.tensors.values()
                        if t.name != "rope_freqs.weight"}
        self.config, self.tokenizer, self.tokenizer_config = self.make_config(), self.make_tokenizer(), {
            "add_bos_token": True, "bos_token": {"content": self.token("bos")}, "eos_token": self.token("eos"),
            "pad_token": self.token("padding"), "chat_template": "{{ '<｜User｜>' }}"}
        self.generation = {"do_sample": True, "temperature": 0.5, "top_k": 7, "top_p": 0.75, "eos_token_id":
                           [self.keys["tokenizer.ggml.eos_token_id"]]}

    def tensor(self, stored, vectors):
        """Element type, shape, bytes."""
        if len(stored.shape) == 1 and vectors == "BF16":
            bits = (np.frombuffer(stored.data, "<u4") >> 16).astype("<u2")
            return "BF16", stored.shape, bits.tobytes()
        rows = np.frombuffer(stored.data, np.uint8).reshape(stored.shape[0], -1)
        part = stored.name.split(".")[-2]
        if self.arch == "llama" and part in ("attn_q", "attn_k"):
            rows = in_halves(rows, self.keys["attention.head_count" if part == "attn_q" else "attention.head_count_kv"])
        return DTYPES[stored.type_id], stored.shape, rows.tobytes()

    def token(self, role):
        return self.keys["tokenizer.ggml.tokens"][self.keys[f"tokenizer.ggml.{role}_token_id"]]

    def make_config(self):
        k = self.keys
        config = {"model_type": self.arch, "hidden_size": k["embedding_length"], "num_hidden_layers": k["block_count"],
                  "intermediate_size": k["feed_forward_length"], "num_attention_heads": k["attention.head_count"],
                  "num_key_value_heads": k["attention.head_count_kv"], "hidden_act": "silu",
                  "max_position_embeddings": k["context_length"], "rope_theta": k["rope.freq_base"],
                  "rms_norm_eps": k["attention.layer_norm_rms_epsilon"],
                  "vocab_size": len(k["tokenizer.ggml.tokens"]), "eos_token_id": 1, "bos_token_id": 1,
                  "tie_word_embeddings": "lm_head.weight" not in self.tensors}
        if "attention.key_length" in k or self.arch == "qwen3":  # whose default is another
            config["head_dim"] = k.get("attention.key_length", k["embedding_length"] // k["attention.head_count"])
        return config

    def make_tokenizer(self):
        texts, kinds = (self.keys[f"tokenizer.ggml.{name}"] for name in ("tokens", "token_type"))
        qwen = self.keys["tokenizer.ggml.pre"] != "llama-bpe"
        byte_level = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": False}
        return {
            "version": "1.0",
            "added_tokens": [{"id": i, "content": t, "single_word": False, "lstrip": False, "rstrip": False,
                              "normalized": False, "special": kinds[i] == 3 and "User" not in t}
                             for i, t in enumerate(texts) if kinds[i] in (3, 4)],
            "normalizer": {"type": "NFC"} if qwen else None,
            "pre_tokenizer": {"type": "Sequence", "pretokenizers": [
                {"type": "Split", "pattern": {"Regex": PATTERN % ("" if qwen else "{1,3}")}, "behavior": "Isolated",
                 "invert": False}, byte_level]},
            "post_processor": {"type": "TemplateProcessing",
                               "single": [{"SpecialToken": {"id": self.token("bos"), "type_id": 0}},
                                          {"Sequence": {"id": "A", "type_id": 0}}],
                               "pair": [{"Sequence": {"id": "A", "type_id": 0}},
                                        {"Sequence": {"id": "B", "type_id": 1}}],
                               "special_tokens": {self.token("bos"): {
                                   "id": self.token("bos"), "ids": [self.keys["tokenizer.ggml.bos_token_id"]],
                                   "tokens": [self.token("bos")]}}},
            "decoder": byte_level,
            "model": {"type": "BPE", "dropout": None, "unk_token": None, "continuing_subword_prefix": "",
                      "end_of_word_suffix": "", "fuse_unk": False, "byte_fallback": False, "ignore_merges": not qwen,
                      "vocab": {t: i for i, t in enumerate(texts) if kinds[i] == 1},
                      "merges": [m.split(" ") if qwen else m for m in self.keys["tokenizer.ggml.merges"]]}}

    def write(self, folder, shards=1):
        folder.mkdir()
        for name in ("config", "tokenizer", "tokenizer_config", "generation"):
            path = folder / (f"{name}_config.json" if name == "generation" else f"{name}.json")
            path.write_text(json.dumps(getattr(self, name), ensure_ascii=False))
        kinds = ["F32", "I32", "F16", "BF16", "F8_E4M3"]  # by falling size, so that all are aligned
        names = sorted(self.tensors, key=lambda name: (kinds.index(self.tensors[name][0]), name))
        if shards == 1:
            self.write_tensors(folder / "model.safetensors", names)
            return folder
        files = {f"model-{i + 1:05}-of-{shards:05}.safetensors": names[i::shards] for i in range(shards)}
        for file, part in files.items():
            self.write_tensors(folder / file, part)
        index = {"metadata": {}, "weight_map": {name: file for file, part in files.items() for name in part}}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
        return folder

    def write_tensors(self, path, names):
        header, data = {"__metadata__": {"format": "pt"}}, b""
        for name in names:
            dtype, shape, raw = self.tensors[name]
            assert len(raw) == math.prod(shape) * {"F32": 4, "I32": 4, "F16": 2, "BF16": 2, "F8_E4M3": 1}[dtype]
            header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [len(data), len(data) + len(raw)]}
            data += raw
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        path.write_bytes(struct.pack("<Q", len(text)) + text + data)
