"""The bench of kernels: the roofline's arithmetic, wrong kernels, laws, comparisons, pages."""

from __future__ import annotations

import io
import json
import types
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.speed import before_after as compare
from weightspace.bench.speed import kernels, machine, peaks, records, roofline, scaling, startup
from weightspace.bench.speed import page as bench_page
from weightspace.kernels import available, reference, spec
from weightspace.kernels.errors import DataError, DataNotFoundError, SettingError, UnknownNameError

BRIEF = kernels.Schedule(passes=2, samples=2, sample_seconds=1e-4)
RATES = {f"{name}_{cores}": 10.0 for name in peaks.STREAMS for cores in ("1", "all")}
MACHINE = {
    "cpu": "planted",
    "cores": 2,
    "caches": {"L1": 1000, "L2": 10_000, "L3": 100_000},
    "cache_cores": {"L1": 1, "L2": 1, "L3": 2},
    "versions": {"python": "3"},
    "commit": "0123456789abcdef",
    "dirty": False,
    "system": "Linux",
    "fma_gflops": {d: {"one": 50.0, "all": 100.0} for d in ("float32", "float64")},
    "blas_gflops": {d: {"one": 40.0, "all": 80.0} for d in ("float32", "float64")},
    "bandwidth_gbs": {level: dict(RATES) for level in ("L1", "L2", "L3", "memory")},
}


def silent() -> Console:
    return Console(file=io.StringIO(), width=100)


# ---- the roofline -------------------------------------------------------------------------------


def test_the_roof_is_arithmetic_or_traffic_whichever_takes_longer():
    traffic = spec.Traffic(100, 0, 100)
    low = roofline.roof(MACHINE, 10.0, traffic, footprint=200)
    assert low.seconds == pytest.approx(200 / 10e9)
    high = roofline.roof(MACHINE, 1e6, traffic, footprint=200)
    assert high.seconds == pytest.approx(1e6 / 100e9)
    assert low.ridge == pytest.approx(10.0)


@pytest.mark.parametrize(
    "footprint, cores, level",
    [(1000, 1, "L1"), (1001, 1, "L2"), (2000, 2, "L1"), (100_000, 2, "L3"), (100_001, 2, "memory")],
)
def test_arrays_lie_in_the_smallest_memory_that_holds_them(footprint, cores, level):
    assert roofline.level_of(MACHINE, footprint, cores) == level


@pytest.mark.parametrize(
    "mix, stream",
    [
        ((9, 0, 0), "read"),
        ((0, 0, 5), "fill"),
        ((1, 0, 1), "copy"),
        ((2, 0, 1), "triad"),
        ((3, 3, 0), "scale"),
        ((4, 3, 0), "scale"),  # Adam
        ((5, 2, 0), "axpy"),
    ],
)
def test_a_kernel_is_held_against_the_stream_that_moves_as_it_does(mix, stream):
    assert peaks.nearest_stream(spec.Traffic(*mix)) == stream


def test_traffic_tells_updates_from_fresh_stores():
    adam = spec.KERNELS["adam_update"].traffic({"P": 10}, "float32")
    assert adam == spec.Traffic(read=160, updated=120, fresh=0)
    sizes = {"N": 2, "I": 3, "O": 5, "V": 1}
    backward = spec.KERNELS["dense_backward"]
    assert backward.traffic(sizes, "float32").updated == 0
    assert backward.traffic(sizes, "float32", "adding").updated == 4 * (15 + 5)
    assert backward.work(sizes, "first layer") == backward.work(sizes) / 2


def test_every_kernel_has_a_ladder_that_knows_its_axes():
    for kernel in spec.KERNELS.values():
        for sizes in spec.LADDER[kernel.family].values():
            assert set(kernel.letters()) <= set(sizes), kernel.name
        assert set(kernel.timed) <= set(kernel.variants), kernel.name


def test_a_kernel_is_held_against_the_peak_of_its_own_time(monkeypatch):
    """The limit that counts is measured anew; the file keeps the median of all its measurements."""
    monkeypatch.setattr(machine, "measure", lambda quick: MACHINE)
    rates = iter((20.0, 40.0))
    monkeypatch.setattr(peaks, "bandwidth", lambda *_, **__: next(rates))
    watched, traffic = roofline.Peaks(), spec.Traffic(100, 0, 100)
    for rate in (20.0, 40.0):
        over = watched.roof(10.0, traffic, 200, "float32", 2)
        assert over.seconds == pytest.approx(200 / (rate * 1e9))
    assert watched.typical()["bandwidth_gbs"]["L1"]["copy_all"] == 20.0
    assert MACHINE["bandwidth_gbs"]["L1"]["copy_all"] == 10.0
    monkeypatch.setattr(peaks, "fma_rate", lambda *_, **__: 200.0)
    assert watched.roof(1e6, traffic, 200, "float32", 2).seconds == pytest.approx(1e6 / 200e9)


def test_several_measurements_of_the_machine_give_the_median_of_each_rate():
    def measured(rate):
        return {**MACHINE, "fma_gflops": {"float32": {"one": rate, "all": 2 * rate}}}

    found = machine.middle([measured(rate) for rate in (10.0, 50.0, 11.0)])
    assert found["fma_gflops"]["float32"] == {"one": 11.0, "all": 22.0}
    assert found["cpu"] == "planted" and found["caches"] == MACHINE["caches"]


def test_streams_move_what_they_say():
    for name, stream in peaks.STREAMS.items():
        target, first, second = (np.full(8, value) for value in (1.0, 2.0, 3.0))
        stream.body(target, first, second, 0.5, 2)
        changed = not np.array_equal(target, np.full(8, 1.0))
        assert changed == (stream.mix.updated + stream.mix.fresh > 0), name


# ---- kernels ------------------------------------------------------------------------------------


def planted_backend(**wrong) -> types.SimpleNamespace:
    """The reference with some kernels replaced."""
    own = {name: getattr(reference, name) for name in spec.KERNELS}
    return types.SimpleNamespace(NAME="planted", **{**own, **wrong})


def taking(work):
    """The reference's squared error, which does that work too."""

    def kernel(*arrays):
        reference.squared_error(*arrays)
        work()

    return kernel


def bench(monkeypatch, backend, *names, schedule=BRIEF) -> dict:
    monkeypatch.setattr(kernels, "get_backend", lambda name: backend)
    selection = kernels.Selection(names, ["reference"], ["small"])
    rows, _ = kernels.run(selection, console=silent(), peaks=MACHINE, schedule=schedule, threads=1)
    return {row.kernel: row for row in rows}


def test_a_right_kernel_is_timed(monkeypatch, clock):
    backend = planted_backend(squared_error=taking(clock.work(1000)))
    row = bench(monkeypatch, backend, "squared_error")["squared_error"]
    assert row.status == "timed" and row.error <= 1 and row.median == pytest.approx(1e-6, rel=0.1)
    assert len(row.samples) == BRIEF.passes * BRIEF.samples
    assert row.gflops == pytest.approx(row.flops / row.median * 1e-9)
    traffic = spec.KERNELS[row.kernel].traffic(row.sizes, row.dtype)
    roof = roofline.roof(MACHINE, row.flops, traffic, row.footprint, cores=1)
    halves = [np.median(row.samples[:2]), np.median(row.samples[2:])]  # one share a pass
    assert row.roof_shares == pytest.approx([roof.seconds / half for half in halves])
    assert kernels.exit_status([row]) == 0


def test_a_planted_wrong_kernel_is_caught_and_not_timed(monkeypatch):
    def wrong(outputs, targets, loss, doutputs):
        reference.squared_error(outputs, targets, loss, doutputs)
        doutputs[0, 0] *= 1 + 1e-3  # one number of many, by a thousandth

    found = bench(monkeypatch, planted_backend(squared_error=wrong), "squared_error", "softmax")
    row = found["squared_error"]
    assert row.status == "wrong" and row.error > 1
    assert row.samples == () and row.median is None
    assert found["softmax"].status == "timed"
    assert kernels.exit_status(found.values()) == 1
    assert "wrong" in "\n".join(kernels.lines(found.values()))


def test_a_kernel_that_raises_is_reported_with_the_line_that_says_why(monkeypatch):
    def broken(*_):
        raise ValueError("many\nlines\nSomeError: the gist\nmore")

    row = bench(monkeypatch, planted_backend(squared_error=broken), "squared_error")
    assert row["squared_error"].status == "failed"
    assert row["squared_error"].reason.endswith("SomeError: the gist")


def test_nan_is_wrong(monkeypatch):
    def nan(outputs, targets, loss, doutputs):
        loss[:] = np.nan

    row = bench(monkeypatch, planted_backend(squared_error=nan), "squared_error")
    assert row["squared_error"].status == "wrong"
    json.dumps(kernels.as_records(row.values(), MACHINE), allow_nan=False)


def test_allocations_are_seen():
    assert kernels.allocations(lambda: None)[0] < 1000
    assert kernels.allocations(lambda: np.ones(100_000).sum())[0] >= 800_000


@pytest.mark.skipif("cpu" not in available(), reason="needs the cpu extra")
def test_the_cpu_kernels_allocate_nothing():
    rows, _ = kernels.run(
        kernels.Selection(None, ["cpu"], ["small"]),
        console=silent(),
        peaks=MACHINE,
        schedule=kernels.Schedule(1, 1, 1e-5),
    )
    assert {row.status for row in rows} == {"timed"}
    assert {
        row.kernel: kernels.allocated(row) for row in rows if kernels.allocated(row) != "0"
    } == {}


def test_selection_by_name_family_and_prefix():
    names = [k.name for k in kernels.Selection(["softmax", "loss"]).kernels]
    assert names[0] == "softmax" and "squared_error" in names
    assert [k.name for k in kernels.Selection(["adam"]).kernels] == ["adam_update"]
    with pytest.raises(UnknownNameError, match="Did you mean 'softmax'"):
        kernels.Selection(["sofmax"])
    with pytest.raises(UnknownNameError, match="size"):
        kernels.Selection(None, None, ["huge"])
    with pytest.raises(UnknownNameError, match="Did you mean 'cpu'"):
        kernels.Selection(None, ["cup"])


def test_threads_are_one_or_all():
    with pytest.raises(SettingError, match="threads is 7"):
        kernels.run(kernels.Selection(["sgd"]), threads=7, console=silent(), peaks=MACHINE)


# ---- laws ---------------------------------------------------------------------------------------


def test_a_hidden_quadratic_shows(clock):
    values = (200, 400, 800)
    laws = [
        scaling.Law(name, "size", expected, values, lambda value: clock.work(value**2))
        for name, expected in (("honest", 2), ("hidden", 1))
    ]
    honest, hidden = scaling.run(None, True, silent(), laws)
    assert honest.exponent == pytest.approx(2, abs=0.3) and not honest.steeper
    assert hidden.steeper
    assert scaling.exit_status([honest]) == 0 and scaling.exit_status([honest, hidden]) == 1
    assert "STEEPER" in "\n".join(scaling.lines([hidden]))


def test_an_exponent_is_that_of_the_medians():
    times = [[c, c, 3 * c] for c in (1.0, 8.0, 64.0)]
    found, low, high = scaling.exponent((10, 20, 40), times)
    assert found == pytest.approx(3) and low <= found <= high
    with pytest.raises(SettingError):
        scaling.exponent((10,), [[1.0]])


@pytest.mark.skipif("cpu" not in available(), reason="needs the cpu extra")
def test_every_law_can_be_prepared():
    for law in scaling.laws(quick=True, cores=2):
        law.prepare(law.values[0])()
    with pytest.raises(UnknownNameError, match="law"):
        scaling.run(["widht"], console=silent())


# ---- comparing ----------------------------------------------------------------------------------


def kernel_record(median: float, noise: float, seed: int = 0, **changes):
    rng = np.random.default_rng(seed)
    row = kernels.Row("softmax", "", "cpu", "small", {"N": 1}, "float32", 2, status="timed")
    row.samples = tuple(median * (1 + noise * rng.standard_normal(15)))
    row.median, row.gflops, row.gbs = median, 0.0, 0.0
    for key, value in changes.items():
        setattr(row, key, value)
    return kernels.as_records([row], MACHINE)[1]


def verdict(tmp_path, before, after) -> compare.Verdict:
    paths = [records.write(tmp_path / name, made) for name, made in (("a", before), ("b", after))]
    verdicts = compare.run(paths[0], paths[1], console=silent())
    assert len(verdicts) == 1
    return verdicts[0]


def test_a_planted_slowdown_of_a_fifth_is_caught(tmp_path):
    one = verdict(tmp_path, [kernel_record(1e-4, 0.02)], [kernel_record(1.2e-4, 0.02, seed=1)])
    assert one.status == "slower" and one.ratio and one.ratio.value == pytest.approx(1.2, abs=0.05)
    assert compare.exit_status([one]) == 1


@pytest.mark.parametrize(("microseconds", "status"), [(25, "same"), (30, "slower"), (20, "faster")])
def test_a_change_of_a_kernel_is_caught(tmp_path, monkeypatch, clock, microseconds, status):
    """A kernel of 25 us that takes longer, measured by the bench itself."""
    made = []
    for taken in (25, microseconds):
        backend = planted_backend(squared_error=taking(clock.work(taken * 1000)))
        row = bench(monkeypatch, backend, "squared_error", schedule=kernels.Schedule(3, 9, 1e-4))
        made.append(kernels.as_records(row.values(), MACHINE))
    assert verdict(tmp_path, *made).status == status


@pytest.mark.parametrize("factor, noise", [(1.05, 0.02), (1.0, 0.3), (1.2, 0.5)])
def test_small_changes_and_noise_are_none(tmp_path, factor, noise):
    after = [kernel_record(factor * 1e-4, noise, seed=1)]
    found = verdict(tmp_path, [kernel_record(1e-4, noise)], after)
    assert found.status == "same" and compare.exit_status([found]) == 0


def test_several_runs_are_judged_by_their_medians(tmp_path):
    """Each run is steady in itself, but runs differ by more than the change."""
    drift = (1.0, 1.3, 0.8, 1.1)
    before = [kernel_record(1e-4 * d, 0.001, seed=i) for i, d in enumerate(drift)]
    after = [kernel_record(1.2e-4 * d, 0.001, seed=9 + i) for i, d in enumerate(drift)]
    assert verdict(tmp_path, before[:1], after[:1]).status == "slower"
    assert verdict(tmp_path, before, after).status == "same"


def test_what_became_wrong_is_broken(tmp_path):
    wrong = kernel_record(1e-4, 0.01, status="wrong", samples=())
    found = verdict(tmp_path, [kernel_record(1e-4, 0.01)], [wrong])
    assert found.status == "broken" and compare.exit_status([found]) == 1
    assert verdict(tmp_path, [wrong], [kernel_record(1e-4, 0.01)]).status == "mended"


def test_absent_is_neither_loss_nor_win(tmp_path):
    absent = kernel_record(1e-4, 0.01, status="absent", samples=())
    found = verdict(tmp_path, [kernel_record(1e-4, 0.01)], [absent])
    assert found.status == "gone" and compare.exit_status([found]) == 0


def test_files_that_hold_nothing_are_refused(tmp_path):
    empty = records.write(tmp_path / "empty", [])
    with pytest.raises(DataError, match="nothing to compare"):
        compare.load(empty)
    with pytest.raises(DataNotFoundError):
        compare.load(tmp_path / "none")
    odd = records.write(tmp_path / "odd", [records.record("kernel", {}, kernel="softmax")])
    with pytest.raises(DataError, match=r"key 'machine\.cpu' is missing"):
        compare.load(odd)


# ---- starting up --------------------------------------------------------------------------------


def test_an_extra_is_what_it_needs_in_turn():
    core, missing = startup.closure("weightspace")
    assert {"weightspace", "numpy", "typer"} <= core and not missing
    cpu, _ = startup.closure("weightspace", "cpu")
    assert core < cpu and "llvmlite" in cpu
    assert startup.closure("no-such-distribution") == (set(), {"no-such-distribution"})
    assert (startup.extra_size("cpu").bytes or 0) > (startup.extra_size("").bytes or 0) > 1 << 20


def test_imports_are_timed_as_processes():
    row = startup._import("python alone", "pass", quick=True)
    assert row.status == "timed" and row.median in row.samples and len(row.samples) == 3
    failed = startup._import("broken", "import no_such_module", quick=True)
    assert failed.status == "absent" and failed.reason


# ---- the command line and the page --------------------------------------------------------------


def test_commands_from_end_to_end(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(machine, "measure", lambda quick=False: dict(MACHINE))
    monkeypatch.setattr(kernels, "FULL", BRIEF)

    def invoke(*words):
        result = CliRunner().invoke(app, ["bench", *map(str, words)], catch_exceptions=False)
        assert result.exit_code == 0, result.output
        return result.output

    chosen = ("kernels", "squared_error", "-b", "reference", "-s", "small")
    assert "squared_error" in invoke(*chosen)
    for _ in range(2):
        invoke(*chosen, "--append", "--out", "twice.jsonl")
    assert len(records.read(tmp_path / "twice.jsonl")) == 4
    assert "same" in invoke("compare", "twice.jsonl", "twice.jsonl")
    assert "FMA float32" in invoke("machine", "--quick", "--out", "machine.jsonl")
    said = invoke("report", "runs/bench/kernels.jsonl", "machine.jsonl", "--out", "page/bench.html")
    assert "bench.html" in said
    page = (tmp_path / "page/bench.html").read_text()
    assert page.count("data:image/png;base64,") == 2 and 'src="http' not in page
    assert "squared_error" in page and "planted" in page
    for figure in ("roofline", "shares"):
        for kind in ("png", "svg"):
            assert (tmp_path / "page/figures" / f"{figure}.{kind}").stat().st_size > 1000


def test_the_page_shows_every_kind_of_result(tmp_path):
    """The committed results are real records of each kind; reliability's are no measurements."""
    folder = Path(__file__).parents[1] / "bench/results"
    files = sorted(path for path in folder.glob("*.jsonl") if path.stem != "reliability")
    kinds = {one["kind"] for path in files for one in records.read(path)}
    assert kinds == {"machine", "kernel", "step", "scaling", "startup"}
    page = bench_page.write_page(files, tmp_path / "page.html").read_text()
    for heading in ("can do", "roofline", "peers", "costs grow", "Starting up"):
        assert heading in page
