"""The judges of what was claimed of ensembles along a path: each says yes and no, from rows."""

from __future__ import annotations

import pytest
from weightspace.bench.reproduction import fip
from weightspace.bench.reproduction.claims.fip_ensembles import CLAIMS
from weightspace.bench.reproduction.kept import Kept, Made
from weightspace.bench.reproduction.published import DIFFERS, IN_PART, NEVER, WORKS, judged
from weightspace.bench.studies.fip_ensemble.study import OTHERS, SURROGATES

PATHS = ("fip-onward", "fip-afresh", "fip-ball")
AS_PUBLISHED = {
    "members": dict.fromkeys(PATHS, 0.556) | {"deep": 0.381, "fge": 0.41, "adp": 0.43},
    "joint": dict.fromkeys(PATHS, 0.578) | {"deep": 0.372, "fge": 0.417, "adp": 0.438},
    "cosine": dict.fromkeys(PATHS, 0.18) | {"deep": 0.35, "fge": 0.34, "adp": 0.3},
    "diversity": dict.fromkeys(PATHS, 3.0) | {"deep": 1.0, "fge": 1.0, "adp": 1.0},
    "end": 0.91, "hit": 0.37, "away": 30.0,
}  # fmt: skip


def kept(**other) -> Kept:
    """Rows of two seeds of a study whose numbers are these, the rest as published."""
    told = {key: value | other.get(key, {}) if isinstance(value, dict) else other.get(key, value)
            for key, value in AS_PUBLISHED.items()}  # fmt: skip
    rows = []
    for seed in (0, 1):
        rows += [{"seed": seed, **row} for row in _rows(told, seed)]
    made = Made(commands=[], commit="", date="", data="", seeds=[0, 1], versions={})
    return Kept("fip-ensemble", made, rows)


def _rows(told, seed):
    shift = 0.001 * seed
    for name in SURROGATES:
        yield {"ask": "clean", "kind": name, "member": 0, "accuracy": 0.92, "length": 20.0}
        yield {"ask": "transfer", "surrogate": name, "kind": name, "member": 0, "epsilon": 8.0,
               "accuracy": told["hit"]}  # fmt: skip
    for kind in (*PATHS, *OTHERS):
        for member in (0, 1):
            at = 1 if member == 0 else 2
            yield {"ask": "clean", "kind": kind, "member": member, "accuracy": told["end"],
                   "away": told["away"] * at**0.5, "walked": 60.0 * at, "turned": 1.0 * at,
                   "length": 40.0}  # fmt: skip
        yield {"ask": "clean", "kind": kind, "member": None, "accuracy": told["end"]}
        for member in (0, None):
            yield {"ask": "white", "kind": kind, "member": member, "epsilon": 8.0, "accuracy": 0.1}
        yield {"ask": "coherence", "kind": kind, "against": "members", "mean": 0.5}
        for name in SURROGATES:
            about = {"ask": "transfer", "surrogate": name, "kind": kind, "epsilon": 8.0}
            for member in (0, 1):
                yield {**about, "member": member, "accuracy": told["members"][kind] + shift}
            yield {**about, "member": None, "accuracy": told["joint"][kind] + shift}
            yield {"ask": "coherence", "kind": kind, "against": name,
                   "mean": told["cosine"][kind]}  # fmt: skip
        for layer in (0, 1):
            yield {"ask": "diversity", "kind": kind, "layer": layer, "name": "Conv2d",
                   "quantiles": [told["diversity"][kind]] * 5}  # fmt: skip
    yield {"ask": "strength", "kind": "start", "steps": 10, "restarts": 1, "epsilon": 8.0,
           "accuracy": 0.0}  # fmt: skip


def test_the_tables_of_the_docs():
    table = fip.ensembles(kept()).splitlines()
    wanted = "| FIP, ball | 91.0 ± 0.0 / 91.0 ± 0.0 | 55."
    assert any(line.startswith(wanted) for line in table)
    assert "| a separate network, itself attacked | 92.0 | 37.0 |  |  |" in table
    assert len(table) == 2 + 6 + 2
    table = fip.ensemble_paths(kept()).splitlines()
    (line,) = [line for line in table if line.startswith("| FIP, ball")]
    assert line == ("| FIP, ball | 2.00 | 120.00 | 42.43 | 0.35 | 40.00 | 0.180 | 0.180 | 0.500 |")


def verdicts(rows: Kept) -> dict[str, str]:
    return {one.claim: judged(one, lambda name: rows)[0] for one in CLAIMS}


def test_as_published_everything_works():
    found = verdicts(kept())
    assert {claim for claim, said in found.items() if said != WORKS} == {
        one.claim for one in CLAIMS if not one.results
    }
    assert set(found.values()) == {WORKS, NEVER}


@pytest.mark.parametrize(
    ("other", "part", "wanted"),
    [
        ({"end": 0.8}, "answer as the first", DIFFERS),
        ({"hit": 0.9}, "makes the trained network fail", DIFFERS),
        ({"members": dict.fromkeys((*PATHS, *OTHERS), 0.4)}, "networks trained apart, on", DIFFERS),
        ({"joint": dict.fromkeys((*PATHS, *OTHERS), 0.4)}, "as a whole", DIFFERS),
        ({"joint": dict.fromkeys(PATHS, 0.5) | {"deep": 0.3}}, "gains over the path", DIFFERS),
        ({"joint": dict.fromkeys(PATHS, 0.5) | {"deep": 0.6}}, "gains nothing", DIFFERS),
        ({"away": 60.0 * 2**0.5}, "is a curve", DIFFERS),
        ({"cosine": dict.fromkeys((*PATHS, "deep"), 0.35)}, "less coherent", DIFFERS),
        ({"cosine": {"fip-onward": 0.1, "fip-afresh": 0.1, "fip-ball": 0.4, "deep": 0.35}},
         "less coherent", IN_PART),
        ({"diversity": dict.fromkeys((*PATHS, "deep"), 1.0)}, "activations differ", DIFFERS),
    ],
)  # fmt: skip
def test_each_judge_can_say_no(other, part, wanted):
    rows = kept(**other)
    (one,) = [one for one in CLAIMS if part in one.claim]
    said, numbers = judged(one, lambda name: rows)
    assert said == wanted
    assert any(digit in numbers for digit in "0123456789")


def test_others_are_beaten_in_every_seed_and_from_both_surrogates():
    found = verdicts(kept(joint={"adp": 0.6}))
    assert found["the path's ensemble is above ADP's"] == DIFFERS
    assert found["and above FGE's"] == WORKS
    one_path = {"adp": 0.6, "fip-ball": 0.7}
    assert verdicts(kept(joint=one_path))["the path's ensemble is above ADP's"] == IN_PART
