"""What is known of GPUs, by their makers and by published measurements: docs/gpu-performance.md names the sources."""
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Device:
    key: str
    name: str
    arch: str  # for ptxas; "" where it does not apply
    sms: int  # multiprocessors
    clock_ghz: float
    bandwidth: float  # bytes a second, of the memory's interface
    reachable: float  # share of it that streaming reads get
    l2_bytes: int
    l2_per_clock: int  # bytes a clock that one multiprocessor gets from L2
    l2_bandwidth: float  # bytes a second, all together
    warps: int  # resident on a multiprocessor
    blocks: int
    registers: int  # of a multiprocessor; 0: no limit by them
    shared_bytes: int  # of a multiprocessor
    shared_of_block: int  # largest
    # Lanes a clock of a multiprocessor, by pipe.
    issue: int
    fma: int
    alu: int
    multiply: int  # integers, dp4a
    convert: int
    special: int
    memory: int
    # Multiply-adds a clock of a multiprocessor on the tensor cores, by type of the factors; empty: none.
    tensor: dict = field(default_factory=dict)
    mma_share: float = 1.0  # of the tensor peak that mma.sync reaches
    # Cycles until a result is there.
    memory_latency: int = 500
    l2_latency: int = 260
    shared_latency: int = 30
    boundary_us: float = 1.5  # between dependent kernels of a graph
    overlapped_us: float = 0.5  # the same where the next kernel starts early (programmatic dependent launch)
    barrier_us: float = 1.0  # of all blocks of a persistent kernel


A100 = dict(arch="sm_80", sms=108, clock_ghz=1.41, reachable=0.90, l2_bytes=40 << 20, l2_per_clock=64,
            l2_bandwidth=4.0e12, warps=64, blocks=32, registers=65536, shared_bytes=164 << 10,
            shared_of_block=163 << 10, issue=128, fma=64, alu=64, multiply=64, convert=16, special=16, memory=32,
            tensor={"f16": 1024, "bf16": 1024, "tf32": 512, "s8": 2048}, memory_latency=466, l2_latency=262,
            shared_latency=29, boundary_us=1.5)

DEVICES = {d.key: d for d in [
    Device(key="a100-40", name="A100 40 GB", bandwidth=1555e9, **A100),
    Device(key="a100-80", name="A100 80 GB", bandwidth=2039e9, **A100),
    Device(key="h100", name="H100 SXM", arch="sm_90", sms=132, clock_ghz=1.83, bandwidth=3352e9, reachable=0.90,
           l2_bytes=50 << 20, l2_per_clock=64, l2_bandwidth=5.6e12, warps=64, blocks=32, registers=65536,
           shared_bytes=228 << 10, shared_of_block=227 << 10, issue=128, fma=128, alu=64, multiply=64, convert=64,
           special=16, memory=32, tensor={"f16": 2048, "bf16": 2048, "tf32": 1024, "s8": 4096}, mma_share=0.63,
           memory_latency=479, l2_latency=263, shared_latency=29, boundary_us=1.3),
    Device(key="rtx4090", name="RTX 4090", arch="sm_89", sms=128, clock_ghz=2.52, bandwidth=1008e9, reachable=0.90,
           l2_bytes=72 << 20, l2_per_clock=64, l2_bandwidth=5.0e12, warps=48, blocks=24, registers=65536,
           shared_bytes=100 << 10, shared_of_block=99 << 10, issue=128, fma=128, alu=64, multiply=64, convert=16,
           special=16, memory=32, tensor={"f16": 256, "bf16": 256, "tf32": 128, "s8": 1024}, memory_latency=541,
           l2_latency=273, shared_latency=30, boundary_us=1.3),
    Device(key="xe-lp", name="Intel Xe-LP, 96 EU", arch="", sms=6, clock_ghz=1.35, bandwidth=50e9, reachable=0.85,
           l2_bytes=3840 << 10, l2_per_clock=64, l2_bandwidth=0.25e12, warps=56, blocks=16, registers=0,
           shared_bytes=128 << 10, shared_of_block=64 << 10, issue=128, fma=128, alu=128, multiply=128, convert=32,
           special=32, memory=32, memory_latency=400, l2_latency=200, shared_latency=90, boundary_us=5.0,
           overlapped_us=5.0, barrier_us=5.0),
]}


def residency(device, threads, registers, shared_bytes):
    """Blocks of a kernel that a multiprocessor holds, and what limits them. `registers` of a thread; None: unknown, no
    limit. 0 blocks where one does not fit."""
    warps = (threads + 31) // 32
    limits = {"warps": device.warps // warps, "blocks": device.blocks}
    if registers and device.registers:
        of_warp = (registers + 7) // 8 * 8 * 32  # registers are given out to warps by 256
        # Each of the four schedulers has a quarter of the file.
        limits["registers"] = device.registers // 4 // of_warp * 4 // warps
    reserved = 1024 if device.arch >= "sm_80" else 0
    if shared_bytes > device.shared_of_block:
        limits["shared memory"] = 0
    elif shared_bytes:
        limits["shared memory"] = device.shared_bytes // (shared_bytes + reserved)
    limit = min(limits, key=limits.get)
    return limits[limit], limit
