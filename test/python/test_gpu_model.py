"""The performance model of GPU code (python/gpu_model): counts and times of small kernels, worked out by hand."""
import numpy as np
import pytest

from gpu_model import assembler, costs, latency, memory, predict, ptx, source, work
from gpu_model.devices import DEVICES, residency
from gpu_model.program import Program, Step
from gpu_model.values import exchange, extract, shift_right, upper_half
from gpu_model_kernels import BY_POSITION, COUNTED, LOOP, arena, launch, module, program, read, weights

A100 = DEVICES["a100-80"]


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


def test_lanes_that_parted_meet_again():
    """The loop's last part lies before its first, and one lane takes a way round: nobody runs ahead of it."""
    body = """	mov.b32 	%r4, 0;
	setp.ne.s32 	%p2, %r1, 0;
	bra.uni 	$L__BB0_3;
$L__BB0_2:
	add.s32 	%r4, %r4, 1;
	setp.lt.s32 	%p1, %r4, 5;
	@%p1 bra 	$L__BB0_3;
	bra.uni 	$L__BB0_4;
$L__BB0_3:
	mul.rn.f32 	%r5, %r5, %r5;
	@%p2 bra 	$L__BB0_2;
	add.rn.f32 	%r5, %r5, %r5;
	bra.uni 	$L__BB0_2;
$L__BB0_4:"""
    (done, _), = read(module(body), launch(blocks=1))
    (_, _, trips, counts), = done.loops()
    assert trips == 5 and counts["fma"] == 2
    assert done.classes["fma"] == 2 * 5 + 5  # both warps multiply, the first also adds


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

    def cycles(groups, keep):
        body = "\tmov.b32 \t%r4, tile;\n" + copy * groups + wait.format(keep)
        (done, _), = read(module(body, shared=shared), launch(blocks=1))
        assert done.footprint == {(memory.WEIGHTS, True): 32}
        return latency.warp_cycles(A100, done.kernel, done.slowest_trace(), done.run.regions, False)
    for groups, keep in ((1, 1), (2, 2), (1, 2), (2, 3), (3, 4)):
        assert cycles(groups, keep) < 60, (groups, keep)
    for groups, keep in ((1, 0), (2, 1), (3, 2), (3, 0)):
        assert cycles(groups, keep) >= A100.memory_latency, (groups, keep)


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


def test_what_only_the_last_block_does_comes_after_the_rest():
    counted = launch(arguments=[arena(), {"kind": "counters"}])
    (done, _), = read(module(COUNTED), counted)
    assert (done.classes["load"], done.classes["store"]) == (8, 8)  # the counting of 8 warps, and what they store
    without, last = done.tail
    assert last.classes["load"] - without.classes["load"] == 2 * last.blocks * 2
    (plain, _), = read(module(COUNTED.split("\tsetp")[0]), counted)
    p, q = (predict.predict(w, A100, 64, 32, 0) for w in (done, plain))
    assert q.tail == 0
    waits = A100.l2_latency + A100.memory_latency  # what lies at an address that is not known may come from memory
    assert waits / 1.41e9 < p.tail < (waits + 20) / 1.41e9
    assert p.seconds == pytest.approx(p.times[p.bound] + p.start + p.tail)
    assert p.in_flight() > p.tail and p.scaled(0.5).tail == p.tail / 2


def test_a_fence_waits_for_what_was_stored():
    store, fence = "\tst.global.b32 \t[%rd1], %r3;\n", "\tfence.acq_rel.{};\n"
    free = trace_cycles(store)
    assert trace_cycles(store + fence.format("gpu")) - free >= A100.l2_latency
    assert trace_cycles(store + 2 * fence.format("gpu")) - free < 1.5 * A100.l2_latency
    assert trace_cycles(store + fence.format("cta")) - free < 30


def test_what_stands_before_the_wait_for_the_launch_before_is_done_early():
    wait, load, use = "\tgriddepcontrol.wait;\n", "\tld.global.b32 \t%r10, [%rd1];\n", "\tadd.s32 \t%r20, %r10, %r10;"
    h100 = DEVICES["h100"]
    start = {}
    for name, body in (("early", load + wait + use), ("late", wait + load + use)):
        (done, _), = read(module(body), launch(blocks=1))
        alone, overlapping = (predict.predict(done, h100, 64, 32, 0, overlaps) for overlaps in (False, True))
        start[name] = alone.start - overlapping.start
        saved = alone.times["latency"] - overlapping.times["latency"]
        assert (saved > 0.95 * h100.memory_latency / 1.83e9) == (name == "early")
    assert start["early"] == pytest.approx(h100.memory_latency / 1.83e9, rel=0.05) and start["late"] < 20 / 1.83e9


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


@pytest.mark.parametrize("line, trips", [
    ("redux.sync.min.s32 \t%r5, %r4, -1;", 1), ("redux.sync.max.s32 \t%r5, %r4, -1;", 4),
    ("redux.sync.xor.s32 \t%r5, %r4, -1;", 1),
    ("shfl.sync.idx.b32 \t%r5, %r4, 7, 31, -1;", 1), ("shfl.sync.bfly.b32 \t%r5, %r4, 31, 31, -1;", 4)])
def test_numbers_go_between_lanes(line, trips):
    """Lanes have twice their number: its least is 0, the greatest of a block's first warp 62."""
    body = f"""	and.b32 	%r7, %r1, 31;
	shl.b32 	%r4, %r7, 1;
	{line}
	mov.b32 	%r6, 0;
$L__BB0_1:
	add.s32 	%r6, %r6, 16;
	setp.lt.s32 	%p1, %r6, %r5;
	@%p1 bra 	$L__BB0_1;"""
    (done, _), = read(module(body), launch(blocks=1))
    assert done.loops()[0][2] == trips and not done.run.notes()


@pytest.mark.parametrize("mode, by, clamp, lanes", [
    ("idx", 3, 0x1F, [3] * 32), ("idx", 35, 0x1F, [3] * 32),
    ("idx", 3, 0x181F, [lane // 8 * 8 + 3 for lane in range(32)]),  # segments of eight lanes
    ("bfly", 16, 0x181F, [lane % 16 for lane in range(32)]), ("bfly", 4, 0x181F, [lane ^ 4 for lane in range(32)]),
    ("up", 2, 0x1800, [lane - 2 * (lane % 8 >= 2) for lane in range(32)]),
    ("down", 2, 0x181F, [lane + 2 * (lane % 8 < 6) for lane in range(32)])])
def test_shuffles_within_segments(mode, by, clamp, lanes):
    shuffle = ptx.parse_instruction(f"shfl.sync.{mode}.b32 %r1, %r2, {by}, {clamp}, -1", 1, "t")
    operands = [np.arange(32), np.int64(by), np.int64(clamp)]
    assert exchange(shuffle, operands, np.ones(32, dtype=bool)).tolist() == lanes


def test_shifts_by_all_bits_and_more():
    value = np.array([-1], dtype=np.int64)
    assert [int(shift_right(value, np.int64(by), "u64")[0]) for by in (0, 1, 63, 64, 70)] == \
        [-1, (1 << 63) - 1, 1, 0, 0]
    assert [int(shift_right(value & 0xFFFFFFFF, np.int64(by), kind)[0]) for by in (31, 32, 70)
            for kind in ("u32", "s32")] == [1, -1, 0, -1, 0, -1]


def test_works_are_shared_by_launches_that_differ_in_addresses_alone():
    def works(body, *launches):
        made = source.Source("test", "nvptx:sm_80", ptx.parse(module(body), "test"), "", program(*launches),
                             source.DEFAULT_MANIFEST)
        shared = predict.Works(made)
        return [shared.of(one)[1] for one in Program(made).launches(Step(depth=160))]
    first, second, third = works(LOOP, launch(), launch(arguments=[weights(1 << 20), arena(512)]),
                                 launch(arguments=[arena(16), arena(512)]))
    assert first is second and first is not third
    assert first.footprint[memory.WEIGHTS, True] == third.footprint[memory.ARENA, True] == 3 * 4096
    positions, capacities = works(BY_POSITION, *(launch(arguments=[{"kind": "input", "index": i}, arena()])
                                                 for i in (1, 3)))
    assert [done.loops()[0][2] for done in (positions, capacities)] == [10, 12]


def test_evaluates_upper_halves_of_products():
    pairs = [(5, 7), (-3, 9), (1 << 40, -(1 << 41)), (-1, -1), (123456789123, 0x123456789ABCDEF)]
    for a, b in pairs:
        for is_signed in (True, False):
            x, y = (v if is_signed else v % (1 << 64) for v in (a, b))
            expected = (x * y >> 64) % (1 << 64)
            assert int(upper_half(np.int64(a), np.int64(b), is_signed)) % (1 << 64) == expected


def test_evaluates_fields_of_bits():
    a = np.array([0b110100, 0xFFFFFFFF], dtype=np.int64)
    assert extract("u32", a, np.int64(2), np.int64(3)).tolist() == [0b101, 0b111]
    assert extract("s32", a, np.int64(2), np.int64(3)).tolist() == [0xFFFFFFFD, 0xFFFFFFFF]


def shares(body, shared=""):
    kernel = ptx.parse(module(body, shared=shared), "test")["kernel"]
    return {i.results[0]: i.share for i in kernel.instructions() if i.results}


def test_addresses_of_shared_memory_have_32_bits():
    found = shares("""	mul.wide.u32 	%rd3, %r3, 16;
	and.b64 	%rd4, %rd3, 112;
	shl.b64 	%rd5, %rd4, 2;
	add.s64 	%rd6, %rd5, %rd4;
	ld.shared.b32 	%r4, [%rd6];
	shr.u64 	%rd7, %rd5, 3;
	shl.b64 	%rd8, %rd7, 2;
	st.shared.b64 	[%rd8], %rd6;
	add.s64 	%rd9, %rd1, %rd4;
	st.global.b32 	[%rd9], %r4;""", shared="	.shared .align 16 .b8 tile[1024];")
    assert found["%rd8"] == 0.5  # nothing but an address
    # A shift to the right, a stored value and an address in device memory need all bits.
    assert all(found[r] == 1 for r in ("%rd3", "%rd4", "%rd5", "%rd6", "%rd7", "%rd9"))


def test_two_bitwise_operations_are_one():
    found = shares("""	and.b32 	%r4, %r3, 983055;
	or.b32 	%r5, %r4, 1677747200;
	and.b32 	%r6, %r3, 255;
	or.b32 	%r7, %r6, %r5;
	xor.b32 	%r8, %r6, %r2;
	st.global.v2.b32 	[%rd2], {%r7, %r8};""")
    assert found["%r4"] == 0  # of three numbers with the next
    assert found["%r5"] == 1  # has three already
    assert found["%r6"] == 1  # is read twice
