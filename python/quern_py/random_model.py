"""Shapes and metadata of qwen2, qwen3 and llama models, for makers of models with random weights."""
import dataclasses

from . import gguf_writer as g


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes and variants of a model. `rope_freqs`: a tensor of frequency divisors; `head_size` times `heads` may differ
    from `hidden`."""
    architecture: str
    layers: int
    hidden: int
    heads: int
    kv_heads: int
    head_size: int
    feed_forward: int
    vocabulary: int
    context: int = 2048
    theta: float = 10000.0
    epsilon: float = 1e-6
    tied: bool = False
    rope_freqs: bool = False


# DeepSeek-R1-Distill-Qwen-7B and -1.5B.
R1_QWEN_7B = Shape("qwen2", 28, 3584, 28, 4, 128, 18944, 152064, 131072)
R1_QWEN_1_5B = Shape("qwen2", 28, 1536, 12, 2, 128, 8960, 151936, 131072)


def add_metadata(writer, s, name):
    """Adds all keys but the tokenizer's; the architecture is there already."""
    writer.add("general.type", g.STRING, "model")
    writer.add("general.name", g.STRING, name)
    writer.add("general.quantization_version", g.U32, 2)
    numbers = {"block_count": s.layers, "context_length": s.context, "embedding_length": s.hidden,
               "feed_forward_length": s.feed_forward, "attention.head_count": s.heads,
               "attention.head_count_kv": s.kv_heads}
    if s.head_size * s.heads != s.hidden:
        numbers.update({"attention.key_length": s.head_size, "attention.value_length": s.head_size})
    if s.architecture == "llama":
        numbers.update({"vocab_size": s.vocabulary, "rope.dimension_count": s.head_size})
    for key, value in numbers.items():
        writer.add(f"{s.architecture}.{key}", g.U32, value)
    writer.add(f"{s.architecture}.rope.freq_base", g.F32V, s.theta)
    writer.add(f"{s.architecture}.attention.layer_norm_rms_epsilon", g.F32V, s.epsilon)


def tensors(s):
    """Names and shapes (rows first) of all tensors, in the order in which converters write them."""
    query, kv = s.heads * s.head_size, s.kv_heads * s.head_size
    yield "token_embd.weight", (s.vocabulary, s.hidden)
    if s.rope_freqs:
        yield "rope_freqs.weight", (s.head_size // 2,)
    for layer in range(s.layers):
        prefix = f"blk.{layer}."
        yield prefix + "attn_norm.weight", (s.hidden,)
        for part, rows in (("attn_q", query), ("attn_k", kv), ("attn_v", kv)):
            yield f"{prefix}{part}.weight", (rows, s.hidden)
            if s.architecture == "qwen2":
                yield f"{prefix}{part}.bias", (rows,)
        if s.architecture == "qwen3":
            yield prefix + "attn_q_norm.weight", (s.head_size,)
            yield prefix + "attn_k_norm.weight", (s.head_size,)
        yield prefix + "attn_output.weight", (s.hidden, query)
        yield prefix + "ffn_norm.weight", (s.hidden,)
        yield prefix + "ffn_gate.weight", (s.feed_forward, s.hidden)
        yield prefix + "ffn_up.weight", (s.feed_forward, s.hidden)
        yield prefix + "ffn_down.weight", (s.hidden, s.feed_forward)
    yield "output_norm.weight", (s.hidden,)
    if not s.tied:
        yield "output.weight", (s.vocabulary, s.hidden)


def vector(rng, name, size):
    """Values of a bias, a norm's gain or frequency divisors, as f32."""
    if name == "rope_freqs.weight":
        return rng.uniform(1, 8, size).astype("f4")
    if name.endswith(".bias"):
        return (0.5 * rng.standard_normal(size)).astype("f4")
    return (1 + 0.1 * rng.standard_normal(size)).astype("f4")
