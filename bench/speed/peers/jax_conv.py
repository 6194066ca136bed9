"""JAX under jit on single convolutions: NHWC images, weights (R, S, C, O)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from .problem import Operation, Problem, Variants, decline_large


def _convolve(x: jax.Array, w: jax.Array) -> jax.Array:
    return jax.lax.conv_general_dilated(
        x, w, (1, 1), ((1, 1), (1, 1)), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _operation(
    problem: Problem, function: Callable, to_numpy: Callable[[Any], dict[str, np.ndarray]]
) -> Operation:
    """A jitted function of x (N, H, H, C), w (3, 3, C, O) and dy (N, H, H, O)."""
    x, w, dy = (jnp.asarray(problem.arrays[name]) for name in ("x", "w", "dy"))
    arguments = (x, jnp.array(w.transpose(1, 2, 3, 0)), dy)
    jitted = jax.jit(function)

    def call() -> Any:
        return jax.block_until_ready(jitted(*arguments))

    return Operation(call, lambda: to_numpy(call()))


def _turned_back(w: jax.Array) -> np.ndarray:
    """(3, 3, C, O) as (O, 3, 3, C)."""
    return np.asarray(w).transpose(3, 0, 1, 2)


def _forward(problem: Problem) -> Operation:
    return _operation(problem, lambda x, w, dy: _convolve(x, w), lambda y: {"y": np.asarray(y)})


def _forward_backward(problem: Problem) -> Operation:
    def function(x: jax.Array, w: jax.Array, dy: jax.Array) -> tuple[jax.Array, ...]:
        y, pull = jax.vjp(_convolve, x, w)
        return y, *pull(dy)  # y is a result, so that the compiler cannot leave it out

    return _operation(
        problem, function, lambda out: {"dx": np.asarray(out[1]), "dw": _turned_back(out[2])}
    )


def _fisher(problem: Problem) -> Operation:
    decline_large(problem)

    def one(w: jax.Array, x: jax.Array, dy: jax.Array) -> jax.Array:
        return jax.grad(lambda v: (_convolve(x[None], v)[0] * dy).sum())(w)

    def function(x: jax.Array, w: jax.Array, dy: jax.Array) -> jax.Array:
        return jnp.square(jax.vmap(one, in_axes=(None, 0, 0))(w, x, dy)).sum(axis=0)

    return _operation(problem, function, lambda g: {"fisher": _turned_back(g)})


CONVOLUTIONS: dict[str, Variants] = {
    "conv-forward": {"NHWC": _forward},
    "conv-forward-backward": {"NHWC": _forward_backward},
    "conv-fisher": {"vmap(grad)": _fisher},
}
