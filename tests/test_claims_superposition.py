"""The judges over kept rows of superposition and convergent learning: made-up rows, either way."""

from __future__ import annotations

import pytest
from test_convergent_learning import made_up
from weightspace.bench.reproduction.claims import convergent, superposition
from weightspace.bench.reproduction.kept import Kept, Made
from weightspace.bench.reproduction.published import (
    DIFFERS,
    IN_PART,
    NEVER,
    WORKS,
    Published,
    judged,
)
from weightspace.bench.studies.convergent import tables
from weightspace.kernels.errors import StorageError

MADE: Made = {
    "commands": ["weightspace run x"], "commit": "abc", "date": "", "data": "", "seeds": [0],
    "versions": {},
}  # fmt: skip


def verdict(claims, words: str, rows: list[dict]) -> str:
    """The verdict on the claim that has `words` in it."""
    (claim,) = (one for one in claims if words in one.claim)
    return judged(claim, lambda name: Kept(name, MADE, rows))[0]


def kinds(**kept_bytes):
    return [{"label": f"superposition kind={kind}", "seed": 0, "kept_bytes": count}
            for kind, count in kept_bytes.items()]  # fmt: skip


def test_what_a_task_keeps():
    right = {"binary": 51840, "complex": 51840, "rotation": 29829120, "onepower": 5304}
    ask = superposition.CLAIMS, "keeps M numbers"
    assert verdict(*ask, kinds(**right)) == WORKS
    assert verdict(*ask, kinds(**right | {"onepower": 120})) == DIFFERS  # without the base


def noise(slope=-0.5, more=1.0, powers=1.0):
    """Rows that follow the law, but for the exponent and a factor."""
    rows = []
    for kind in ("binary", "complex", "onepower", "rotation"):
        for width, models in ((64, 8), (256, 8), (1024, 8), (1024, 2)):
            factor = powers if kind == "onepower" else 1.0
            rows += [{"ask": "noise", "kind": kind, "width": width, "models": models, "seed": 0,
                      "weights": more * (models - 1) ** 0.5,
                      "aligned": factor * (models - 1) ** 0.5 * width**slope}]  # fmt: skip
    return rows


def test_the_laws_of_noise():
    claims = superposition.CLAIMS
    for words, wrong in (("noise of sqrt(K - 1)", {"more": 1.2}), ("as 1 / sqrt(M)", {"slope": -1}),
                         ("Powers of one context", {"powers": 1.3})):  # fmt: skip
        assert verdict(claims, words, noise()) == WORKS
        assert verdict(claims, words, noise(**wrong)) == DIFFERS


@pytest.mark.parametrize(("ours", "wanted"), [(0.8, WORKS), (0.45, DIFFERS)])
def test_superposed_tasks_are_kept(ours, wanted):
    rows = [{"label": label, "seed": 0, "acc": acc, "accuracy_matrix": [[acc, 0.0], [acc, acc]]}
            for label, acc in (("naive", 0.3), ("superposition", ours))]  # fmt: skip
    assert verdict(superposition.CLAIMS, "keeps fifty permuted tasks", rows) == wanted


@pytest.mark.parametrize(("ours", "wanted"), [(0.97, WORKS), (0.9, IN_PART), (0.65, DIFFERS)])
def test_the_last_ten_beside_the_papers(ours, wanted):
    rows = [{"label": label, "seed": 0, "accuracy_matrix": [[0.0] * 50, [0.0] * 40 + [acc] * 10]}
            for label, acc in (("naive", 0.62), ("superposition", ours))]  # fmt: skip
    assert verdict(superposition.CLAIMS, "last ten of fifty", rows) == wanted


def test_width_buys_tasks():
    def rows(*accuracies):
        return [{"ask": "capacity", "kind": kind, "reset": True, "width": width, "tasks": tasks,
                 "accuracy": accuracy, "seed": 0}
                for kind in ("binary", "naive") for tasks in (1, 20)
                for width, accuracy in zip((64, 128), accuracies, strict=True)]  # fmt: skip

    assert verdict(superposition.CLAIMS, "The wider", rows(0.6, 0.7)) == WORKS
    assert verdict(superposition.CLAIMS, "The wider", rows(0.7, 0.6)) == DIFFERS


def turned(**turns):
    """A run a line of two turns: in the first all is 0, in the last what is given, in turns."""
    return [{"label": label.replace("_", " "), "seed": 0, "steps": 2000,
             "tests": [[100 * n, 0.0] for n in range(1, 11)]
             + [[1000 + 100 * n, last[n % 2]] for n in range(1, 11)]}
            for label, last in turns.items()]  # fmt: skip


def test_inputs_that_turn():
    def said(judge, lines):
        return judge(Kept("", MADE, turned(**lines)))[0]

    steady, swings, low = (0.6, 0.7), (0.1, 0.8), (0.3, 0.35)
    judge = superposition.steady
    right = {"standard": swings, "psp_binary": steady, "psp_complex": steady}
    assert said(judge, right) == WORKS
    assert said(judge, right | {"psp_complex": swings}) == IN_PART
    assert said(judge, right | {"standard": steady}) == DIFFERS
    mixed = {"psp_Local_Mix": steady, "psp_Fast": low, "standard": swings}
    for judge, label in ((superposition.mixed, "psp_Local_Mix"),
                         (superposition.fast_mixed, "psp_Fast_Local_Mix")):  # fmt: skip
        assert said(judge, mixed | {label: (0.6, 0.7)}) == WORKS
        assert said(judge, mixed | {label: (0.2, 0.3)}) == DIFFERS
    fast = mixed | {"psp_Fast_Local_Mix": (0.4, 0.9)}  # accurate on average, but it swings
    assert said(superposition.fast_mixed, fast) == DIFFERS


def test_what_was_never_run_says_what_it_takes():
    for claim in superposition.CLAIMS:
        if not claim.judge:
            assert judged(claim, lambda name: pytest.fail("reads rows"))[0] == NEVER
            assert "hours" in claim.never and "weightspace run" in claim.never


def test_the_study_judges_its_own_claims():
    depth, leaves = (next(one for one, _ in tables.CLAIMS if words in one)
                     for words in ("highest in conv1", "leaves of the tree"))  # fmt: skip
    for claim, rows, wanted in ((depth, made_up(), WORKS), (depth, made_up(falls=0), IN_PART),
                                (depth, made_up(falls=-0.01), DIFFERS), (leaves, made_up(), WORKS),
                                (leaves, made_up(across=5), DIFFERS)):  # fmt: skip
        judge = convergent.judge_of(claim)
        assert judge(Kept("", MADE, rows))[0] == wanted


def test_every_claim_of_the_study_is_on_the_page():
    told = [one.claim.lower() for one in convergent.CLAIMS]
    assert sorted(told) == sorted(one.lower() for one, _ in tables.CLAIMS)


def test_a_claim_whose_rows_are_not_kept_says_what_it_takes():
    def absent(name):
        raise StorageError(f"nothing is kept in {name}")

    one = Published("", "a claim", results="rows", judge=lambda kept: (WORKS, ""), never="5 hours")
    assert judged(one, lambda name: Kept(name, MADE, [])) == (WORKS, "")
    assert judged(one, absent) == (NEVER, "5 hours")
