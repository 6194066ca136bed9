"""Network: layers over one flat theta, and the five questions asked of them.

The short names answer for a batch at once and return arrays of their own: `forward`,
`loss_and_grad`, `jvp`, `vjp`, `sample_grads`, `input_grad`. Underneath, `trace` runs forward once
and `pull`, `push`, `accumulate`, `signal` ask of that one pass as often as needed: ten class
cotangents for the true Fisher, or a tangent and then a cotangent for a metric product.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, NamedTuple

import numpy as np

from ..kernels import get_backend
from ..kernels.device import Device
from ..kernels.errors import (
    ModeError,
    NonFiniteError,
    OutOfMemoryError,
    SettingError,
    ShapeError,
    StaleError,
)
from .checks import check_array, check_cotangent, check_input, check_out, sample_shape
from .init import generator, get_initialiser
from .layers import Layer, Sequential
from .layers.base import layers_of
from .layout import Layout, Shape
from .losses import get_loss
from .settings import ANY, NOT_NEGATIVE, whole
from .state import State
from .workspace import EachThread, Frame, Mode, Workspace

_DTYPES = ("float32", "float64")
_ASSIGNED = ("theta", "draws")  # the public names that may be assigned; all else is decided once


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


class Network:
    """Layers in a row over one flat parameter vector.

    layers: `nnlite.layers` objects, first to last. input_shape: of one sample. backend: a name that
    `kernels.available()` lists. dtype: "float32" or "float64". seed and init decide theta's first
    value. loss: "cross_entropy" (whole numbers as labels) or "squared_error".

    theta (P,) is an ordinary array: write into it to move the network. `net.theta = v` copies v
    into it. state holds what persists beside it, by name, and behaves likewise: BatchNorm2d's
    running statistics. All other attributes are decided here; assigning one raises SettingError.

    Arrays live on the backend's `device`: on a GPU, theta, gradients and outputs are CuPy's. Every
    verb takes NumPy arrays as well, and moves them; `net.device.get(array)` brings one back.

    mode, where a verb takes it: "train" uses and follows batch statistics and drops units; "eval"
    changes nothing. It matters to networks with such layers only. Questions are asked in "eval"
    unless told otherwise; loss_and_grad must be told which, where it matters.

    Any number of threads may ask at once: each has buffers of its own, made when it first asks and
    gone with it, and theta, state and draws are shared. Passes in mode "train" take turns. Who
    moves theta or state while others ask must keep them waiting himself.

    Copies (`like`, copy, pickle) share no memory with the original.

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
        self.chain, self.input_shape = architecture(layers, input_shape)
        self.layers = self.chain.layers
        self.backend, self.seed, self.init = backend, whole("a Network's seed", seed, ANY), init
        self.dtype = network_dtype(dtype)
        self.ops = get_backend(backend)
        self.device: Device = self.ops.device
        self.loss = get_loss(loss)
        self.loss_name = self.loss.name

        (self.num_outputs,) = self.chain.output_shape(self.input_shape)
        self.layout = Layout(self.chain.parameters(self.input_shape))
        # where each parameter lies: looked up once, since every step splits a gradient
        self._parts = [
            (tuple(name.split(".")), lo, lo + math.prod(shape), shape)
            for name in self.layout
            for lo, shape in ((self.layout.offset(name), self.layout.shape(name)),)
        ]
        starts = self.chain.state(self.input_shape)
        arrays = {name: self.device.zeros(shape, self.dtype) for name, (shape, _) in starts.items()}
        self.state = State(arrays, self.dtype, self.device)
        self._starts = {name: start for name, (_, start) in starts.items()}
        # no method of this object among them, which would keep its memory until the next collection
        make = partial(Frame, self.ops, self.dtype, _nested(arrays), self.seed)
        self._each, self._frame = EachThread(make), make
        self._spare: list[Frame] = []  # frames of `activations` that have ended
        self._turn = threading.Lock()  # of passes in mode "train"
        self._masks: dict[bytes, np.ndarray] = {}
        self._theta = self.device.zeros((self.layout.size,), self.dtype)
        self._theta_at = self.device.address(self._theta)
        self._own = self._split(self._theta)
        self.initialise(self.seed)

    def __setattr__(self, name: str, value: Any) -> None:
        """Refuse what would do nothing: layers, kernels and buffers were chosen already."""
        if name[0] != "_" and name not in _ASSIGNED and hasattr(self, name):
            raise SettingError(
                f"{name} of a Network is decided when it is made, and assigning it would change "
                "nothing: make another Network (theta, draws and entries of state can be assigned)"
            )
        object.__setattr__(self, name, value)

    def __reduce__(self) -> tuple[Any, ...]:
        """As what made it and host arrays, for copy, pickle and who uses them."""
        get = self.device.get
        made = (
            self.layers, self.input_shape, self.backend, str(self.dtype), self.seed, self.init,
            self.loss_name,
        )  # fmt: skip
        state = {name: get(array) for name, array in self.state.items()}
        return _made_again, (made, get(self.theta), state, self.draws)

    # ---- parameters ------------------------------------------------------------------------

    @property
    def num_parameters(self) -> int:
        """P, the length of theta."""
        return self.layout.size

    @property
    def theta(self) -> np.ndarray:
        """The parameters (P,), of which each layer sees its part; assigning copies into it."""
        return self._theta

    @theta.setter
    def theta(self, v: np.ndarray) -> None:
        if v is not self._theta:  # `net.theta -= ...` has changed it already
            self._theta[...] = self._vector(v, "theta")

    @property
    def workspace(self) -> Workspace:
        """The calling thread's buffers."""
        return self._each.mine.workspace

    @property
    def draws(self) -> int:
        """Passes in mode "train" so far; random layers draw by their number."""
        return self._draws

    @draws.setter
    def draws(self, count: int) -> None:
        self._draws = whole("a Network's draws", count, NOT_NEGATIVE)

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
        seed = whole("initialise's seed", seed, ANY)
        for index, layer in enumerate(self.layers):
            layer.initialise(generator(seed, index), views.get(str(index), {}), init)
        self.theta[...] = self.device.put(drawn)
        for name, start in self._starts.items():
            value = start() if callable(start) else start
            self.state[name] = np.full(self.state[name].shape, value, self.dtype)
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
        out = check_out(out, what, self.device)
        if abs(self.device.address(out) - self._theta_at) < out.nbytes:  # of equal length
            raise SettingError(f"{what} would be written over theta while it is asked: give a copy")
        return out

    def _vector(self, v: np.ndarray, what: str) -> np.ndarray:
        self.layout.check(v, what, self.dtype)
        return self.device.put(v)

    def like(self) -> Network:
        """A second network of the same layers, settings, theta and state, sharing no memory."""
        make, values = self.__reduce__()
        return make(*values)

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
        return self._trace(self._check_input(x), mode)

    def _trace(self, x: np.ndarray, mode: Mode) -> Saved:
        frame = self._each.mine
        outputs, kept = self._pass(frame, self.chain.forward, x, mode)
        return Saved(frame.workspace.generation, outputs, kept, mode, frame)

    def _pass(self, frame: Frame, verb: Callable[..., Any], x: np.ndarray, mode: Mode, *more: Any):
        """A forward pass of x, checked, in `frame`: verb(k, p, x, *more) of the chain."""
        if mode not in ("eval", "train"):
            raise SettingError(f"mode is {mode!r}; a pass runs in mode 'eval' or 'train'")
        frame.workspace.generation += 1
        frame.run.mode = mode
        if mode == "eval":
            return self._roomy(len(x), verb, frame.scope, self._own, x, *more)
        with self._turn:  # two at once would share a draw, and tear the running statistics
            frame.run.draw = self._draws
            found = self._roomy(len(x), verb, frame.scope, self._own, x, *more)
            self._draws += 1
        return found

    def pull(
        self, saved: Saved, dy: np.ndarray, out: np.ndarray | None = None, beta: float = 0.0
    ) -> np.ndarray:
        """The cotangent dy (N, K) pulled back to theta: out = beta out + J^T dy, (P,)."""
        self._check_saved(saved)
        dy = self._check_cotangent(dy, saved.n)
        if beta and out is None:
            raise SettingError(f"pull got beta={beta} and no out: there is nothing to add to")
        out = self._out(out, "the gradient")
        if beta not in (0, 1):  # layers know these two
            out *= self.dtype.type(beta)
            beta = 1.0
        self._backward(saved, dy, self._split(out), beta, want_dx=False)
        return out

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
        frame, v = self._check_saved(saved), self._stack(v)
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

    def _stack(self, v: np.ndarray) -> np.ndarray:
        """Directions (V, P) on the device, checked."""
        check_array(v, "directions", self.dtype, self.device)
        if v.ndim != 2 or v.shape[1] != self.num_parameters or not len(v):
            raise ShapeError(f"directions have shape {v.shape}; give (V, {self.num_parameters})")
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

    # ---- answers for a batch -----------------------------------------------------------------

    def forward(self, x: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """The outputs (N, K) for x (N, *input_shape): logits, for a classifier."""
        return self.trace(x, mode).outputs.copy()

    def activations(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The output (N, ...) of each of `layers` in turn, first to last, in mode "eval".

        Each is an array of its own, and any number of these may be open at once.
        """
        return self._outputs(self._check_input(x))

    def _outputs(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """`activations`, in a frame of its own: other passes may run before it goes on."""
        try:
            frame = self._spare.pop()
        except IndexError:
            frame = self._frame()
        try:
            outputs = self._pass(frame, self.chain.outputs, x, "eval")
            for _ in self.layers:
                yield self._roomy(len(x), next, outputs).copy()
        finally:
            self._spare.append(frame)

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
        run = self._each.mine.run
        run.clock = draw
        try:
            return self._mean_gradient(x, y, out, active, "train")[0]
        finally:
            run.clock = None

    def losses(self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """Each sample's loss, (N,)."""
        return self._loss(x, y, active)[1].copy()

    def jvp(self, x: np.ndarray, v: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J v: the outputs' change (N, K) as theta moves along v (P,).

        The same as push(trace(x), v), but each layer's tangent follows its forward at once, while
        its weights are still in cache.
        """
        directions = self._split(self._vector(v, "the tangent"))
        x, verb = self._check_input(x), self.chain.forward_tangent
        y, ty = self._pass(self._each.mine, verb, x, mode, directions, None)
        return np.zeros_like(y) if ty is None else ty.copy()

    def vjp(self, x: np.ndarray, u: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J^T u: the outputs' cotangent u (N, K) pulled back to theta, (P,)."""
        x = self._check_input(x)
        u = self._check_cotangent(u, len(x))  # before a pass in mode "train" has moved statistics
        return self.pull(self._trace(x, mode), u)

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
        batch = whole("plan's batch", batch)
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

    def restore(self, path: Any) -> None:
        """Put theta and state of a checkpoint back, be it a network's or a run's, and its draws.

        Raises CheckpointError, changing nothing, where they belong to another network.
        """
        from .checkpoint import load_arrays, restore_parameters  # noqa: PLC0415

        restore_parameters(self, load_arrays(path)[0], path)

    @staticmethod
    def load(path: Any, backend: str = "cpu") -> Network:
        """The network that `save` wrote, or that a run had trained at its checkpoint.

        Raises CheckpointError for any other file.
        """
        from .checkpoint import load_network  # noqa: PLC0415

        return load_network(path, backend)

    # ---- inside ------------------------------------------------------------------------------

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

    def _mean_gradient(self, x, y, out, active, mode: Mode) -> tuple[np.ndarray, np.ndarray]:
        """Each sample's loss (N,), a buffer, and the gradient of their mean (P,)."""
        saved, loss, cotangent = self._loss(x, y, active, mode)
        cotangent *= self.dtype.type(1 / saved.n)  # the one place where the mean is taken
        return loss, self.pull(saved, cotangent, out)

    def _roomy(self, n: int, verb: Callable[..., Any], *arguments: Any) -> Any:
        """verb(*arguments); a device that has no room is let say what n samples ask for."""
        try:
            return verb(*arguments)
        except OutOfMemoryError as wrong:
            raise OutOfMemoryError(
                f"{wrong}. A training step of {n} samples asks for {self.plan(n) / 2**20:.1f} MiB "
                f"(plan({n})), one sample for {self.plan(1) / 2**20:.1f} MiB"
            ) from None

    def _loss(self, x, y, active, mode: Mode = "eval"):
        x = self._check_input(x)
        mask = self.mask(active)
        y = self.loss.targets(y, (len(x), self.num_outputs), self.dtype, active)
        saved = self._trace(x, mode)
        loss, cotangent = self.loss.value_and_cotangent(
            saved.frame.loss, saved.outputs, self.device.put(y), mask
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


def architecture(layers: Sequence[Layer], input_shape: Shape) -> tuple[Sequential, Shape]:
    """Layers as one chain, and the shape of one sample; nothing of a network's size is made.

    Raises SettingError or ShapeError for layers that make no network.
    """
    chain, shape = Sequential(layers_of("a Network", layers)), sample_shape(input_shape)
    if not chain.layers:
        raise SettingError("a Network needs at least one layer; it got none")
    outputs = chain.output_shape(shape)
    if len(outputs) != 1:
        raise ShapeError(
            f"the last layer gives samples of shape {outputs}; a network's outputs are flat, "
            "(K,): end it with a Linear layer"
        )
    return chain, shape


def network_dtype(given: Any) -> np.dtype:
    """The dtype that a name or NumPy's type names. Raises SettingError for one not computed in."""
    try:
        name = "none" if given is None else np.dtype(given).name
    except TypeError:
        name = repr(given)
    if name not in _DTYPES:
        raise SettingError(f"dtype {name}: a Network computes in {' or '.join(_DTYPES)}")
    return np.dtype(name)


def _made_again(
    made: tuple[Any, ...], theta: np.ndarray, state: dict[str, np.ndarray], draws: int
) -> Network:
    """What `Network.__reduce__` took apart."""
    net = Network(*made)
    net.theta = theta
    net.state.update(state)
    net.draws = draws
    return net


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
