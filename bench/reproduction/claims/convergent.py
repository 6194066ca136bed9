"""Li, Yosinski, Clune, Lipson & Hopcroft (ICLR 2016): do networks learn the same units?

The study has its own judges, which see rows of any networks; here they are put to the kept ones,
of four networks with four convolutions.
"""

from __future__ import annotations

from ...studies.claims import Answer
from ...studies.convergent.tables import claims
from ..kept import Kept
from ..published import Judge, Published, of_study

_RESULTS = "convergent-cifar"
_TAKES = (
    "`weightspace run convergent-learning --set model=zenke-cnn --set data=cifar-10 --set "
    "normalise=cifar --set networks=4 --set steps=1000 --set limit=1000 --set fit_limit=2000 --set "
    "targets=48 --set keep_methods=none`, 0.3 hours on one core"
)


def judge_of(claim: str) -> Judge:
    """The judge of one of the study's claims, by what it says."""

    def judge(kept: Kept) -> Answer:
        (found,) = (one for one in claims(kept.rows) if one.claim == claim)
        return of_study((found.verdict, found.here))

    return judge


def _published(where: str, claim: str, paper: str = "") -> Published:
    text = claim[0].upper() + claim[1:]
    judge = judge_of(claim)
    return Published(where, text, paper, results=_RESULTS, judge=judge, never=_TAKES)


CLAIMS = (
    _published("matching", "some features are learnt by every network, others are not"),
    _published("matching", "one-to-one matches are weaker than each unit's own best"),
    _published("matching", "matched correlations are highest in conv1 and lowest in conv4"),
    _published("matching", "mutual information pairs units as correlation does"),
    _published("sparse maps", "sparse maps exist in conv1 and conv2",
               "losses 0.168 and 0.372 without L1"),
    _published("sparse maps", "from conv3 on maps are poor even without L1"),
    _published("clusters", "small groups of units span what groups of the other net span"),
    _published("clusters", "the clusters at the leaves of the tree pair one unit of each net"),
)  # fmt: skip
