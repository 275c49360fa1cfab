"""Kernels that generate read codes of weights and the cache 16 bytes at a time, as the model of GPUs follows them."""
import json
from collections import Counter

import numpy as np
import pytest

from gpu_model import execute, source
from gpu_model.devices import DEVICES
from gpu_model.memory import ARENA, CACHE, REGION_SHIFT, WEIGHTS
from gpu_model.predict import Works
from gpu_model.program import Program, Step
from tiny_model import write_model

SHAPE = "--layers 1 --hidden 512 --heads 4 --kv-heads 2 --ffn 512 --vocab 300".split()
# Of a number's code; what a format stores beyond that are scales.
CODE_BITS = {"q8_0": 8, "q4_0": 4, "q5_0": 5, "q5_1": 5, "q2_K": 2, "q3_K": 3, "q4_K": 4, "q6_K": 6}
MIXES = {"Q4_K": {"attn_k": "Q6_K", "attn_v": "Q8_0", "ffn_down": "Q3_K", "output.weight": "Q6_K"},
         "Q8_0": {"attn_k": "Q4_0", "attn_v": "Q2_K", "ffn_gate": "Q5_0", "ffn_up": "Q5_1"}}


class Loads:
    """Bytes that the lanes of a launch load: (where, bytes at a time) -> bytes. `where` is a tensor or "cache"."""

    def __init__(self, monkeypatch, tensors):
        self.bytes = Counter()
        self.names = [t["name"] for t in tensors] + ["arena", "cache", "inputs"]
        self.places = [place_of(t) for t in tensors] + [r << REGION_SHIFT for r in (ARENA, CACHE, CACHE + 1)]
        assert self.places == sorted(self.places)
        touch = execute.Execution.touch

        def count(execution, number, place, i, addresses, mask, size):
            if i.opcode == "ld":
                where = np.searchsorted(self.places, addresses[mask], "right") - 1
                for index in where:
                    self.bytes[self.names[index], size] += size
            return touch(execution, number, place, i, addresses, mask, size)
        monkeypatch.setattr(execute.Execution, "touch", count)

    def of(self, where):
        return {size: count for (name, size), count in self.bytes.items() if name == where}


def place_of(tensor):
    return (WEIGHTS << REGION_SHIFT) + tensor["offset"]


@pytest.mark.parametrize("type", MIXES)
def test_codes_and_caches_come_by_16_bytes(quern, tmp_path, monkeypatch, type):
    flags = [f"--tensor-type={name}={kind}" for name, kind in MIXES[type].items()]
    package = quern.compile(write_model(tmp_path / "m.gguf", "--type", type, *SHAPE, *flags), tmp_path / "m.quern",
                            "--target", "nvptx:sm_80", "--ptxas", "none")
    tensors = json.loads(quern.run("inspect", package, "--json"))["plan"]["device_tensors"]
    code = source.Package(package).source(DEVICES["a100-80"])
    loads, seen = Loads(monkeypatch, tensors), set()
    for tokens in (1, 2, 8):
        for launch in Program(code).launches(Step(tokens=tokens, depth=300)):
            loads.bytes.clear()
            _, work = Works(code).of(launch)
            assert work.exact
            if launch.kernel.startswith("attention_"):
                assert set(loads.of("cache")) == {16}, launch.kernel
            if not launch.kernel.startswith(("matvec_", "swiglu_")):
                continue
            for tensor in tensors:
                found, bits = loads.of(tensor["name"]), CODE_BITS.get(tensor["format"])
                if found and bits:
                    codes = tensor["shape"][0] * tensor["shape"][1] * bits // 8
                    scales = 2 * (tensor["stored_bytes"] - codes)  # of which two lanes may read the same
                    share = found.get(16, 0) / sum(found.values())
                    assert share >= codes / (codes + scales), (launch.kernel, tensor["name"], found)
                    seen.add(tensor["format"])
    assert seen == {kind.lower().replace("_k", "_K") for kind in (type, *MIXES[type].values())}
