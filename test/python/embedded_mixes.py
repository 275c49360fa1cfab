"""The embedded test model in the mixes of formats that devices are tested with."""
import json

from conftest import SOURCE

DYNAMIC = {r"blk\.0\..*": "Q8_0", r"blk\.1\.attn_.*": "Q6_K", r"blk\.[12]\.ffn_(gate|up)\.weight": "Q4_0",
           r"blk\.2\.attn_[qk]\.weight": "Q5_1", r"blk\.3\.ffn_down\.weight": "IQ4_XS",
           r"blk\.3\.attn_v\.weight": "F16", r"blk\..*": "Q5_K", "token_embd.weight": "Q6_K"}
MIXES = ["Q8_0", "Q4_K_M", "Q5_K_M", "Q6_K", "dynamic"]


def quantize_embedded(quern, folder, mix):
    """The GGUF file of a mix, made in the folder."""
    model = folder / "embedded.gguf"
    recipe = folder / "recipe.json"
    recipe.write_text(json.dumps(DYNAMIC))
    flags = ["--recipe", recipe] if mix == "dynamic" else ["--quant", mix]
    quern.run("quantize", SOURCE / "test" / "models" / "embedded-f16.gguf", *flags, "-o", model)
    return model


def write_problems(folder):
    """Two of the problems that the model knows."""
    path = folder / "problems.txt"
    path.write_text("12+34=\n7*8=\n")
    return path
