"""Kept results: copied, read, told between marks, held against the papers and run again."""

from __future__ import annotations

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
from test_imports import ROOT
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.experiments.catalogue import find
from weightspace.bench.reproduction import again, blocks, kept, page, pictures, side_by_side, told
from weightspace.bench.reproduction.claims import PAPERS
from weightspace.bench.reproduction.published import NEVER, Paper, Published, verdict
from weightspace.bench.runs.pareto import draw_pareto
from weightspace.bench.studies import rows
from weightspace.kernels.errors import SettingError, StorageError, UnknownNameError

COMMAND = "weightspace run split-mnist --set steps=3 -m naive -m ewc --trials 2"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The folder of a short run of two methods and two seeds."""
    out = tmp_path_factory.mktemp("run") / "out"
    words = [*COMMAND.split()[1:], "--out", str(out)]
    assert CliRunner().invoke(app, words).exit_code == 0
    return out


@pytest.fixture
def result(run, tmp_path):
    return kept.keep("short", [run], [COMMAND], "abc", results=tmp_path)


def test_a_run_is_kept_seed_by_seed(run, result, tmp_path):
    found = kept.read("short", tmp_path)
    assert found == result
    assert kept.names(tmp_path) == ["short"]
    assert [(row["label"], row["seed"]) for row in found.rows] == [
        ("naive", 0), ("naive", 1), ("ewc", 0), ("ewc", 1)]  # fmt: skip
    summary = json.loads((run / "ewc/seed-1/summary.json").read_text())
    (row,) = found.select(label="ewc", seed=1)
    assert row["accuracy_matrix"] == summary["accuracy_matrix"]
    assert found.mean("acc", label="ewc", seed=1).mean == summary["acc"]
    assert found.made["seeds"] == [0, 1]
    assert "mnist" in found.made["data"]


def test_what_cannot_be_kept_is_refused(run, tmp_path, monkeypatch):
    with pytest.raises(SettingError, match="--command"):
        kept.keep("x", [run], [], "abc", results=tmp_path)
    with pytest.raises(StorageError):
        kept.keep("x", [tmp_path], [COMMAND], "abc", results=tmp_path)
    monkeypatch.setattr(kept, "_LARGEST", 100)
    with pytest.raises(SettingError, match="--without"):
        kept.keep("x", [run], [COMMAND], "abc", results=tmp_path)
    with pytest.raises(StorageError, match="results keep"):
        kept.read("x", tmp_path)


def test_the_rows_of_a_study_are_its_own(tmp_path):
    (tmp_path / "config.toml").write_text('study = "s"\ndata = "mnist"\n')
    rows = [{"part": "p", "seed": 3, "r": 0.5, "large": [1.0] * 9}]
    (tmp_path / "study.json").write_text(json.dumps({"study": "s", "rows": rows}))
    found = kept.keep("s", [tmp_path], ["c"], "abc", ["large"], results=tmp_path)
    assert found.rows == [{"part": "p", "seed": 3, "r": 0.5}]
    assert found.made["data"] == "data mnist"


def test_marks_are_filled(result):
    def read(name):
        assert name == "short"
        return result

    mean = result.mean("acc", label="ewc")
    for form, wanted in (
        ("%", f"{100 * mean.mean:.1f} ± {100 * mean.error:.1f}"), ("%0", f"{100 * mean.mean:.1f}"),
        (".2f", f"{mean.mean:.2f}"),
    ):  # fmt: skip
        text = f"a <!--= short label=ewc acc {form} -->old<!--/--> b"
        filled = blocks.fill(text, {}, read)
        assert filled == text.replace("old", wanted)
        assert blocks.fill(filled, {}, read) == filled
    table = "<!--= table t -->\nold\n<!--/-->"
    assert blocks.fill(table, {"t": lambda: "| new |"}, read) == table.replace("old", "| new |")
    with pytest.raises(UnknownNameError):
        blocks.fill("<!--= table u --><!--/-->", {"t": str}, read)
    with pytest.raises(SettingError, match="no end"):
        blocks.fill("<!--= short acc -->", {}, read)
    with pytest.raises(SettingError, match="no row"):
        blocks.fill("<!--= short label=none acc --><!--/-->", {}, read)
    with pytest.raises(SettingError, match="no 'nothing'"):
        blocks.fill("<!--= short nothing --><!--/-->", {}, read)


def test_the_table_of_methods_tells_each_line(result):
    text = side_by_side.methods(result)
    assert text.count("\n") == 3
    assert kept.percent(result.mean("acc", label="naive")) in text
    assert "| EWC | 2 |" in text


def test_paired_differences_have_an_exact_p():
    """Of the 2^3 changes of sign, those whose mean is as far from 0."""
    assert side_by_side.sign_flips([1.0, 2.0, 3.0]) == pytest.approx(2 / 8)
    assert side_by_side.sign_flips([1.0, 2.0, -3.0]) == pytest.approx(1.0)
    assert side_by_side.sign_flips([-1.0, 2.0, 3.0]) == pytest.approx(4 / 8)


def test_a_claim_is_judged_from_rows(result):
    right = Published("Fig. 1", "a | b", "0.5", results="short",
                      judge=lambda rows: (verdict(len(rows.rows) == 4), "4 rows"))  # fmt: skip
    absent = Published("Fig. 2", "c", never="`weightspace run x`, 90 hours")
    text = page.page([Paper("k", "A paper", "somewhere", (right, absent))], lambda name: result)
    assert "2 claims: 1 works, 1 never run." in text
    assert "| Fig. 1 | a \\| b | 0.5 | 4 rows | **works** |" in text
    assert f"| {NEVER} |" in text
    assert f"    {COMMAND}\n" in text
    for results, judge in (("", None), ("x", None), ("", right.judge)):
        with pytest.raises(SettingError):
            Published("", "c", results=results, judge=judge)


def test_a_claim_whose_rows_are_not_kept_says_what_it_takes():
    def nothing(name):
        raise StorageError(f"nothing is kept in {name}")

    def judge(rows):
        return "works", "1"

    planned = Published("Fig. 3", "d", results="x", judge=judge, never="`weightspace run x`, 3 h")
    text = page.page([Paper("k", "A paper", "somewhere", (planned,))], nothing)
    assert f"| Fig. 3 | d |  | `weightspace run x`, 3 h | {NEVER} |  |" in text
    with pytest.raises(StorageError):
        page.page([Paper("k", "", "", (Published("", "e", results="x", judge=judge),))], nothing)


def test_a_command_is_cut_to_its_first_seed():
    words, seed = again.first_seed_of(
        "weightspace run psp-x --set 'a=1,2' --trials 10 --seed 4 --out R -m ewc --data-dir DATA"
    )
    assert (words, seed) == (["run", "psp-x", "--set", "a=1,2", "--seed", "4", "-m", "ewc"], 4)
    assert again.first_seed_of("weightspace run x") == (["run", "x"], 0)
    with pytest.raises(SettingError, match="no `weightspace run`"):
        again.first_seed_of("python docs/x.py")


def test_a_run_again_has_the_same_numbers_or_is_told(run, result, tmp_path):
    def call(words):
        assert words[-5:-1] == ["-m", "ewc", "--out", str(tmp_path / "again")]
        for method in ("naive", "ewc"):
            shutil.copytree(run / method / "seed-0", tmp_path / "again" / method / "seed-0")

    found = again.run_again(result, COMMAND, tmp_path / "again", None, call)
    assert found == []
    rows = [dict(row) for row in result.select(seed=0)]
    rows[1]["acc"] += 2**-52
    rows[1]["learning_seconds"] = 0.0
    assert again.compare(result, rows, 0) == ["row 1 (ewc): acc"]
    rows[0]["settings"] = {"name": "other"}
    assert "nothing like it" in again.compare(result, rows, 0)[0]


def test_the_pages_of_the_checkout_tell_what_is_kept():
    """`weightspace results write` makes them so."""
    for path, text in told.pages_of(ROOT, PAPERS).items():
        assert path.read_text() == text, f"{path}: run `weightspace results write`"


def test_every_claim_has_its_own_place():
    said = [(paper.key, one.where, one.claim) for paper in PAPERS for one in paper.claims]
    assert len(set(said)) == len(said)


def test_what_is_kept_can_be_read_and_run():
    """Each kept result has rows, and commands that name an experiment."""
    for name in kept.names():
        one = kept.read(name)
        assert one.rows
        for command in one.made["commands"]:
            words, _ = again.first_seed_of(command)
            assert find(words[1]).name == words[1]


def test_kept_runs_are_drawn_without_times(result, tmp_path):
    pytest.importorskip("matplotlib")
    with pytest.raises(SettingError, match="three methods"):
        pictures.draw("short", tmp_path)
    found = pictures.lines(result)
    assert [line.method for line in found] == [
        side_by_side.title(one) for one in side_by_side.labels(result)
    ]
    assert all(np.isnan(line.mean["learning_seconds"]) for line in found)
    more = [
        replace(
            found[0],
            method=str(at),
            mean={**found[0].mean, "acc": 0.5 + 0.1 * at},
            kept_bytes=1 << 12 + 4 * at,
        )
        for at in range(3)
    ]
    assert draw_pareto(more, tmp_path / "pareto.png") == tmp_path / "pareto.png"


def test_seeds_are_held_against_themselves():
    mine = [{"seed": 2, "acc": 0.5}, {"seed": 0, "acc": 0.75}, {"seed": 3, "status": "diverged"}]
    theirs = [{"seed": seed, "acc": 0.25} for seed in (0, 1, 2, 3)]
    assert rows.seed_by_seed(mine, theirs, "acc") == {0: 0.5, 2: 0.25}
    assert (rows.seeds_told(1), rows.seeds_told(3)) == ("1 seed", "3 seeds")
