"""What every benchmark stands on: statistics of samples, records, and the machine."""

from __future__ import annotations

import json
import os

import numpy as np
import pytest
from weightspace.bench.speed import machine, peaks, records, timing
from weightspace.kernels.errors import DataError, DataNotFoundError, SettingError, StorageError

# ---- statistics ---------------------------------------------------------------------------------


def test_calibrate_fills_the_sample_with_calls(clock):
    assert timing.calibrate(clock.work(100_000), sample_seconds=2e-3) == 20


def test_measure_gives_seconds_per_call(clock):
    found = timing.measure(clock.work(250_000), samples=5, sample_seconds=1e-3)
    assert len(found.samples) == 5
    assert found.calls == 4
    assert found.median == pytest.approx(250e-6, rel=0.1)
    assert 0 < found.spread < 0.1


def test_each_call_has_its_own_time(clock):
    assert timing.time_each(clock.work(3000), 4) == pytest.approx([3e-6, 3e-6, 3.3e-6, 3e-6])


def test_measure_stops_when_its_time_is_up(clock):
    found = timing.measure(clock.work(10**9), samples=100, sample_seconds=1e-3, max_seconds=2.5)
    assert len(found.samples) == 3


def test_statistics_of_known_samples():
    assert timing.median_interval([3.0] * 9) == timing.Interval(3.0, 3.0, 3.0)
    assert timing.spread([1.0, 2.0, 3.0, 4.0, 5.0]) == pytest.approx(2 / 3)
    found = timing.median_interval(np.arange(1.0, 102.0).tolist())
    assert found.value == 51.0
    # The exact binomial 95 % interval of the median of 101 ordered values is the 41st to the 61st.
    assert found.low == pytest.approx(41, abs=2)
    assert found.high == pytest.approx(61, abs=2)


def test_median_interval_covers_at_its_level():
    rng = np.random.default_rng(3)
    hits = 0
    for trial in range(200):
        found = timing.median_interval(rng.lognormal(size=25).tolist(), resamples=300, seed=trial)
        hits += found.low <= 1.0 <= found.high  # a lognormal's median is 1
    assert hits / 200 > 0.88


def test_ratio_of_interleaved_rounds_ignores_common_drift():
    drift = np.linspace(1.0, 3.0, 15)
    paired = timing.ratio_interval((2.0 * drift).tolist(), drift.tolist())
    assert paired.value == pytest.approx(2.0)
    assert paired.high - paired.low < 1e-12
    apart = timing.ratio_interval((2.0 * drift).tolist(), drift[:-1].tolist())
    assert apart.low < 1.9
    assert apart.high > 2.1


@pytest.mark.parametrize("bad", [[], [[1.0, 2.0]]])
def test_statistics_refuse_what_is_no_vector_of_times(bad):
    with pytest.raises(SettingError, match="expected a vector"):
        timing.median_interval(bad)


def test_calibrate_refuses_a_goal_that_is_no_time():
    with pytest.raises(SettingError, match="sample_seconds"):
        timing.calibrate(lambda: None, float("nan"))


# ---- records ------------------------------------------------------------------------------------


def test_records_come_back_as_written_and_append_keeps_the_old(tmp_path):
    path = tmp_path / "deep" / "results.jsonl"
    first = records.record("step", {"cpu": "x"}, median=1.5, samples=(1.0, 2.0))
    records.append(path, [first])
    records.append(path, [records.record("step", {"cpu": "x"}, median=2.5)])
    found = records.read(path)
    assert [one["median"] for one in found] == [1.5, 2.5]
    assert found[0]["date"].endswith("+00:00")
    assert len(path.read_text().splitlines()) == 2


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "results.jsonl"
    records.write(path, [{"kind": "old"}])

    def full(_source, _target):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(StorageError, match="No space left"):
        records.write(path, [{"kind": "new"}])
    assert records.read(path) == [{"kind": "old"}]
    assert [one.name for one in tmp_path.iterdir()] == ["results.jsonl"]


def test_records_refuse_what_json_cannot_hold():
    with pytest.raises(DataError, match="as JSON"):
        records.record("step", {}, median=float("nan"))
    with pytest.raises(DataError, match="as JSON"):
        records.record("step", {}, samples=np.ones(2))


def test_a_broken_line_is_named(tmp_path):
    path = tmp_path / "results.jsonl"
    path.write_text('{"kind": "step"}\n{"kind": "st')
    with pytest.raises(DataError, match="line 2"):
        records.read(path)
    with pytest.raises(DataNotFoundError, match="no results file"):
        records.read(tmp_path / "none.jsonl")


# ---- the machine --------------------------------------------------------------------------------


def test_the_machine_is_described_in_json():
    found = machine.describe()
    json.dumps(found, allow_nan=False)
    assert found["cores"] >= 1
    assert found["versions"]["numpy"] == np.__version__
    assert all(size > 0 for size in found["caches"].values())


def test_shared_cpu_lists_are_counted():
    assert [machine._count(text) for text in ("0", "0-3", "0-1,8-9", "")] == [1, 4, 4, 0]


def test_levels_fit_their_caches():
    found = peaks.levels({"L1": 32 << 10, "L3": 512 << 20})
    assert found["L1"] == 16 << 10
    assert found["memory"] == 2048 << 20


def test_rates_are_positive_and_the_kernel_is_vectorised():
    pytest.importorskip("numba")
    assert peaks.vector_bits("float32") in {128, 256, 512}
    assert peaks.fma_rate("float32", 1, quick=True) > 0.0
    assert peaks.bandwidth("triad", 1 << 14, 1, quick=True) > 0.0
