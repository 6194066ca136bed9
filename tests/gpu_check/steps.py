"""The steps of both parts, the cheapest and most telling first."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

from weightspace.kernels.spec import KERNELS

from .runner import Step

FAMILIES = tuple(dict.fromkeys(kernel.family for kernel in KERNELS.values()))
MLP, RESNET = "784-256-256-10x128", "resnet20x128"


def _inside(name: str, seconds: float, *words: str) -> Step:
    return Step(name, seconds, [sys.executable, "-m", "gpu_check.inside", *words])


def _bench(name: str, seconds: float, *words: str) -> Step:
    return Step(name, seconds, [sys.executable, "-m", "weightspace.bench", *words])


def right_answers(backend: str, out: Path) -> list[Step]:
    """Part 1: the device, every kernel, networks, the same bits, and what memory gives."""
    tests = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--tb=short"]
    gpu = (("WEIGHTSPACE_TEST_CUDA", backend), ("WEIGHTSPACE_REQUIRE_CUDA", "1"))
    return [
        _inside("device", 60, "device", backend),
        *(_inside(f"kernels: {family}", 90, "kernels", backend, family) for family in FAMILIES),
        *(_inside(f"bits: {name}", 60, "bits", backend, name) for name in ("dense", "images")),
        Step("networks", 120, [*tests, "tests/test_cuda_gpu.py", "-k", "not every_kernel"], gpu),
        Step("every kernel, bench's sizes", 90,
             [*tests, "tests/test_cuda_gpu.py", "-k", "every_kernel"], gpu),
        Step("device, by CuPy", 60, [*tests, "tests/test_cuda_device.py"], gpu),
        _inside("copy", 30, "copies", backend),
        _bench("machine", 60, "bench", "machine", "--quick", "--out", str(out / "machine.jsonl")),
    ]  # fmt: skip


def speed(backend: str, out: Path, data: Sequence[str]) -> list[Step]:
    """Part 2: kernels against the roofline, whole operations beside peers, the main command."""
    kept = ["--quick", "--append", "--out", str(out / "bench.jsonl")]
    on = ["-b", backend]
    torch = ["-p", "torch-eager", "-p", "torch-compile", "-p", "torch-graphs"]
    steps = [
        _bench("kernels, memory-bound", 120, "bench", "kernels", *on, "-s", "memory", *kept),
        _bench("step: MLP", 90, "bench", "steps", *on, "-s", MLP, "-o", "train-step-adam",
               *torch, "-p", "jax", *kept),
        _bench("Fisher, JVP: MLP", 90, "bench", "steps", *on, "-s", MLP, "-o", "fisher-empirical",
               "-o", "jvp", "-p", "torch-func", "-p", "backpack", *kept),
        _bench("step: ResNet-20", 120, "bench", "steps", *on, "-s", RESNET, "-o",
               "train-step-sgd", *torch, *kept),
        Step("step: ResNet-20, TF32", 60, _bench("", 0, "bench", "steps", *on, "-s", RESNET, "-o",
             "train-step-sgd", "-p", "torch-eager", *kept).command, (("WEIGHTSPACE_TF32", "1"),)),
        Step("step: MLP, cuBLAS", 60, _bench("", 0, "bench", "steps", *on, "-s", MLP, "-o",
             "train-step-adam", *kept).command, (("WEIGHTSPACE_CUBLAS", "1"),)),
        _bench("permuted-mnist", 120, "run", "permuted-mnist", "--backend", backend, "--out",
               str(out / "permuted"), "--set", "steps=200", *data),
    ]  # fmt: skip
    sanitizer = shutil.which("compute-sanitizer") or "/usr/local/cuda/bin/compute-sanitizer"
    inside = _inside("", 0, "bits", backend, "dense").command
    for tool in ("memcheck", "racecheck"):
        told = f"compute-sanitizer: {tool}"
        steps.append(Step(told, 90, [sanitizer, "--tool", tool, "--error-exitcode", "1", *inside]))
    return steps
