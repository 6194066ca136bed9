"""The walk that makes an ensemble out of one network, and the study of ensembles under attack."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from blobs import make_blobs
from rich.console import Console
from weightspace.bench import data
from weightspace.bench.data import Dataset
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.fip_ensemble.tables import summary
from weightspace.bench.studies.page import write_page
from weightspace.bench.studies.rows import grouped, select
from weightspace.bench.studies.study import run_study
from weightspace.kernels import errors
from weightspace.methods import fip, fit
from weightspace.methods.fip import Walk
from weightspace.nnlite import models

TINY = (
    "members=2", "train_limit=none", "steps=3", "adp_steps=3", "fge_cycle=2", "fip_steps=2",
    "fip_inputs=10", "fip_iterations=2", "batch_size=16",
    "limit=12", "white_limit=6", "strength_limit=4",
    "pgd_steps=2", "strengths=1,2", "epsilons=4,8",
)  # fmt: skip


def drift(net, start, x):
    """How far the probabilities are from the start's."""
    p, q = (np.exp(z - z.max(1, keepdims=True)) for z in (net.forward(x), start.forward(x)))
    return np.abs(p / p.sum(1, keepdims=True) - q / q.sum(1, keepdims=True)).mean()


@pytest.fixture
def learnt(backend, blob_tasks):
    net = models.mlp((12, 40, 4), backend=backend)
    fit(net, blob_tasks[:1], steps=60, batch_size=40)
    return net


@pytest.mark.parametrize("wander", fip.WANDERS)
def test_a_walk_goes_far_and_changes_little(learnt, wander):
    x, y = make_blobs(0)
    settings = Walk(
        steps=6, length=1.0, inputs=60, mu=1e-4, nu=1e-3, iterations=30, wander=wander
    )  # fmt: skip
    net, astray = learnt.like(), learnt.like()
    stops = settings.run(net, (x, y), 3)
    np.testing.assert_array_equal(stops[-1].net.theta, net.theta)
    rng = np.random.default_rng(0)
    away = rng.normal(size=learnt.num_parameters).astype(np.float32)
    gone = np.linalg.norm(net.theta - learnt.theta)
    assert gone > (0.8 * 6 if wander == "onward" else 0.8 * 6**0.5)
    astray.theta += away * (gone / np.linalg.norm(away))
    assert drift(net, learnt, x) < 0.2 * drift(astray, learnt, x)


def test_which_paths_bend(learnt):
    """Onward is a ray; directions drawn apart are at right angles: 6 steps lead sqrt(6) far."""
    found = {}
    for wander in fip.WANDERS:
        walk = Walk(steps=6, inputs=60, mu=1e-4, nu=1e-3, wander=wander)
        end = walk.run(learnt.like(), make_blobs(0), 1)[0]
        found[wander] = np.linalg.norm(end.net.theta - learnt.theta) / end.walked
    assert found["onward"] > 0.9
    assert 0.3 < found["afresh"] < 0.6 and 0.3 < found["ball"] < 0.6  # of 0.41, and 528 weights


@pytest.mark.parametrize("wander", fip.WANDERS)
def test_paths_are_made_equally_long_in_outputs(learnt, wander):
    walk = Walk(steps=20, length=0.1, inputs=100, wander=wander, turn=1.0)
    stops = walk.run(learnt.like(), make_blobs(0), 4)
    at = [stop.turned for stop in stops]
    np.testing.assert_allclose(at, [0.25, 0.5, 0.75, 1.0], atol=0.12)
    assert stops[-1].step <= 20


def test_members_are_as_many_as_asked_where_outputs_hardly_move(learnt):
    """Of 6 steps too short for their length in outputs, the last 3 are the members."""
    walk = Walk(steps=6, length=1e-4, inputs=60, turn=9.0)
    assert [stop.step for stop in walk.run(learnt, make_blobs(0), 3)] == [4, 5, 6]


def test_the_ball_goes_down_to_the_outputs_of_the_start(learnt):
    """More rounds, nearer; and a draw that nothing pulls down is farther than any."""
    x = make_blobs(0)[0]
    ends = []
    for rounds in (1, 4):
        net = learnt.like()
        fip.path(net, x, steps=2, length=2.0, wander="ball", rounds=rounds, nu=1e-3)
        ends.append(drift(net, learnt, x))
    assert ends[1] < ends[0] < 0.05


def test_a_ball_needs_a_way_down_and_no_gradient(learnt, untyped):
    x = make_blobs(0)[0]
    with pytest.raises(errors.SettingError, match="ball"):
        fip.path(learnt, x, wander="ball")
    with pytest.raises(errors.SettingError, match="ball"):
        fip.path(learnt, x, lambda net: net.theta, wander="ball", nu=1e-3)
    with pytest.raises(errors.UnknownNameError, match="afresh"):
        fip.path(learnt, x, wander=untyped("refresh"))


def test_the_angle_between_answers_is_the_metrics_length(backend, rng):
    """sqrt(u' g u) for a small step u, pi for answers with nothing in common."""
    net = models.mlp((5, 8, 3), dtype=np.float64, backend=backend)
    x, u = rng.normal(size=(7, 5)), 1e-5 * rng.normal(size=net.num_parameters)
    moved = net.like()
    moved.theta += u
    outputs = net.forward(x).copy()
    angles = net.device.get(fip.fisher_rao(net, outputs, moved.forward(x)))
    wanted = fip.Metric(net, x).length(u)
    np.testing.assert_allclose(np.sqrt((angles**2).mean()), wanted, rtol=1e-4)
    one, other = 2000 * net.device.put(np.eye(3)[[0]]), 2000 * net.device.put(np.eye(3)[[1]])
    np.testing.assert_allclose(net.device.get(fip.fisher_rao(net, one, other)), np.pi, rtol=1e-9)


def test_members_lie_at_equal_distances(learnt):
    stops = Walk(steps=6, length=0.5, inputs=60, nu=None).run(learnt, make_blobs(0), 3)
    gaps = [np.linalg.norm(b.net.theta - a.net.theta) for a, b in pairwise(stops)]
    np.testing.assert_allclose(gaps, 1.0, rtol=0.02)
    np.testing.assert_allclose([stop.walked for stop in stops], [1, 2, 3], rtol=1e-3)


def test_a_walk_is_repeatable(learnt):
    walk = Walk(steps=2, inputs=30)
    ends = [walk.run(learnt.like(), make_blobs(0), 1)[0].net for _ in range(2)]
    np.testing.assert_array_equal(ends[0].theta, ends[1].theta)


def test_walks_that_lead_nowhere(learnt, untyped):
    for wrong in untyped(
        ({"steps": 0}, {"length": 0.0}, {"inputs": 0}, {"iterations": 0}, {"turn": 0.0})
    ):
        with pytest.raises(errors.SettingError, match="Walk"):
            Walk(**wrong)
    with pytest.raises(errors.SettingError, match="members"):
        Walk(steps=2).run(learnt, make_blobs(0), 3)


# ---- the study -------------------------------------------------------------------------------


@pytest.fixture
def images(monkeypatch):
    """Random images in place of the real ones."""

    def make(name, folder=None):
        channels, size = (3, 32) if name.startswith("cifar") else (1, 28)
        rng = np.random.default_rng(1)
        x = rng.integers(0, 256, (24, size, size, channels)).astype(np.uint8)
        y = np.arange(24) % 10
        return Dataset(name, x, y, x[:12], y[:12], 10, "made up")

    monkeypatch.setattr(data, "load", make)


def test_the_study_runs_through(images, tmp_path):
    study = STUDIES["fip-ensemble"].with_settings([*TINY, "model=lenet5"])
    request = Request("cpu", [0, 1], tmp_path / "out")
    done = run_study(study, request, Console(quiet=True))
    assert {path.stem for path in done.figures} == {
        "accuracy", "bends", "path", "strength", "diversity", "coherence", "samples"
    }  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in done.figures)
    records = summary(done.rows)
    assert len(records) == 6 * 4 * 2
    assert all(0 <= record["accuracy"] <= 1 and record["seeds"] == 2 for record in records)
    table = (tmp_path / "out" / "table.csv").read_text()
    assert table.splitlines()[0] == "kind,part,attack,epsilon,accuracy,standard_error,seeds"
    page = write_page("", "", study.tell(done.rows), done.figures, study.notes, tmp_path / "out")
    assert "white box" in page.read_text()
    check_coherence(done.rows)
    again = run_study(study, replace(request, resume=True), Console(quiet=True))
    assert again.rows == done.rows


def check_coherence(rows):
    """Every member's cosine with a surrogate at every image is kept: Fig. 4E can be drawn."""
    for row in select(rows, ask="coherence"):
        times = 1 if row["against"] == "members" else 2  # of 2 members
        assert sum(row["counts"]) == 12 * times
        middle = np.linspace(-1, 1, 81)[:-1] + 1 / 80
        mean = np.average(middle, weights=row["counts"])
        assert abs(mean - row["mean"]) <= 1 / 80 + 1e-6
        assert row["deviation"] > 0
    kept = grouped(select(rows, ask="coherence", seed=0), "kind", "against")
    assert len(kept) == 6 * 3


def test_a_walk_that_leads_nowhere_is_named_first(images, tmp_path):
    for wrong, error in (("fip_wanders=ballo", errors.UnknownNameError),
                         ("fip_nu=-1", errors.SettingError)):  # fmt: skip
        study = STUDIES["fip-ensemble"].with_settings([*TINY, wrong])
        with pytest.raises(error):
            run_study(study, Request("cpu", [0], tmp_path / "out"), Console(quiet=True))
        assert not (tmp_path / "out").exists()


def test_the_papers_network_is_configured():
    made = STUDIES["fip-ensemble-vgg16"].settings
    assert (made.data, made.model, made.members, made.limit) == ("cifar-10", "vgg16", 10, 10_000)


def test_it_takes_images_with_colours(images, tmp_path):
    """The VGG16 study's data and normalisation, through a network that is quick to train."""
    study = STUDIES["fip-ensemble-vgg16"].with_settings([*TINY, "model=lenet5", "steps=1"])
    done = run_study(study, Request("cpu", [0], tmp_path / "out"), Console(quiet=True))
    assert {row["kind"] for row in done.rows if row["ask"] == "white"} == {
        "fip-onward", "fip-afresh", "fip-ball", "deep", "fge", "adp"
    }  # fmt: skip
