"""van de Ven (2025): how the Fisher information of EWC should be computed."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...studies.claims import Answer
from ...studies.fishers import claims
from ...studies.rows import Row
from ..kept import Kept
from ..published import Judge, Published, of_study


def _by(judge: Callable[[Sequence[Row]], Answer | None]) -> Judge:
    """The study's own judge, over kept rows. They must have what it asks for."""

    def judged(kept: Kept) -> Answer:
        answer = judge(kept.rows)
        assert answer is not None, f"bench/results/{kept.name} lacks rows that a claim asks for"
        return of_study(answer)

    return judged


CLAIMS = (
    Published(
        "Split MNIST, table", "with each way's best strength there is no substantial difference",
        "98.93 to 99.12 %", results="five-fishers", judge=_by(claims.alike),
    ),
    Published(
        "Split MNIST, table", "all five are far above no method", "98.93 to 99.12 against 85.41 %",
        results="five-fishers", judge=_by(claims.far_above_none),
    ),
    Published(
        "Split MNIST, table", "the exact Fisher of 500 samples does nearly as well as that of all",
        "98.93 against 99.12 %", results="five-fishers", judge=_by(claims.few_suffice),
    ),
    Published(
        "Split MNIST, figure", "squared batches need a strength orders of magnitude larger",
        results="five-fishers", judge=_by(claims.larger_strength),
    ),
    Published(
        "Split MNIST, figure", "which strengths do well differs much between the ways",
        results="five-fishers", judge=_by(claims.ranges),
    ),
    Published(
        "Split MNIST, table",
        "the exact Fisher costs more than one label a sample, squared batches least",
        "learning alone 53 s; exact 121, sampled 101, empirical 100, batches 58 s",
        results="five-fishers-seconds", judge=_by(claims.batches_cheapest),
    ),
    Published(
        "Split CIFAR-10, table", "there the exact Fisher is ahead, that of 500 samples next",
        "84.91 and 84.57 against 83.28 to 83.77 %",
        never="a reduced ResNet-18 for 10,000 steps of 256: about 8 hours a run on a core, 6 runs "
        "a seed, 30 seeds",
    ),
)  # fmt: skip
