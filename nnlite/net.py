"""Network: layers over one flat theta, and the five questions asked of them.

The short names answer for a batch at once and return arrays of their own: `forward`,
`loss_and_grad`, `jvp`, `vjp`, `sample_grads`, `input_grad`. Underneath, `trace` runs forward once
and `pull`, `push`, `accumulate`, `signal` ask of that one pass as often as needed: ten class
cotangents for the true Fisher, or a tangent and then a cotangent for a metric product.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple

import numpy as np

from ..kernels import get_backend
from ..kernels.device import Device
from ..kernels.errors import (
    DtypeError,
    ModeError,
    NonFiniteError,
    OutOfMemoryError,
    SettingError,
    ShapeError,
    StaleError,
)
from .init import generator, get_initialiser
from .layers import Layer, Sequential
from .layout import Layout, Shape
from .losses import get_loss
from .workspace import Mode, Run, Scope, Workspace

_DTYPES = ("float32", "float64")


class Saved(NamedTuple):
    """One forward pass: its number, its outputs, and what each layer kept of it."""

    generation: int
    outputs: np.ndarray  # (N, K), a buffer that the next pass overwrites
    layers: tuple[Any, ...]
    mode: Mode

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
    state holds what persists beside it, by name: BatchNorm2d's running statistics.

    Arrays live on the backend's `device`: on a GPU, theta, gradients and outputs are CuPy's. Every
    verb takes NumPy arrays as well, and moves them; `net.device.get(array)` brings one back.

    mode, where a verb takes it: "train" uses and follows batch statistics and drops units; "eval"
    changes nothing. It matters to networks with such layers only. Questions are asked in "eval"
    unless told otherwise; loss_and_grad must be told which, where it matters.

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
        self.device: Device = self.ops.device
        self.loss = get_loss(loss)

        self.chain = Sequential(self.layers)
        outputs = self.chain.output_shape(self.input_shape)
        if len(outputs) != 1:
            raise ShapeError(
                f"the last layer gives samples of shape {outputs}; a network's outputs are flat, "
                "(K,): end it with a Linear layer"
            )
        self.num_outputs = outputs[0]
        self.layout = Layout(self.chain.parameters(self.input_shape))
        # where each parameter lies: looked up once, since every step splits a gradient
        self._parts = [
            (tuple(name.split(".")), lo, lo + math.prod(shape), shape)
            for name in self.layout
            for lo, shape in ((self.layout.offset(name), self.layout.shape(name)),)
        ]
        starts = self.chain.state(self.input_shape)
        self.state = {
            name: self.device.put(np.full(shape, start, self.dtype))
            for name, (shape, start) in starts.items()
        }
        self._starts = {name: start for name, (_, start) in starts.items()}
        self.workspace = Workspace(self.dtype, self.device)
        self._run = Run(seed=self.seed)
        self._scope = Scope(self.ops, self.workspace, "", _nested(self.state), self._run)
        self._loss_scope = Scope(self.ops, self.workspace, "loss")
        self._masks: dict[bytes, np.ndarray] = {}
        self.theta = self.device.zeros((self.layout.size,), self.dtype)
        self._own = self._split(self.theta)
        self.initialise(self.seed)

    # ---- parameters ------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """P, the length of theta."""
        return self.layout.size

    @property
    def draws(self) -> int:
        """Passes in mode "train" so far; random layers draw by their number."""
        return self._run.draw

    @draws.setter
    def draws(self, count: int) -> None:
        self._run.draw = int(count)

    @property
    def moded(self) -> bool:
        """Whether any layer does something else in mode "train" than in "eval"."""
        return self.chain.moded()

    def initialise(self, seed: int) -> None:
        """Draw theta afresh: each layer from its own Philox stream, keyed (seed, layer).

        What persists beside theta is as it was in the beginning, too.
        """
        init = get_initialiser(self.init)
        drawn = np.zeros(self.layout.size, self.dtype)  # the same numbers on every device
        views = self._split(drawn)
        for index, layer in enumerate(self.layers):
            layer.initialise(generator(seed, index), views.get(str(index), {}), init)
        self.theta[...] = self.device.put(drawn)
        for name, start in self._starts.items():
            whole = np.full(self.state[name].shape, start, self.dtype)
            self.state[name][...] = self.device.put(whole)
        self.draws = 0

    def _split(self, vector: np.ndarray) -> dict[str, Any]:
        """Views into `vector` (..., P), nested as the layers are: name -> part -> ... -> array."""
        lead = vector.shape[:-1]
        views: dict[str, Any] = {}
        for path, lo, hi, shape in self._parts:
            inner = views
            for name in path[:-1]:
                inner = inner.setdefault(name, {})
            inner[path[-1]] = vector[..., lo:hi].reshape(lead + shape)
        return views

    def _out(self, out: np.ndarray | None, what: str) -> np.ndarray:
        if out is None:
            return self.device.empty((self.num_parameters,), self.dtype)
        self.layout.check(out, what, self.dtype)
        if not self.device.owns(out) or not out.flags.c_contiguous:
            raise ShapeError(
                f"{what} must be contiguous and in the memory of '{self.device.name}': results "
                "are written into it"
            )
        return out

    def _vector(self, v: np.ndarray, what: str) -> np.ndarray:
        self.layout.check(v, what, self.dtype)
        return self.device.put(v)

    def like(self) -> Network:
        """A second network of the same layers, settings, theta and state, sharing no memory."""
        twin = Network(
            self.layers, self.input_shape, self.backend, str(self.dtype), self.seed, self.init,
            self.loss_name,
        )  # fmt: skip
        twin.theta[:] = self.theta
        for name, array in self.state.items():
            twin.state[name][...] = array
        twin.draws = self.draws
        return twin

    def mask(self, active: np.ndarray | None = None) -> np.ndarray:
        """The classes in play as (K,) bools on the device; None means all.

        Raises ShapeError for another array, SettingError where no class is left.
        """
        if active is None:
            active = np.ones(self.num_outputs, bool)
        if getattr(active, "shape", None) != (self.num_outputs,) or active.dtype != bool:
            raise ShapeError(f"active must be an array of {self.num_outputs} bools, one a class")
        if self.device.owns(active) and self.device.asynchronous:
            return active
        if not active.any():
            raise SettingError("active names no class; at least one must be in play")
        key = active.tobytes()
        if key not in self._masks:
            self._masks[key] = self.device.put(active.copy())
        return self._masks[key]

    # ---- one pass, asked many questions ------------------------------------------------------

    def trace(self, x: np.ndarray, mode: Mode = "eval") -> Saved:
        """Run forward on x (N, *input_shape) and keep what every other verb needs of this pass.

        Raises ShapeError or DtypeError for an x that does not fit, SettingError for another mode.
        """
        x = self._begin(x, mode)
        with self._roomy(len(x)):
            outputs, kept = self.chain.forward(self._scope, self._own, x)
        self._finish(mode)
        return Saved(self.workspace.generation, outputs, kept, mode)

    def _begin(self, x: np.ndarray, mode: Mode) -> np.ndarray:
        if mode not in ("eval", "train"):
            raise SettingError(f"mode is {mode!r}; a pass runs in mode 'eval' or 'train'")
        x = self._check_input(x)
        self.workspace.generation += 1
        self._run.mode = mode
        return x

    def _finish(self, mode: Mode) -> None:
        if mode == "train":
            self.draws += 1

    def pull(
        self, saved: Saved, dy: np.ndarray, out: np.ndarray | None = None, beta: float = 0.0
    ) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to theta: out = beta out + J^T dy, (P,)."""
        self._check_saved(saved)
        out = self._out(out, "the gradient")
        self._backward(saved, self.device.put(dy), self._split(out), beta, want_dx=False)
        return out

    def pull_input(self, saved: Saved, dy: np.ndarray) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to the inputs: (N, *input_shape), a buffer."""
        self._check_saved(saved)
        dx = self._backward(saved, self.device.put(dy), None, 0.0, want_dx=True)
        assert dx is not None
        return dx

    def push(
        self, saved: Saved, v: np.ndarray | None = None, tx: np.ndarray | None = None
    ) -> np.ndarray:
        """The tangent v (P,) of theta, and tx of the inputs, pushed to the outputs: (N, K)."""
        self._check_saved(saved)
        if v is None and tx is None:
            raise SettingError("push needs a direction: v (P,), tx like the inputs, or both")
        directions = None
        if v is not None:
            directions = self._split(self._vector(v, "the tangent"))
        if tx is not None:
            tx = self._check_input(tx, saved.n)
        with self._roomy(saved.n):
            ty = self.chain.tangent(self._scope, self._own, saved.layers, directions, tx)
        return np.zeros_like(saved.outputs) if ty is None else ty.copy()

    def push_many(self, saved: Saved, v: np.ndarray) -> np.ndarray:
        """Tangents v (V, P) of theta pushed to the outputs together: (V, N, K).

        A dense layer takes all of them in wide products; other layers one after another.
        """
        self._check_saved(saved)
        v = self._stack(v)
        with self._roomy(len(v) * saved.n):
            ty = self.chain.tangents(
                self._scope, self._own, saved.layers, self._split(v), None, len(v)
            )
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

    def _stack(self, v: np.ndarray) -> np.ndarray:
        """Directions (V, P) on the device, checked."""
        if getattr(v, "ndim", 0) != 2 or not len(v):
            raise ShapeError(
                f"directions have shape {np.shape(v)}; give (V, {self.num_parameters})"
            )
        self.layout.check(v[0], "a direction", self.dtype)
        return self.device.put(v)

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
        self._check_saved(saved)
        directions = self._split(self._vector(v, "the direction"))
        with self._roomy(saved.n):
            _, tyy = self.chain.second(self._scope, self._own, saved.layers, directions, None, None)
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
        self._check_saved(saved)
        self._check_per_sample(saved, "signal")
        views = self._split(self._out(out, "the accumulator"))
        self.chain.signal(self._scope, self._own, saved.layers, views)

    # ---- answers for a batch -----------------------------------------------------------------

    def forward(self, x: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """The outputs (N, K) for x (N, *input_shape): logits, for a classifier."""
        return self.trace(x, mode).outputs.copy()

    def activations(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The output (N, ...) of each of `layers` in turn, first to last, in mode "eval".

        Each is a buffer that the next pass overwrites: copy what is to be kept.
        """
        x = self._begin(x, "eval")
        with self._roomy(len(x)):
            yield from self.chain.outputs(self._scope, self._own, x)

    def loss_and_grad(
        self,
        x: np.ndarray,
        y: np.ndarray,
        out: np.ndarray | None = None,
        active: np.ndarray | None = None,
        mode: Mode | None = None,
    ) -> tuple[float, np.ndarray]:
        """Mean loss over the N samples and its gradient (P,), written into `out` if given.

        active (K,) bool: the classes in play; None means all. mode: must be given if the network
        has layers that train and evaluate differently.
        Raises ModeError where mode is missing, LabelError, ShapeError, DtypeError, and
        NonFiniteError when x itself is not finite (a loss that diverges for other reasons is
        returned as it is).
        """
        if mode is None and self.moded:
            raise ModeError(
                "this network has layers that train and evaluate differently (BatchNorm2d, "
                "Dropout): say loss_and_grad(x, y, mode='train'), or mode='eval'"
            )
        loss, grad = self._mean_gradient(x, y, out, active, mode or "eval")
        mean = float(loss.sum(dtype=np.float64)) / len(loss)
        if not math.isfinite(mean):
            _explain_non_finite(x if isinstance(x, np.ndarray) else self.device.get(x))
        return mean, grad

    def gradient(
        self,
        x: np.ndarray,
        y: np.ndarray,
        out: np.ndarray,
        active: np.ndarray | None = None,
        draw: np.ndarray | None = None,
    ) -> np.ndarray:
        """`loss_and_grad` in mode "train" for who must not wait: returns each sample's loss (N,).

        The losses are a buffer on the device. draw (1,) int64 there: the number of this pass, by
        which random layers draw, in place of `draws`.
        """
        self._run.clock = draw
        try:
            return self._mean_gradient(x, y, out, active, "train")[0]
        finally:
            self._run.clock = None

    def losses(self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """Each sample's loss, (N,)."""
        return self._loss(x, y, active)[1].copy()

    def jvp(self, x: np.ndarray, v: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J v: the outputs' change (N, K) as theta moves along v (P,).

        The same as push(trace(x), v), but each layer's tangent follows its forward at once, while
        its weights are still in cache.
        """
        directions = self._split(self._vector(v, "the tangent"))
        x = self._begin(x, mode)
        with self._roomy(len(x)):
            y, ty = self.chain.forward_tangent(self._scope, self._own, x, directions, None)
        self._finish(mode)
        return np.zeros_like(y) if ty is None else ty.copy()

    def vjp(self, x: np.ndarray, u: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J^T u: the outputs' cotangent u (N, K) pulled back to theta, (P,)."""
        saved = self.trace(x, mode)
        return self.pull(saved, self._check_cotangent(u, saved.n))

    def sample_grads(
        self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None
    ) -> np.ndarray:
        """The gradient of each sample's own loss, (N, P): for small N."""
        saved, _, cotangent = self._loss(x, y, active)
        self._check_per_sample(saved, "sample_grads")
        grads = self.device.empty((saved.n, self.num_parameters), self.dtype)

        def visit(layer, k, p, out, kept, dy):
            layer.sample_grads(k, p, kept, dy, out)

        self._walk_back(saved, cotangent, self._split(grads), visit)
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
        held = batch * (1 + self.num_outputs) * self.dtype.itemsize  # the loss and its cotangent
        shared = {"flow": 0, "work": 0}
        buffers = self.chain.buffers(self.ops, self.input_shape, batch, want_dx=False)
        for buffer in buffers.values():
            size = math.prod(buffer.shape) * np.dtype(buffer.dtype or self.dtype).itemsize
            if buffer.shared:
                shared[buffer.shared] = max(shared[buffer.shared], size)
            else:
                held += size
        state = sum(array.nbytes for array in self.state.values())
        return 2 * self.theta.nbytes + state + held + 2 * shared["flow"] + shared["work"]

    def batch_within(self, room: int) -> int:
        """The largest batch whose training step adds no more than `room` bytes; at least 1."""
        each = self.plan(2) - self.plan(1)
        return max(1, room // max(each, 1))

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

    def _backward(self, saved, dy, views, beta, want_dx):
        """Pull dy back through the chain, in the pass's own mode."""
        self._run.mode = saved.mode
        with self._roomy(len(dy)):
            return self.chain.backward(
                self._scope, self._own, saved.layers, dy, views, beta, want_dx=want_dx
            )

    def _walk_back(self, saved, dy, views, visit) -> None:
        """Call visit(layer, k, p, out, kept, dy) at each layer, last to first."""
        with self._roomy(len(dy)):
            self.chain.walk_back(
                self._scope, self._own, views, saved.layers, dy, visit, want_dx=False
            )

    def _stacked(self, saved: Saved, dy: np.ndarray, what: str) -> np.ndarray:
        """dy (N, K) or (V, N, K) as (V, N, K) on the device, for a question about each sample."""
        self._check_saved(saved)
        self._check_per_sample(saved, what)
        return self.device.put(dy).reshape(-1, saved.n, self.num_outputs)

    def _ask_stacked(self, saved: Saved, stacked: np.ndarray, views, ask) -> None:
        """`_walk_back` for cotangents (V, N, K): ask gets each layer's as (V, N, ...)."""

        def visit(layer, k, p, out, kept, dy):
            ask(layer, k, p, out, kept, dy.reshape(len(stacked), saved.n, *dy.shape[1:]))

        self._walk_back(saved, stacked.reshape(-1, self.num_outputs), views, visit)

    def _mean_gradient(self, x, y, out, active, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
        """Each sample's loss (N,), a buffer, and the gradient of their mean (P,)."""
        saved, loss, cotangent = self._loss(x, y, active, mode)
        cotangent *= self.dtype.type(1 / saved.n)  # the one place where the mean is taken
        return loss, self.pull(saved, cotangent, out)

    @contextmanager
    def _roomy(self, n: int) -> Iterator[None]:
        """Let a device that has no room say what n samples ask for."""
        try:
            yield
        except OutOfMemoryError as wrong:
            raise OutOfMemoryError(
                f"{wrong}. A training step of {n} samples asks for {self.plan(n) / 2**20:.1f} MiB "
                f"(plan({n})), one sample for {self.plan(1) / 2**20:.1f} MiB"
            ) from None

    def _loss(self, x, y, active, mode: Mode = "eval"):
        saved = self.trace(x, mode)
        self.loss.check(y, saved.outputs.shape)
        loss, cotangent = self.loss.value_and_cotangent(
            self._loss_scope, saved.outputs, self.device.put(y), self.mask(active)
        )
        return saved, loss, cotangent

    def _check_per_sample(self, saved: Saved, what: str) -> None:
        if self.chain.couples(saved.mode):
            raise ModeError(
                f"{what}: per-sample quantities are not defined where BatchNorm2d uses the "
                "batch's statistics, since a sample's gradient then depends on the others: use "
                "mode 'eval', and statistics='running' in the layer"
            )

    def _check_input(self, x: np.ndarray, n: int | None = None) -> np.ndarray:
        return check_input(x, self.input_shape, self.dtype, self.device, n)

    def _check_cotangent(self, u: np.ndarray, n: int) -> np.ndarray:
        if getattr(u, "shape", None) != (n, self.num_outputs):
            raise ShapeError(
                f"the cotangent has shape {np.shape(u)}; {n} samples of {self.num_outputs} outputs "
                f"need ({n}, {self.num_outputs})"
            )
        if u.dtype != self.dtype:
            raise DtypeError(f"the cotangent is {u.dtype}; this network computes in {self.dtype}")
        return u

    def _check_saved(self, saved: Saved) -> None:
        if saved.generation != self.workspace.generation:
            raise StaleError(
                f"this pass is number {saved.generation}, but the network has since run number "
                f"{self.workspace.generation}, which wrote over its buffers: call trace() again"
            )


def check_input(
    x: np.ndarray, shape: Shape, dtype: np.dtype, device: Device, n: int | None = None
) -> np.ndarray:
    """x on the device, if it is samples (N, *shape) of `dtype`, `n` of them where that is given.

    Raises ShapeError or DtypeError for anything else.
    """
    if not isinstance(x, np.ndarray) and not device.owns(x):
        raise DtypeError(f"inputs must be a NumPy array, not {type(x).__name__}")
    if x.shape[1:] != shape or len(x) == 0 or (n is not None and len(x) != n):
        rows = "at least one sample" if n is None else f"{n} samples"
        raise ShapeError(
            f"inputs have shape {x.shape}; this network takes (N, "
            f"{', '.join(map(str, shape))}) with {rows}"
        )
    if x.dtype != dtype:
        raise DtypeError(
            f"inputs are {x.dtype}; this network computes in {dtype}: convert them once "
            f"with .astype('{dtype}')"
        )
    return device.put(x)


def _nested(arrays: dict[str, np.ndarray]) -> dict[str, Any]:
    """Arrays by dotted name as nested mappings: {"0.mean": a} -> {"0": {"mean": a}}."""
    found: dict[str, Any] = {}
    for name, array in arrays.items():
        *path, last = name.split(".")
        inner = found
        for part in path:
            inner = inner.setdefault(part, {})
        inner[last] = array
    return found


def _explain_non_finite(x: np.ndarray) -> None:
    """Raise NonFiniteError if it is the input's fault that the loss is not finite."""
    bad = ~np.isfinite(x).reshape(len(x), -1).all(axis=1)
    if bad.any():
        rows = np.flatnonzero(bad)
        raise NonFiniteError(
            f"{len(rows)} of {len(x)} inputs hold NaN or infinity (first: row {rows[0]}); "
            "clean the data before training on it"
        )
