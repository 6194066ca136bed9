"""A network's verbs, recorded: the network's own code runs once on a twin of recorded arrays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np

from ...kernels.errors import SettingError, check_name
from ..optim import Optimizer, Streams
from ..state import State, nested
from ..workspace import Frame, Mode
from .program import Program
from .recorder import Counted, FreshWorkspace, Recorded, Recorder, Tape

STREAMS = ("omega", "anchor", "path", "gain")  # of an optimizer's step, each (P,)


class Twin:
    """A network whose arrays are recorded, and the tape they are recorded on."""

    def __init__(self, net: Any, batch: int) -> None:
        self.tape = Tape()
        self.batch = batch
        self.net = self._like(net)

    def _like(self, net: Any) -> Any:
        """`net` over recorded arrays: the same layers and verbs, and nothing else of it."""
        ops: Any = Recorder(self.tape, net.ops)
        theta = self.tape.new((net.num_parameters,), net.dtype, "theta", "theta")
        arrays: dict[str, np.ndarray] = {
            name: self.tape.new(array.shape, array.dtype, f"state {name}", "state")
            for name, array in net.state.items()
        }
        frame = Frame(ops, net.dtype, nested(arrays), net.seed)
        frame.use(FreshWorkspace(net.dtype, self.tape))
        twin = object.__new__(type(net))
        twin.__dict__.update(
            net.__dict__,
            ops=ops,
            device=ops.device,
            state=State(arrays, net.dtype, ops.device),
            _each=SimpleNamespace(mine=frame),
            _draws=Counted(0, "draw"),
            _theta=theta,
        )
        twin.__dict__["_own"] = twin._split(theta)
        return twin

    # ---- what whoever replays gives ----------------------------------------------------------

    def given(self, name: str, *shape: int, dtype: Any = None) -> Recorded:
        """A place that is bound by name."""
        return self.tape.new(shape, dtype or self.net.dtype, name, name)

    def vector(self, name: str) -> Recorded:
        return self.given(name, self.net.num_parameters)

    @property
    def inputs(self) -> Recorded:
        return self.given("x", self.batch, *self.net.input_shape)

    @property
    def labels(self) -> Recorded:
        if self.net.loss_name == "cross_entropy":
            return self.given("y", self.batch, dtype=np.int64)
        return self.given("y", self.batch, self.net.num_outputs)

    @property
    def mask(self) -> Recorded:
        return self.given("active", self.net.num_outputs, dtype=np.bool_)


def forward(twin: Twin, mode: Mode = "eval") -> None:
    """x -> outputs."""
    twin.tape.as_output(twin.net._trace(twin.inputs, mode).outputs, "outputs")


def losses(twin: Twin, mode: Mode = "eval") -> None:
    """x, y, active -> losses."""
    _, judged = twin.net._loss_of(twin.inputs, twin.labels, twin.mask, mode)
    twin.tape.as_output(judged.loss, "losses")


def gradient(twin: Twin, mode: Mode = "eval") -> None:
    """x, y, active -> the mean loss, and grad."""
    _mean_gradient(twin, twin.inputs, twin.labels, mode)


def _mean_gradient(twin: Twin, x: Recorded, y: Recorded, mode: Mode) -> Recorded:
    """ "loss" = the mean loss over x, y; returns its gradient "grad"."""
    grad = twin.vector("grad")
    mean = twin.given("loss", 1, dtype=np.float64)
    twin.net._gradient_of(x, y, twin.mask, mode, grad, mean)
    return grad


def train(
    twin: Twin,
    optimizer: Optimizer,
    streams: Sequence[str] = (),
    lam: float = 0.0,
    samples: int = 0,
) -> None:
    """A training step: `gradient`, and the optimizer's step along it.

    Moments and streams (of STREAMS, with their lam) are bound by name. samples: how many there are
    in "all x" and "all y", of which the step takes those that "rows" numbers; 0: x, y are given.
    """
    net = twin.net
    if samples:
        x, y = _picked(twin, samples)
    else:
        x, y = twin.inputs, twin.labels
    grad = _mean_gradient(twin, x, y, "train")
    names = optimizer.state(1, net.dtype)
    moments: dict[str, np.ndarray] = {name: twin.vector(name) for name in names}
    told = Streams(**{name: twin.vector(name) for name in streams}, lam=lam)
    optimizer.step(net.ops, net.theta, grad, moments, Counted(1, "step"), told)


def _picked(twin: Twin, samples: int) -> tuple[Recorded, Recorded]:
    """A batch x, y out of all samples."""
    rows, found = twin.given("rows", twin.batch, dtype=np.int64), []
    for like in (twin.inputs, twin.labels):
        name = twin.tape.name(like)
        whole = twin.given(f"all {name}", samples, *like.shape[1:], dtype=like.dtype)
        batch = twin.tape.new(like.shape, like.dtype, name)
        twin.net.ops.gather_rows(whole.reshape(samples, -1), rows, batch.reshape(twin.batch, -1))
        found.append(batch)
    return found[0], found[1]


def jvp(twin: Twin, mode: Mode = "eval") -> None:
    """x, v -> tangents: J v."""
    twin.tape.as_output(twin.net._jvp_of(twin.inputs, twin.vector("v"), mode), "tangents")


def vjp(twin: Twin, mode: Mode = "eval") -> None:
    """x, u -> grad: J^T u."""
    net = twin.net
    u = twin.given("u", twin.batch, net.num_outputs)
    out = twin.vector("grad")
    net._backward(net._trace(twin.inputs, mode), u, net._split(out), 0.0, want_dx=False)


def accumulate(twin: Twin, power: int = 2, directions: int = 1) -> None:
    """x, u (V, N, K) -> total += sum over v, n of |J_n^T u_vn|**power."""
    net = twin.net
    u = twin.given("u", directions, twin.batch, net.num_outputs)
    net.accumulate(net._trace(twin.inputs, "eval"), u, twin.vector("total"), power)


def metric(twin: Twin) -> None:
    """x, v, active -> product: the Fisher metric of the softmax times v, summed over the samples.

    J^T (diag p - p p^T) J v, as `methods.fip.Metric` asks it.
    """
    net = twin.net
    saved = net._trace(twin.inputs, "eval")
    moved = net.push(saved, twin.vector("v"))
    p, middle = _softmax(twin, saved.outputs), net.device.empty(moved.shape, net.dtype)
    net.ops.softmax_backward(p, moved, middle)
    product = twin.vector("product")
    net._backward(saved, middle, net._split(product), 0.0, want_dx=False)


def _softmax(twin: Twin, logits: Recorded) -> Recorded:
    p = twin.net.device.empty(logits.shape, twin.net.dtype)
    twin.net.ops.softmax(logits, twin.mask, p)
    return p


def fisher(twin: Twin, kind: str = "true") -> None:
    """x, active -> total += sum over samples of the diagonal of the Fisher information.

    kind "true": over all classes, by their probability. "empirical": of the labels y.
    """
    check_name("kind", kind, ("true", "empirical"))
    net = twin.net
    if net.loss_name != "cross_entropy":
        raise SettingError(f"fisher takes outputs for logits; this network's loss: {net.loss_name}")
    saved = net._trace(twin.inputs, "eval")
    if kind == "true":
        n, classes = saved.outputs.shape
        u = net.device.empty((classes, n, classes), net.dtype)
        net.ops.softmax_fisher_factor(_softmax(twin, saved.outputs), u)
    else:
        u = net._judge(saved.outputs, twin.labels, twin.mask).cotangent
    net.accumulate(saved, u, twin.vector("total"), 2)


def mas(twin: Twin) -> None:
    """x, active -> total += sum over samples of |d ||softmax||^2 / d theta|."""
    net = twin.net
    saved = net._trace(twin.inputs, "eval")
    p = _softmax(twin, saved.outputs)
    twice, u = (net.device.empty(p.shape, net.dtype) for _ in range(2))
    net.ops.scale(p, 2.0, twice)
    net.ops.softmax_backward(p, twice, u)
    net.accumulate(saved, u, twin.vector("total"), 1)


VERBS: dict[str, Callable[..., None]] = {
    "forward": forward,
    "losses": losses,
    "gradient": gradient,
    "train": train,
    "jvp": jvp,
    "vjp": vjp,
    "accumulate": accumulate,
    "metric": metric,
    "fisher": fisher,
    "mas": mas,
}


def record(net: Any, verb: str, batch: int, **options: Any) -> Program:
    """The program of `verb` for `batch` samples; options: what the verb above takes.

    Raises UnknownNameError for another verb, RecordingError where a layer does what cannot
    be recorded, and what the network raises for such a batch.
    """
    check_name("verb", verb, VERBS)
    twin = Twin(net, batch)
    VERBS[verb](twin, **options)
    return twin.tape.program(verb, batch, net.ops.NAME, str(net.dtype))
