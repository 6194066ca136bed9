"""Network: layers over one flat theta, and the questions asked of them.

The short names answer for a batch at once and return arrays of their own: `forward`,
`activations`, `loss_and_grad`, `losses`, `jvp`, `vjp`, `sample_grads`, `input_grad`. Underneath,
`trace` runs forward once, and what `passes` lists is asked of that one pass. Checkpoints are read
and written here, by `checkpoint`'s description of a network.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from ..kernels.errors import ModeError
from .checkpoint import (
    Path,
    check_arrays,
    describe_network,
    described,
    load_arrays,
    named_parameters,
    read_network,
    restore_parameters,
    save_arrays,
)
from .checks import explain_non_finite
from .layout import Shape
from .losses import Judged
from .passes import Passes, Saved, check_mode
from .program.answers import Replays
from .program.program import Program
from .program.replay import Replay
from .program.verbs import record
from .settings import whole
from .workspace import Mode

__all__ = ["Network", "Saved", "build_network", "network_from"]


class Network(Passes):
    """Layers in a row over one flat parameter vector.

    layers: `nnlite.layers` objects, first to last. input_shape: of one sample. backend: a name that
    `kernels.available()` lists. dtype: "float32" or "float64". seed and init decide theta's first
    value. loss: "cross_entropy" (whole numbers as labels), "squared_error", or one of
    `nnlite.losses` with settings: CrossEntropy(ignore_index=-100, class_weights=(1, 1, 5)).

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

    # ---- answers for a batch -----------------------------------------------------------------

    def forward(self, x: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """The outputs (N, K) for x (N, *input_shape): logits, for a classifier."""
        if mode == "eval" and type(x) is np.ndarray and x.dtype is self.dtype and x.flags.carray:
            known = self._each.mine.answers.get(x.shape)
            if known is not None:
                answer, shape = known
                out = np.empty(shape, self.dtype)
                answer(x, out)
                return out
        return self._forward(x, mode)

    def activations(self, x: np.ndarray) -> Iterator[np.ndarray]:
        """The output (N, ...) of each of `layers` in turn, first to last, in mode "eval".

        Each is an array of its own, and any number of these may be open at once.
        """
        return self._outputs(self._check_input(x))

    def loss_and_grad(
        self,
        x: np.ndarray,
        y: np.ndarray,
        out: np.ndarray | None = None,
        active: np.ndarray | None = None,
        mode: Mode | None = None,
    ) -> tuple[float, np.ndarray]:
        """Mean loss over the N samples and its gradient (P,), written into `out` if given.

        Of a loss that weighs samples, the mean by their weights: 0, with a gradient of 0, where
        none counts.

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
        mode = check_mode(mode or "eval")
        x, y, mask = self._check_batch(x, y, active)
        grad = self._roomy(len(x), self._out, out, "the gradient")
        found = self._replay("gradient", len(x), "mode", mode)
        told = self.device.empty((1,), np.float64)
        if found is None:
            self._gradient_of(x, y, mask, mode, grad, told)
        else:
            self._run(found, mode, {"x": x, "y": y, "active": mask, "grad": grad, "loss": told})
        mean = float(self.device.get(told)[0])
        if not math.isfinite(mean):
            explain_non_finite(self.device.get(x))
        return mean, grad

    def gradient(
        self,
        x: np.ndarray,
        y: np.ndarray,
        out: np.ndarray,
        active: np.ndarray | None = None,
        draw: np.ndarray | None = None,
        mean: np.ndarray | None = None,
    ) -> np.ndarray:
        """`loss_and_grad` in mode "train" for who must not wait: returns each sample's loss (N,).

        The losses are a buffer on the device. draw (1,) int64 there: the number of this pass, by
        which random layers draw, in place of `draws`. mean (1,) float64 there: gets the mean loss.
        """
        run = self._each.mine.run
        run.clock = draw
        try:
            x, y, mask = self._check_batch(x, y, active)
            return self._gradient_of(x, y, mask, "train", self._out(out, "the gradient"), mean)
        finally:
            run.clock = None

    def losses(self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None) -> np.ndarray:
        """Each sample's loss, (N,)."""
        x, y, mask = self._check_batch(x, y, active)
        found = self._replay("losses", len(x), "mode", "eval")
        if found is None:
            return self._loss_of(x, y, mask, "eval")[1].loss.copy()
        out = self._fresh(len(x), (len(x),))
        self._run(found, "eval", {"x": x, "y": y, "active": mask, "losses": out})
        return out

    def jvp(self, x: np.ndarray, v: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J v: the outputs' change (N, K) as theta moves along v (P,).

        The same as push(trace(x), v), but each layer's tangent follows its forward at once, while
        its weights are still in cache.
        """
        v, x = self._vector(v, "the tangent"), self._check_input(x)
        found = self._replay("jvp", len(x), "mode", check_mode(mode))
        if found is None:
            return self._jvp_of(x, v, mode).copy()
        out = self._fresh(len(x), (len(x), self.num_outputs))
        self._run(found, mode, {"x": x, "v": v, "tangents": out})
        return out

    def vjp(self, x: np.ndarray, u: np.ndarray, mode: Mode = "eval") -> np.ndarray:
        """J^T u: the outputs' cotangent u (N, K) pulled back to theta, (P,)."""
        x = self._check_input(x)
        u = self._check_cotangent(u, len(x))  # before a pass in mode "train" has moved statistics
        found = self._replay("vjp", len(x), "mode", check_mode(mode))
        if found is None:
            return self.pull(self._trace(x, mode), u)
        out = self._fresh(len(x), (self.num_parameters,))
        self._run(found, mode, {"x": x, "u": u, "grad": out})
        return out

    def sample_grads(
        self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None
    ) -> np.ndarray:
        """The gradient of each sample's own loss, (N, P): for small N."""
        saved, judged = self._loss(x, y, active)
        self._check_per_sample(saved, "sample_grads")
        return self.pull_each(saved, judged.cotangent)

    def input_grad(
        self, x: np.ndarray, y: np.ndarray, active: np.ndarray | None = None
    ) -> np.ndarray:
        """The gradient of each sample's loss by its own input, shaped like x."""
        saved, judged = self._loss(x, y, active)
        return self.pull_input(saved, judged.cotangent).copy()

    # ---- programs ----------------------------------------------------------------------------

    def program(self, verb: str, batch: int, **options: Any) -> Program:
        """What a verb does for a batch of so many samples, as data: see `nnlite.program`.

        verb: "forward", "losses", "gradient", "train" (optimizer=...), "jvp", "vjp",
        "accumulate", "metric", "fisher", "mas".
        Raises UnknownNameError for another verb, SettingError for a batch below 1, RecordingError
        where a layer does what no program can hold.
        """
        return record(self, verb, whole("program's batch", batch), **options)

    # ---- files -------------------------------------------------------------------------------

    def save(self, path: Path) -> None:
        """Write architecture and theta to `path` (safetensors), whole or not at all."""
        about = {"kind": "network", **describe_network(self)}
        save_arrays(path, named_parameters(self), about)

    def restore(self, path: Path) -> None:
        """Put theta and state of a checkpoint back, be it a network's or a run's, and its draws.

        Raises CheckpointError, changing nothing, where they belong to another network.
        """
        restore_parameters(self, load_arrays(path)[0], path)

    @staticmethod
    def load(path: Path, backend: str = "cpu") -> Network:
        """The network that `save` wrote, or that a run had trained at its checkpoint.

        Raises CheckpointError for any other file.
        """
        return network_from(*read_network(path), backend, path)

    # ---- inside ------------------------------------------------------------------------------

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

    def _forward(self, given: np.ndarray, mode: Mode) -> np.ndarray:
        """`forward` of what it has not been asked in this shape, or has to look at."""
        x = self._check_input(given)
        found = self._replay("forward", len(x), "mode", check_mode(mode))
        if found is None:
            return self._trace(x, mode).outputs.copy()
        out = self._fresh(len(x), (len(x), self.num_outputs))
        if mode == "train":
            self._run(found, mode, {"x": x, "outputs": out})
            return out
        answer = found.answering()
        answer(x, out)
        if x is given and x.flags.carray:  # so `forward` will give any other such array as it is
            self._each.mine.answers[x.shape] = answer, out.shape
        return out

    def _replay(self, verb: str, batch: int, *options: Any) -> Replay | None:
        """This thread's replay of a verb; None for layers that no program can hold."""
        frame = self._each.mine
        if frame.replays is None:
            frame.replays = Replays(frame.answers)
        return self._roomy(batch, frame.replays.get, self, verb, batch, options)

    def _fresh(self, batch: int, shape: Shape) -> np.ndarray:
        """An array for an answer about so many samples."""
        return self._roomy(batch, self.device.empty, shape, self.dtype)

    def _run(self, found: Replay, mode: Mode, arrays: dict[str, Any]) -> None:
        """Replay a pass on arrays; one in mode "train" has the next draw."""
        found.bind(arrays)
        if mode == "eval":
            found.run({"draw": 0})
            return
        with self._turn:
            found.run({"draw": self._draws})
            self._draws += 1

    def _check_batch(self, x, y, active) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """x, labels y and the classes in play as the kernels take them."""
        x = self._check_input(x)
        mask = self.mask(active)
        y = self.loss.targets(y, (len(x), self.num_outputs), self.dtype, active)
        return x, self.device.put(y), mask

    def _loss(self, x, y, active):
        return self._loss_of(*self._check_batch(x, y, active), "eval")

    # What programs are recorded of: nothing is checked, nothing is waited for.

    def _loss_of(self, x, y, mask, mode: Mode) -> tuple[Saved, Judged]:
        """A pass, and what the loss says of it, in buffers."""
        saved = self._trace(x, mode)
        return saved, self._judge(saved.outputs, y, mask)

    def _judge(self, outputs, y, mask) -> Judged:
        """What the loss says of outputs of this thread's last pass, in buffers."""
        return self.loss.value_and_cotangent(self._each.mine.loss, outputs, y, mask)

    def _gradient_of(
        self, x, y, mask, mode: Mode, out: np.ndarray, mean: np.ndarray | None = None
    ) -> np.ndarray:
        """out (P,) = the gradient of the mean loss, and mean (1,) float64 = that itself, if it is
        given; returns each sample's loss (N,), a buffer."""
        saved, (loss, cotangent, total) = self._loss_of(x, y, mask, mode)
        if total is None:  # here the mean is taken, and nowhere else
            self.ops.scale(cotangent, 1 / saved.n, cotangent)
        else:
            self.ops.divide(cotangent, total, cotangent)
        self._backward(saved, cotangent, self._split(out), 0.0, want_dx=False)
        if mean is None:
            return loss
        if total is None:
            self.ops.mean_loss(loss, mean)
        else:
            self.ops.weighted_mean(loss, total, mean)
        return loss

    def _jvp_of(self, x, v, mode: Mode) -> np.ndarray:
        """The outputs' tangent (N, K) along v (P,), a buffer."""
        verb, directions = self.chain.forward_tangent, self._split(v)
        ty = self._pass(self._each.mine, verb, x, mode, directions, None)[1]
        return self.device.zeros((len(x), self.num_outputs), self.dtype) if ty is None else ty


def build_network(about: dict[str, Any], backend: str, source: Path) -> Network:
    """A network of the architecture that `describe_network` described, with its first weights.

    Raises CheckpointError.
    """
    chain, shape, dtype = described(about, source)
    return Network(
        chain.layers, shape, backend, str(dtype), about["seed"], about["init"], about["loss"]
    )


def network_from(
    arrays: dict[str, np.ndarray], about: dict[str, Any], backend: str, source: Path
) -> Network:
    """The network that arrays and description of `source` hold. Raises CheckpointError.

    A description that the arrays do not bear out is refused before anything of its size is made.
    """
    check_arrays(*described(about, source), arrays, source)
    net = build_network(about, backend, source)
    restore_parameters(net, arrays, source)
    return net
