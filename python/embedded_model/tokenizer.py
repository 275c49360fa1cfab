"""Byte-level BPE with the pre-tokenizer of Qwen2 and the special tokens of the DeepSeek-R1 distillates."""
import random

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

from . import problems

BOS, EOS = "<｜begin▁of▁sentence｜>", "<｜end▁of▁sentence｜>"
USER, ASSISTANT, THINK, END_THINK = "<｜User｜>", "<｜Assistant｜>", "<think>", "</think>"
SPECIALS = [EOS, USER, ASSISTANT, BOS, THINK, END_THINK]  # in the order of their ids in the real vocabulary
VOCABULARY = 1024
PATTERN = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
           r"|\s*[\r\n]+|\s+(?!\S)|\s+")


def train(path, samples=60000, seed=7):
    """Learns the merges on generated problems and writes a tokenizer.json; the special tokens get the last ids."""
    rng = random.Random(seed)

    def texts():
        for _ in range(samples):
            p = problems.draw_training(rng)
            yield p["question"]
            yield p["reasoning"] + "\n\nThe answer is \\boxed{1}."

    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(PATTERN), behavior="isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCABULARY - len(SPECIALS), show_progress=False,
                                  initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()))
    t.train_from_iterator(texts(), trainer)
    t.add_tokens(SPECIALS)
    assert t.get_vocab_size() == VOCABULARY, t.get_vocab_size()
    t.save(str(path))


class Encoder:
    """Token ids of prompts and replies."""

    def __init__(self, path):
        self.tokenizer = Tokenizer.from_file(str(path))
        self.bos, self.eos = self.tokenizer.token_to_id(BOS), self.tokenizer.token_to_id(EOS)

    def prompt(self, question):
        return self.tokenizer.encode(f"{BOS}{USER}{question}{ASSISTANT}{THINK}\n").ids

    def reply(self, text):
        return self.tokenizer.encode(text).ids + [self.eos]

    def decode(self, ids):
        return self.tokenizer.decode(ids, skip_special_tokens=False)
