"""Random tensors in every block format: any bits are valid codes, only the scales must be sane numbers.

For each format is known where its scales lie and how large weights come out for a scale of 1, so that the weights have
the spread that is asked for.
"""
import dataclasses
import math

import numpy as np

from . import gguf_writer as g


@dataclasses.dataclass(frozen=True)
class Layout:
    """Byte of the f16 scale; root mean square of the weights for scale 1; byte of the f16 minimum, and how many times
    the scale it must be for the weights' mean to be about zero."""
    scale_at: int
    spread: float
    minimum_at: int = -1
    minimum_ratio: float = 0.0


LAYOUTS = {
    "Q4_0": Layout(0, 4.6), "Q4_1": Layout(0, 4.6, 2, -7.5), "Q5_0": Layout(0, 9.2), "Q5_1": Layout(0, 9.2, 2, -15.5),
    "Q8_0": Layout(0, 74), "Q2_K": Layout(80, 13.9, 82, 1.5), "Q3_K": Layout(108, 43), "Q4_K": Layout(0, 260, 2, 7.5),
    "Q5_K": Layout(0, 530, 2, 15.5), "Q6_K": Layout(208, 1369), "IQ4_NL": Layout(0, 68), "IQ4_XS": Layout(0, 1257),
}
MXFP4_SPREAD = 2.9  # of the sixteen values of E2M1
FLOATS = {"F32": 4, "F16": 2, "BF16": 2}
TYPES = [*FLOATS, *LAYOUTS, "MXFP4"]


def _floats(rng, kind, count, spread):
    values = rng.standard_normal(count, dtype=np.float32) * np.float32(spread)
    if kind == "F16":
        return values.astype(np.float16).view(np.uint8)
    if kind == "BF16":
        return (values.view(np.uint32) >> 16).astype(np.uint16).view(np.uint8)
    return values.view(np.uint8)


def random_bytes(rng, kind, count, spread):
    """Bytes of `count` weights of type name `kind`, of about the given root mean square; whole blocks only."""
    if kind in FLOATS:
        return _floats(rng, kind, count, spread).tobytes()
    _, elements, size = g.TENSOR_TYPES[g.TYPE_IDS[kind]]
    if count % elements:
        raise ValueError(f"{count} weights are not a whole number of {kind} blocks of {elements}")
    blocks = rng.integers(0, 256, (count // elements, size), dtype=np.uint8)
    if kind == "MXFP4":
        blocks[:, 0] = 127 + round(math.log2(spread / MXFP4_SPREAD)) + rng.integers(-1, 2, len(blocks))
        return blocks.tobytes()
    layout = LAYOUTS[kind]
    scales = rng.uniform(0.5, 1.5, (len(blocks), 1)) * (spread / layout.spread)
    blocks[:, layout.scale_at:layout.scale_at + 2] = scales.astype(np.float16).view(np.uint8)
    if layout.minimum_at >= 0:
        minimums = (scales * layout.minimum_ratio).astype(np.float16)
        blocks[:, layout.minimum_at:layout.minimum_at + 2] = minimums.view(np.uint8)
    return blocks.tobytes()


def with_bad_number(kind, data):
    """The bytes with the last block's scale, or the last value of a plain float type, replaced by no number."""
    nothing = {"F32": b"\0\0\xc0\x7f", "BF16": b"\xc0\x7f", "MXFP4": b"\xff"}.get(kind, b"\0\x7e")
    size = g.TENSOR_TYPES[g.TYPE_IDS[kind]][2]
    at = len(data) - size + (LAYOUTS[kind].scale_at if kind in LAYOUTS else 0)
    return data[:at] + nothing + data[at + len(nothing):]
