"""What an exported network does to learn: settings, checked before anything is printed."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from ....kernels.errors import SettingError, check_name
from ...optim import SGD, Optimizer
from ...settings import NOT_NEGATIVE, POSITIVE, SHARE_BELOW_1, real, whole

METHODS = ("naive", "ewc", "si", "mas", "packnet", "replay")
FISHERS = ("true", "empirical")


@dataclass(frozen=True)
class Learning:
    """How an exported network learns.

        tail: of how many layers, counted from the last, only those with parameters; None: all.
    batch: samples a step. method: one of METHODS, with lam (what multiplies the penalty, as in
    `methods`), fisher (of ewc), xi (of si), prune (share of packnet), memories (samples that replay
    keeps) and replayed (how many of these join a batch; None: as many as it has). latents: the
    range of what is remembered, which is then kept as bytes; None: as floats.
    Raises SettingError or UnknownNameError.
    """

    tail: int | None = None
    batch: int = 8
    optimizer: Optimizer = field(default_factory=lambda: SGD(0.01))
    method: str = "naive"
    lam: float = 1.0
    fisher: str = "true"
    xi: float = 0.1
    prune: float = 0.75
    memories: int = 64
    replayed: int | None = None
    latents: tuple[float, float] | None = None

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
        real("prune", self.prune, SHARE_BELOW_1)
        if self.latents is not None:
            low, high = self.latents
            if not (np.isfinite([low, high]).all() and low < high):
                raise SettingError(f"latents={self.latents}; give the lowest and the highest value")

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

    @property
    def share(self) -> float:
        """The memory's share of a step's gradient: as if both were one batch."""
        return self.joining / (self.batch + self.joining)

    @property
    def bytes_of_latents(self) -> tuple[float, int]:
        """scale, zero point: a byte q stands for scale (q - zero). 0 is exact."""
        assert self.latents is not None
        low, high = min(self.latents[0], 0.0), max(self.latents[1], 0.0)
        scale = float(np.float32((high - low) / 255))
        return scale, round(-low / scale)
