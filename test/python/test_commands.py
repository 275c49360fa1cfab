"""Each subcommand on models that are fine."""
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tiny_model import write_model

PROCESSOR = Path("/proc/cpuinfo").read_text()


@pytest.mark.parametrize("command", ["compile", "run", "inspect", "bench", "perplexity", "logits"])
def test_help_shows_an_example(quern, command):
    text = quern.run(command, "--help")
    assert "Examples:" in text and f"quern {command}" in text


def test_wrong_arguments_end_with_status_2(quern):
    assert quern.start("run").returncode == 2
    assert quern.start("no-such-command").returncode == 2
    assert quern.start().returncode == 2


def test_compiling_twice_gives_the_same_bytes(quern, tiny, tiny_package, tmp_path):
    again = quern.compile(tiny, tmp_path / "again.quern", "-t", "1")
    assert again.read_bytes() == tiny_package.read_bytes()


def test_run_streams_the_same_text_for_the_same_seed(quern, tiny_package):
    flags = ["run", tiny_package, "--raw", "-p", "the", "-n", "12", "--seed", "5", "--temp", "1"]
    text = quern.run(*flags)
    assert text.strip() and quern.run(*flags) == text
    assert quern.run(*flags, "-t", "2") == text


def test_run_reads_a_prompt_from_a_pipe(quern, tiny_package, tmp_path):
    prompt = tmp_path / "prompt"
    prompt.write_text("the cat")
    flags = ["run", tiny_package, "--temp", "0", "-n", "8", "--template", "deepseek-r1"]
    with open(prompt) as pipe:
        text = quern.run(*flags, stdin=pipe)
    assert text == quern.run(*flags, "-p", "the cat") == quern.run(*flags, "-f", prompt)
    assert text.startswith("<think>\n")


def test_inspect_shows_a_package(quern, tiny_package):
    shown = json.loads(quern.run("inspect", tiny_package, "--json", "--verify"))
    assert shown["kind"] == "package" and shown["weights_verified"]
    assert {"manifest", "plan", "tokenizer", "weights"} <= {section["name"] for section in shown["sections"]}
    assert [code["target"] for code in shown["manifest"]["code"]][-1] == "x86-64-v2"
    text = quern.run("inspect", tiny_package)
    assert "blk.1.ffn_down.weight" in text and "x86-64-v2" in text


@pytest.mark.skipif("avx2" not in PROCESSOR, reason="this processor has no AVX2")
def test_masked_features_choose_the_code(quern, tiny_package):
    def target(masked):
        flags = ["-p", "1", "-n", "0", "-r", "1", "-o", "json", "--mask-features", masked]
        return json.loads(quern.run("bench", "-m", tiny_package, *flags))[0]["target"]
    assert target("avx512f,avxvnni") == "x86-64-avx2"
    assert target("avx512f") == ("x86-64-avxvnni" if "avx_vnni" in PROCESSOR else "x86-64-avx2")
    assert target("avx2") == target("fma") == target("all") == "x86-64-v2"


def test_inspect_shows_a_gguf(quern, tiny):
    shown = json.loads(quern.run("inspect", tiny, "--json"))
    assert shown["kind"] == "gguf" and shown["compiles"]
    assert shown["metadata"]["qwen2.block_count"] == 2
    tensor = next(t for t in shown["tensors"] if t["name"] == "blk.0.attn_k.weight")
    assert tensor["shape"] == [128, 256] and tensor["format"].lower() == "q8_0" and tensor["bytes"] == 128 * 8 * 34
    assert "token_embd.weight" in quern.run("inspect", tiny)


def test_bench_has_the_fields_of_llama_bench(quern, tiny_package):
    text = quern.run("bench", "-m", tiny_package, "-p", "16,32", "-n", "4", "-d", "8", "-t", "1,2", "-r", "2",
                     "-o", "json")
    results = json.loads(text)
    assert [(r["n_prompt"], r["n_gen"]) for r in results] == [(16, 0), (32, 0), (0, 4)] * 2
    fields = {"build_commit", "cpu_info", "model_filename", "model_type", "model_size", "model_n_params", "n_batch",
              "n_threads", "n_prompt", "n_gen", "n_depth", "test_time", "avg_ns", "stddev_ns", "avg_ts", "stddev_ts",
              "samples_ns", "samples_ts"}
    for result in results:
        assert fields <= set(result) and result["n_depth"] == 8 and len(result["samples_ns"]) == 2
        assert result["avg_ts"] > 0
    assert "| pp16 |" in quern.run("bench", "-m", tiny_package, "-p", "16", "-n", "0", "-r", "1").replace("  ", "")


def test_bench_compares_with_the_machine(quern, tiny_package):
    results = json.loads(quern.run("bench", "-m", tiny_package, "-p", "16", "-n", "4", "-d", "8", "-r", "1",
                                   "-o", "json"))
    for result in results:
        assert all(result[key] > 0 for key in ("read_bandwidth", "dot_peak", "fma_peak", "read_share", "dot_share"))
    prompt, generation = results
    assert prompt["dot_operations"] > generation["dot_operations"] / 4 * 8
    # Four steps read all weights but the embedding's and the cache of 9 to 12 positions.
    plan = json.loads(quern.run("inspect", tiny_package, "--json"))["plan"]
    ops = plan["ops"][generation["target"]]
    once = sum(op["weight_bytes"] + op["weight_bytes_per_row"] for op in ops)
    keys = sum(op["cache_bytes_per_key"] for op in ops)
    assert generation["memory_bytes"] == 4 * once + (9 + 10 + 11 + 12) * keys
    assert keys == plan_cache_bytes(quern, tiny_package)


def test_bench_takes_the_unit_that_a_model_computes_on(quern, tmp_path):
    model = write_model(tmp_path / "float.gguf", "--type", "F32")
    package = quern.compile(model, tmp_path / "float.quern")
    result, = json.loads(quern.run("bench", "-m", package, "-p", "16", "-n", "0", "-r", "1", "-o", "json"))
    assert result["limit"] == "fma" and result["limit_share"] == result["fma_share"] > 0
    assert result["dot_operations"] == 0 and result["fma_operations"] > 0
    assert "GOP/s fma" in quern.run("bench", "-m", package, "-p", "16", "-n", "0", "-r", "1")


def test_bench_of_several_sequences(quern, tiny_package):
    flags = ["bench", "-m", tiny_package, "-p", "8", "-n", "4", "-d", "8", "-r", "2", "--parallel", "1,3"]
    prompt, one, three = json.loads(quern.run(*flags, "-o", "json"))
    assert [r["n_parallel"] for r in (prompt, one, three)] == [1, 1, 3] and three["n_gen"] == 4
    assert three["dot_operations"] == 3 * one["dot_operations"]
    # Three rows of the embedding in place of one, and three caches of 9 to 12 positions; all else is read once.
    ops = json.loads(quern.run("inspect", tiny_package, "--json"))["plan"]["ops"][one["target"]]
    rows, keys = (sum(op[key] for op in ops) for key in ("weight_bytes_per_row", "cache_bytes_per_key"))
    assert three["memory_bytes"] - one["memory_bytes"] == 2 * (4 * rows + (9 + 10 + 11 + 12) * keys)
    speeds = [4 * 3 / ns for ns in three["samples_ns"]]
    assert three["samples_ts"] == pytest.approx([1e9 * speed for speed in speeds])
    ratios = [speed * ns / 4 for speed, ns in zip(speeds, three["one_sequence_ns"])]
    assert three["ratio_to_one_sequence"] == pytest.approx(sum(ratios) / 2)
    assert "ratio_to_one_sequence" not in one
    text = quern.run(*flags)
    assert "tg4 x 3 @ d8" in text and "x one)" in text
    assert quern.start(*flags[:-1], "0").returncode == 2


def plan_cache_bytes(quern, package):
    return json.loads(quern.run("inspect", package, "--json"))["manifest"]["cache"]["bytes_per_position"]


def test_cache_in_bytes_takes_about_half_the_memory(quern, tiny_package):
    types = json.loads(quern.run("inspect", tiny_package, "--json"))["manifest"]["cache"]["types"]
    assert types["q8_0"] * 64 == types["f16"] * 34 and types["f32"] == types["f16"] * 2
    arguments = ("bench", "-m", tiny_package, "-p", "0", "-n", "1", "-d", "8", "-r", "1", "-o", "json")
    (half,), (byte,) = (json.loads(quern.run(*arguments, "--cache-type", kind)) for kind in ("f16", "q8_0"))
    assert (half["type_k"], byte["type_v"]) == ("f16", "q8_0")
    assert half["memory_bytes"] - byte["memory_bytes"] == 9 * (types["f16"] - types["q8_0"])
    assert "attention_q8_0" in quern.run(*arguments[:-2], "--cache-type", "q8_0", "--per-op")
    assert "cache of q8_0" in quern.run("inspect", tiny_package)


def test_cache_type_changes_logits_a_little(quern, tiny_package, prompts):
    half, same, byte, whole = (quern.logits(tiny_package, prompts, "-n", "2", "--top", "20", *flags)
                               for flags in ([], ["-ctk", "f16", "-ctv", "f16"], ["--cache-type", "q8_0"],
                                             ["--cache-type", "f32"]))
    assert half == same and half != byte and whole not in (half, byte)


def test_unknown_cache_type_is_refused(quern, tiny_package, prompts):
    result = quern.start("logits", tiny_package, "--prompts", prompts, "--cache-type", "f64")
    assert result.returncode == 2 and "f64 not in {f16,q8_0,f32}" in result.stderr, result.stderr


def test_keys_and_values_have_one_cache_type(quern, tiny_package, prompts):
    error = quern.fails("logits", tiny_package, "--prompts", prompts, "--cache-type-k", "q8_0", "--cache-type-v", "f16")
    assert "keys and values have one cache type, not q8_0 and f16" in error


@pytest.mark.parametrize("threads", ["1", "2"])
def test_bench_shows_each_kernel(quern, tiny_package, threads):
    arguments = ("bench", "-m", tiny_package, "-p", "16", "-n", "2", "-r", "1", "-t", threads, "--per-op")
    for result in json.loads(quern.run(*arguments, "-o", "json")):
        kernels = result["per_op"]
        assert len({kernel["kernel"] for kernel in kernels}) == len(kernels)
        assert [k["ratio"] for k in kernels] == sorted((k["ratio"] for k in kernels), reverse=True)
        assert {"dq.matmul", "lm.attention", "lm.rms_norm"} <= {kernel["op"] for kernel in kernels}
        assert all(kernel["measured_ns"] > 0 and kernel["predicted_ns"] > 0 for kernel in kernels)
    text = quern.run(*arguments)
    assert "of the machine's" in text and "predicted us" in text


def test_inspect_shows_what_kernels_cost(quern, tiny_package):
    text = quern.run("inspect", tiny_package)
    assert "cost of one row, x86-64-v2" in text and "operations a key" in text


def test_divergence_from_itself_is_nothing(quern, tiny_package, tmp_path):
    text = tmp_path / "text"
    text.write_text("the cat and the hat sat on the mat, and then they ate. " * 20)
    base = tmp_path / "base.logits"
    first = quern.run("perplexity", tiny_package, "-f", text, "-c", "32", "--chunks", "4", "--kl-divergence-base", base)
    perplexity = float(first.split("PPL = ")[1].split()[0])
    # 4 chunks of 32 tokens; each scores 15 positions of 284 + 4 codes (a vocabulary of 283).
    assert base.stat().st_size == 20 + 4 * 4 * 32 + 4 * 15 * 2 * 288
    report = quern.run("perplexity", tiny_package, "--kl-divergence-base", base, "--kl-divergence")
    values = {line.split(":")[0].strip(): line.split(":")[1].split() for line in report.splitlines() if ":" in line}
    assert float(values["Mean PPL(Q)"][0]) == pytest.approx(perplexity, rel=1e-4)
    assert float(values["Mean PPL(base)"][0]) == pytest.approx(perplexity, rel=1e-3)
    assert abs(float(values["Mean    KLD"][0])) < 1e-6


def test_compile_dumps_phases_and_stops(quern, tiny, tmp_path):
    quern.run("compile", tiny, f"--dump-phases={tmp_path}/ir", "--stop-after=quantize", "--forbid-slow-matmul")
    dumps = sorted(path.name for path in (tmp_path / "ir").iterdir())
    assert [name.split("-", 1)[1] for name in dumps] == ["import.mlir", "quantize.mlir"]
    assert "dq.matmul" in (tmp_path / "ir" / dumps[1]).read_text()


def test_chat_on_a_terminal(quern, tiny_package):
    """Two questions, forgetting, and the end; each reply begins with the template's opening."""
    try:
        terminal, inside = pty.openpty()
    except OSError as error:
        pytest.skip(f"no pseudo-terminal can be opened here ({error}); is /dev/pts mounted?")
    os.write(terminal, b"hello\n\nagain\n/clear\nhello\n/exit\n")
    flags = ["--temp", "0", "-n", "6", "--template", "deepseek-r1", "--verbose"]
    result = subprocess.run([quern.program, "run", tiny_package, *flags], stdin=inside, capture_output=True, timeout=60)
    os.close(terminal), os.close(inside)
    assert result.returncode == 0, result.stderr
    first, second, third = result.stdout.split(b"> <think>\n")[1:]
    assert third.startswith(first.split(b"\n> ")[0])
    prompts = [int(line.split()[1]) for line in result.stderr.decode().splitlines() if line.startswith("prompt:")]
    assert len(prompts) == 3 and prompts[0] > 5
