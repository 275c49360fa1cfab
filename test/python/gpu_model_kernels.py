"""Small kernels and programs for the tests of tools/bench/gpu-model."""
import json
import struct

from gpu_model import ptx, source, work
from gpu_model.program import Program, Step

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

# The last of four blocks to come loads twice, the second time from where the first load says.
COUNTED = """	mul.wide.u32 	%rd3, %r3, 4;
	add.s64 	%rd4, %rd1, %rd3;
	st.global.b32 	[%rd4], %r3;
	fence.acq_rel.gpu;
	atom.global.inc.u32 	%r4, [%rd2], 3;
	fence.acq_rel.gpu;
	setp.ne.s32 	%p1, %r4, 3;
	@%p1 bra 	$L__BB0_1;
	ld.global.b32 	%r5, [%rd4];
	cvt.u64.u32 	%rd5, %r5;
	add.s64 	%rd6, %rd4, %rd5;
	ld.global.b32 	%r6, [%rd6];
	add.s32 	%r7, %r6, %r6;
	st.global.b32 	[%rd4], %r7;
$L__BB0_1:"""


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


def read(text, *launches, step=Step(), manifest=source.DEFAULT_MANIFEST):
    """(work, launch) of each launch."""
    made = source.Source("test", "nvptx:sm_80", ptx.parse(text, "test"), text, program(*launches), manifest)
    return [(work.work_of(made.kernels[found.kernel], found.geometry), found)
            for found in Program(made).launches(step)]


def files(folder, text, *launches):
    (folder / "k.ptx").write_text(text)
    (folder / "p.json").write_text(json.dumps(program(*launches)))
    return ["--ptx", folder / "k.ptx", "--program", folder / "p.json"]


def with_devices(targets):
    """A manifest with these targets' code, behind that of another kind of device."""
    codes = [{"target": t, "api": "cuda", "section": f"device/{t}", "program": f"program/{t}"} for t in targets]
    other = {"target": "spirv", "api": "opencl", "section": "device/spirv", "program": "program/spirv"}
    return {**source.DEFAULT_MANIFEST, "devices": [other, *codes]}


WITH_DEVICES = with_devices(["nvptx:sm_80"])


def package(codes, manifest=None):
    """Bytes of a .quern; `codes` are (PTX, program) by target."""
    sections = {"manifest": json.dumps(manifest or with_devices(codes)).encode()}
    for target, (text, made) in codes.items():
        sections |= {f"device/{target}": text.encode(), f"program/{target}": json.dumps(made).encode()}
    table, body, at = b"", b"", 8192
    for name, data in sections.items():
        table += struct.pack("<48sQQ16x", name.encode(), at, len(data))
        body += data.ljust(-(-len(data) // 4096) * 4096, b"\0")
        at = 8192 + len(body)
    head = struct.pack("<8sIIQQ", b"QUERNPKG", 1, len(sections), 8192 + len(body), 0) + table
    return head.ljust(8192, b"\0") + body
