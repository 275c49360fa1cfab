"""The tokenizer read from tokenizer.json against the `tokenizers` package of PyPI, where that is installed: tiny ones,
and the vocabularies of Qwen2 and Llama 3 where the files are at hand (beside the repository, in ../shared/data/vocab).
"""
import pytest
from conftest import BUILD, SOURCE
from hf_folder import HuggingFaceFolder
from mixed_text import lines
from quern_py.gguf_reader import GGUFFile
from runtime_library import Library
from tiny_model import write_model

tokenizers = pytest.importorskip("tokenizers")

VOCABULARIES = SOURCE.parent / "shared" / "data" / "vocab"
CASES = {"tiny qwen2": ("qwen2", None), "tiny llama": ("llama", None), "Qwen2": ("qwen2", "ggml-vocab-qwen2.gguf"),
         "Llama 3": ("llama", "ggml-vocab-llama-bpe.gguf")}


@pytest.mark.parametrize("case", CASES)
def test_same_tokens_on_ten_thousand_lines(quern, tmp_path, case):
    arch, file = CASES[case]
    if file and not (VOCABULARIES / file).exists():
        pytest.skip(f"{VOCABULARIES / file} is not there")
    vocabulary = GGUFFile(VOCABULARIES / file).metadata if file else {}
    rows = len(vocabulary.get("tokenizer.ggml.tokens", range(300)))
    gguf = write_model(tmp_path / "m.gguf", "--type", "F16", "--arch", arch, "--vocab", str(rows), "--tied",
                       *"--layers 1 --hidden 32 --heads 1 --kv-heads 1 --ffn 32".split())
    folder = HuggingFaceFolder(gguf, tokenizer=vocabulary).write(tmp_path / "folder")
    package = quern.compile(folder, tmp_path / "m.quern", "--target", "x86-64-v2")
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    controls = [token.content for token in theirs.get_added_tokens_decoder().values()][:20]
    texts = lines(10000, controls)
    with Library(BUILD / "lib" / "libquern_runtime.so").open(package) as model:
        for text, wanted in zip(texts, theirs.encode_batch(texts), strict=True):
            assert model.tokenize(text) == wanted.ids, repr(text)
