"""The judges of Kutalev's claims, and their tables, on made-up rows."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from weightspace.bench.reproduction import importances as tables
from weightspace.bench.reproduction import task_space
from weightspace.bench.reproduction.claims import importances
from weightspace.bench.reproduction.kept import Kept, Made
from weightspace.bench.studies.importances import correlations
from weightspace.kernels.errors import DataError
from weightspace.methods.correlation import IMPORTANCES, KINDS

PAIRS = [" ~ ".join(pair) for pair in combinations(IMPORTANCES, 2)]
MADE = Made(commands=["c"], commit="abc", date="", data="", seeds=[0, 1], versions={})


def probed(seed, **values):
    """A probe's row: every correlation 0.9 but those given, by pair, as [layers][tasks]."""
    found = {pair: values.get(pair, [[0.9, 0.9], [0.9, 0.9]]) for pair in PAIRS}
    return {
        "label": "importance-probe", "method": "importance-probe", "seed": seed, "settings": {},
        "correlations": {
            kind: {pair: {f"{i}.weight": layer for i, layer in enumerate(layers)}
                   for pair, layers in found.items()} for kind in KINDS
        },
    }  # fmt: skip


def kept(*rows):
    return Kept("made-up", MADE, list(rows))


def judged(claim, *rows):
    (one,) = (one for one in importances.CLAIMS if claim in one.claim)
    assert one.judge is not None
    return one.judge(kept(*rows))


def test_a_high_correlation_is_high_in_every_layer_after_every_task():
    assert judged("MAS ~ SI is high", probed(0), probed(1))[0] == "works"
    some = probed(0, **{"MAS ~ SI": [[0.9, 0.9], [0.7, 0.9]]})
    verdict, told = judged("MAS ~ SI is high", some)
    assert verdict == "in part" and "layer 2 0.70 to 0.90" in told and "75% of all" in told
    assert judged("MAS ~ SI is high", some, probed(1))[1].startswith(
        "layer 1 0.90 to 0.90, layer 2 0.80"
    )
    low = probed(0, **{"MAS ~ SI": [[0.5, 0.5], [0.5, 0.9]]})
    assert judged("MAS ~ SI is high", low)[0] == "differs"


def test_the_square_is_held_against_mas_itself():
    assert judged("FIS ~ MAS squared", probed(0))[0] == "differs"
    once = probed(0, **{"FIS ~ MAS^2": [[0.95, 0.8], [0.9, 0.9]]})
    assert judged("FIS ~ MAS squared", once)[0] == "in part"


def test_the_signal_is_near_at_the_input_and_against_at_the_output():
    near = {f"{one} ~ SIG": [[0.6, 0.65], [0.0, -0.1]] for one in ("FIS", "MAS", "SI")}
    assert judged("near the input", probed(0, **near))[0] == "works"
    assert judged("on the output layer", probed(0, **near))[0] == "works"
    falls = near | {"FIS ~ SIG": [[0.6, 0.1], [0.0, 0.1]]}
    assert judged("near the input", probed(0, **falls))[0] == "in part"
    assert judged("on the output layer", probed(0, **falls))[0] == "in part"


def accuracy(method, acc, lam=None):
    settings = {} if lam is None else {"lam": lam}
    return {"label": method, "method": method, "seed": 0, "settings": settings, "acc": acc}


def test_accuracies_are_held_against_his():
    his = [accuracy(method, value / 100) for method, value in importances.HIS.items()]
    for claim in ("MAS at 4.5", "SIG at 0.1", "each: nothing held", "so in order"):
        assert judged(claim, *his)[0] == "works"
    assert judged("MAS at 4.5", accuracy("mas", 0.94))[0] == "in part"
    assert judged("MAS at 4.5", accuracy("mas", 0.9))[0] == "differs"
    assert judged("so in order", *his[1:], accuracy("mas", 0.1))[0] == "differs"


def test_his_strengths_are_the_middle_ones():
    rows = [accuracy("mas", acc, lam) for lam, acc in ((1.5, 0.8), (4.5, 0.9), (13.5, 0.7))]
    assert importances._strengths(kept(*rows, probed(0)))[0] == "works"
    rows += [accuracy("si", acc, lam) for lam, acc in ((0.1, 0.9), (0.2, 0.8), (0.3, 0.7))]
    assert importances._strengths(kept(*rows))[0] == "in part"


def test_tables_have_a_line_a_method_and_a_pair():
    his = [accuracy(method, value / 100) for method, value in importances.HIS.items()]
    assert "| SIG 0.1 | 92.9 | 92.9 | 1 |" in tables.accuracies(kept(*his))
    text = tables.agreement(kept(probed(0, **{"MAS ~ SI": [[0.1, 0.3], [0.5, 0.7]]})))
    assert "| MAS ~ SI | 0.10, 0.10, 0.30 | 0.50, 0.50, 0.70 |" in text


def test_pairs_are_read_back_with_what_is_missing(tmp_path):
    path = tmp_path / "pairs.csv"
    path.write_text("seed,first,second,forgetting,steps_to\n0,orig,inv,0.5,\n")
    assert task_space.pairs_of(path) == [
        {"kind": "pair", "given": None, "seed": 0.0, "first": "orig", "second": "inv",
         "forgetting": 0.5, "steps_to": None}
    ]  # fmt: skip
    assert "the authors' eight" in task_space.choices(task_space.pairs_of(task_space.PAIRS))


# ---- the file of a run ---------------------------------------------------------------------------


def test_a_runs_correlations_are_read_and_averaged(tmp_path):
    found = [
        probed(0)["correlations"],
        probed(1, **{"MAS ~ SI": [[0.7, 0.9], [0.9, 0.9]]})["correlations"],
    ]
    path = tmp_path / "correlations.csv"
    path.write_text(correlations._as_csv(found[1]))
    assert correlations.read(path) == found[1]
    average, spread = correlations.mean(found)
    assert average["pearson"]["MAS ~ SI"]["0.weight"] == pytest.approx([0.8, 0.9])
    assert spread["pearson"]["MAS ~ SI"]["0.weight"] == pytest.approx([0.2 / 2**0.5, 0])


@pytest.mark.parametrize("broken", ["", "kind,pair\n", "cut", "order"])
def test_damaged_correlations_are_named(tmp_path, broken):
    path = Path(tmp_path / "correlations.csv")
    lines = correlations._as_csv(probed(0)["correlations"]).splitlines(keepends=True)
    text = {"cut": "".join(lines[:-1]), "order": "".join([lines[0], lines[2], *lines[1:]])}
    path.write_text(str(text.get(broken, broken)))
    with pytest.raises(DataError, match="is damaged"):
        correlations.read(path)


def test_importances_taken_apart_have_a_line_each():
    rows = [
        {"kind": "line", "seed": seed, "depth": 3, "line": line, "lam": lam, "accuracy": acc + lam,
         "held_out": acc + lam}
        for line, acc in (("none", 0.5), ("sig", 0.7), ("mas", 0.8), ("fis", 0.8))
        for lam in ((0.0,) if line == "none" else (0.0625, 0.125)) for seed in (0, 1)
    ]  # fmt: skip
    text = tables.taken_apart(kept(*rows))
    assert "| sig | 82.5 ± 0.0 | 76% | 0.125, the grid's end |" in text
    assert "| none | 50.0 ± 0.0 | 0% |  |" in text
    assert "| SIG holds tasks as well as MAS | in part | SIG 82.5" in tables.answered(kept(*rows))
