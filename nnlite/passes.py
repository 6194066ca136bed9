"""Passes: one forward pass of a network, and everything that is asked of it.

`trace` runs forward once; a tangent (`push`, `push_many`), cotangents (`pull`, `pull_many`,
`pull_input`), a sum over samples (`accumulate`, `gram`, `signal`) or the curvature along a line
(`second`) may then be asked of that one pass as often as needed: ten class cotangents for the true
Fisher, or a tangent and then a cotangent for a metric product.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..kernels.errors import ModeError, OutOfMemoryError, SettingError, StaleError
from .checks import check_cotangent, check_directions, check_input
from .flat import FlatLayers
from .workspace import Frame, Mode


class Saved(NamedTuple):
    """One forward pass: its number, its outputs, and what each layer kept of it.

    It belongs to the thread that ran it, in whose buffers it lies.
    """

    generation: int
    outputs: np.ndarray  # (N, K), a buffer that the thread's next pass overwrites
    layers: tuple[Any, ...]
    mode: Mode
    frame: Frame

    @property
    def n(self) -> int:
        """The number of samples N."""
        return len(self.outputs)


def check_mode(mode: Any) -> Mode:
    """The mode itself. Raises SettingError for what is none."""
    if mode not in ("eval", "train"):
        raise SettingError(f"mode is {mode!r}; a pass runs in mode 'eval' or 'train'")
    return mode


class Passes(FlatLayers):
    """The verbs of one pass; see `Network`."""

    def trace(self, x: np.ndarray, mode: Mode = "eval") -> Saved:
        """Run forward on x (N, *input_shape) and keep what every other verb needs of this pass.

        Raises ShapeError or DtypeError for an x that does not fit, SettingError for another mode.
        """
        return self._trace(self._check_input(x), mode)

    def pull(
        self, saved: Saved, dy: np.ndarray, out: np.ndarray | None = None, beta: float = 0.0
    ) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to theta: out = beta out + J^T dy, (P,)."""
        self._check_saved(saved)
        dy = self._check_cotangent(dy, saved.n)
        if beta and out is None:
            raise SettingError(f"pull got beta={beta} and no out: there is nothing to add to")
        total = self._out(out, "the gradient")
        if beta not in (0, 1):  # layers know these two
            total *= self.dtype.type(beta)
            beta = 1.0
        self._backward(saved, dy, self._split(total), beta, want_dx=False)
        return total

    def pull_input(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to the inputs: (N, *input_shape), a buffer."""
        self._check_saved(saved)
        dy = self._check_cotangent(dy, saved.n)
        dx = self._backward(saved, dy, None, 0.0, want_dx=True)
        assert dx is not None
        return dx

    def push(
        self, saved: Saved, v: np.ndarray | None = None, tx: np.ndarray | None = None
    ) -> np.ndarray:
        """The tangent v (P,) of theta, and tx of the inputs, pushed to the outputs: (N, K)."""
        frame = self._check_saved(saved)
        if v is None and tx is None:
            raise SettingError("push needs a direction: v (P,), tx like the inputs, or both")
        directions = None
        if v is not None:
            directions = self._split(self._vector(v, "the tangent"))
        if tx is not None:
            tx = self._check_input(tx, saved.n)
        ty = self._roomy(
            saved.n, self.chain.tangent, frame.scope, self._own, saved.layers, directions, tx
        )
        return np.zeros_like(saved.outputs) if ty is None else ty.copy()

    def push_many(self, saved: Saved, v: np.ndarray) -> np.ndarray:
        """Tangents v (V, P) of theta pushed to the outputs together: (V, N, K).

        A dense layer takes all of them in wide products; other layers one after another.
        """
        frame = self._check_saved(saved)
        v = check_directions(v, self.num_parameters, self.dtype, self.device)
        ty = self._roomy(
            len(v) * saved.n, self.chain.tangents, frame.scope, self._own, saved.layers,
            self._split(v), None, len(v),
        )  # fmt: skip
        return self.device.zeros((len(v), *saved.outputs.shape), self.dtype) if ty is None else ty

    def pull_many(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """Cotangents dy (V, N, K) pulled back to theta together, each summed over samples: (V, P).

        See `push_many`. Raises ModeError where BatchNorm2d uses batch statistics.
        """
        stacked = self._stacked(saved, dy, "pull_many")
        out = self.device.zeros((len(stacked), self.num_parameters), self.dtype)

        def ask(layer, k, p, out, kept, dy):
            if p:
                layer.stacked_grads(k, p, kept, dy, out)

        self._ask_stacked(saved, stacked, self._split(out), ask)
        return out

    def pull_each(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to theta, each sample's alone: (N, P), for small N.

        Raises ModeError where BatchNorm2d uses batch statistics.
        """
        self._check_saved(saved)
        self._check_per_sample(saved, "pull_each")
        grads = self.device.empty((saved.n, self.num_parameters), self.dtype)

        def visit(layer, k, p, out, kept, dy):
            layer.sample_grads(k, p, kept, dy, out)

        dy = self._check_cotangent(dy, saved.n)
        self._walk_back(saved, dy, self._split(grads), visit)
        return grads

    def gram(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """G G^T (V N, V N), row (v, n) of G (V N, P) being J_n^T dy[v, n]; dy (V, N, K).

        Added up layer by layer; a dense layer forms no row of G.
        """
        stacked = self._stacked(saved, dy, "gram")
        rows = len(stacked) * saved.n
        total = self.device.zeros((rows, rows), self.dtype)

        def ask(layer, k, p, out, kept, dy):
            layer.gram(k, p, kept, dy, total)

        self._ask_stacked(saved, stacked, {}, ask)
        return total

    def second(self, saved: Saved, v: np.ndarray) -> np.ndarray:
        """d^2/ds^2 f(theta + s v) at s = 0, (N, K): the outputs' acceleration on a straight line.

        A second-order forward pass. Raises ModeError where BatchNorm2d uses batch statistics.
        """
        frame = self._check_saved(saved)
        directions = self._split(self._vector(v, "the direction"))
        _, tyy = self._roomy(
            saved.n, self.chain.second, frame.scope, self._own, saved.layers, directions, None, None
        )
        return np.zeros_like(saved.outputs) if tyy is None else tyy.copy()

    def accumulate(self, saved: Saved, dy: np.ndarray, out: np.ndarray, power: int) -> None:
        """out (P,) += sum over v, n of |J_n^T dy[v, n]|**power; dy (N, K) or (V, N, K).

        power is 1 or 2. No (N, P) array is formed.
        """
        stacked = self._stacked(saved, dy, "accumulate")
        if power not in (1, 2):
            raise SettingError(f"accumulate got power={power}; 1 and 2 are defined")
        views = self._split(self._out(out, "the accumulator"))

        def ask(layer, k, p, out, kept, dy):
            layer.accumulate(k, p, kept, dy, out, power)

        self._ask_stacked(saved, stacked, views, ask)

    def signal(self, saved: Saved, out: np.ndarray) -> None:
        """out (P,) += each parameter's absolute signal, summed over the samples (SIG)."""
        frame = self._check_saved(saved)
        self._check_per_sample(saved, "signal")
        views = self._split(self._out(out, "the accumulator"))
        self.chain.signal(frame.scope, self._own, saved.layers, views)

    # ---- inside ------------------------------------------------------------------------------

    def _trace(self, x: np.ndarray, mode: Mode) -> Saved:
        frame = self._each.mine
        outputs, kept = self._pass(frame, self.chain.forward, x, mode)
        return Saved(frame.workspace.generation, outputs, kept, mode, frame)

    def _pass(self, frame: Frame, verb: Callable[..., Any], x: np.ndarray, mode: Mode, *more: Any):
        """A forward pass of x, checked, in `frame`: verb(k, p, x, *more) of the chain."""
        frame.workspace.generation += 1
        frame.run.mode = check_mode(mode)
        if mode == "eval":
            return self._roomy(len(x), verb, frame.scope, self._own, x, *more)
        with self._turn:  # two at once would share a draw, and tear the running statistics
            frame.run.draw = self._draws
            found = self._roomy(len(x), verb, frame.scope, self._own, x, *more)
            self._draws += 1
        return found

    def _backward(self, saved, dy, views, beta, want_dx):
        """Pull dy back through the chain, in the pass's own mode."""
        frame = saved.frame
        frame.run.mode = saved.mode
        backward = partial(self.chain.backward, want_dx=want_dx)
        return self._roomy(len(dy), backward, frame.scope, self._own, saved.layers, dy, views, beta)

    def _walk_back(self, saved, dy, views, visit) -> None:
        """Call visit(layer, k, p, out, kept, dy) at each layer, last to first."""
        walk_back = partial(self.chain.walk_back, want_dx=False)
        self._roomy(
            len(dy), walk_back, saved.frame.scope, self._own, views, saved.layers, dy, visit
        )

    def _stacked(self, saved: Saved, dy: np.ndarray, what: str) -> np.ndarray:
        """dy (N, K) or (V, N, K) as (V, N, K) on the device, for a question about each sample."""
        self._check_saved(saved)
        self._check_per_sample(saved, what)
        dy = self._check_cotangent(dy, saved.n, stacked=True)
        return dy.reshape(-1, saved.n, self.num_outputs)

    def _ask_stacked(self, saved: Saved, stacked: np.ndarray, views, ask) -> None:
        """`_walk_back` for cotangents (V, N, K): ask gets each layer's as (V, N, ...)."""

        def visit(layer, k, p, out, kept, dy):
            ask(layer, k, p, out, kept, dy.reshape(len(stacked), saved.n, *dy.shape[1:]))

        self._walk_back(saved, stacked.reshape(-1, self.num_outputs), views, visit)

    def _roomy(self, n: int, verb: Callable[..., Any], *arguments: Any) -> Any:
        """verb(*arguments); a device that has no room is let say what n samples ask for."""
        try:
            return verb(*arguments)
        except OutOfMemoryError as wrong:
            raise OutOfMemoryError(
                f"{wrong}. A training step of {n} samples asks for {self.plan(n) / 2**20:.1f} MiB "
                f"(plan({n})), one sample for {self.plan(1) / 2**20:.1f} MiB"
            ) from None

    def _check_per_sample(self, saved: Saved, what: str) -> None:
        if self.chain.couples(saved.mode):
            raise ModeError(
                f"{what}: per-sample quantities are not defined where BatchNorm2d uses the "
                "batch's statistics, since a sample's gradient then depends on the others: use "
                "mode 'eval', and statistics='running' in the layer"
            )

    def _check_input(self, x: np.ndarray, n: int | None = None) -> np.ndarray:
        return check_input(x, self.input_shape, self.dtype, self.device, n)

    def _check_cotangent(self, u: np.ndarray, n: int, stacked: bool = False) -> np.ndarray:
        return check_cotangent(u, (n, self.num_outputs), self.dtype, self.device, stacked)

    def _check_saved(self, saved: Saved) -> Frame:
        """The frame of a pass that may still be asked. Raises StaleError for any other."""
        frame: Frame = self._each.mine
        if not isinstance(saved, Saved) or saved.frame is not frame:
            raise StaleError(
                "this is no pass of this network in this thread: a pass lies in the buffers of the "
                "thread that ran it, and only there it can be asked; call trace() here"
            )
        if saved.generation != frame.workspace.generation:
            raise StaleError(
                f"this pass is number {saved.generation}, but the network has since run number "
                f"{frame.workspace.generation}, which wrote over its buffers: call trace() again"
            )
        return frame
