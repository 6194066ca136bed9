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
from weightspace.bench.studies.study import run_study
from weightspace.kernels import errors
from weightspace.methods import fit
from weightspace.methods.fip import Walk
from weightspace.nnlite import models

TINY = (
    "members=2", "train_limit=none", "steps=3", "adp_steps=3", "fge_cycle=2", "fip_steps=2",
    "fip_inputs=10", "batch_size=16", "limit=12", "white_limit=6", "strength_limit=4",
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


def test_a_walk_goes_far_and_changes_little(learnt):
    x, y = make_blobs(0)
    settings = Walk(steps=6, length=1.0, inputs=60, mu=1e-4, nu=1e-3, iterations=30)
    net, astray = learnt.like(), learnt.like()
    nets = settings.run(net, (x, y), 3)
    np.testing.assert_array_equal(nets[-1].theta, net.theta)
    rng = np.random.default_rng(0)
    away = rng.normal(size=learnt.num_parameters).astype(np.float32)
    gone = np.linalg.norm(net.theta - learnt.theta)
    assert gone > 0.8 * 6
    astray.theta += away * (gone / np.linalg.norm(away))
    assert drift(net, learnt, x) < 0.2 * drift(astray, learnt, x)


def test_members_lie_at_equal_distances(learnt):
    nets = Walk(steps=6, length=0.5, inputs=60, nu=None).run(learnt, make_blobs(0), 3)
    gaps = [np.linalg.norm(b.theta - a.theta) for a, b in pairwise(nets)]
    np.testing.assert_allclose(gaps, 1.0, rtol=0.02)


def test_a_walk_is_repeatable(learnt):
    ends = [Walk(steps=2, inputs=30).run(learnt.like(), make_blobs(0), 1)[0] for _ in range(2)]
    np.testing.assert_array_equal(ends[0].theta, ends[1].theta)


def test_walks_that_lead_nowhere(learnt, untyped):
    for wrong in untyped(({"steps": 0}, {"length": 0.0}, {"inputs": 0}, {"iterations": 0})):
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
        "accuracy", "path", "strength", "diversity", "coherence", "samples"
    }  # fmt: skip
    assert all(path.stat().st_size > 1000 for path in done.figures)
    records = summary(done.rows)
    assert len(records) == 4 * 4 * 2
    assert all(0 <= record["accuracy"] <= 1 and record["seeds"] == 2 for record in records)
    table = (tmp_path / "out" / "table.csv").read_text()
    assert table.splitlines()[0] == "kind,part,attack,epsilon,accuracy,standard_error,seeds"
    page = write_page("", "", study.tell(done.rows), done.figures, study.notes, tmp_path / "out")
    assert "white box" in page.read_text()
    again = run_study(study, replace(request, resume=True), Console(quiet=True))
    assert again.rows == done.rows


def test_the_papers_network_is_configured():
    made = STUDIES["fip-ensemble-vgg16"].settings
    assert (made.data, made.model, made.members, made.limit) == ("cifar-10", "vgg16", 10, 10_000)


def test_it_takes_images_with_colours(images, tmp_path):
    """The VGG16 study's data and normalisation, through a network that is quick to train."""
    study = STUDIES["fip-ensemble-vgg16"].with_settings([*TINY, "model=lenet5", "steps=1"])
    done = run_study(study, Request("cpu", [0], tmp_path / "out"), Console(quiet=True))
    assert {row["kind"] for row in done.rows if row["ask"] == "white"} == {
        "fip", "deep", "fge", "adp"
    }  # fmt: skip
