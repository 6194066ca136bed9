"""The judges of the FIP paper's first three parts, on rows made for them."""

from __future__ import annotations

from functools import partial

import pytest
from weightspace.bench.reproduction.claims import fip_paths, fip_sparsify
from weightspace.bench.reproduction.kept import Kept, Made
from weightspace.bench.reproduction.published import DIFFERS, IN_PART, WORKS
from weightspace.nnlite import models

MADE: Made = {"commands": ["weightspace"], "commit": "abc", "date": "", "data": "", "seeds": [0, 1],
        "versions": {}}  # fmt: skip


def told(judge, rows):
    """What a judge says of rows."""
    return judge(Kept("some", MADE, rows))


def run(method, seed, was, first, second, **settings):
    matrix = [[was, 0.0], [first, second]]
    return {"method": method, "label": method, "seed": seed, "settings": settings,
            "acc": (first + second) / 2, "accuracy_matrix": matrix}  # fmt: skip


def fip(first=0.96, second=0.885, **more):
    return [run("fip", seed, 0.98, first, second, step="anchor", **more) for seed in (0, 1)]


def ewc(lam, first, second=0.86):
    return [run("ewc", seed, 0.98, first, second, lam=lam) for seed in (0, 1)]


@pytest.mark.parametrize(
    ("first", "second", "expected"),
    [(0.96, 0.885, WORKS), (0.90, 0.885, IN_PART), (0.8, 0.7, DIFFERS)],
)
def test_both_tasks_are_kept(first, second, expected):
    verdict, said = partial(told, fip_paths._keeps)(fip(first, second))
    assert verdict == expected and f"{100 * first:.1f}" in said and "2 seeds" in said


def test_forgetting_means_that_more_than_half_is_gone():
    judge = partial(told, fip_paths._forgets)
    assert judge([run("naive", 0, 0.98, 0.2, 0.88)])[0] == WORKS
    assert judge([run("naive", 0, 0.98, 0.6, 0.88)])[0] == DIFFERS


def test_ewc_is_taken_at_its_best_strength():
    rows = fip() + ewc(100.0, 0.7) + ewc(1000.0, 0.9) + ewc(10_000.0, 0.8)
    verdict, said = partial(told, fip_paths._ewc)(rows)
    assert verdict == WORKS and "88.0 ± 0.0 at strength 1000, within" in said
    assert "an end" in partial(told, fip_paths._ewc)(ewc(10.0, 0.9))[1]
    assert partial(told, fip_paths._above_ewc)(rows)[0] == WORKS
    mixed = [*fip(), *ewc(1000.0, 0.9)[:1], run("ewc", 1, 0.98, 0.99, 0.89, lam=1000.0)]
    assert partial(told, fip_paths._above_ewc)(mixed)[0] == IN_PART


def test_a_path_is_held_against_plain_training():
    def walks(outputs):
        return [{"kind": "walk", "label": label, "seed": 0, "step": 9, "weight_length": 9.5,
                 "output_length": length} for label, length in outputs.items()]  # fmt: skip

    judge = partial(told, fip_paths._short_in_outputs)
    assert judge(walks({"naive": 10.0, "fip anchor": 3.0}))[0] == WORKS
    assert judge(walks({"naive": 10.0, "fip anchor": 6.0}))[0] == DIFFERS


def network(method, level, accuracy, seed=0, **more):
    layers = {"0.weight": 0.992, "0.bias": 0.0, "1.weight": 0.984, "2.weight": 0.5}
    return {"method": method, "level": level, "sparsity": level, "accuracy": accuracy,
            "seed": seed, "layers": layers, **more}  # fmt: skip


def test_sparse_networks_are_judged_by_level():
    dense = network("dense", 0.0, 0.98)
    judge = partial(told, fip_sparsify._reaches(0.991, 0.963))
    assert judge([dense, network("FIP", 0.991, 0.96)])[0] == WORKS
    assert judge([dense, network("FIP", 0.991, 0.94), network("FIP", 0.9, 0.97)])[0] == DIFFERS
    random = partial(told, fip_sparsify._random)
    rows = [network("random zeros", 0.991, 0.11), network("random weights", 0.991, 0.09)]
    assert random(rows)[0] == WORKS
    assert random([*rows[:1], network("random weights", 0.991, 0.4)])[0] == IN_PART


def test_layers_and_tickets():
    layers = partial(told, fip_sparsify._layers)
    row = network("FIP", 0.991, 0.97)
    assert layers([row]) == (WORKS, "99.2, 98.4, 50.0 % zeros")
    row["layers"] = row["layers"] | {"2.weight": 0.8}
    assert layers([row])[0] == IN_PART
    tickets = partial(told, fip_sparsify._tickets)
    rows = [network("FIP", 0.994, 0.966), network("lottery tickets", 0.0, 0.94)]
    rows[1]["sparsity"] = 0.9935
    verdict, said = tickets(rows)
    assert verdict == WORKS and "2.6 points" in said


def test_the_authors_own_step_is_told_by_its_steps():
    judge = partial(told, fip_sparsify._authors)
    record = [[10, 0.994, 0.5, 0.1, 0.3]]
    name = "FIP, authors' step"
    short = network(name, 0.994, 0.25, steps=4000, record=record)
    verdict, said = judge([network(name, 0.994, 0.92, steps=40_000, record=record), short])
    assert verdict == IN_PART and said.startswith("4,000 steps 25.0 %")


def test_the_layers_of_resnet20_are_twenty_without_norms_and_shortcuts():
    net = models.resnet20(10, input_shape=(32, 32, 3), backend="reference")
    names = [name for name in net.layout if fip_sparsify._connects(name)]
    assert len(names) == 20 and not any("shortcut" in name for name in names)
    layers = dict.fromkeys(names, 0.85) | {names[0]: 0.41, names[-1]: 0.24, "1.weight": 0.0}
    row = network("FIP", 0.93, 0.83) | {"layers": layers}
    assert told(fip_sparsify._resnet_layers, [row]) == (
        WORKS, "first 41, 2 to 19 85, last 24 % zeros")  # fmt: skip
    rows = [row, network("dense", 0.0, 0.89), network("one-shot + fine-tuning", 0.93, 0.84)]
    assert told(fip_sparsify._resnet_reaches, rows)[0] == WORKS
    rows = [network("random zeros", 0.93, 0.1), network("random weights", 0.93, 0.1)]
    assert told(fip_sparsify._resnet_random, rows)[0] == IN_PART
