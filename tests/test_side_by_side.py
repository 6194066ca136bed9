"""Many networks trained in threads of one process."""

from __future__ import annotations

import threading

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.methods import EWC, SI, Interrupted, Observer, fit, fit_many
from weightspace.methods.side_by_side import in_threads
from weightspace.methods.stopping import Stop, stop_all
from weightspace.nnlite import BatchNorm2d, Dropout, Linear, Network, models

SETTINGS: dict = {"steps": 25, "batch_size": 16, "eval_every": 10}


def nets(backend, count=5):
    return [models.mlp((12, 10, 4), backend=backend, seed=seed) for seed in range(count)]


@pytest.mark.parametrize("method", [None, EWC(lam=3.0), SI], ids=str)
def test_side_by_side_is_one_by_one(backend, blob_tasks, method):
    many = fit_many(nets(backend), blob_tasks, method, workers=3, **SETTINGS)
    for seed, (net, result) in enumerate(zip(nets(backend), many, strict=True)):
        alone = fit(net, blob_tasks, method, seed=seed, **SETTINGS)
        assert result.network.theta.tobytes() == net.theta.tobytes()
        assert np.array_equal(result.R, alone.R) and np.array_equal(result.losses, alone.losses)


def test_networks_that_draw_and_count_keep_to_themselves(backend, blob_tasks):
    def made():
        layers = [Linear(8), BatchNorm2d(activation="relu"), Dropout(0.4), Linear(4)]
        return [Network(layers, (12,), backend, seed=seed) for seed in range(4)]

    many = fit_many(made(), blob_tasks, workers=4, **SETTINGS)
    for seed, (net, result) in enumerate(zip(made(), many, strict=True)):
        fit(net, blob_tasks, seed=seed, **SETTINGS)
        assert result.network.theta.tobytes() == net.theta.tobytes()
        assert result.network.draws == net.draws


class Stepping(Observer):
    """Says when steps were taken, or raises then."""

    def __init__(self, raises: str = "") -> None:
        self.raises, self.began, self.steps = raises, threading.Event(), 0

    def stepped(self, step: int, task: int, loss: float) -> None:
        self.steps = step
        self.began.set()
        if self.raises:
            raise ValueError(self.raises)


def test_an_error_in_one_stops_the_others(blob_tasks):
    watched = [Stepping() for _ in range(3)]
    watched[1].raises = "so"
    with pytest.raises(ValueError, match="so"):
        fit_many(
            nets("cpu", 3), blob_tasks, observers=watched, workers=3, steps=10_000_000, batch_size=8
        )
    assert all(each.steps < 10_000_000 for each in watched)


def test_ctrl_c_in_the_main_thread_stops_them(blob_tasks):
    watched = [Stepping() for _ in range(2)]

    def items():
        yield from range(2)
        for each in watched:
            assert each.began.wait(60)
        raise KeyboardInterrupt

    def train(index):
        return fit(nets("cpu", 2)[index], blob_tasks, steps=10_000_000, observer=watched[index])

    with pytest.raises(KeyboardInterrupt):
        list(in_threads(train, items(), 3))


def test_a_stop_of_another_thread_is_asked_by_word():
    found = []

    def wait():
        with Stop(lambda name: None) as stop:
            while not stop.number:
                threading.Event().wait(0.001)
            found.append(stop.number)

    thread = threading.Thread(target=wait)
    thread.start()
    while not found:
        stop_all()
    thread.join()
    assert found == [2]
    assert issubclass(Interrupted, KeyboardInterrupt)


def test_answers_come_as_they_are_done_and_items_are_asked_for_as_there_is_room():
    asked = []

    def items():
        for i in range(20):
            asked.append(i)
            yield i

    seen = []
    for index, answer in in_threads(lambda i: i * i, items(), 3):
        assert answer == index * index
        seen.append(index)
        assert len(asked) <= len(seen) + 3
    assert sorted(seen) == list(range(20))


@pytest.mark.parametrize(("given", "match"), [
    ({"seeds": [1]}, "1 seeds"),
    ({"observers": [Observer()]}, "1 observers"),
    ({"checkpoint": "a"}, "checkpoint"),
    ({"seed": 3}, "seed"),
    ({"workers": 0}, "workers"),
])  # fmt: skip
def test_what_makes_no_sense_is_refused(blob_tasks, given, match):
    with pytest.raises(errors.SettingError, match=match):
        fit_many(nets("reference", 2), blob_tasks, **SETTINGS, **given)


def test_a_network_cannot_be_trained_twice_at_once(blob_tasks):
    (net,) = nets("reference", 1)
    with pytest.raises(errors.SettingError, match="twice"):
        fit_many([net, net], blob_tasks, **SETTINGS)


def test_no_networks_have_no_results(blob_tasks):
    assert fit_many([], blob_tasks, **SETTINGS) == []
