"""The bench on a GPU, as far as it can be held without one.

Clocks and peaks run over a stand-in for CuPy whose time the test moves; kernels and whole
operations run on the host launcher, which the bench takes where it is asked for by name.
"""

from __future__ import annotations

import importlib
import io
import shutil
import sys
import types

import fake_cupy
import numpy as np
import pytest
from rich.console import Console
from weightspace.bench.speed import before_after as compare
from weightspace.bench.speed import kernels, machine, peaks_cuda, records, roofline, steps
from weightspace.bench.speed import page as bench_page
from weightspace.bench.speed import timing_cuda as cuda_timing
from weightspace.bench.speed.peers import BASELINE, place, problem, select, truth
from weightspace.bench.speed.peers import kinds as networks
from weightspace.kernels import available, cuda, reference, spec
from weightspace.kernels.cuda import cublas, device
from weightspace.kernels.cuda.device import CupyDevice
from weightspace.kernels.errors import UnknownNameError

needs_compiler = pytest.mark.skipif(
    shutil.which("g++") is None, reason="the host launcher compiles CUDA sources with g++"
)
GPU = {
    "name": "NVIDIA Stand-in", "copy_gbs": 2000.0, "fp32_gflops": 50_000.0,
    "tf32_gflops": 400_000.0, "fp64_gflops": 25_000.0,
}  # fmt: skip
MACHINE = {
    "cpu": "planted", "cores": 2, "versions": {"python": "3"}, "commit": None, "dirty": None,
    "system": "Linux", "gpu": GPU,
}  # fmt: skip
BRIEF = kernels.Schedule(passes=2, samples=2, sample_seconds=1e-4)


def silent() -> Console:
    return Console(file=io.StringIO(), width=100)


@pytest.fixture
def cupy(monkeypatch):
    made = fake_cupy.cupy()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


def work(milliseconds: float):
    """A call that takes so long by the GPU's clock."""

    def call() -> None:
        fake_cupy.Event.now += milliseconds
        fake_cupy.Event.log.append("call")

    return call


# ---- the clock and the peaks --------------------------------------------------------------------


def test_a_call_is_timed_by_events_from_a_cold_cache(cupy):
    clock = cuda_timing.EventClock(cupy)
    assert clock.time_batch(work(0.25), 3) == pytest.approx(250e-6)
    flush = f"memset {cuda_timing._FLUSH_BYTES}"
    assert fake_cupy.Event.log == [flush, "record", "call", "record"] * 3 + ["synchronize"]


def test_a_sample_has_calls_enough_but_not_too_many(cupy):
    clock = cuda_timing.EventClock(cupy)
    assert clock.calibrate(work(0.5), 4e-3) == 8
    assert clock.calibrate(work(10.0), 4e-3) == 1
    assert clock.calibrate(work(1e-3), 4e-3) == cuda_timing._MOST_CALLS
    assert isinstance(cuda_timing.clock("cuda-host"), cuda_timing.WallClock)


def test_the_peaks_are_those_of_copies_and_products(cupy, monkeypatch):
    blas = fake_cupy.cublas(cublas.PROTOTYPES)
    monkeypatch.setattr(device, "load", lambda: blas)
    monkeypatch.setattr(peaks_cuda, "_SIDES", {"float32": 20, "float64": 10})
    monkeypatch.setattr(peaks_cuda, "_COPY_BYTES", 1 << 10)
    monkeypatch.setattr(peaks_cuda.importlib.util, "find_spec", lambda name: True)
    there = types.SimpleNamespace(device=CupyDevice())
    monkeypatch.setattr(peaks_cuda, "get_backend", lambda name: there)
    monkeypatch.setattr(cupy, "copyto", lambda target, source: work(2.0)())
    product = cublas.Cublas.product

    def slow(self, *arguments):
        product(self, *arguments)
        work(4.0)()

    monkeypatch.setattr(cublas.Cublas, "product", slow)
    found = peaks_cuda.measure(quick=True) or {}
    assert found["name"] == "NVIDIA Stand-in" and found["capability"] == "9.0"
    assert found["copy_gbs"] == pytest.approx(2 * 1024 / 2e-3 * 1e-9)
    assert found["fp32_gflops"] == pytest.approx(2 * 20**3 / 4e-3 * 1e-9)
    assert found["fp64_gflops"] == pytest.approx(2 * 10**3 / 4e-3 * 1e-9)
    modes = [call[2] for call in blas.log if call[0] == "cublasSetMathMode"]
    assert set(modes) == {0, 3} and modes == sorted(modes[:-4]) + modes[-4:]


def test_without_a_gpu_there_are_no_peaks():
    if "cuda" in available():
        pytest.skip("there is a GPU here")
    assert peaks_cuda.measure() is None
    assert "gpu" not in machine.measure_gpu()


def test_the_roof_of_a_gpu():
    traffic = spec.Traffic(1000, 0, 1000)
    copying = roofline.gpu_roof(GPU, 10.0, traffic)
    assert copying.seconds == pytest.approx(2000 / 2000e9) and copying.level == "memory"
    assert roofline.gpu_roof(GPU, 1e9, traffic).seconds == pytest.approx(1e9 / 50_000e9)
    assert roofline.gpu_roof(GPU, 1e9, traffic, "float32", "tf32").seconds == pytest.approx(2.5e-6)
    assert roofline.gpu_roof(GPU, 1e9, traffic, "float64", "tf32").seconds == pytest.approx(4e-5)
    bare = {"copy_gbs": 2000.0}  # without cuBLAS
    assert roofline.gpu_roof(bare, 1e9, traffic).seconds == pytest.approx(2000 / 2000e9)


# ---- kernels ------------------------------------------------------------------------------------


def on_a_stand_in(monkeypatch) -> list[kernels.Row]:
    """Rows of a backend "cuda" that is the reference in truth, on a planted GPU."""
    own = {name: getattr(reference, name) for name in spec.KERNELS}
    backend = types.SimpleNamespace(NAME="cuda", allow_tf32=False, **own)
    monkeypatch.setattr(kernels, "get_backend", lambda name: backend)
    monkeypatch.setattr(cuda_timing, "clock", lambda name: cuda_timing.WallClock())
    monkeypatch.setattr(cuda_timing, "device_name", lambda name: GPU["name"])
    names = ["dense_forward", "squared_error"]
    selection = kernels.Selection(names, ["cuda"], ["small"])
    rows, here = kernels.run(selection, console=silent(), peaks=MACHINE, schedule=BRIEF)
    assert here == MACHINE
    return rows


def test_kernels_are_held_against_the_gpu(monkeypatch, tmp_path):
    rows = on_a_stand_in(monkeypatch)
    assert {row.status for row in rows} == {"timed"}
    for row in rows:
        assert row.device == GPU["name"] and row.level == "memory" and row.threads == 0
        traffic = spec.KERNELS[row.kernel].traffic(row.sizes, row.dtype, row.variant)
        least = roofline.gpu_roof(GPU, row.flops, traffic).seconds
        halves = [np.median(row.samples[:2]), np.median(row.samples[2:])]
        assert row.roof_shares == pytest.approx([least / half for half in halves])
        assert bool(row.blas_shares) == (row.kernel == "dense_forward")
        assert kernels.allocated(row) == ""
    assert GPU["name"] in "\n".join(kernels.lines(rows))
    path = records.write(tmp_path / "cuda.jsonl", kernels.as_records(rows, MACHINE))
    page = bench_page.write_page([path], tmp_path / "page.html").read_text()
    assert GPU["name"] in page and "copy_gbs" in page and page.count("image/png") == 2
    assert compare.load(path)[1]["devices"] == [GPU["name"]]


def test_two_gpus_are_told_apart(monkeypatch, tmp_path):
    rows = on_a_stand_in(monkeypatch)
    paths = []
    for name in ("one", "two"):
        for row in rows:
            row.device = name
        paths.append(records.write(tmp_path / name, kernels.as_records(rows, MACHINE)))
    out = io.StringIO()
    compare.run(paths[0], paths[1], console=Console(file=out, width=120))
    assert "two GPUs: one and two" in out.getvalue()


@needs_compiler
def test_the_host_launcher_is_benched_where_it_is_asked_for(tmp_path, untyped):
    assert "cuda-host" not in (kernels.Selection(["sgd"]).backends or ())
    selection = kernels.Selection(["squared_error", "activation_forward"], ["cuda-host"], ["small"])
    rows, here = untyped(kernels.run(selection, console=silent(), schedule=BRIEF))
    assert {row.status for row in rows} == {"timed"} and "fma_gflops" not in here
    assert all(row.median > 0 and row.roof_share is None and row.error <= 1 for row in rows)
    path = records.write(tmp_path / "host.jsonl", kernels.as_records(rows, here))
    assert "squared_error" in bench_page.write_page([path], tmp_path / "page.html").read_text()


def test_an_absent_gpu_is_no_failure():
    if "cuda" in available():
        pytest.skip("there is a GPU here")
    selection = kernels.Selection(["squared_error"], ["cuda"], ["small"])
    rows, _ = kernels.run(selection, console=silent(), schedule=BRIEF)
    assert {row.status for row in rows} == {"absent"} and kernels.exit_status(rows) == 0


# ---- whole operations ---------------------------------------------------------------------------

SMALL = networks.Mlp((12, 9, 5))
ASKED = [
    *((name, SMALL, 6) for name in networks.Mlp.operations),
    *((name, networks.Convolution(4, 3, 5), 2) for name in networks.Convolution.operations),
    ("train-step-sgd", networks.ConvNet("fip-cnn"), 2),
]


@pytest.fixture
def ours(monkeypatch):
    """weightspace's peer, settled on the host launcher as its worker would settle it."""
    from weightspace.bench.speed.peers import conv_kernels, weightspace_net

    modules = (conv_kernels, weightspace_net)
    with monkeypatch.context() as settled:
        settled.setattr(place, "_here", "cuda-host")
        for module in modules:
            importlib.reload(module)
        yield weightspace_net
    for module in modules:
        importlib.reload(module)


def right(asked: problem.Problem, operation: problem.Operation) -> bool:
    got = operation.result()
    return truth.error_of(asked, got, truth.answer(asked)) <= truth.tolerance(asked)


@needs_compiler
@pytest.mark.parametrize(("name", "network", "batch"), ASKED, ids=lambda x: getattr(x, "name", x))
def test_weightspace_answers_from_the_device(ours, name, network, batch):
    asked = problem.Problem(name, network, batch).draw()
    variants = getattr(ours, network.table)[name]
    operation = variants["cuda-host"](asked)
    for _ in range(3):  # a step by launches, one captured, one replayed
        operation.call()
    ours.wait()
    operation.reset()
    assert right(asked, operation) and right(asked, operation)
    assert ours.settings()["backend"] == "cuda-host"


@pytest.fixture
def expressions(cupy):
    """The peer, with NumPy in CuPy's place: the same functions and operators."""
    name = "weightspace.bench.speed.peers.cupy_expressions"
    sys.modules.pop(name, None)
    yield importlib.import_module(name)
    sys.modules.pop(name)


@pytest.mark.parametrize("name", networks.Mlp.operations)
def test_cupy_expressions_are_right(expressions, name):
    expressions.wait()
    assert expressions.settings()["device"] == "NVIDIA Stand-in"
    if name not in expressions.OPERATIONS:
        return
    asked = problem.Problem(name, SMALL, 6).draw()
    operation = expressions.OPERATIONS[name]["expressions"](asked)
    operation.call()
    assert right(asked, operation) and right(asked, operation)


def test_peers_are_those_that_can_compute_there():
    def names(*asked) -> list[str]:
        return [spec.name for spec in select(*asked)]

    assert "jax" in names(None, "cpu") and "cupy" not in names(None, "cpu")
    assert "jax" not in names(None, "cuda") and "cupy" in names(None, "cuda")
    assert names(None, "cuda-host") == names(None, "cpu")
    assert names(["torch"], "cuda")[0] == BASELINE and "torch-func" in names(["torch"], "cuda")
    with pytest.raises(UnknownNameError, match="jax"):
        select(["jax"], "cuda")
    with pytest.raises(UnknownNameError, match="backend"):
        steps.run(backend="gpu")


@needs_compiler
def test_steps_on_the_host_launcher_say_where_they_ran(tmp_path):
    schedule = steps.Schedule(rounds=2, sample_seconds=1e-4, pause=0.0)
    asked = problem.Problem("train-step-adam", SMALL, 6)
    rows = steps.run_problem(asked, select([], "cuda-host"), schedule, backend="cuda-host")
    assert [row.status for row in rows] == ["timed"] and rows[0].backend == "cuda-host"
    assert (rows[0].settings or {})["backend"] == "cuda-host"
    path = records.write(tmp_path / "steps.jsonl", steps.as_records(rows))
    (name,) = compare.load(path)[0]
    assert name.endswith("weightspace cuda-host")
    page = bench_page.write_page([path], tmp_path / "page.html").read_text()
    assert "train-step-adam  12-9-5x6  cuda-host" in page
    assert cuda.host().NAME == "cuda-host"


def test_an_absent_gpu_is_told_by_every_peer():
    if "cuda" in available():
        pytest.skip("there is a GPU here")
    asked = problem.Problem("forward-1", SMALL, 6)
    peers = select(["cupy", "torch-eager"], "cuda")
    rows = steps.run_problem(asked, peers, steps.QUICK, backend="cuda")
    assert {row.peer for row in rows} == {BASELINE, "cupy", "torch-eager"}
    assert {row.status for row in rows} == {"absent"}
    assert steps.exit_status(rows) == 0
