"""Layer: the protocol of five verbs (and one for SIG) that every layer answers.

A layer is a frozen description. Its verbs are pure functions of what they are given: `k`, the
kernels and buffers; `p`, the layer's own views of theta; and `saved`, what forward returned. `dp`
and `out` are views of the same names into some other vector of length P.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from ..init import Initialiser
from ..layout import Shape
from ..workspace import Scope

Views = Mapping[str, np.ndarray]


class Layer:
    """A stateless layer. Sub-classes are frozen dataclasses, so a checkpoint can name them."""

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one sample's output. Raises ShapeError for an input it cannot take."""
        raise NotImplementedError

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        """Name and shape of each parameter, in the order they have in theta."""
        return {}

    def initialise(self, rng: np.random.Generator, p: Views, init: Initialiser) -> None:
        """Draw the parameters in place."""

    def buffers(self, input_shape: Shape, n: int) -> dict[str, Shape]:
        """The buffers that one forward and backward pass of n samples takes, for `plan`."""
        raise NotImplementedError

    def forward(self, k: Scope, p: Views, x: np.ndarray) -> tuple[np.ndarray, Any]:
        """y and what the other verbs need of this pass."""
        raise NotImplementedError

    def backward(
        self,
        k: Scope,
        p: Views,
        saved: Any,
        dy: np.ndarray,
        dp: Views | None,
        beta: float = 1.0,
        want_dx: bool = True,
    ) -> np.ndarray | None:
        """dp = beta dp + the summed parameter cotangent (skipped when dp is None); returns dx.

        dy may hold V cotangents stacked along the samples, (V N, ...), if dp is None. beta is 1
        (accumulate) or 0 (the first write, which need not read what was there). want_dx False
        returns None: nobody uses the input cotangent of a first layer.
        """
        raise NotImplementedError

    def tangent(
        self, k: Scope, p: Views, saved: Any, tp: Views | None, tx: np.ndarray | None
    ) -> np.ndarray | None:
        """ty = J_x tx + J_p tp per sample; a None direction does not move. None if neither does."""
        raise NotImplementedError

    def sample_grads(self, k: Scope, p: Views, saved: Any, dy: np.ndarray, out: Views) -> None:
        """out[n] = the parameter gradient of sample n: views (N, *shape), overwritten."""

    def accumulate(
        self, k: Scope, p: Views, saved: Any, dy: np.ndarray, out: Views, power: int
    ) -> None:
        """out += sum over cotangents v and samples n of |g_vn|**power, forming no (N, P).

        dy is (V, N, ...): V cotangents for each sample.
        """

    def signal(self, k: Scope, p: Views, saved: Any, out: Views) -> None:
        """out += the absolute signal through each parameter, summed over samples (SIG)."""
