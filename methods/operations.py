"""Operations: what a run's training costs in floating-point operations, counted, not timed.

Counted is what programs of the network's verbs say (`net.program`, by each kernel's contract; a
multiplication with its addition is two): every training step, forward, loss, backward and the
optimizer's update; and the passes through the network that a method makes of its own, where they
are known here. Not counted: tests, reading and moving data, what a penalty adds to the update (a
few operations a weight), quadratic programs, draws and sorting.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

from ..nnlite import Network
from ..nnlite.optim import Optimizer
from ..nnlite.program import cost
from .base import Joint, Method, Naive
from .ewc import EWC
from .gem import AGEM, GEM
from .lwf import LwF
from .mas import MAS
from .packnet import PackNet
from .rehearsal import Rehearsal
from .replay import DERPP, Replay
from .si import SI
from .sig import SIG, WVA


class Operations(NamedTuple):
    """steps: of all training steps. own: of the method's own passes, None where not known here."""

    steps: float
    own: float | None


class Passes(NamedTuple):
    """`times` passes of a verb over so many samples."""

    verb: str
    samples: int
    times: int = 1
    kind: str = ""  # of Fisher


_NONE_IN_STEPS = (Naive, Joint, EWC, MAS, SI, SIG, WVA, PackNet)
_NONE_AT_ENDS = (Naive, Joint, SI, PackNet, GEM, AGEM, Replay, LwF)


def count(
    net: Network, method: Method, optimizer: Optimizer, sizes: Sequence[int],
    plan: Sequence[int], batch_size: int,
) -> Operations:  # fmt: skip
    """Of training on tasks of `sizes` samples, `plan` steps each, in batches of `batch_size`.

    net: as `Result.network` has it. Raises RecordingError where a layer does what no program holds.
    """
    known: dict[tuple[str, int, str], float] = {}

    def flops(verb: str, samples: int, kind: str = "") -> float:
        key = verb, samples, kind
        if key not in known:
            more = {"optimizer": optimizer} if verb == "train" else {"kind": kind} if kind else {}
            program = net.program(verb, samples, **more)
            known[key] = sum(cost(program, call).flops for call in program.calls)
        return known[key]

    steps, own = 0.0, 0.0
    unknown = False
    for index, length in enumerate(plan):
        total = sum(sizes) if method.joint else sizes[index]
        kept = sizes[:index]
        for size, times in batches(total, batch_size, length).items():
            steps += times * flops("train", size)
            passes = in_step(method, kept, size)
            unknown |= passes is None
            own += times * sum(one.times * flops(one.verb, one.samples, one.kind)
                               for one in passes or ())  # fmt: skip
        passes = at_end(method, sizes[index])
        unknown |= passes is None
        own += sum(one.times * flops(one.verb, one.samples, one.kind) for one in passes or ())
    return Operations(steps, None if unknown else own)


def batches(total: int, batch_size: int, steps: int) -> Counter[int]:
    """How many of `steps` steps have batches of which size: the last of an epoch may be smaller."""
    whole, rest = divmod(total, batch_size)
    epoch = [batch_size] * whole + [rest] * bool(rest)
    epochs, more = divmod(steps, len(epoch))
    found = Counter({size: epochs * times for size, times in Counter(epoch).items()})
    return +(found + Counter(epoch[:more]))


def in_step(method: Method, kept: Sequence[int], batch: int) -> list[Passes] | None:
    """The passes of a step on `batch` samples after tasks of `kept` samples; None: not known."""
    if type(method) in _NONE_IN_STEPS:
        return []
    if type(method) is LwF:  # what the old network says of the batch
        return [Passes("forward", batch)] if kept else []
    if type(method) in (GEM, AGEM, Replay, DERPP) and isinstance(method, Rehearsal):
        rows = method._rows([min(method.memories, size) for size in kept], batch) if kept else ()
        times = 2 if type(method) is DERPP else 1  # answers, then labels
        return [Passes("gradient", each, times) for each in rows]
    return None


def at_end(method: Method, size: int) -> list[Passes] | None:
    """The passes when a task of `size` samples has been learnt; None: not known."""
    if type(method) in _NONE_AT_ENDS:
        return []
    asked = getattr(method, "samples", None)
    samples = size if asked is None else min(asked, size)
    if type(method) is EWC:  # a label drawn costs what a given one does
        return [Passes("fisher", samples, kind="true" if method.fisher == "true" else "empirical")]
    if type(method) is MAS and method.output == "softmax":
        return [Passes("mas", samples)]
    if type(method) in (SIG, WVA):
        return [Passes("forward", samples)]
    if type(method) is DERPP:
        return [Passes("forward", min(method.memories, size))]
    return None
