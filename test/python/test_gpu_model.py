"""tools/bench/gpu-model: small kernels and programs, counts and times worked out by hand; input that is no good."""
import json
import random
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from gpu_model import ModelError, assembler, command, costs, latency, memory, predict, ptx, source, work
from gpu_model.devices import DEVICES, residency
from gpu_model.program import Program, Step

TOOL = Path(__file__).resolve().parents[2] / "tools" / "bench" / "gpu-model"
A100 = DEVICES["a100-80"]
ENTRY = """.version 8.0
.target sm_80
.address_size 64
.visible .entry {name}(
	.param .u64 .ptr .align 1 {name}_param_0,
	.param .u64 .ptr .align 1 {name}_param_1
)
.maxntid 64, 1, 1
{{
	.reg .pred 	%p<3>;
	.reg .b32 	%r<30>;
	.reg .b64 	%rd<20>;
{shared}
	ld.param.b64 	%rd1, [{name}_param_0];
	ld.param.b64 	%rd2, [{name}_param_1];
	mov.u32 	%r1, %tid.x;
	mov.u32 	%r2, %ctaid.x;
	mad.lo.s32 	%r3, %r2, 64, %r1;
{body}
	ret;

}}
"""
# A thread of 64 a block takes 16 bytes in each of three trips, 4096 apart, and stores four.
LOOP = """	mul.wide.u32 	%rd3, %r3, 16;
	add.s64 	%rd4, %rd1, %rd3;
	mov.b32 	%r4, 0;
	mov.b64 	%rd6, 0;
$L__BB0_1:
	ld.global.v4.b32 	{%r5, %r6, %r7, %r8}, [%rd4+16];
	dp4a.s32.s32 	%r4, %r5, %r6, %r4;
	dp4a.s32.s32 	%r4, %r7, %r8, %r4;
	add.s64 	%rd4, %rd4, 4096;
	add.s64 	%rd6, %rd6, 1;
	setp.lt.u64 	%p1, %rd6, 3;
	@%p1 bra 	$L__BB0_1;
	mul.wide.u32 	%rd7, %r3, 4;
	add.s64 	%rd8, %rd2, %rd7;
	cvt.rn.f32.s32 	%r9, %r4;
	st.global.b32 	[%rd8], %r9;"""
# As many trips as the first row's position says.
BY_POSITION = """	ld.global.b32 	%r4, [%rd1];
	mov.b32 	%r5, 0;
$L__BB0_1:
	add.s32 	%r5, %r5, 16;
	setp.lt.s32 	%p1, %r5, %r4;
	@%p1 bra 	$L__BB0_1;"""


def module(body, name="kernel", shared=""):
    return ENTRY.format(name=name, body=body, shared=shared)


def weights(offset=0):
    return {"kind": "weights", "offset": offset}


def arena(place=0):
    return {"kind": "arena", "place": place}


def launch(kernel="kernel", blocks=4, arguments=None, **more):
    grid = [{"numerator": blocks, "divisor": 1}, {"numerator": 1, "divisor": 1}, {"numerator": 1, "divisor": 1}]
    return {"kernel": kernel, "grid": grid, "threads": 64, "sharedBytes": 0, "op": "dq.matmul", "name": "blk.0",
            "arguments": [weights(4080), arena()] if arguments is None else arguments, **more}


def program(*launches):
    return {"version": 1, "arena": 1 << 20, "plans": [{"least": 1, "most": 8, "launches": list(launches)}]}


def read(text, *launches, step=Step()):
    """(work, launch) of each launch."""
    made = source.Source("test", ptx.parse(text, "test"), text, program(*launches), source.DEFAULT_MANIFEST)
    return [(work.work_of(made.kernels[found.kernel], found.geometry), found)
            for found in Program(made).launches(step)]


def files(folder, text, *launches):
    (folder / "k.ptx").write_text(text)
    (folder / "p.json").write_text(json.dumps(program(*launches)))
    return ["--ptx", folder / "k.ptx", "--program", folder / "p.json"]


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


def package(ptx_text, made, manifest=None):
    """Bytes of a .quern with these sections."""
    manifest = manifest or {**source.DEFAULT_MANIFEST, "devices": [
        {"target": "spirv", "api": "opencl", "section": "device/spirv", "program": "program/spirv"},
        {"target": "nvptx:sm_80", "api": "cuda", "section": "device/nvptx:sm_80", "program": "program/nvptx:sm_80"}]}
    sections = {"manifest": json.dumps(manifest).encode(), "device/nvptx:sm_80": ptx_text.encode(),
                "program/nvptx:sm_80": json.dumps(made).encode()}
    table, body, at = b"", b"", 8192
    for name, data in sections.items():
        table += struct.pack("<48sQQ16x", name.encode(), at, len(data))
        body += data.ljust(-(-len(data) // 4096) * 4096, b"\0")
        at = 8192 + len(body)
    head = struct.pack("<8sIIQQ", b"QUERNPKG", 1, len(sections), 8192 + len(body), 0) + table
    return head.ljust(8192, b"\0") + body


def test_counts_instructions_along_a_loop():
    (done, _), = read(module(LOOP), launch())
    assert done.exact and done.blocks == 4
    # 8 warps: 1 store, 1 conversion, and three times 1 load, 2 dp4a and a branch; then the return.
    assert {k: done.classes[k] for k in ("load", "store", "convert", "dp4a", "control")} == \
        {"load": 24, "store": 8, "convert": 8, "dp4a": 48, "control": 32}
    (first, last, trips, counts), = done.loops()
    assert (first, last, trips) == (24, 30, 3)
    assert counts == {"load": 1, "dp4a": 2, "integer": 3, "control": 1}


def test_counts_bytes_each_once():
    (done, _), = read(module(LOOP), launch())
    # 256 threads of 16 bytes are 4096 in each trip; 256 of 4 bytes are stored.
    assert done.footprint == {(memory.WEIGHTS, True): 3 * 4096, (memory.ARENA, False): 1024}
    assert done.run.traffic.sectors.sum() == 3 * 4096 // 32 + 1024 // 32
    assert done.l2_bytes.tolist() == [3 * 1024 + 256] * 4


def test_a_sample_agrees_with_all_blocks(monkeypatch):
    text = module(LOOP.replace("%rd4, 4096", "%rd4, 65536"))
    (whole, _), = read(text, launch(blocks=64))
    monkeypatch.setattr(work, "EXACT", 0)
    (some, _), = read(text, launch(blocks=64))
    assert not some.exact and some.run.executions.shape[1] < 10
    assert some.classes == whole.classes and some.footprint == pytest.approx(whole.footprint)


def test_inputs_decide_on_trips():
    by_input = launch(arguments=[{"kind": "input", "index": 1}, arena()])
    for depth, trips in ((0, 1), (16, 1), (160, 10)):
        (done, _), = read(module(BY_POSITION), by_input, step=Step(depth=depth))
        assert done.loops()[0][2] == trips and not done.run.notes()


def test_says_what_hangs_on_data():
    (done, _), = read(module(BY_POSITION), launch())
    assert done.loops()[0][2] == 1
    assert done.run.notes() == ["branches that hang on data, taken to go on: 1, the first in line 24"]


@pytest.mark.parametrize("shift, sectors", [(2, 4), (3, 8), (5, 32)])
def test_sectors_of_a_warp_by_stride(shift, sectors):
    body = f"\tshl.b32 \t%r4, %r3, {shift};\n\tcvt.u64.u32 \t%rd3, %r4;\n\tadd.s64 \t%rd4, %rd1, %rd3;\n" \
           "\tld.global.b32 \t%r5, [%rd4];"
    (done, _), = read(module(body), launch(blocks=1, arguments=[weights(), arena()]))
    assert done.run.traffic.sectors.tolist() == [2 * sectors]


@pytest.mark.parametrize("shift, name, registers, passes", [
    (2, "b32", "%r9", 1), (3, "b32", "%r9", 2), (7, "b32", "%r9", 32),
    (4, "v4.b32", "{%r9, %r10, %r11, %r12}", 4), (5, "v4.b32", "{%r9, %r10, %r11, %r12}", 8)])
def test_passes_over_banks(shift, name, registers, passes):
    body = f"\tmov.b32 \t%r4, tile;\n\tshl.b32 \t%r5, %r1, {shift};\n\tadd.s32 \t%r6, %r4, %r5;\n" \
           f"\tld.shared.{name} \t{registers}, [%r6];\n\tbar.sync \t0;"
    (done, _), = read(module(body, shared="\t.shared .align 16 .b8 tile[8192];"), launch(blocks=1))
    assert done.kernel.shared_bytes == 8192
    assert done.run.passes.tolist() == [2 * passes] and done.classes["barrier"] == 2


def test_counts_products_of_tensor_cores():
    body = """	mma.sync.aligned.m16n8k32.row.col.s32.s8.s8.s32
		{%r5, %r6, %r7, %r8},
		{%r9, %r10, %r11, %r12},
		{%r13, %r14},
		{%r5, %r6, %r7, %r8};"""
    (done, _), = read(module(body), launch(blocks=1))
    assert {k: v.tolist() for k, v in done.tensor.items()} == {"s8": [2 * 16 * 8 * 32]}
    # 2048 products a clock: 2 mma of a block take 4 clocks of its multiprocessor.
    assert predict.tensor_cycles(done, A100).tolist() == [4]


def test_follows_divergence_and_ends_idle_warps():
    body = """	setp.gt.u32 	%p1, %r1, 31;
	@%p1 bra 	$L__BB0_2;
	add.rn.f32 	%r4, %r4, %r4;
	bra.uni 	$L__BB0_3;
$L__BB0_2:
	mul.rn.f32 	%r4, %r4, %r4;
	fma.rn.f32 	%r4, %r4, %r4, %r4;
$L__BB0_3:"""
    (done, _), = read(module(body), launch(blocks=1))
    assert done.classes["fma"] == 3


@pytest.mark.parametrize("threads, registers, shared, blocks, limit", [
    (128, None, 0, 16, "warps"), (128, 36, 0, 12, "registers"), (256, 178, 0, 1, "registers"),
    (256, 32, 40 << 10, 4, "shared memory"), (32, 16, 0, 32, "blocks"), (256, 32, 200 << 10, 0, "shared memory")])
def test_residency(threads, registers, shared, blocks, limit):
    """36 registers are 40, a warp's 1280, of which a scheduler has room for 12 warps: 48 of an SM, 12 blocks of 4."""
    assert residency(A100, threads, registers, shared) == (blocks, limit)


def trace_cycles(body, busy=False):
    (done, _), = read(module(body), launch(blocks=1))
    return latency.warp_cycles(A100, done.kernel, done.slowest_trace(), done.run.regions, busy)


def test_loads_wait_for_each_other_only_where_they_must():
    load = "\tld.global.b32 \t%r{}, [%rd{}];\n"
    use = "\tadd.rn.f32 \t%r20, %r10, %r11;"
    together = trace_cycles(load.format(10, 1) + load.format(11, 1) + use)
    chained = trace_cycles(load.format(10, 1) + "\tmul.wide.u32 \t%rd3, %r10, 0;\n\tadd.s64 \t%rd4, %rd1, %rd3;\n" +
                           load.format(11, 4) + use)
    assert A100.memory_latency <= together < A100.memory_latency + 50
    assert 2 * A100.memory_latency <= chained < 2 * A100.memory_latency + 60
    busy = trace_cycles(load.format(10, 1) + load.format(11, 1) + use, busy=True)
    assert busy - together == pytest.approx(A100.memory_latency * (latency.QUEUEING - 1))


def test_a_short_loop_is_unrolled_by_four():
    trips = {n: trace_cycles(LOOP.replace("%rd6, 3;", f"%rd6, {n};")) for n in (1, 4, 5, 8)}
    assert trips[4] - trips[1] < A100.memory_latency / 2
    assert trips[5] - trips[4] > A100.memory_latency and trips[8] - trips[4] > A100.memory_latency


def test_copies_are_waited_for_by_group():
    shared = "\t.shared .align 16 .b8 tile[8192];"
    copy = "\tcp.async.cg.shared.global \t[%r4], [%rd1], 16;\n\tcp.async.commit_group;\n"
    wait = "\tcp.async.wait_group \t{};"

    def cycles(body):
        (done, _), = read(module("\tmov.b32 \t%r4, tile;\n" + body, shared=shared), launch(blocks=1))
        assert done.footprint == {(memory.WEIGHTS, True): 32}
        return latency.warp_cycles(A100, done.kernel, done.slowest_trace(), done.run.regions, False)
    assert cycles(copy + wait.format(1)) < 50
    assert cycles(copy + wait.format(0)) >= A100.memory_latency


def test_a_launch_with_many_bytes_is_bound_by_memory():
    (done, made), = read(module(LOOP.replace("%rd4, 4096", "%rd4, 67108864")), launch(blocks=65536))
    p = predict.predict(done, A100, 64, 32, 0)
    bytes_read = 3 * 65536 * 1024
    assert p.bound == "memory" and p.memory_bytes == bytes_read  # what is stored stays in L2
    assert p.seconds == pytest.approx(p.memory_bytes / (2039e9 * 0.90) + 466 / 1.41e9)
    assert p.limit_seconds(A100) == pytest.approx(p.memory_bytes / 2039e9)


def test_latency_grows_with_the_memorys_share():
    assert predict.latency_seconds(1e-6, 2e-6, 0) == pytest.approx(1e-6)
    assert predict.latency_seconds(1e-6, 2e-6, 2e-6) == pytest.approx(2e-6)
    assert 1e-6 < predict.latency_seconds(1e-6, 2e-6, 1e-6) < 2e-6


def test_reads_what_ptxas_says():
    output = """ptxas info    : Compiling entry function 'a' for 'sm_80'
ptxas info    : Function properties for a
    8 bytes stack frame, 8 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 255 registers, used 1 barriers, 8192 bytes smem, 400 bytes cmem[0]"""
    assert assembler.read_registers(output) == {"a": assembler.Assembled(255, 20)}


def test_estimates_the_machine_instructions():
    slots = {i.name: costs.cost(i).slots for i in ptx.parse(module(LOOP), "t")["kernel"].instructions()}
    assert slots["ld.param.b64"] == 0 and slots["add.s64"] == 2 and slots["dp4a.s32.s32"] == 1
    if not assembler.assemble(module(LOOP), "sm_80"):
        pytest.skip("ptxas is not on the path")
    made = assembler.assemble(module(LOOP), "sm_80")["kernel"]
    assert made.registers > 0 and made.spilt == 0 and made.instructions > 10


def test_evaluates_fields_of_bits():
    from gpu_model.values import extract
    a = np.array([0b110100, 0xFFFFFFFF], dtype=np.int64)
    assert extract("u32", a, np.int64(2), np.int64(3)).tolist() == [0b101, 0b111]
    assert extract("s32", a, np.int64(2), np.int64(3)).tolist() == [0xFFFFFFFD, 0xFFFFFFFF]


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


def test_launches_by_size(tool, tmp_path):
    per_token = launch()
    per_token["grid"][0] = {"numerator": {"constant": 0, "perSize": [64, 0]}, "divisor": 48}
    given = files(tmp_path, module(LOOP), per_token, launch(when={"index": 1, "least": 2, "most": 2}))
    for outputs, launches in ((0, 1), (2, 2)):
        done = tool(*given, "--tokens", 3, "--outputs", outputs, "--ptxas", "", "--device", "h100", "--counts")
        assert done.returncode == 0, done.stderr
        assert f"{launches} launch" in done.stdout and "kernel: 4 blocks" in done.stdout


def test_explains_itself():
    done = subprocess.run([sys.executable, TOOL, "--help"], capture_output=True, text=True)
    assert done.returncode == 0 and "examples:" in done.stdout
    done = subprocess.run([sys.executable, TOOL, "--device", "none"], capture_output=True, text=True)
    assert done.returncode == 2 and "give a package" in done.stderr


def test_reads_a_package(tool, tmp_path):
    path = tmp_path / "model.quern"
    path.write_bytes(package(module(LOOP), program(launch())))
    done = tool(path, "--ptxas", "", "--device", "a100-40")
    assert done.returncode == 0 and "A100 40 GB" in done.stdout, done.stderr


def fails(done, message):
    assert done.returncode == 1 and done.stdout == "", done.stdout
    assert done.stderr.startswith("gpu-model: ") and len(done.stderr.splitlines()) == 1, done.stderr
    assert message in done.stderr


def test_refuses_packages_that_are_no_good(tool, tmp_path):
    path = tmp_path / "model.quern"
    good = package(module(LOOP), program(launch()))
    cpu_only = package(module(LOOP), program(launch()), {"sizes": [], "inputs": [], "outputs": []})
    far = bytearray(good)
    struct.pack_into("<Q", far, 32 + 48, 1 << 60)
    for data, message in [(b"", "is no package"), (good[:100], "damaged"), (good[:9000], "damaged"),
                          (b"QUERNPKG" + b"\xff" * 200, "damaged"), (bytes(far), "reaches beyond the end"),
                          (good.replace(b'"sizes"', b'"sizes\xff'), "is no JSON"), (cpu_only, "has no PTX for")]:
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
    (module("\tld.param.b64 \t%rd3, [other];"), "reads the argument [other] in line 19"),
    (module("$L__BB0_1:\n\tbra.uni \t$L__BB0_1;"), "does not end within"),
    (module("", shared="\t.shared .align 4 .b7 x[3];"), "unknown type .b7")])
def test_refuses_ptx_that_is_no_good(monkeypatch, text, message):
    monkeypatch.setattr("gpu_model.execute.MOST_STEPS", 100)
    with pytest.raises(ModelError) as caught:
        read(text, launch())
    assert message in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("change, message", [
    ({"kernel": "none"}, "launch 0 names no kernel"), ({"threads": 0}, "threads is '0'"),
    ({"threads": 2048}, "2048 threads"), ({"grid": [1]}, "three dimensions"), ({"sharedBytes": -1}, "sharedBytes"),
    ({"arguments": [{"kind": "weights", "offset": -1}]}, "offset is '-1'"), ({"arguments": [7]}, "cannot read"),
    ({"arguments": []}, "the launch has 0 arguments"), ({"when": {"index": 5}}, "'when' names no size"),
    ({"when": 3}, "'when' names no size"), ({"sharedBytes": 1 << 20}, "does not fit a multiprocessor")])
def test_refuses_programs_that_are_no_good(tool, tmp_path, change, message):
    fails(tool(*files(tmp_path, module(LOOP), {**launch(), **change}), "--ptxas", ""), message)


def test_mutated_input_never_ends_in_a_traceback(monkeypatch):
    monkeypatch.setattr("gpu_model.execute.MOST_STEPS", 2000)
    dice, good = random.Random(6), (module(LOOP), json.dumps(launch()))
    refused = 0
    for _ in range(400):
        text, made = good
        at = dice.randrange(len(text))
        if dice.random() < 0.5:
            text = text[:at] + dice.choice(["", "%", "[", "{", ";", "9", "ret", ".", "\n"]) + text[at + 3:]
        else:
            at = dice.randrange(len(made))
            made = made[:at] + dice.choice(["", "0", "-", "9e9", '"', "null", "[", "}"]) + made[at + 1:]
        try:
            (done, found), *_ = read(text, source.parse_json(made, "the launch")) or [(None, None)]
            if done:
                predict.predict(done, A100, found.geometry.threads, None, 0)
        except ModelError:
            refused += 1
    assert 100 < refused < 400
