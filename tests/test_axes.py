"""What figures of runs share: axes that tell the best apart, lines not told by colour alone."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("matplotlib", reason="figures")
from weightspace.bench.runs import axes as shared
from weightspace.bench.show import style


def test_an_error_has_a_logarithm():
    assert shared.error([0.9, 1.0]).tolist() == pytest.approx([0.1, shared.LEAST])


@pytest.mark.parametrize("low, high", [(0.04, 0.4), (0.62, 0.75), (0.0012, 0.0019), (0.3, 0.31)])
def test_every_range_of_errors_has_round_ticks_inside(low, high):
    ticks = shared.error_ticks(low, high)
    assert len(ticks) >= 2
    assert all(low <= tick <= high for tick in ticks)


def test_better_is_up_and_all_that_is_drawn_is_inside():
    figure, axes = style.pyplot().subplots()
    shared.error_axis(axes, "y", shared.error([0.2, 0.98]))
    worst, best = axes.get_ylim()
    assert worst > 0.8 and best < 0.02
    assert {text.get_text() for text in axes.get_yticklabels()} >= {"90%", "95%", "60%"}
    style.pyplot().close(figure)


def test_percents_close_together_are_told_apart():
    figure, axes = style.pyplot().subplots()
    axes.plot([0.861, 0.866])
    shared.percent_axis(axes.yaxis)
    figure.canvas.draw()
    told = [text.get_text() for text in axes.get_yticklabels()]
    assert len(told) > 3 and len(set(told)) == len(told)
    style.pyplot().close(figure)


def test_no_two_of_sixteen_lines_look_alike_in_grey():
    looks = [shared.look(rank) for rank in range(16)]
    assert len({(str(one["ls"]), one["marker"]) for one in looks}) == 16
    assert shared.look(0)["color"] == shared.look(0, 1)["color"]
    assert shared.look(0)["marker"] != shared.look(0, 1)["marker"]


def test_names_are_put_where_no_other_point_or_name_is():
    figure, axes = style.pyplot().subplots(figsize=(5, 4))
    xs, ys = [0.0, 0.02, 1.0], [0.0, 0.0, 1.0]
    axes.plot(xs, ys, "o")
    shared.put_names(axes, ["first", "second", "third"], xs, ys)
    figure.canvas.draw()
    boxes = [text.get_window_extent() for text in axes.texts]
    assert len(boxes) == 3
    for number, one in enumerate(boxes):
        assert not any(one.overlaps(other) for other in boxes[number + 1 :])
    style.pyplot().close(figure)


def test_a_band_is_the_standard_error():
    figure, axes = style.pyplot().subplots()
    rows = np.array([[0.5, 0.7], [0.7, 0.9]])
    shared.band(axes, np.array([1, 2]), rows, shared.look(0), "two runs")
    assert axes.lines[0].get_ydata().tolist() == pytest.approx([0.6, 0.8])
    corners = axes.collections[0].get_paths()[0].vertices[:, 1]
    assert (corners.min(), corners.max()) == pytest.approx((0.5, 0.9))
    style.pyplot().close(figure)


def test_counts_of_seeds_are_told():
    assert [shared.trials(c) for c in ([1, 1], [3, 3], [1, 3])] == [
        "1 seed",
        "3 seeds",
        "1 to 3 seeds",
    ]
