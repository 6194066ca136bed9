"""Campbell, Kieras, Kruger & Tao (2018): tasks by their pixels, and what is forgotten of them."""

from __future__ import annotations

from ...studies.claims import IN_PART as PARTLY
from ...studies.claims import REPRODUCED, Answer
from ...studies.claims import Judge as OfRows
from ...studies.task_space import claims as study
from ..kept import Kept
from ..published import Judge, Published, verdict


def _of(judge: OfRows) -> Judge:
    """A judge of the study's, put to kept rows."""

    def of_kept(kept: Kept) -> Answer:
        answer = judge(kept.rows)
        assert answer is not None, "the rows of a claim that names them are kept"
        said, told = answer
        return verdict(said == REPRODUCED, said == PARTLY), told

    return of_kept


_RUN = "weightspace run task-space --set data=mnist --set train_limit=none"
_ADADELTA = "--set optimizer=adadelta --set lr=1"
# part -> under which name its rows are kept, the options of its command, hours a seed on one core
RUNS = {
    "correlations": ("task-space-pixels", "--set parts=correlations", 0.02),
    "sequence": (
        "task-space",
        f"--set test_limit=none --set parts=sequence {_ADADELTA} --set steps=1175", 0.01,
    ),
    "pairs": (
        "task-space-pairs",
        f"--set parts=isolated,pairs {_ADADELTA} --set steps=1175 --set pair_steps=390 "
        "--set every=10", 0.12,
    ),
    "iterative": ("task-space-schemes", "--set parts=iterative --set visit_steps=77", 0.08),
}  # fmt: skip


def _claim(part: str, where: str, claim: str, paper: str, judge: OfRows) -> Published:
    """A claim of the study's, by the rows of a part or, while none are kept, what it would take."""
    name, options, hours = RUNS[part]
    never = f"`{_RUN} {options}`, {hours:g} hours a seed"
    return Published(where, claim, paper, results=name, judge=_of(judge), never=never)


_NET, _FILES = "a convolutional network, from one log", "the files of skdata are gone"
CLAIMS = (
    _claim("correlations", "Fig. 3", "inv, fliplr, flipud and rot90 correlate with one another",
           "positive", study.alike),
    _claim("correlations", "Fig. 3", "they correlate against the original", "negative",
           study.against),
    _claim("correlations", "Fig. 3", "orig, rot90 and cutud are anti-correlated, all three",
           "negative", study.three),
    Published("Fig. 12", "correlations of Larochelle's five sets",
              never=f"{_FILES}; regenerated sets are not the same images"),
    _claim("sequence", "notebook", "sequence: rot90 wipes out the original", "92 to 24 %",
           study.original_goes),
    _claim("sequence", "notebook", "sequence: check leaves flipud as it was", "98 to 97 %",
           study.check_spares),
    _claim("sequence", "notebook", "sequence: check, inv and cutud stay high to the end",
           "75, 71, 82 %", study.columns_stay),
    _claim("sequence", "notebook", "sequence: R, entry by entry", "28 values", study.same_order),
    Published("log", "a CNN that learns inv after rot90 has 75 % of orig again", "75.2 %",
              never=f"{_NET}: not written here, an hour with its conv3x3x32, conv3x3x64"),
    _claim("pairs", "text", "the more alike two tasks, the less the first is forgotten", "",
           study.forgetting),
    _claim("pairs", "text", "anti-correlated tasks take up to 6 times longer", "6 times",
           study.six_times),
    Published("text", "240 ms against 30 to 60 ms", "4 to 8 times",
              never="no protocol, network or machine is stated; steps stand for it above"),
    _claim("iterative", "Figs. 6-9", "schemes: correlated tasks preserve each other", "",
           study.correlated_in_scheme),
    _claim("iterative", "Figs. 6-9", "schemes: accuracy rises from round to round", "",
           study.rounds_help),
    _claim("iterative", "Figs. 10, 11", "schemes: Synaptic Intelligence helps", "",
           study.si_helps),
)  # fmt: skip
