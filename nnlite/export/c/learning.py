"""What an exported network does to learn: settings, checked before anything is printed."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from ....kernels.errors import SettingError, check_name
from ...optim import SGD, Optimizer
from ...settings import NOT_NEGATIVE, POSITIVE, real, whole

METHODS = ("naive", "ewc", "si", "mas", "packnet", "replay")
FISHERS = ("true", "empirical")
SHARE = (0.0, 1.0)


@dataclass(frozen=True)
class Learning:
    """How an exported network learns.

    tail: of how many layers, counted from the last, only those with parameters; None: all.
    batch: samples a step. method: one of METHODS, with lam (times what `methods` multiplies it by),
    fisher (of ewc), xi (of si), prune (share of packnet), memories (samples that replay keeps) and
    replayed (how many of these join a batch). int8: whether memories are kept as bytes.
    Raises SettingError or UnknownNameError.
    """

    tail: int | None = None
    batch: int = 8
    optimizer: Optimizer = field(default_factory=lambda: SGD(0.01))
    method: Literal["naive", "ewc", "si", "mas", "packnet", "replay"] = "naive"
    lam: float = 1.0
    fisher: Literal["true", "empirical"] = "true"
    xi: float = 0.1
    prune: float = 0.75
    memories: int = 64
    replayed: int | None = None
    int8: bool = False

    def __post_init__(self) -> None:
        check_name("method for C", self.method, METHODS)
        check_name("Fisher for C", self.fisher, FISHERS)
        if self.tail is not None:
            whole("tail", self.tail)
        whole("batch", self.batch)
        whole("memories", self.memories)
        if self.replayed is not None:
            whole("replayed", self.replayed)
        real("lam", self.lam, NOT_NEGATIVE)
        real("xi", self.xi, POSITIVE)
        if not 0 <= self.prune < 1:
            raise SettingError(f"prune={self.prune}; it is a share: from 0 to below 1")

    @property
    def penalises(self) -> bool:
        """Whether there is an omega and an anchor."""
        return self.method in ("ewc", "si", "mas")

    @property
    def strength(self) -> float:
        """What multiplies omega (theta - anchor) in the gradient: EWC's penalty has a half."""
        return self.lam if self.method == "ewc" else 2 * self.lam

    @property
    def joining(self) -> int:
        """Samples of the memory in a step."""
        return self.batch if self.replayed is None else self.replayed
