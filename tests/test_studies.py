"""Studies: settings, parts that are kept, what a resumed run does, and the page."""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace

import numpy as np
import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.experiments.catalogue import STUDIES, find
from weightspace.bench.runs.experiment import Request
from weightspace.bench.studies import claims, rows
from weightspace.bench.studies.lab import check_least, left_by
from weightspace.bench.studies.page import write_page
from weightspace.bench.studies.study import Part, Study, run_study
from weightspace.kernels.errors import CheckpointError, SettingError, UnknownNameError


@dataclass(frozen=True)
class Settings:
    steps: int = 3
    rate: float = 0.5
    levels: tuple[float, ...] = (0.5, 0.9)
    name: str = "plain"
    limit: int | None = None


def study(called):
    def first(work):
        called.append(("first", work.seed))
        (work.folder / "left").parent.mkdir(parents=True, exist_ok=True)
        (work.folder / "left").write_text("here")
        return [{"value": level * work.settings.steps} for level in work.settings.levels]

    def second(work):
        called.append(("second", work.seed))
        if work.settings.name == "stop" and len(called) < 3:
            raise KeyboardInterrupt
        assert (work.folder / "left").read_text() == "here"
        return [{"value": float("nan")}]

    def tell(rows):
        table = Table("part", "value", title="numbers <&>")
        for row in rows:
            table.add_row(row["part"], str(row["value"]))
        return [table]

    parts = [Part("first", first), Part("second", second)]
    return Study("toy", "a study", Settings(), lambda settings: parts, lambda *_: [], tell)


def run(made, tmp_path, seeds=(0, 1), **more):
    request = Request("cpu", seeds, tmp_path / "out", **more)
    return run_study(made, request, Console(quiet=True))


def test_rows_of_all_parts_and_seeds_and_a_page(tmp_path):
    called = []
    made = study(called)
    done = run(made, tmp_path)
    assert called == [("first", 0), ("second", 0), ("first", 1), ("second", 1)]
    assert [row["value"] for row in done.rows[:3]] == [1.5, 2.7, None]  # JSON has no NaN
    page = write_page(
        made.name, made.summary, made.tell(done.rows), done.figures, (), tmp_path / "out"
    ).read_text()
    assert "numbers &lt;&amp;&gt;" in page
    assert "levels = [0.5, 0.9]" in page
    assert tomllib.loads((tmp_path / "out" / "config.toml").read_text())["steps"] == 3


def test_a_stopped_study_goes_on_where_it_stopped(tmp_path):
    called = []
    made = study(called).with_settings(["name=stop"])
    with pytest.raises(KeyboardInterrupt):
        run(made, tmp_path)
    whole = run(made, tmp_path, resume=True)
    assert called == [("first", 0), ("second", 0), ("second", 0), ("first", 1), ("second", 1)]
    assert len(whole.rows) == 6
    assert run(made, tmp_path, resume=True).rows == whole.rows
    assert len(called) == 5
    with pytest.raises(CheckpointError, match="other settings"):
        run(made.with_settings(["steps=4"]), tmp_path, resume=True)
    with pytest.raises(SettingError, match="already holds"):
        run(made, tmp_path)
    run(made, tmp_path, overwrite=True)
    assert len(called) == 9


def test_what_is_not_a_study_is_left_alone(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "thesis.tex").write_text("dear")
    with pytest.raises(SettingError, match="no study"):
        run(study([]), tmp_path, overwrite=True)
    assert (tmp_path / "out" / "thesis.tex").read_text() == "dear"


def test_settings_are_read_by_their_types():
    made = study([]).with_settings(["steps=7", "rate=2", "levels=0.1,0.2,3", "name=other"])
    assert made.settings == Settings(7, 2.0, (0.1, 0.2, 3.0), "other")
    for wrong in ("steps=1.5", "levels=a,b", "steps", "rate=nan"):
        with pytest.raises(SettingError):
            study([]).with_settings([wrong])
    with pytest.raises(UnknownNameError, match="steps"):
        study([]).with_settings(["step=1"])


def test_experiments_are_found_by_name():
    assert find("permuted-mnist").name == "permuted-mnist"
    assert all(find(name) is made for name, made in STUDIES.items())
    with pytest.raises(UnknownNameError, match="permuted-mnist"):
        find("permuted-mnst")


@pytest.mark.parametrize("resume", [True, False])
def test_a_study_killed_at_its_first_write_is_taken_up(tmp_path, resume):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / ".config.toml.a1b2c3d4").write_text("stu")  # what a kill leaves
    assert len(run(study([]), tmp_path, resume=resume, overwrite=not resume).rows) == 6
    assert not list((tmp_path / "out").glob(".*"))


def test_other_settings_are_named(tmp_path):
    run(study([]), tmp_path)
    with pytest.raises(CheckpointError, match=r"steps: 3 then, 4 now; levels: 0.5,0.9 then, 0.5"):
        run(study([]).with_settings(["steps=4", "levels=0.5"]), tmp_path, resume=True)
    with pytest.raises(SettingError, match="give different values"):
        study([]).with_settings(["levels=0.5,0.50"])


def test_a_study_refused_in_its_first_part_leaves_no_folder(tmp_path):
    def refuse(work):
        raise SettingError("no such data")

    made = replace(study([]), parts=lambda settings: [Part("first", refuse)])
    with pytest.raises(SettingError, match="no such data"):
        run(made, tmp_path)
    assert not (tmp_path / "out").exists()


def test_overwriting_a_study_leaves_what_others_put_there(tmp_path):
    run(study([]), tmp_path)
    (tmp_path / "out" / "notes.txt").write_text("mine")
    run(study([]).with_settings(["steps=5"]), tmp_path, overwrite=True)
    assert (tmp_path / "out" / "notes.txt").read_text() == "mine"


def test_seeds_given_twice_count_once(tmp_path):
    made = study([])
    done = run_study(made, Request("cpu", [0, 0], tmp_path / "out"), Console(quiet=True))
    assert len(done.rows) == 3


def test_every_study_is_listed(monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    listed = CliRunner().invoke(app, ["list"]).output
    assert set(STUDIES) <= set(listed.split())


def test_the_rule_of_winograd_is_a_table_of_ratios(tmp_path, monkeypatch):
    ratio = pytest.importorskip("weightspace.bench.studies.winograd.ratio", reason="needs numba")
    asked = []

    def planted(channels, height, pixels):
        asked.append((channels, height, pixels))
        return channels / height, channels >= 8

    monkeypatch.setattr(ratio, "ratio", planted)
    made = STUDIES["winograd-rule"].with_settings(["channels=3,8", "heights=2,4", "pixels=64"])
    done = run(made, tmp_path, seeds=[0])
    assert asked == [(3, 2, 64), (3, 4, 64), (8, 2, 64), (8, 4, 64)]
    table = made.tell(done.rows)[0]
    cells = [list(column.cells) for column in table.columns]
    assert cells == [["3", "8"], ["1.50 ", "4.00*"], ["0.75 ", "2.00*"]]
    (tmp_path / "out/seed-0/channels-8.jsonl").unlink()
    assert run(made, tmp_path, seeds=[0], resume=True).rows == done.rows and len(asked) == 6
    for wrong, said in (("heights=0", "1 or more"), ("channels=none", "no parts")):
        with pytest.raises(SettingError, match=said):
            run(made.with_settings([wrong]), tmp_path / "other", seeds=[0])
    with pytest.raises(SettingError, match="leave out --seed"):
        run(made, tmp_path / "other", seeds=[3])


# ---- what studies share --------------------------------------------------------------------------


def test_rows_are_picked_grouped_and_averaged():
    found = [{"seed": s, "kind": k, "n": n, "pair": [s, None]}
             for s, k, n in ((1, "a", 2), (0, "b", None), (0, "a", 4), (1, "c", 6))]  # fmt: skip
    assert [row["n"] for row in rows.select(found, kind="a")] == [2, 4]
    assert list(rows.grouped([*found, {"seed": 2}], "kind")) == ["a", "b", "c"]
    assert list(rows.grouped(found, "seed", "kind")) == [(1, "a"), (0, "b"), (0, "a"), (1, "c")]
    assert rows.average(found, "n") == 4 and math.isnan(rows.average([], "n"))
    np.testing.assert_array_equal(rows.average(found, "pair"), [0.5, np.nan])
    assert [row["kind"] for row in rows.first_seed(found)] == ["b", "a"]
    text = rows.as_csv(
        ("kind", "n", "x"), [{"kind": "a, b", "n": None, "x": 1 / 3}, {"x": math.nan}]
    )
    assert text == 'kind,n,x\n"a, b",,0.333333\n,,\n'


def test_claims_are_held_against_rows():
    made = [("more than one", lambda rows: (claims.verdict(len(rows) > 1, rows), str(len(rows)))),
            ("of another part", lambda rows: None)]  # fmt: skip
    for given, verdict in (([{}, {}], "reproduced"), ([{}], "in part"), ([], "not reproduced")):
        first, second = claims.judged(made, given, "no rows")
        assert first == ("more than one", verdict, str(len(given)))
        assert second == ("of another part", "not testable", "no rows")
    table = claims.claims_table([first], ("claim", "here", "verdict"))
    assert [list(column.cells) for column in table.columns] == [[first[0]], ["0"], [first[1]]]


def test_what_a_part_left_is_asked_for_by_name(tmp_path):
    with pytest.raises(CheckpointError, match="'first' again"):
        left_by("first", tmp_path / "gone")
    with pytest.raises(SettingError, match="steps=3: at least 4"):
        check_least(Settings(), {"steps": 4})
