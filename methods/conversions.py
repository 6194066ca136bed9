"""Lambdas of other sources in ours: what their strength multiplies, as a factor and settings.

A penalty's lambda means nothing without what it multiplies (docs/conventions.md). The sources were
read at the versions named; where an importance of theirs is another quantity than any of ours, the
factor holds for its typical size only, and `exact` is False.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from ..kernels.errors import SettingError, check_name
from .settings import COUNT, NOT_NEGATIVE, real, whole


@dataclass(frozen=True)
class Convention:
    """How a source's lambda becomes ours: lam = factor * theirs, / batch where `per_batch`.

    settings: of our method, so that it measures what theirs does. says: in words.
    """

    factor: float
    says: str
    settings: dict[str, Any] = field(default_factory=dict)
    exact: bool = True
    per_batch: bool = False


CONVENTIONS: dict[str, dict[str, Convention]] = {
    "ewc": {
        "kirkpatrick": Convention(1, "lam/2, a penalty a task", {"penalty": "separate"}),
        "van-de-ven": Convention(
            1, "lam/2, all labels; for gamma < 1 its gamma stands in the loss once more "
            "(continual-learning e6d795a)", {"penalty": "online", "fisher": "true"},
        ),
        "kutalev": Convention(
            2, "no 1/2, the data's labels (ewc-features)",
            {"penalty": "latest", "fisher": "empirical"},
        ),
        "mammoth": Convention(
            2, "no 1/2; squares of the data's label weighted by its probability, one of the true "
            "Fisher's K terms (ewc_on of e75a491)", {"penalty": "online", "fisher": "true"}, False,
        ),
        "avalanche": Convention(
            2, "no 1/2; squares of gradients of a batch's mean loss, about 1/batch of per-sample "
            "ones (0.6.0)", {"penalty": "separate", "fisher": "empirical"}, False, True,
        ),
    },
    "si": {
        "zenke": Convention(1, "no 1/2, Omega at least 0 (pathint)"),
        "kutalev": Convention(
            1, "no 1/2, negative Omega stay, the path sees the penalty (ewc-features)",
            {"clamp": "none", "gradient": "total"},
        ),
        "van-de-ven": Convention(
            1, "no 1/2, negative Omega stay (continual-learning e6d795a)", {"clamp": "none"}
        ),
        "mammoth": Convention(
            1, "no 1/2, negative Omega stay; its steps are cut at 1 a weight (e75a491)",
            {"clamp": "none"}, False,
        ),
    },
    "mas": {
        "aljundi": Convention(1, "no 1/2, norm of the outputs", {"output": "logits"}),
        "kutalev": Convention(1, "no 1/2, norm of the softmax", {"output": "softmax"}),
    },
    "sig": {"kutalev": Convention(1, "no 1/2")},
}  # fmt: skip


@dataclass(frozen=True)
class Converted:
    """Our lambda, the settings that go with it, and what is to be known of the source."""

    lam: float
    settings: dict[str, Any]
    exact: bool
    says: str


def from_source(method: str, source: str, lam: float, batch: int | None = None) -> Converted:
    """A source's lambda for a method in our convention.

    batch: the size of the batches that the source's importance was taken over, where it squares
    their means. Raises UnknownNameError for a method or source that is not in `CONVENTIONS`,
    SettingError for a negative lambda or a missing batch.
    """
    check_name("method with a lambda", method, CONVENTIONS)
    check_name(f"source of a lambda of {method}", source, CONVENTIONS[method])
    found = CONVENTIONS[method][source]
    lam = real("lam", lam, NOT_NEGATIVE)
    if found.per_batch and batch is None:
        raise SettingError(f"{source} squares a batch's mean gradient: give batch=, its size")
    size = whole("batch", batch, COUNT) if found.per_batch else 1
    return Converted(found.factor * lam / size, dict(found.settings), found.exact, found.says)
