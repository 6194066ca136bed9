"""Network: layers over one flat theta, and the five questions asked of them.

The short names answer for a batch at once and return arrays of their own: `forward`,
`loss_and_grad`, `jvp`, `vjp`, `sample_grads`, `input_grad`. Underneath, `trace` runs forward once
and `pull`, `push`, `accumulate`, `signal` ask of that one pass as often as needed: ten class
cotangents for the true Fisher, or a tangent and then a cotangent for a metric product.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from ..kernels import get_backend
from ..kernels.errors import (
    DtypeError,
    NonFiniteError,
    SettingError,
    ShapeError,
    StaleError,
)
from .init import generator, get_initialiser
from .layers import Layer
from .layout import Layout, Shape
from .losses import get_loss
from .workspace import Scope, Workspace

_DTYPES = ("float32", "float64")


class Saved(NamedTuple):
    """One forward pass: its number, its outputs, and what each layer kept of it."""

    generation: int
    outputs: np.ndarray  # (N, K), a buffer that the next pass overwrites
    layers: tuple[Any, ...]

    @property
    def n(self) -> int:
        """The number of samples N."""
        return len(self.outputs)


class Network:
    """Layers in a row over one flat parameter vector.

    layers: `nnlite.layers` objects, first to last. input_shape: of one sample. backend: a name that
    `kernels.available()` lists. dtype: "float32" or "float64". seed and init decide theta's first
    value. loss: "cross_entropy" (int64 labels) or "squared_error".

    theta (P,) is an ordinary array: assign into it (`net.theta[:] = ...`) to move the network.

    Raises SettingError, UnknownNameError or ShapeError for layers that do not fit.
    """

    def __init__(
        self,
        layers: Sequence[Layer],
        input_shape: Shape,
        backend: str = "cpu",
        dtype: str = "float32",
        seed: int = 0,
        init: str = "uniform_fan_in",
        loss: str = "cross_entropy",
    ) -> None:
        if not layers:
            raise SettingError("a Network needs at least one layer; it got none")
        if str(dtype) not in _DTYPES:
            raise SettingError(f"dtype {dtype!r}: a Network computes in {' or '.join(_DTYPES)}")
        self.layers = tuple(layers)
        self.input_shape = tuple(int(size) for size in input_shape)
        self.backend, self.seed, self.init, self.loss_name = backend, int(seed), init, loss
        self.dtype = np.dtype(dtype)
        self.ops = get_backend(backend)
        self.loss = get_loss(loss)

        self.shapes = [self.input_shape]  # of one sample before, between and after the layers
        for layer in self.layers:
            self.shapes.append(layer.output_shape(self.shapes[-1]))
        if len(self.shapes[-1]) != 1:
            raise ShapeError(
                f"the last layer gives samples of shape {self.shapes[-1]}; a network's outputs are "
                "flat, (K,): end it with a Linear layer"
            )
        self.num_outputs = self.shapes[-1][0]
        self.layout = Layout(
            {
                f"{index}.{name}": shape
                for index, layer in enumerate(self.layers)
                for name, shape in layer.parameters(self.shapes[index]).items()
            }
        )
        # where each layer's parameters lie: looked up once, since every step splits a gradient
        self._parts = [
            [
                (name, at, at + math.prod(shape), shape)
                for name, shape in layer.parameters(self.shapes[index]).items()
                for at in (self.layout.offset(f"{index}.{name}"),)
            ]
            for index, layer in enumerate(self.layers)
        ]
        self.workspace = Workspace(self.dtype)
        self._scopes = [
            Scope(self.ops, self.workspace, f"{index}") for index in range(len(self.layers))
        ]
        self._loss_scope = Scope(self.ops, self.workspace, "loss")
        self._all_active = np.ones(self.num_outputs, bool)
        self.theta = np.zeros(self.layout.size, self.dtype)
        self._own = self._split(self.theta)
        self.initialise(self.seed)

    # ---- parameters ------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """P, the length of theta."""
        return self.layout.size

    def initialise(self, seed: int) -> None:
        """Draw theta afresh: each layer from its own Philox stream, keyed (seed, layer)."""
        init = get_initialiser(self.init)
        for index, (layer, p) in enumerate(zip(self.layers, self._own, strict=True)):
            layer.initialise(generator(seed, index), p, init)

    def _split(self, vector: np.ndarray) -> list[dict[str, np.ndarray]]:
        """Each layer's views into `vector` (..., P), by the layer's own parameter names."""
        lead = vector.shape[:-1]
        return [
            {name: vector[..., lo:hi].reshape(lead + shape) for name, lo, hi, shape in part}
            for part in self._parts
        ]

    def _out(self, out: np.ndarray | None, what: str) -> np.ndarray:
        if out is None:
            return np.empty(self.num_parameters, self.dtype)
        checked = self.layout.check(out, what, self.dtype)
        if checked is not out:
            raise ShapeError(f"{what} must be contiguous: results are written into it")
        return out

    def like(self) -> Network:
        """A second network of the same layers, settings and theta, sharing no memory."""
        twin = Network(
            self.layers, self.input_shape, self.backend, str(self.dtype), self.seed, self.init,
            self.loss_name,
        )  # fmt: skip
        twin.theta[:] = self.theta
        return twin

    # ---- one pass, asked many questions ------------------------------------------------------

    def trace(self, x: np.ndarray) -> Saved:
        """Run forward on x (N, *input_shape) and keep what every other verb needs of this pass.

        Raises ShapeError or DtypeError for an x that does not fit.
        """
        x = self._check_input(x)
        self.workspace.generation += 1
        kept = []
        for layer, k, p in zip(self.layers, self._scopes, self._own, strict=True):
            x, saved = layer.forward(k, p, x)
            kept.append(saved)
        return Saved(self.workspace.generation, x, tuple(kept))

    def pull(
        self, saved: Saved, dy: np.ndarray, out: np.ndarray | None = None, beta: float = 0.0
    ) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to theta: out = beta out + J^T dy, (P,)."""
        self._check_saved(saved)
        out = self._out(out, "the gradient")
        self._backward(saved, dy, self._split(out), beta, want_dx=False)
        return out

    def pull_input(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to the inputs: (N, *input_shape), a buffer."""
        self._check_saved(saved)
        dx = self._backward(saved, dy, None, 0.0, want_dx=True)
        assert dx is not None
        return dx

    def push(
        self, saved: Saved, v: np.ndarray | None = None, tx: np.ndarray | None = None
    ) -> np.ndarray:
        """The tangent v (P,) of theta, and tx of the inputs, pushed to the outputs: (N, K)."""
        self._check_saved(saved)
        if v is None and tx is None:
            raise SettingError("push needs a direction: v (P,), tx like the inputs, or both")
        directions: Sequence[Any] = [None] * len(self.layers)
        if v is not None:
            directions = self._split(self.layout.check(v, "the tangent", self.dtype))
        if tx is not None:
            tx = self._check_input(tx, saved.n)
        for layer, k, p, kept, tp in zip(
            self.layers, self._scopes, self._own, saved.layers, directions, strict=True
        ):
            tx = layer.tangent(k, p, kept, tp or None, tx)
        return np.zeros_like(saved.outputs) if tx is None else tx.copy()

    def accumulate(self, saved: Saved, dy: np.ndarray, out: np.ndarray, power: int) -> None:
        """out (P,) += sum over v, n of |J_n^T dy[v, n]|**power; dy (N, K) or (V, N, K).

        power is 1 or 2. No (N, P) array is formed.
        """
        self._check_saved(saved)
        if power not in (1, 2):
            raise SettingError(f"accumulate got power={power}; 1 and 2 are defined")
        views = self._split(self._out(out, "the accumulator"))
        stacked = dy.reshape(-1, saved.n, self.num_outputs)
        count = len(stacked)

        def visit(index: int, dy: np.ndarray) -> None:
            layer, k, p = self.layers[index], self._scopes[index], self._own[index]
            shaped = dy.reshape(count, saved.n, *dy.shape[1:])
            layer.accumulate(k, p, saved.layers[index], shaped, views[index], power)

        self._walk_back(saved, stacked.reshape(-1, self.num_outputs), visit)

    def signal(self, saved: Saved, out: np.ndarray) -> None:
        """out (P,) += each parameter's absolute signal, summed over the samples (SIG)."""
        self._check_saved(saved)
        views = self._split(self._out(out, "the accumulator"))
        for layer, k, p, kept, part in zip(
            self.layers, self._scopes, self._own, saved.layers, views, strict=True
        ):
            layer.signal(k, p, kept, part)

    # ---- answers for a batch -----------------------------------------------------------------

    def forward(self, x: np.ndarray) -> np.ndarray:
        """The outputs (N, K) for x (N, *input_shape): logits, for a classifier."""
        return self.trace(x).outputs.copy()

    def loss_and_grad(
        self,
        x: np.ndarray,
        y: np.ndarray,
        out: np.ndarray | None = None,
        active: np.ndarray | None = None,
    ) -> tuple[float, np.ndarray]:
        """Mean loss over the N samples and its gradient (P,), written into `out` if given.

        active (K,) bool: the classes in play; None means all.
        Raises LabelError, ShapeError, DtypeError, and NonFiniteError when x itself is not finite
        (a loss that diverges for other reasons is returned as it is).
        """
        saved, loss, cotangent = self._loss(x, y, active)
        cotangent *= self.dtype.type(1 / saved.n)  # the one place where the mean is taken
        grad = self.pull(saved, cotangent, out)
        mean = float(loss.sum(dtype=np.float64)) / saved.n
        if not math.isfinite(mean):
            _explain_non_finite(x)
        return mean, grad

    def losses(self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """Each sample's loss, (N,)."""
        return self._loss(x, y, active)[1].copy()

    def jvp(self, x: np.ndarray, v: np.ndarray) -> np.ndarray:
        """J v: the outputs' change (N, K) as theta moves along v (P,).

        The same as push(trace(x), v), but each layer's tangent follows its forward at once, while
        its weights are still in cache.
        """
        directions = self._split(self.layout.check(v, "the tangent", self.dtype))
        x, tx = self._check_input(x), None
        self.workspace.generation += 1
        for layer, k, p, tp in zip(self.layers, self._scopes, self._own, directions, strict=True):
            x, saved = layer.forward(k, p, x)
            tx = layer.tangent(k, p, saved, tp or None, tx)
        return np.zeros_like(x) if tx is None else tx.copy()

    def vjp(self, x: np.ndarray, u: np.ndarray) -> np.ndarray:
        """J^T u: the outputs' cotangent u (N, K) pulled back to theta, (P,)."""
        saved = self.trace(x)
        return self.pull(saved, self._check_cotangent(u, saved.n))

    def sample_grads(
        self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None
    ) -> np.ndarray:
        """The gradient of each sample's own loss, (N, P): for small N."""
        saved, _, cotangent = self._loss(x, y, active)
        grads = np.empty((saved.n, self.num_parameters), self.dtype)
        views = self._split(grads)

        def visit(index: int, dy: np.ndarray) -> None:
            layer, k, p = self.layers[index], self._scopes[index], self._own[index]
            layer.sample_grads(k, p, saved.layers[index], dy, views[index])

        self._walk_back(saved, cotangent, visit)
        return grads

    def input_grad(
        self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None
    ) -> np.ndarray:
        """The gradient of each sample's loss by its own input, shaped like x."""
        saved, _, cotangent = self._loss(x, y, active)
        return self.pull_input(saved, cotangent).copy()

    # ---- memory and files --------------------------------------------------------------------

    def plan(self, batch: int) -> int:
        """Bytes a training step of `batch` samples holds: theta, its gradient and all buffers.

        Optimizer moments come on top: one vector of theta's size each.
        """
        if batch < 1:
            raise SettingError(f"plan got batch={batch}; a batch has at least one sample")
        words = batch * (1 + self.num_outputs)  # the loss and its cotangent
        for index, layer in enumerate(self.layers):
            for name, shape in layer.buffers(self.shapes[index], batch).items():
                if index or name != "dx":  # nobody asks for the cotangent of the data
                    words += math.prod(shape)
        return (2 * self.num_parameters + words) * self.dtype.itemsize

    def save(self, path: Any) -> None:
        """Write architecture and theta to `path` (safetensors), whole or not at all."""
        from .checkpoint import save_network  # noqa: PLC0415  (checkpoint builds Networks)

        save_network(self, path)

    @staticmethod
    def load(path: Any, backend: str = "cpu") -> Network:
        """The network that `save` wrote. Raises CheckpointError for any other file."""
        from .checkpoint import load_network  # noqa: PLC0415

        return load_network(path, backend)

    # ---- inside ------------------------------------------------------------------------------

    def _backward(self, saved, dy, parameters, beta, want_dx):
        """Chain the layers' backward, last to first; the first one's dx only if wanted."""
        for index in reversed(range(len(self.layers))):
            dy = self.layers[index].backward(
                self._scopes[index], self._own[index], saved.layers[index], dy,
                parameters[index] if parameters else None, beta, want_dx or index > 0,
            )  # fmt: skip
        return dy

    def _walk_back(self, saved, dy, visit) -> None:
        """Call visit(index, dy) at each layer, last to first, pulling dy through the inputs."""
        for index in reversed(range(len(self.layers))):
            visit(index, dy)
            if index:
                dy = self.layers[index].backward(
                    self._scopes[index], self._own[index], saved.layers[index], dy, None
                )

    def _loss(self, x, y, active):
        saved = self.trace(x)
        self.loss.check(y, saved.outputs.shape)
        mask = self._all_active if active is None else self._check_active(active)
        loss, cotangent = self.loss.value_and_cotangent(self._loss_scope, saved.outputs, y, mask)
        return saved, loss, cotangent

    def _check_active(self, active: np.ndarray) -> np.ndarray:
        if getattr(active, "shape", None) != (self.num_outputs,) or active.dtype != bool:
            raise ShapeError(f"active must be an array of {self.num_outputs} bools, one a class")
        if not active.any():
            raise SettingError("active names no class; at least one must be in play")
        return active

    def _check_input(self, x: np.ndarray, n: int | None = None) -> np.ndarray:
        if not isinstance(x, np.ndarray):
            raise DtypeError(f"inputs must be a NumPy array, not {type(x).__name__}")
        if x.shape[1:] != self.input_shape or len(x) == 0 or (n is not None and len(x) != n):
            rows = "at least one sample" if n is None else f"{n} samples"
            raise ShapeError(
                f"inputs have shape {x.shape}; this network takes (N, "
                f"{', '.join(map(str, self.input_shape))}) with {rows}"
            )
        if x.dtype != self.dtype:
            raise DtypeError(
                f"inputs are {x.dtype}; this network computes in {self.dtype}: convert them once "
                f"with .astype('{self.dtype}')"
            )
        return np.ascontiguousarray(x)

    def _check_cotangent(self, u: np.ndarray, n: int) -> np.ndarray:
        if getattr(u, "shape", None) != (n, self.num_outputs):
            raise ShapeError(
                f"the cotangent has shape {np.shape(u)}; {n} samples of {self.num_outputs} outputs "
                f"need ({n}, {self.num_outputs})"
            )
        if u.dtype != self.dtype:
            raise DtypeError(f"the cotangent is {u.dtype}; this network computes in {self.dtype}")
        return np.ascontiguousarray(u)

    def _check_saved(self, saved: Saved) -> None:
        if saved.generation != self.workspace.generation:
            raise StaleError(
                f"this pass is number {saved.generation}, but the network has since run number "
                f"{self.workspace.generation}, which wrote over its buffers: call trace() again"
            )


def _explain_non_finite(x: np.ndarray) -> None:
    """Raise NonFiniteError if it is the input's fault that the loss is not finite."""
    bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise NonFiniteError(
            f"{len(rows)} of {len(x)} inputs hold NaN or infinity (first: row {rows[0]}); "
            "clean the data before training on it"
        )
