"""tools/bench/gpu-model as a command: what it prints, and input that is no good."""
import json
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from gpu_model import ModelError, command, predict, ptx, source
from gpu_model.devices import DEVICES
from gpu_model_kernels import BY_POSITION, LOOP, WITH_DEVICES, files, launch, module, package, program, read, weights

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bench" / "gpu-model"
A100 = DEVICES["a100-80"]
CODE = {"nvptx:sm_80": (module(LOOP), program(launch()))}


@pytest.fixture
def tool(capsys):
    """Runs the command in this process: (exit status, standard output, standard error)."""
    def call(*words):
        status = 0
        try:
            command.main(list(map(str, words)))
        except SystemExit as end:
            status = 1 if isinstance(end.code, str) else end.code
            print(end.code if status == 1 else "", file=sys.stderr)
        printed = capsys.readouterr()
        return subprocess.CompletedProcess(words, status, printed.out, printed.err)
    return call


def test_prints_the_worst_first(tool, tmp_path):
    text = module(LOOP) + module("\tst.global.b32 \t[%rd2], %r3;", name="small").split(".address_size 64\n")[1]
    big = launch(blocks=4096)
    small = [launch("small", blocks=1)] * 3
    given = files(tmp_path, text, big, *small)
    done = tool(*given, "--ptxas", "", "--format", "json")
    assert done.returncode == 0, done.stderr
    reports = json.loads(done.stdout)
    assert [r["device"] for r in reports] == list(DEVICES)
    first = reports[1]
    assert [(k["kernel"], k["launches"], k["assembled"]) for k in first["kernels"]] == \
        [("small", 3, None), ("kernel", 1, None)]
    total = sum(k["launches"] * k["seconds"] for k in first["kernels"]) + 4 * A100.boundary_us * 1e-6
    assert first["seconds"]["as it is"] == pytest.approx(total)
    assert first["launches"] == 4 and first["memory_seconds"] == pytest.approx(first["memory_bytes"] / 2039e9)
    slower = json.loads(tool(*given, "--ptxas", "", "--format", "json", "--boundary-us", 10).stdout)[1]
    assert slower["seconds"]["as it is"] - total == pytest.approx(4 * 8.5e-6)
    shown = tool(*given, "--ptxas", "", "--device", "a100-80,h100", "--counts", "--format", "markdown")
    assert shown.stdout.count("| small | 3 |") == 2 and "loop in lines" in shown.stdout
    assert "A100 80 GB: 1 token after 512, 4 launches" in shown.stdout


def test_launches_that_overlap_have_shorter_boundaries(tool, tmp_path):
    given = [*files(tmp_path, module("\tgriddepcontrol.wait;\n" + LOOP), launch()), "--ptxas", "", "--device", "h100"]
    seconds = {}
    for overlaps in (False, True):
        made = json.loads((tmp_path / "p.json").read_text()) | {"overlaps": overlaps}
        (tmp_path / "p.json").write_text(json.dumps(made))
        seconds[overlaps] = json.loads(tool(*given, "--format", "json").stdout)[0]["seconds"]["as it is"]
    h100 = DEVICES["h100"]
    shorter = (h100.boundary_us - h100.overlapped_us) * 1e-6
    assert seconds[False] - seconds[True] == pytest.approx(shorter, rel=0.05)


def test_takes_kernels_as_faster_or_gone(tool, tmp_path):
    given = [*files(tmp_path, module(LOOP), launch()), "--ptxas", "", "--device", "h100", "--format", "json"]
    whole, = json.loads(tool(*given).stdout)
    faster, = json.loads(tool(*given, "--what-if", "kern=0.5").stdout)
    before, after = whole["kernels"][0]["times"], faster["kernels"][0]["times"]
    assert after["memory"] == before["memory"] and after["latency"] == pytest.approx(before["latency"] / 2)
    fails(tool(*given, "--what-if", "kernel=0"), "leaves out every launch")
    assert tool(*given, "--what-if", "kernel").returncode == 2


def test_a_module_with_some_kernels():
    text = module(LOOP) + module(BY_POSITION, name="other").split(".address_size 64\n")[1]
    kernels = ptx.parse(text, "test")
    assert set(ptx.parse(ptx.text_of(text, kernels, {"other"}), "test")) == {"other"}
    assert ptx.text_of(text, kernels, {"other", "kernel"}) == text


def test_launches_by_size(tool, tmp_path):
    per_token = launch()
    per_token["grid"][0] = {"numerator": {"constant": 0, "perSize": [64, 0]}, "divisor": 48}
    given = files(tmp_path, module(LOOP), per_token, launch(when={"index": 1, "least": 2, "most": 2}))
    for outputs, launches in ((0, 1), (2, 2)):
        done = tool(*given, "--tokens", 3, "--outputs", outputs, "--ptxas", "", "--device", "h100", "--counts")
        assert done.returncode == 0, done.stderr
        assert f"{launches} launch" in done.stdout and "kernel: 4 blocks" in done.stdout


def test_launches_that_draw(tool, tmp_path):
    given = files(tmp_path, module(LOOP), launch(), launch(arguments=[weights(4080), {"kind": "draw"}]))
    for flags, launches in (((), 1), (("--draw",), 2)):
        done = tool(*given, *flags, "--ptxas", "", "--device", "h100")
        assert done.returncode == 0, done.stderr
        assert f"{launches} launch" in done.stdout


def test_explains_itself():
    done = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "examples:" in done.stdout
    done = subprocess.run([sys.executable, TOOL, "--device", "none"], capture_output=True, text=True)
    assert done.returncode == 2 and "give a package" in done.stderr


def test_reads_a_package(tool, tmp_path):
    path = tmp_path / "model.quern"
    path.write_bytes(package(CODE))
    done = tool(path, "--ptxas", "", "--device", "a100-40")
    assert done.returncode == 0 and "A100 40 GB" in done.stdout, done.stderr


def test_knows_all_that_quern_emits(quern, tiny, tmp_path, tool):
    """Every kernel of a package is parsed; steps of one, of eight and of forty tokens are followed to their ends."""
    path = quern.compile(tiny, tmp_path / "m.quern", "--target", "nvptx:sm_80", "--ptxas", "none")
    for tokens, products in ((1, "dp4a"), (8, "dp4a"), (40, "mma")):
        done = tool(path, "--tokens", tokens, "--outputs", 1, "--depth", 70, "--device", "a100-80", "--ptxas", "",
                    "--format", "json")
        assert done.returncode == 0, done.stderr
        made, = json.loads(done.stdout)
        assert made["tokens"] == tokens and made["memory_bytes"] > 0
        assert any(products in kernel["instructions"] for kernel in made["kernels"])
        for kernel in made["kernels"]:
            assert kernel["notes"] == [], kernel["kernel"]


def test_each_device_takes_the_first_code_that_runs_there(tool, tmp_path):
    path, devices = tmp_path / "model.quern", "a100-80,rtx4090,h100,xe-lp"
    codes = {"nvptx:sm_90": launch(blocks=8), "nvptx:sm_80": launch(blocks=4), "nvptx:sm_75": launch(blocks=2)}

    def takes(*words):
        done = tool(path, "--ptxas", "", "--format", "json", "--depth", 0, *words)
        assert done.returncode == 0, done.stderr
        return {r["device"]: (r["target"], r["kernels"][0]["instructions"]["dp4a"]) for r in json.loads(done.stdout)}
    path.write_bytes(package({target: (module(LOOP), program(one)) for target, one in codes.items()}))
    assert takes("--device", devices) == {"a100-80": ("nvptx:sm_80", 48), "rtx4090": ("nvptx:sm_80", 48),
                                          "h100": ("nvptx:sm_90", 96), "xe-lp": ("nvptx:sm_90", 96)}
    counts = tool(path, "--ptxas", "", "--device", devices, "--counts").stdout
    assert counts.index("code for nvptx:sm_80:\nkernel: 4 blocks") < counts.index("code for nvptx:sm_90:\nkernel: 8")
    path.write_bytes(package({"nvptx:sm_90": (module(LOOP), program(launch())),
                              "nvptx:sm_90a": (module(LOOP), program(launch()))}))
    fails(tool(path, "--device", devices), "A100 80 GB, RTX 4090: no code of")
    assert list(takes()) == ["h100", "xe-lp"]
    assert "left out A100 40 GB, A100 80 GB, RTX 4090: no code of" in tool(path, "--ptxas", "").stderr
    fails(tool(path, "--target", "nvptx:sm_90a", "--device", "h100"), "(nvptx:sm_90a) runs there; compile it with")
    text = module(LOOP).replace("sm_80", "sm_90")
    fails(tool(*files(tmp_path, text, launch()), "--device", "a100-80"), "A100 80 GB: no code of")


def test_asks_the_assembler_once_for_an_architecture(tool, tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(command, "assemble", lambda text, arch, ptxas: asked.append(arch) or {})
    done = tool(*files(tmp_path, module(LOOP), launch()), "--device", "a100-40,a100-80,h100")
    assert done.returncode == 0 and asked == ["sm_80", "sm_90"], done.stderr


def fails(done, message):
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert done.stderr.startswith("gpu-model: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_refuses_packages_that_are_no_good(tool, tmp_path):
    path = tmp_path / "model.quern"
    good, manifest = package(CODE), dict(source.DEFAULT_MANIFEST)
    cpu_only = package(CODE, manifest)
    far = bytearray(good)
    struct.pack_into("<Q", far, 32 + 48, 1 << 60)
    for data, message in [(b"", "is no package"), (good[:100], "damaged"), (good[:9000], "damaged"),
                          (b"QUERNPKG" + b"\xff" * 200, "damaged"), (bytes(far), "reaches beyond the end"),
                          (good.replace(b'"sizes"', b'"sizes\xff'), "is no JSON"), (cpu_only, "has no PTX for"),
                          (package(CODE, {**manifest, "devices": 5}), "has no list 'devices'"),
                          (package(CODE, {**manifest, "devices": None}), "has no list 'devices'"),
                          (package(CODE, {**manifest, "devices": [5, {}]}), "its devices: None"),
                          (package(CODE, {**manifest, "devices": [{"target": "nvptx:sm_80"}]}), "no section 'None'"),
                          (package(CODE, {**WITH_DEVICES, "sizes": [[]]}), "sizes names")]:
        path.write_bytes(data)
        fails(tool(path), message)
    path.write_bytes(good)
    fails(tool(path, "--target", "nvptx:sm_90"), "its devices: spirv, nvptx:sm_80")
    fails(tool(path, "--tokens", 9), "has no plan for 9 tokens; it takes up to 8")
    fails(tool(tmp_path / "missing.quern"), "cannot read")


@pytest.mark.parametrize("text, message", [
    ("", "holds no kernel"), (module(LOOP)[:-30], "the text is cut off"),
    (module("\tbra.uni \t$L__BB0_7;"), "line 19: branch to an unknown label"),
    (module("\tADD %r1;"), "line 19 is no PTX instruction"),
    (module("\tld.b32 \t%r4, [%rd1];"), "line 19: 'ld.b32' names no kind of memory"),
    (module("\tldmatrix.sync.aligned.m8n8.x2.shared.b16 \t{%r4, %r5}, [%r3];"), "knows only .x4 of ldmatrix"),
    (module("\tld.param.b64 \t%rd3, [other];"), "reads the argument [other] in line 19"),
    (module("$L__BB0_1:\n\tbra.uni \t$L__BB0_1;"), "does not end within"),
    (module("", shared="\t.shared .align 4 .b7 x[3];"), "unknown type .b7")])
def test_refuses_ptx_that_is_no_good(monkeypatch, text, message):
    monkeypatch.setattr("gpu_model.execute.MOST_STEPS", 100)
    with pytest.raises(ModelError) as caught:
        read(text, launch())
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("change, message", [
    ({"kernel": "none"}, "launch 0 names no kernel"), ({"kernel": []}, "names no kernel"),
    ({"threads": 0}, "threads is '0'"), ({"threads": 2048}, "2048 threads"), ({"grid": [1]}, "three dimensions"),
    ({"sharedBytes": -1}, "sharedBytes"),
    ({"arguments": [{"kind": "weights", "offset": -1}]}, "offset is '-1'"), ({"arguments": [7]}, "cannot read"),
    ({"arguments": []}, "the launch has 0 arguments"), ({"when": {"index": 5}}, "'when' names no size"),
    ({"when": 3}, "'when' names no size"), ({"sharedBytes": 1 << 20}, "does not fit a multiprocessor")])
def test_refuses_programs_that_are_no_good(tool, tmp_path, change, message):
    fails(tool(*files(tmp_path, module(LOOP), {**launch(), **change}), "--ptxas", ""), message)


def mutated(text, words, dice):
    """A character or, in JSON, often a whole value in the place of another."""
    values = [match.span() for match in re.finditer(r'"[^"]*"(?!:)|\[[^][]*\]|\d+', text)]
    first = dice.randrange(len(text))
    first, last = dice.choice(values) if dice.random() < 0.5 else (first, first + dice.randrange(1, 4))
    return text[:first] + dice.choice(words) + text[last:]


def test_mutated_input_never_ends_in_a_traceback(monkeypatch):
    monkeypatch.setattr("gpu_model.execute.MOST_STEPS", 2000)
    dice = random.Random(6)
    good = {"text": module(LOOP), "launch": json.dumps(launch()), "manifest": json.dumps(WITH_DEVICES)}
    words = {"text": ["", "%", "[", "{", ";", "9", "ret", ".", "\n"],
             "launch": ["", "0", "-", "9e9", '"', "null", "[", "}"],
             "manifest": ["", "5", '"', "null", "[]", "{}", ","]}
    refused = dict.fromkeys(good, 0)
    for number in range(600):
        given = dict(good)
        which = list(good)[number % 3]
        given[which] = mutated(given[which], words[which], dice)
        try:
            manifest = source.parse_json(given["manifest"], "the manifest")
            source.ptx_devices("test", manifest, None)
            (done, found), *_ = read(given["text"], source.parse_json(given["launch"], "the launch"),
                                     manifest=manifest) or [(None, None)]
            if done:
                predict.predict(done, A100, found.geometry.threads, None, 0)
        except ModelError:
            refused[which] += 1
    assert all(50 < count < 200 for count in refused.values()), refused
