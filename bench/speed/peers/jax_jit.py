"""JAX under jit, with donated state; both layouts of the weights are tried, the faster is timed."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import numpy as np

os.environ.setdefault("JAX_PLATFORMS", "cpu")  # read when jax is imported: the peers run on CPU

import jax
import jax.numpy as jnp

from .jax_conv import CONVOLUTIONS
from .kinds import Mlp, Regression
from .problem import (
    BETA1,
    BETA2,
    CHECK_STEPS,
    EPS,
    LAM,
    LR_ADAM,
    LR_SGD,
    MANY,
    Operation,
    Problem,
    Variants,
    decline_large,
)
from .products import offered, views

__all__ = ["CONVOLUTIONS", "NETWORKS", "OPERATIONS", "PRODUCTS", "REGRESSIONS", "settings"]

Theta = list[tuple[jax.Array, jax.Array]]


def settings() -> dict[str, Any]:
    """How JAX runs here."""
    return {"jax": jax.__version__, "device": str(jax.devices()[0])}


class _Model:
    """The network as a function of its parameters, its weights (in, out) or (out, in)."""

    def __init__(self, problem: Problem, transposed: bool) -> None:
        assert isinstance(problem.network, Mlp)
        self.problem, self.network, self.transposed = problem, problem.network, transposed
        self.activate = {"relu": jax.nn.relu, "tanh": jnp.tanh}[self.network.activation]
        arrays = problem.arrays
        self.x, self.y, self.u = (jnp.asarray(arrays[name]) for name in ("x", "y", "u"))

    def tree(self, name: str) -> Theta:
        """An array of length P as the parameters' structure; its buffers are its own."""
        return [
            (jnp.array(w.T if self.transposed else w), jnp.array(b))
            for w, b in self.network.split(self.problem.arrays[name])
        ]

    def flat(self, tree: Theta) -> np.ndarray:
        """The reverse of `tree`, as a vector (P,)."""
        parts = []
        for w, b in tree:
            parts += [np.asarray(w.T if self.transposed else w).ravel(), np.asarray(b)]
        return np.concatenate(parts)

    def logits(self, theta: Theta, x: jax.Array) -> jax.Array:
        for index, (w, b) in enumerate(theta):
            x = x @ (w if self.transposed else w.T) + b
            if index < len(theta) - 1:
                x = self.activate(x)
        return x

    def log_p(self, theta: Theta, x: jax.Array) -> jax.Array:
        return jax.nn.log_softmax(self.logits(theta, x))

    def loss(self, theta: Theta, x: jax.Array, y: jax.Array) -> jax.Array:
        """Mean cross-entropy, or half the squared error."""
        if self.network.loss == "squared_error":
            return jnp.square(self.logits(theta, x) - y).sum(axis=1).mean() / 2
        return -jnp.take_along_axis(self.log_p(theta, x), y[:, None], axis=1).mean()


def _both(build: Callable[[_Model], Operation]) -> Variants:
    return {
        "weights (in, out)": lambda problem: build(_Model(problem, transposed=True)),
        "weights (out, in)": lambda problem: build(_Model(problem, transposed=False)),
    }


def _stateless(
    model: _Model, function: Callable, arguments: tuple, name: str, tree: bool
) -> Operation:
    """A jitted function of arrays that change nothing."""
    jitted = jax.jit(function)

    def call() -> Any:
        return jax.block_until_ready(jitted(*arguments))

    to_numpy = model.flat if tree else np.asarray
    return Operation(call, lambda: {name: to_numpy(call())})


def _stepping(model: _Model, step: Callable, start: Callable[[], tuple]) -> Operation:
    """A jitted step(state, x, y); the state, theta first and path last, is donated."""
    jitted = jax.jit(step, donate_argnums=0)
    state = start()

    def call() -> None:
        nonlocal state
        state = jax.block_until_ready(jitted(state, model.x, model.y))

    def reset() -> None:
        nonlocal state
        state = start()

    def result() -> dict[str, np.ndarray]:
        reset()
        for _ in range(CHECK_STEPS):
            call()
        found = {"change": model.flat(state[0]) - model.problem.arrays["theta"]}
        if model.problem.operation == "si-step":
            found["path"] = model.flat(state[-1])
        return found

    return Operation(call, result, reset)


def _zeros(tree: Theta) -> Theta:
    return jax.tree.map(jnp.zeros_like, tree)


def _adam(theta: Theta, m: Theta, v: Theta, t: jax.Array, grad: Theta) -> tuple:
    """(theta, m, v, t, d) after one Adam step along `grad`."""
    t = t + 1.0
    m = jax.tree.map(lambda a, g: BETA1 * a + (1 - BETA1) * g, m, grad)
    v = jax.tree.map(lambda a, g: BETA2 * a + (1 - BETA2) * g * g, v, grad)
    rate, second = LR_ADAM / (1 - BETA1**t), 1 - BETA2**t
    d = jax.tree.map(lambda a, b: -rate * a / (jnp.sqrt(b / second) + EPS), m, v)
    return jax.tree.map(jnp.add, theta, d), m, v, t, d


def _adam_step(model: _Model) -> Callable[[tuple, jax.Array, jax.Array], tuple]:
    def step(state: tuple, x: jax.Array, y: jax.Array) -> tuple:
        theta, m, v, t = state
        return _adam(theta, m, v, t, jax.grad(model.loss)(theta, x, y))[:4]

    return step


def _adam_start(model: _Model) -> tuple:
    theta = model.tree("theta")
    return theta, _zeros(theta), _zeros(theta), jnp.zeros(())


def _train_adam(model: _Model) -> Operation:
    return _stepping(model, _adam_step(model), lambda: _adam_start(model))


def _train_many(model: _Model) -> Operation:
    """Many steps as one loop that XLA compiles."""
    one = _adam_step(model)

    def steps(count: int) -> Callable[[tuple, jax.Array, jax.Array], tuple]:
        return jax.jit(
            lambda state, x, y: jax.lax.fori_loop(0, count, lambda _, s: one(s, x, y), state),
            donate_argnums=0,
        )

    many, few = steps(MANY), steps(CHECK_STEPS)
    state = _adam_start(model)

    def call() -> None:
        nonlocal state
        state = jax.block_until_ready(many(state, model.x, model.y))

    def reset() -> None:
        nonlocal state
        state = _adam_start(model)

    def result() -> dict[str, np.ndarray]:
        found = few(_adam_start(model), model.x, model.y)
        return {"change": model.flat(found[0]) - model.problem.arrays["theta"]}

    return Operation(call, result, reset)


def _train_sgd(model: _Model) -> Operation:
    def step(state: tuple, x: jax.Array, y: jax.Array) -> tuple:
        (theta,) = state
        grad = jax.grad(model.loss)(theta, x, y)
        return (jax.tree.map(lambda a, g: a - LR_SGD * g, theta, grad),)

    return _stepping(model, step, lambda: (model.tree("theta"),))


def _si_step(model: _Model) -> Operation:
    omega, anchor = model.tree("omega"), model.tree("anchor")

    def step(state: tuple, x: jax.Array, y: jax.Array) -> tuple:
        theta, m, v, t, path = state
        grad = jax.grad(model.loss)(theta, x, y)
        pulled = jax.tree.map(lambda g, o, a, w: g + LAM * o * (a - w), grad, omega, theta, anchor)
        theta, m, v, t, d = _adam(theta, m, v, t, pulled)
        return theta, m, v, t, jax.tree.map(lambda s, g, e: s - g * e, path, grad, d)

    def start() -> tuple:
        theta = model.tree("theta")
        return theta, _zeros(theta), _zeros(theta), jnp.zeros(()), _zeros(theta)

    return _stepping(model, step, start)


def _forward(model: _Model) -> Operation:
    arguments = (model.tree("theta"), model.x)
    return _stateless(model, model.logits, arguments, "logits", tree=False)


def _jvp(model: _Model) -> Operation:
    def function(theta: Theta, v: Theta, x: jax.Array) -> jax.Array:
        return jax.jvp(lambda w: model.logits(w, x), (theta,), (v,))[1]

    arguments = (model.tree("theta"), model.tree("v"), model.x)
    return _stateless(model, function, arguments, "jvp", tree=False)


def _vjp(model: _Model) -> Operation:
    def function(theta: Theta, u: jax.Array, x: jax.Array) -> Theta:
        return jax.vjp(lambda w: model.logits(w, x), theta)[1](u)[0]

    arguments = (model.tree("theta"), model.u, model.x)
    return _stateless(model, function, arguments, "vjp", tree=True)


def _gram(model: _Model) -> Operation:
    def function(theta: Theta, v: Theta, x: jax.Array) -> Theta:
        def logits(w: Theta) -> jax.Array:
            return model.logits(w, x)

        pushed = jax.jvp(logits, (theta,), (v,))[1]
        return jax.vjp(logits, theta)[1](pushed)[0]

    arguments = (model.tree("theta"), model.tree("v"), model.x)
    return _stateless(model, function, arguments, "gram", tree=True)


def _empirical(model: _Model) -> Operation:
    decline_large(model.problem)

    def one(theta: Theta, x: jax.Array, y: jax.Array) -> Theta:
        return jax.grad(model.loss)(theta, x[None], y[None])

    def function(theta: Theta, x: jax.Array, y: jax.Array) -> Theta:
        grads = jax.vmap(one, in_axes=(None, 0, 0))(theta, x, y)
        return jax.tree.map(lambda g: (g * g).mean(axis=0), grads)

    arguments = (model.tree("theta"), model.x, model.y)
    return _stateless(model, function, arguments, "fisher", tree=True)


def _true(model: _Model) -> Operation:
    decline_large(model.problem)

    def one(theta: Theta, x: jax.Array, c: jax.Array) -> Theta:
        """sqrt(p_c) times the gradient of log p_c."""
        value, grad = jax.value_and_grad(lambda w: model.log_p(w, x[None])[0, c])(theta)
        return jax.tree.map(lambda g: jnp.exp(value / 2) * g, grad)

    def function(theta: Theta, x: jax.Array) -> Theta:
        def add(total: Theta, c: jax.Array) -> tuple[Theta, None]:
            grads = jax.vmap(one, in_axes=(None, 0, None))(theta, x, c)
            return jax.tree.map(lambda s, g: s + (g * g).mean(axis=0), total, grads), None

        classes = jnp.arange(model.network.outputs)
        return jax.lax.scan(add, _zeros(theta), classes)[0]

    arguments = (model.tree("theta"), model.x)
    return _stateless(model, function, arguments, "fisher", tree=True)


def _mas(model: _Model) -> Operation:
    decline_large(model.problem)

    def one(theta: Theta, x: jax.Array) -> Theta:
        return jax.grad(lambda w: jnp.square(model.logits(w, x[None])).sum())(theta)

    def function(theta: Theta, x: jax.Array) -> Theta:
        grads = jax.vmap(one, in_axes=(None, 0))(theta, x)
        return jax.tree.map(lambda g: jnp.abs(g).mean(axis=0), grads)

    arguments = (model.tree("theta"), model.x)
    return _stateless(model, function, arguments, "mas", tree=True)


def _multiply(
    operation: str, a: np.ndarray, b: np.ndarray, _out: np.ndarray
) -> Callable[[], jax.Array]:
    jax.config.update("jax_enable_x64", a.dtype == np.float64)
    factors = jnp.asarray(a), jnp.asarray(b)
    jitted = jax.jit(lambda a, b: jnp.matmul(*views(operation, a, b)))
    return lambda: jax.block_until_ready(jitted(*factors))


NETWORKS = "JAX has no layers of its own: only MLPs and single convolutions are written out here"
OPERATIONS: dict[str, Variants] = {
    "train-step-adam": _both(_train_adam),
    "train-step-sgd": _both(_train_sgd),
    "train-100-adam": _both(_train_many),
    "forward-1": _both(_forward),
    "forward-32": _both(_forward),
    "forward-256": _both(_forward),
    "fisher-empirical": _both(_empirical),
    "fisher-true": _both(_true),
    "mas": _both(_mas),
    "jvp": _both(_jvp),
    "vjp": _both(_vjp),
    "gram": _both(_gram),
    "si-step": _both(_si_step),
}
REGRESSIONS = {name: OPERATIONS[name] for name in Regression.operations}
PRODUCTS = offered("jit", _multiply)
