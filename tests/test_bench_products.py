"""The workbench for dense products, and what a run shares the machine with."""

from __future__ import annotations

import importlib
import io
import os
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.speed import (
    before_after,
    conditions,
    machine,
    peaks,
    products,
    records,
    roofline,
    steps,
)
from weightspace.bench.speed import page as bench_page
from weightspace.bench.speed.peers import (
    BASELINE,
    REGISTRY,
    PeerSpec,
    problem,
    select,
    selection,
    sizes,
    truth,
)
from weightspace.bench.speed.peers import products as dense
from weightspace.bench.speed.peers.client import Client
from weightspace.bench.speed.record_kinds import KINDS
from weightspace.kernels.cores import cores_here
from weightspace.kernels.errors import DeviceError, SettingError
from weightspace.kernels.spec import Traffic

BRIEF = steps.Schedule(rounds=3, sample_seconds=1e-4, pause=0.0)
ROOF = roofline.Roof("L1", "read", 100.0, 50.0, 1e-9)
BLAS = ("openblas", "openblas-skylakex", "openblas-zen", "openblas-haswell", "mkl", "blis")


def drawn(operation, size="3x5x7"):
    return problem.Problem(operation, *sizes.parse_size(size)).draw()


# ---- which, and what is right -------------------------------------------------------------------


def test_a_size_is_samples_outputs_inputs():
    assert sizes.parse_size("64x300x784") == (dense.Product(300, 784), 64)
    assert sizes.parse_size("1x2x3@float64") == (dense.Product(2, 3, "float64"), 1)
    for size in (*dense.PRODUCT_SIZES, "1x2x3@float64"):
        assert problem.Problem("", *sizes.parse_size(size)).size == size
    for bad in ("0x300x784", "64x0x784", "64x300x784@float16", "64x300x784x2"):
        with pytest.raises(SettingError, match="64x300x784"):
            sizes.parse_size(bad)


def test_products_are_timed_only_where_they_are_asked_for():
    def kinds(*asked):
        return {type(one.network).__name__ for one in selection.problems(*asked)}

    assert "Product" not in kinds(None, None) | kinds(None, None, True)
    assert kinds(["product"], None) == kinds(["product-nt"], None, True) == {"Product"}
    assert [one.operation for one in selection.problems(None, ["2x3x4"])] == list(dense.FACTORS)
    assert {spec.name for spec in select(["blas"])} == {BASELINE, *BLAS}
    with pytest.raises(SettingError, match="2x3x4 has none of the operations jvp"):
        selection.problems(["jvp"], ["2x3x4"])


def test_the_three_products_are_those_of_a_dense_layer():
    a, kind = drawn("product-nt").arrays, dense.Product(5, 7)
    sums = {"product-nt": ("ni,oi->no", "x", "w"), "product-nn": ("no,oi->ni", "dz", "w"),
            "product-tn": ("no,ni->oi", "dz", "x")}  # fmt: skip
    moved = {"product-nt": (21 + 35, 15), "product-nn": (15 + 35, 21), "product-tn": (15 + 21, 35)}
    for operation, (indices, *names) in sums.items():
        made = drawn(operation)
        (right,) = truth.answer(made).values()
        found = np.einsum(indices, *(a[name].astype(np.float64) for name in names))
        assert np.abs(found - right).max() < 1e-14 * np.abs(right).max()
        assert kind.flops(3) == 2 * 3 * 5 * 7
        read, stored = moved[operation]
        assert kind.traffic(operation, 3) == Traffic(4 * read, 0, 4 * stored)
    assert dense.Product(5, 7, "float64").traffic("product-nt", 3).read == 8 * 56


def test_the_largest_error_is_that_of_one_number():
    right = {"product": np.array([[3.0, 4.0], [0.0, 5.0]])}  # root mean square: sqrt(50 / 4)
    off = {"product": right["product"] + [[0.0, 0.0], [0.5, -0.1]]}
    assert truth.largest_error(off, right) == pytest.approx(0.5 / 12.5**0.5)
    assert truth.largest_error({"product": np.zeros(2)}, {"product": np.zeros(2)}) == 0.0


@pytest.mark.parametrize("peer", [BASELINE, "torch-eager", "jax", "openblas", "mkl", "blis"])
def test_the_real_peers_multiply_as_the_truth_does(peer):
    """Every product in both dtypes, in this process, and the second answer as the first."""
    package = {BASELINE: "numba", "torch-eager": "torch", "openblas": "numpy"}.get(peer, peer)
    try:
        module = importlib.import_module(REGISTRY[peer].module)
    except ModuleNotFoundError:
        pytest.skip(f"{package} is not installed: pip install {package}")
    assert set(module.PRODUCTS) == set(dense.FACTORS)
    for operation, variants in module.PRODUCTS.items():
        for size in ("1x50x70@float64", "33x50x70", "1x50x70"):  # JAX stays in float32
            made = drawn(operation, size)
            expected = truth.answer(made)
            for build in variants.values():
                try:
                    built = build(made)
                except problem.NotRunError:
                    assert peer == "blis" and size.endswith("float64")
                    continue
                for _ in range(2):
                    error = truth.error_of(made, built.result(), expected)
                    assert error < truth.tolerance(made) / 50, (operation, size)
    assert module.settings()


def test_a_core_type_that_this_processor_cannot_run_is_refused():
    module = importlib.import_module(REGISTRY["openblas"].module)
    module.require("Haswell", {"avx2": True}, "openblas")
    with pytest.raises(DeviceError, match="no avx512vl, which SkylakeX needs"):
        module.require("SkylakeX", {"avx2": True, "avx512vl": False}, "openblas")
    with pytest.raises(DeviceError, match="OpenBLAS alone"):
        module.require("Zen", {"avx2": True}, "mkl")
    for spec in select(["openblas"])[2:]:
        assert dict(spec.environment)["OPENBLAS_CORETYPE"].lower() == spec.name.split("-")[1]


# ---- planted peers ------------------------------------------------------------------------------

_PLANTED = """
    import os
    from weightspace.bench.speed.peers.products import offered, views

    def settings():
        return {"said": os.environ.get("PLANTED_SAID", "")}

    def build(operation, a, b, out):
        left, right = views(operation, a, b)
        return lambda: FACTOR * (left @ right)

    FACTOR = 1
    PRODUCTS = offered("numpy", build)
"""


@pytest.fixture
def planted(tmp_path, monkeypatch):
    """Peers made for the test; the right one stands in for weightspace."""
    right = textwrap.dedent(_PLANTED)
    (tmp_path / "planted_right.py").write_text(right)
    (tmp_path / "planted_wrong.py").write_text(right.replace("FACTOR = 1", "FACTOR = 1.01"))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(steps, "QUICK", BRIEF)
    monkeypatch.setattr(steps, "_roofs", lambda todo, backend: None)
    monkeypatch.setattr(steps, "_roof", lambda problem, roofs: ROOF)
    said = (("PLANTED_SAID", "hello"),)

    def spec(name, module, environment=(), work=("products",)):
        return PeerSpec(name, module, work=work, environment=environment)

    return [
        spec(BASELINE, "planted_right"), spec("openblas", "planted_right", said),
        spec("wrong", "planted_wrong"), spec("elsewhere", "planted_right", work=("networks",)),
    ]  # fmt: skip


def test_products_are_run_checked_and_kept(planted, tmp_path):
    text = io.StringIO()
    rows = products.run(
        ["product-nt"], ["3x5x7"], planted, threads=[0], quick=True,
        console=Console(file=text, width=140),
    )  # fmt: skip
    assert [(row.peer, row.status) for row in rows] == [
        (BASELINE, "timed"), ("openblas", "timed"), ("wrong", "wrong")
    ]  # fmt: skip
    own, other, wrong = rows
    assert own.median and own.roof and own.error and own.max_error
    assert own.gflops == pytest.approx(2 * 3 * 5 * 7 / own.median * 1e-9)
    assert own.roof_share == pytest.approx(1e-9 / own.median) and own.roof["level"] == "L1"
    assert own.error < 1e-6 and own.max_error < 1e-5
    assert other.settings == {"said": "hello"} and other.ratio is not None
    assert wrong.gflops is None and steps.exit_status(rows) == 1
    for word in ("GFLOP/s", "% roof", "dense products", "3x5x7", "1.00"):
        assert word in text.getvalue()

    path = records.write(tmp_path / "products.jsonl", steps.as_records(rows))
    assert {one["kind"] for one in records.read(path, KINDS)} == {"product"}
    page = bench_page.write_page([path], tmp_path / "page.html").read_text()
    assert "Dense products" in page and "3x5x7" in page and "not timed" in page
    found, _ = before_after.load(path)
    assert list(found) == ["product: product-nt 3x5x7 weightspace"]


def test_runs_under_other_conditions_are_not_compared():
    row = steps.Row("jvp", "5-4x3", BASELINE, "timed", samples=(1.0,))
    names = []
    for threads, busy in ((0, 0), (1, 0), (0, 1)):
        row.threads, row.busy = threads, busy
        (one,) = steps.as_records([row])
        names += [name for name, *_ in before_after._measurements(one)]
    assert names == [f"step: jvp 5-4x3 weightspace{said}" for said in ("", " threads 1", " busy 1")]


def test_the_summary_names_the_best_and_the_errors():
    def row(peer, ratio, error):
        made = steps.Row("product-nt", "3x5x7", peer, "timed", ratio=ratio, error=error)
        made.median, made.gflops, made.roof_share, made.threads = 1e-6, 7.0, 0.5, 1
        return made

    rows = [row(BASELINE, None, 3e-7), row("jax", 1.2, 1e-7), row("openblas", 1.1, 2e-7),
            row("before", 0.9, 1e-7)]  # fmt: skip
    text = io.StringIO()
    Console(file=text, width=140).print(products.summary(rows))
    for word in ("1 thread", "50%", "1.10", "0.90", "1.50", "openblas"):
        assert word in text.getvalue()
    assert "jax" not in text.getvalue()
    rows[0].status = "wrong"
    Console(file=text, width=140).print(products.summary(rows))
    assert "not timed" in text.getvalue()


def test_the_command_refuses_what_it_cannot_do(tmp_path, monkeypatch):
    monkeypatch.setattr(steps, "run_problem", lambda *_: pytest.fail("work began"))
    for words, said in (
        (["--dtype", "float16"], "float16"),
        (["--size", "64x300"], "64x300x784"),
        (["--threads", "0", "--threads", "4096"], "threads is 4096"),
        (["--busy", "-1"], "busy is -1"),
        (["--before", str(tmp_path)], "git worktree add"),
        (["--peer", "openblass"], "openblas"),
    ):
        result = CliRunner().invoke(app, ["bench", "products", "--quick", *words])
        assert result.exit_code != 0 and said in str(result.exception), words


# ---- what the machine is shared with ------------------------------------------------------------


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="no affinity on this system")
def test_all_that_starts_inside_keeps_to_the_cores():
    before = os.sched_getaffinity(0)
    with conditions.on_cores(1):
        assert cores_here() == 1
        script = "import os; print(len(os.sched_getaffinity(0)))"
        found = subprocess.run([sys.executable, "-c", script], capture_output=True, check=True)
        assert found.stdout.strip() == b"1"
    assert os.sched_getaffinity(0) == before
    for bad in (-1, len(before) + 1):
        refused = pytest.raises(SettingError, match=f"threads is {bad}; expected 1 to")
        with refused, conditions.on_cores(bad):
            pass
    with conditions.on_cores(0):
        assert os.sched_getaffinity(0) == before


def test_busy_loops_run_and_end():
    with conditions.BusyLoops(2) as loops:
        processes = list(loops._processes)
        assert [one.poll() for one in processes] == [None, None]
        assert loops.cpu_seconds() >= 0.0
    assert all(one.poll() is not None for one in processes)


def test_busy_loops_end_with_their_parent_however_it_ends():
    script = textwrap.dedent("""
        import os
        from weightspace.bench.speed.conditions import BusyLoops
        BusyLoops(1).__enter__()
        os._exit(3)
    """)
    # the loop holds the pipe: the call ends when it has
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, stdout=subprocess.PIPE, timeout=120, check=False)
    assert done.returncode == 3


def test_busy_loops_are_no_others(monkeypatch):
    """Of 5 seconds that the machine worked, 3 were the loops'."""
    loops, whole, own = conditions.BusyLoops(), iter([0.0, 5.0]), iter([0.0, 3.0])
    monkeypatch.setattr(machine, "busy_seconds", lambda: next(whole))
    monkeypatch.setattr(loops, "cpu_seconds", lambda: next(own))
    before = steps._Usage.now([], loops)
    after = steps._Usage.now([], loops)
    share, elapsed = after.outside(before), after.clock - before.clock
    assert share and share * elapsed < 2.0 + 1e-9  # less this process's own


def test_another_checkouts_engine_runs_under_this_bench(tmp_path):
    checkout, folder = tmp_path / "checkout", tmp_path / "links"
    folder.mkdir()
    for part in ("kernels", "nnlite", "methods"):
        (checkout / part).mkdir(parents=True)
        (checkout / part / "__init__.py").write_text(f"WHOSE = 'the other {part}'")
    spec = conditions.other_engine(checkout, folder)
    assert spec.name == "before" and spec.module == REGISTRY[BASELINE].module
    script = "import weightspace.methods as m, weightspace.bench as b; print(m.WHOSE, b.__doc__)"
    found = subprocess.run(
        [sys.executable, "-c", script], env={**os.environ, **dict(spec.environment)},
        cwd=Path(conditions.__file__).parents[2], capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert found.stdout.startswith("the other methods") and len(found.stdout) > 40
    with pytest.raises(SettingError, match=r"has no kernels/__init__\.py; expected a checkout"):
        conditions.other_engine(tmp_path, folder)


def test_before_says_its_commit_in_what_is_kept(planted, tmp_path):
    spec = PeerSpec(BASELINE, "planted_right", work=("products",), commit="abc123")
    (row,) = steps.run_problem(problem.Problem("product-nn", dense.Product(5, 7), 3), [spec], BRIEF)
    assert row.settings == {"said": "", "commit": "abc123"}


def test_a_peers_environment_is_its_own(tmp_path):
    """What is asked of a peer that is not installed says how it is."""
    made = drawn("product-nt")
    spec = PeerSpec("mkl", "weightspace.bench.speed.peers.mkl_blas", environment=(("HOME", "/"),))
    with Client(spec, made, tmp_path / "none.npz") as client:
        greeting = client.hello()
    if greeting["status"] != "ok":
        assert greeting["reason"] == "the package 'mkl' is not installed: pip install mkl"


def test_the_rate_of_numpys_blas_is_one_threads(monkeypatch):
    """Each product on a thread of the library's own, whatever NumPy would take by itself."""
    from threadpoolctl import threadpool_info

    seen = []

    def once(work, threads, seconds, runs):
        seen.append([one["num_threads"] for one in threadpool_info() if one["user_api"] == "blas"])
        for thread in range(threads):
            work(thread, 2)
        return 1.0

    monkeypatch.setattr(peaks, "_best_seconds", once)
    assert peaks.blas_rate("float32", 2, quick=True) == 2.0 * 512**3 * 2 * 1e-9
    assert seen and all(count == 1 for count in seen[0])
    assert peaks.blas_name().startswith("NumPy's ")
