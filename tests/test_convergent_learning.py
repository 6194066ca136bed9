"""The study of convergent learning: a small one from end to end, and how its claims are judged."""

from __future__ import annotations

import csv

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench import data
from weightspace.bench.data import Dataset
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.show import style
from weightspace.bench.studies.claims import (
    IN_PART,
    NOT_REPRODUCED,
    NOT_TESTABLE,
    REPRODUCED,
)
from weightspace.bench.studies.convergent import tables as convergent_tables
from weightspace.bench.studies.page import write_page
from weightspace.bench.studies.rows import select
from weightspace.bench.studies.study import run_study
from weightspace.kernels.errors import MissingExtraError, SettingError, UnknownNameError
from weightspace.methods.activations import unit_layers
from weightspace.nnlite import Network

pytest.importorskip("sklearn")
SMALL = (
    "model=lenet5", "steps=6", "batch_size=16", "limit=40", "fit_limit=40", "targets=6",
    "alphas=0,0.1,0.5", "keep_classes=5", "keep_steps=3", "keep_limit=20",
    "keep_methods=naive,replay",
)  # fmt: skip


@pytest.fixture
def images(monkeypatch):
    """Bright bars at a place for each class, in place of the real images."""

    def make(name, folder=None):
        rng = np.random.default_rng(1)
        y = np.arange(160) % 10
        x = rng.integers(0, 80, (160, 28, 28, 1)).astype(np.uint8)
        for row, label in enumerate(y):
            x[row, 2 * label + 2 : 2 * label + 6, 4:24] += 150
        return Dataset(name, x[:100], y[:100], x[100:], y[100:], 10, "made up")

    monkeypatch.setattr(data, "load", make)


def test_a_small_study_from_end_to_end(images, tmp_path):
    study = STUDIES["convergent-learning"].with_settings(SMALL)
    done = run_study(study, Request("cpu", [0], tmp_path / "out"), Console(quiet=True))
    assert {path.stem for path in done.figures} == {
        "matching", "within", "correlations", "filters", "features", "maps", "clusters", "tree",
        "keeping",
    }  # fmt: skip
    assert all(path.stat().st_size > 4000 for path in done.figures)
    names = ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert convergent_tables.layers(done.rows) == names
    for row in select(done.rows, ask="match"):
        assert row["semi_mean"] >= row["bipartite_mean"]
        assert len(row["bipartite"]) == len(row["semi"]) == row["live"][0]
    own = select(done.rows, ask="within", kind="trained", layer="conv1")
    assert [row["network"] for row in own] == [0, 1]
    for row in select(done.rows, ask="within"):
        assert len(row["nearest"]) == len(row["deviations"]) <= row["units"]
        assert min(row["deviations"]) > 0 and max(row["nearest"]) <= 1
    assert len(select(done.rows, ask="leaves")) == 2 * len(names)  # trained and untrained
    for row in select(done.rows, ask="keep", learnt=1):
        assert [layer["layer"] for layer in row["layers"]] == names[:-1]
        for layer in row["layers"]:  # right after the first task the network is itself
            assert layer["itself"] == pytest.approx(1) and layer["dead_after"] == 0
    later = select(done.rows, ask="keep", learnt=2)
    assert len(later) == 2 and all(row["layers"][1]["itself"] < 1 for row in later)
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert {line["part"] for line in lines} == {
        "matching", "within", "leaves", "maps", "clusters", "keeping", "claims"
    }  # fmt: skip
    page = write_page("", "", study.tell(done.rows), done.figures, study.notes, tmp_path / "out")
    assert "published claims" in page.read_text()
    net = Network.load(tmp_path / "out" / "seed-0" / "network-1.safetensors")
    assert [layer.name for layer in unit_layers(net)] == names


def test_settings_are_checked_before_anything_runs():
    study = STUDIES["convergent-learning"]
    wrongs = ("networks=1", "limit=0", "fit_limit=-1", "cluster_size=1", "alphas=none",
              "alphas=0", "alphas=-0.1,0.1", "keep_methods=ewd")  # fmt: skip
    for wrong in wrongs:
        made = study.with_settings([wrong])
        error = UnknownNameError if "ewd" in wrong else SettingError
        with pytest.raises(error, match=r"two or more|at least|one above|ewc"):
            made.parts(made.settings)
    assert len(study.parts(study.with_settings(["keep_methods=none"]).settings)) == 7


@pytest.mark.parametrize(
    ("name", "module"),
    [("task-space", "skimage"), ("task-space", "scipy"), ("convergent-learning", "sklearn")],
)
def test_a_missing_package_is_named_before_anything_runs(name, module, monkeypatch, tmp_path):
    find = style.importlib.util.find_spec
    monkeypatch.setattr(
        style.importlib.util, "find_spec", lambda asked: None if asked == module else find(asked)
    )
    with pytest.raises(MissingExtraError, match=r"weightspace\[analysis\]"):
        run_study(STUDIES[name], Request("cpu", [0], tmp_path / "out"), Console(quiet=True))
    assert not (tmp_path / "out").exists()


def match(layer, kind, scores):
    mean = float(np.mean(scores))
    return {"ask": "match", "kind": kind, "layer": layer, "units": 8, "semi_mean": mean + 0.01,
            "bipartite_mean": mean, "bipartite": scores, "seed": 0}  # fmt: skip


CONVS = ("conv1", "conv2", "conv3", "conv4")


def made_up(worst=0.1, few=0.2, deep=0.45, falls=0.01, across=9, last="conv4"):
    """Rows of convolutions up to `last`."""
    rows = []
    for depth, layer in enumerate(CONVS[: 1 + CONVS.index(last)]):
        rows += [match(layer, "trained", [0.9, 0.8 - falls * depth, worst])]
        for kind, count in (("trained", across), ("untrained", 5)):
            rows += [{"ask": "leaves", "kind": kind, "layer": layer, "pairs": 10, "across": count,
                      "chance": 0.5}]  # fmt: skip
        rows += [match(layer, kind, [0.3, 0.1, 0.0]) for kind in ("shuffled", "untrained")]
        least = deep if depth > 1 else 0.15
        for alpha, loss, count in ((0.0, least, 8.0), (0.1, max(few, least), 2.0)):
            rows += [{"ask": "map", "layer": layer, "alpha": alpha, "loss": loss,
                      "nonzero": count, "units": 8}]  # fmt: skip
        rows += [{"ask": "cluster", "kind": "spectral", "layer": layer, "told": 0.8,
                  "by_one": 0.6, "by_others": 0.3}]  # fmt: skip
        rows += [{"ask": "information", "layer": layer, "semi_agree": 0.5,
                  "semi_chosen": 0.59, "semi_unsigned": 0.6}]  # fmt: skip
    return rows


def verdicts(rows):
    return [claim.verdict for claim in convergent_tables.claims(rows)]


def test_claims_are_judged_by_their_numbers():
    yes, no, cannot = REPRODUCED, NOT_REPRODUCED, NOT_TESTABLE
    assert verdicts(made_up()) == [yes] * 8
    assert verdicts(made_up(worst=0.6))[0] == no
    assert verdicts(made_up(falls=-0.01))[2] == no  # highest in conv4, lowest in conv1
    assert verdicts(made_up(falls=0))[2] == IN_PART  # a tie is not lowest in conv4
    assert verdicts(made_up(few=0.3))[3] == no
    assert verdicts(made_up(deep=0.3))[4] == no
    assert verdicts(made_up(across=6))[6] == IN_PART  # more than by chance, but not most
    assert verdicts(made_up(across=5))[6] == no
    shallow = verdicts(made_up(last="conv2"))
    assert shallow == [yes, yes, cannot, yes, cannot, yes, yes, yes]


def test_the_papers_strengths_are_ours_times_the_units():
    found = convergent_tables.published("conv1")
    assert found[96 * 1e-2] == 0.492 and found[0] == 0.168
    assert not convergent_tables.published("conv3")
