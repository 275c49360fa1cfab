"""The embedded model through compiled packages: it answers, in every format and code version, as the reference does."""
import json
import re
from concurrent.futures import ThreadPoolExecutor

import pytest
from compare_logits import divergence
from quern_py.random_blocks import TYPES as FORMATS
from reencode import reencode

QUESTION = "Anna has 14 apples. She buys 9 more apples. How many apples does Anna have now?"
# The bound on compiled code against the double-precision reference with the same activation quantization.
BOUND = 1e-5


def answer(quern, package, question, *flags):
    text = quern.run("run", package, "--temp", "0", "-n", "250", "-p", question, *flags)
    assert text.startswith("<think>\n"), text
    return re.findall(r"\\boxed\{(-?\d+)\}", text)[-1:]


@pytest.fixture(scope="module")
def questions(tmp_path_factory):
    """Four questions in the model's chat form, as a file of prompts (the beginning token is added)."""
    texts = [QUESTION, "Tom had 30 cards. He gave 12 cards to Mia. How many cards does Tom have left?",
             "A box holds 6 pens. How many pens do 7 boxes hold?", "Why?"]
    path = tmp_path_factory.mktemp("questions") / "prompts.txt"
    path.write_text("".join(f"<｜User｜>{text}<｜Assistant｜><think>\\n\n" for text in texts))
    return path


def test_answers_in_plain_words(quern, embedded_package):
    assert answer(quern, embedded_package, QUESTION) == ["23"]


@pytest.mark.parametrize("format", ["F16", "Q8_0"])
def test_answers_nine_of_ten_held_out_problems(quern, embedded, heldout, tmp_path, format):
    model = embedded if format == "F16" else reencode(quern.compiler, embedded, tmp_path / "m.gguf", format)
    package = quern.compile(model, tmp_path / "m.quern")
    problems = [json.loads(line) for line in heldout.read_text().splitlines()]
    assert len(problems) == 500
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda p: answer(quern, package, p["question"], "-t", "1"), problems))
    wrong = [p["question"] for p, found in zip(problems, answers) if found != [str(p["answer"])]]
    print(f"{format}: {500 - len(wrong)} of 500 right")
    assert len(wrong) <= 50, wrong[:20]


def test_baseline_gives_the_same_tokens(quern, embedded_package, questions):
    def tokens(*flags):
        lines = quern.logits(embedded_package, questions, "-n", "60", "--top", "1", *flags)
        return [[step["top"][0][0] for step in line["steps"]] for line in lines]
    assert tokens("--mask-features", "all") == tokens()
    assert tokens("--mask-features", "avx512f,avxvnni") == tokens()


@pytest.mark.parametrize("format", FORMATS)
def test_every_format_is_as_the_reference(quern, embedded, questions, tmp_path, format):
    model = reencode(quern.compiler, embedded, tmp_path / "m.gguf", format)
    package = quern.compile(model, tmp_path / "m.quern")
    text = quern.run("logits", model, "--prompts", questions, "--reference", "-n", "8", "--top", "100")
    (tmp_path / "reference").write_text(text)
    reference = [json.loads(line) for line in text.splitlines()]
    for masked in ([], ["--mask-features", "avx512f,avxvnni"], ["--mask-features", "all"]):
        ours = quern.logits(package, questions, "--follow", tmp_path / "reference", "--top", "100", *masked)
        assert divergence(reference, ours) < BOUND, masked
