"""The mixes of make_random_1p5b.py have the sizes of the published files of that model."""
import pytest
from quern_py import gguf_writer as g
from quern_py import quantization_mix, random_model

# Bytes of all tensors, norms and biases in F32, of DeepSeek-R1-Distill-Qwen-1.5B.
PUBLISHED = {"F16": 3554465792, "Q8_0": 1888581632, "Q6_K": 1458228224, "Q5_K_M": 1279543808, "Q5_K_S": 1253222912,
             "Q4_K_M": 1111370240, "Q4_0": 1060276736}


@pytest.mark.parametrize("mix", PUBLISHED)
def test_size_of_the_1_5b(mix):
    shape = random_model.R1_QWEN_1_5B
    total = 0
    for name, dims in random_model.tensors(shape):
        kind = "F32" if len(dims) == 1 else quantization_mix.tensor_type(name, dims[1], mix, shape.layers, shape.tied,
                                                                          False, [])
        total += g.tensor_bytes(dims, g.TYPE_IDS[kind])
    assert total == PUBLISHED[mix]


def test_rows_that_are_no_whole_blocks_fall_back():
    assert quantization_mix.fitting("Q4_K", 896) == "Q5_0"
    assert quantization_mix.fitting("Q6_K", 896) == "Q8_0"
    assert quantization_mix.fitting("Q8_0", 40) == "F16"
    assert quantization_mix.fitting("Q4_K", 512) == "Q4_K"


def test_rules_come_before_the_mix():
    rules = quantization_mix.parse_rules(["attn_v=Q6_K"])
    assert quantization_mix.tensor_type("blk.0.attn_v.weight", 256, "Q4_0", 2, False, True, rules) == "Q6_K"
    with pytest.raises(ValueError, match="REGEX=TYPE"):
        quantization_mix.parse_rules(["attn_v"])
