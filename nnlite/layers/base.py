"""Layer: the verbs that every layer answers, three of them its own and the rest derived from these.

A layer is a frozen description. Its verbs are pure functions of what they are given: `k`, the
kernels, buffers and running pass; `p`, the layer's own views of theta; and `saved`, what forward
returned. `dp` and `out` are views of the same names into some other vector of length P.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np

from ...kernels.errors import SettingError
from ...kernels.long_rows import products_of_pieces
from ..init import Initialiser
from ..layout import Shape
from ..workspace import Mode, Scope

Start = float | np.ndarray | Callable[[], np.ndarray]  # of state, see `Layer.state`
Views = Mapping[str, Any]  # name -> array, or for a composite layer, part -> its own views
# visit(layer, k, p, out, saved, dy): asked at each layer on the way back
Visit = Callable[["Layer", Scope, Views, Views, Any, np.ndarray], None]


def layers_of(owner: str, given: Any) -> tuple[Layer, ...]:
    """`given` as a tuple of layers. Raises SettingError for what is none."""
    found = tuple(given) if isinstance(given, Iterable) else (given,)
    for layer in found:
        if not isinstance(layer, Layer):
            kind = isinstance(layer, type)
            hint = f"an object of it: {layer.__name__}(...)" if kind else "objects of nnlite.layers"
            raise SettingError(f"{owner} got {layer!r:.80} as a layer; give {hint}")
    return found


def own(array: Any) -> Any:
    """A copy, since tangents of both orders would share a buffer; None stays None."""
    return None if array is None else array.copy()


def nth(views: Any, v: int) -> Any:
    """Direction v out of stacked views (V, ...), nested as they are; None stays None."""
    if views is None or not isinstance(views, Mapping):
        return None if views is None else views[v]
    return {name: nth(inner, v) for name, inner in views.items()}


def add_gram(k: Scope, rows: np.ndarray, total: np.ndarray) -> None:
    """total (R, R) += rows rows^T, rows (R, S)."""
    for product in products_of_pieces(k.ops, rows, rows):
        total += product


def _split_rows(rows: np.ndarray, p: Views) -> dict[str, np.ndarray]:
    """Views (n, *shape) into rows (n, S), one a parameter."""
    views, at = {}, 0
    for name, array in p.items():
        views[name] = rows[:, at : at + array.size].reshape(len(rows), *array.shape)
        at += array.size
    return views


class Layer:
    """A stateless layer. Sub-classes are frozen dataclasses, so a checkpoint can name them.

    Primitive, and each layer's own: what it is (`output_shape`, `parameters`, `state`, with
    defaults for the plainest) and of the verbs `forward`, `backward`, `tangent`; `second`,
    unless it is linear in x and has no parameters; `signal`, which is a definition and no
    derivative (0 if it is left out). The rest is derived here, once, and overridden where a formula
    is cheaper. g_n is sample n's gradient, the rows of G those of all; y = f(z), dz = f'(z) dy, the
    rows of D those of all; the rows of X are the inputs.

    | verb            | derived here from        | overridden by, and why                       |
    |-----------------|--------------------------|----------------------------------------------|
    | forward_tangent | forward, then tangent    | Sequential: each weight while in cache       |
    | tangents        | tangent, V times         | Linear: x (tW_1; ...; tW_V)^T in one product |
    | stacked_grads   | backward, V times        | Linear: (dz_1 ... dz_V)^T x in one product   |
    | sample_grads    | backward, N times        | most with parameters; Linear: dz_n x_n^T     |
    | accumulate      | sample_grads of each v   | they, too; Linear: (|dz|^p)^T |x|^p, no g_n  |
    | gram            | sample_grads, G G^T      | Linear: (D D^T) o (X X^T + 1), no G          |
    | second          | tangent, if linear in x  | Activated, Activation: f'(z) z'' + f''(z) z'^2; |
    |                 |                          | Context, BatchNorm2d: products in x and theta |
    | walk_back       | visit, then backward     | Sequential, Residual: their parts' walks     |

    Sequential and Residual hand every verb to their parts. `check_layer` proves them all.
    """

    def output_shape(self, input_shape: Shape) -> Shape:
        """The shape of one sample's output; here the input's. Raises ShapeError for a wrong one."""
        return input_shape

    def parameters(self, input_shape: Shape) -> dict[str, Shape]:
        """Name and shape of each parameter, in the order they have in theta."""
        return {}

    def state(self, input_shape: Shape) -> dict[str, tuple[Shape, Start]]:
        """Name, shape and first value of what persists between passes beside theta.

        The value is a number, an array that broadcasts to the shape, or a function that makes one.
        """
        return {}

    def moded(self) -> bool:
        """Whether the layer does something else in mode "train" than in "eval"."""
        return False

    def couples(self, mode: Mode) -> bool:
        """Whether a sample's output depends on the other samples, so per-sample is undefined."""
        return False

    def initialise(self, rng: np.random.Generator, p: Views, init: Initialiser) -> None:
        """Draw the parameters in place."""

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

    def forward_tangent(
        self, k: Scope, p: Views, x: np.ndarray, tp: Views | None, tx: np.ndarray | None
    ) -> tuple[np.ndarray, np.ndarray | None]:
        """y and ty of one pass, nothing kept: a chain interleaves its layers'."""
        y, saved = self.forward(k, p, x)
        return y, self.tangent(k, p, saved, tp, tx)

    def sample_grads(self, k: Scope, p: Views, saved: Any, dy: np.ndarray, out: Views) -> None:
        """out[n] = the parameter gradient of sample n: views (N, *shape), overwritten.

        Here by one backward a sample, of a cotangent that is 0 for all others.
        """
        if not p:
            return
        kept = dy.copy()  # dy may lie in a shared buffer, which what is asked below may take
        alone = kept.copy()
        for n in range(len(kept)):
            alone[...] = 0
            alone[n] = kept[n]
            self.backward(k, p, saved, alone, nth(out, n), beta=0.0, want_dx=False)
        dy[...] = kept

    def accumulate(
        self, k: Scope, p: Views, saved: Any, dy: np.ndarray, out: Views, power: int
    ) -> None:
        """out += sum over cotangents v and samples n of |g_vn|**power.

        dy is (V, N, ...): V cotangents for each sample. Here the gradients of one v are formed, the
        layer's (N, P) at a time; a layer that can do without says how.
        """
        if not p:
            return
        rows = k.ops.device.empty((dy.shape[1], sum(array.size for array in p.values())), dy.dtype)
        views: dict[str, Any] = _split_rows(rows, p)
        kept = dy.copy()  # dy may lie in a shared buffer
        for one in kept.copy():
            self.sample_grads(k, p, saved, one, views)
            for name, each in views.items():
                total = out[name]
                total += (np.abs(each) ** power).sum(axis=0)
        dy[...] = kept

    def tangents(
        self, k: Scope, p: Views, saved: Any, tp: Views | None, tx: Any, count: int
    ) -> Any:
        """`tangent` along `count` directions: tp's arrays and tx are stacked, (V, ...); so is ty.

        Here one after another; a layer that can push them through together says how.
        """
        moved = [
            own(self.tangent(k, p, saved, nth(tp, v), None if tx is None else tx[v]))
            for v in range(count)
        ]
        return None if moved[0] is None else np.stack(moved)

    def stacked_grads(self, k: Scope, p: Views, saved: Any, dy: np.ndarray, out: Views) -> None:
        """out[v] = the parameter cotangent, summed over samples, of dy[v]; dy (V, N, ...)."""
        kept = dy.copy()  # dy may lie in a shared buffer, which what is asked below may take
        for v in range(len(dy)):
            self.backward(k, p, saved, kept[v], nth(out, v), beta=0.0, want_dx=False)
        dy[...] = kept

    def gram(self, k: Scope, p: Views, saved: Any, dy: np.ndarray, total: np.ndarray) -> None:
        """total (V N, V N) += G G^T; row (v, n) of G is sample n's gradient for its cotangent v.

        dy is (V, N, ...). G (V N, the layer's parameters) is formed here; a layer that can do
        without says how.
        """
        if not p:
            return
        stacked, n = dy.shape[:2]
        rows = k.ops.device.empty((stacked * n, sum(array.size for array in p.values())), dy.dtype)
        kept = dy.copy()  # dy may lie in a shared buffer, which what is asked below may take
        for v in range(stacked):
            self.sample_grads(k, p, saved, kept[v], _split_rows(rows[v * n : (v + 1) * n], p))
        dy[...] = kept
        add_gram(k, rows, total)

    def second(
        self, k: Scope, p: Views, saved: Any, tp: Views | None, tx: Any, txx: Any
    ) -> tuple[Any, Any]:
        """(ty, tyy): y's first and second derivative by s at theta + s tp, x + s tx + s^2/2 txx.

        None stands for a derivative that is 0. Here: for layers linear in x, without parameters.
        """
        if tp:
            raise NotImplementedError(f"{type(self).__name__} has parameters but no `second`")
        ty = own(self.tangent(k, p, saved, None, tx))
        return ty, own(self.tangent(k, p, saved, None, txx))

    def signal(self, k: Scope, p: Views, saved: Any, out: Views) -> None:
        """out += the absolute signal through each parameter, summed over samples (SIG)."""

    def walk_back(
        self,
        k: Scope,
        p: Views,
        out: Views,
        saved: Any,
        dy: np.ndarray,
        visit: Visit,
        want_dx: bool = True,
    ) -> np.ndarray | None:
        """Ask `visit` here (at each part, last to first), then pull dy through; returns dx."""
        visit(self, k, p, out, saved, dy)
        return self.backward(k, p, saved, dy, None) if want_dx else None
