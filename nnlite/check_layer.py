"""check_layer: a layer proved by identities, in float64, alone and between other layers.

Directions and cotangents are drawn at random and few: a wrong verb answers almost all of them
wrong, so not every coordinate need be tried (HIPS/autograd's `check_grads` does likewise).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..kernels.errors import LayerError
from ..kernels.spec import relative_error, tolerance
from .checks import sample_shape
from .layers import Activation, Context, Flatten, Layer
from .layers.base import layers_of
from .layout import Shape
from .net import Network, Saved
from .settings import ANY, Limit, whole
from .workspace import Mode

STEP = 1e-6  # of central differences: the error is of the order STEP**2 + eps / STEP
DIFFERENCES = 1e-7
STACKED = 2  # directions and cotangents asked at once
# With others around it a layer's inputs move with theta, to second order, and its cotangents lie in
# buffers that it may take itself; behind one they move to first order only; alone it is the first,
# of whose inputs nobody asks.
_AROUND: dict[str, tuple[tuple[Layer, ...], tuple[Layer, ...]]] = {
    "alone": ((), ()),
    "behind another": ((Context(),), ()),
    "between others": ((Context(), Activation("tanh")), (Activation("tanh"),)),
}


def check_layer(
    layer: Layer, input_shape: Shape, *, backend: str = "reference", samples: int = 5, seed: int = 0
) -> None:
    """Raise LayerError unless `layer` keeps every identity, for samples of `input_shape`.

    | verb                    | identity                                                       |
    |-------------------------|----------------------------------------------------------------|
    | tangent                 | the outputs' central difference, by parameters and by inputs   |
    | backward                | <J v, u> = <v, J^T u>; dp = beta dp + ...; the same if repeated |
    | second                  | the tangent's central difference                               |
    | forward_tangent         | forward, then tangent                                          |
    | tangents, stacked_grads | one after another                                              |
    | sample_grads            | backward of single samples, which sum to the batch's           |
    | accumulate, gram        | the sum of their powers, their inner products                  |
    | signal                  | a sum over samples, never negative, added to what was there    |
    | tangent and its like    | None for directions None                                       |
    | output_shape            | what forward gives                                             |
    | all of them             | the same where a program of them is replayed                   |
    | moded, couples          | where False: mode "train" is "eval", no sample sees another    |

    In mode "eval", where nothing may move, and in "train" if the layer is `moded`; what is asked of
    single samples, and `second`, only where they do not depend on each other (`couples`).
    Parameters and state (contexts, statistics) are moved away from where they begin. seed: where a
    difference meets a kink (of relu, say), another one does not.

    Raises SettingError, ShapeError or UnknownNameError for arguments that make no network.
    """
    (layer,) = layers_of("check_layer", [layer])
    shape = sample_shape(input_shape)
    samples = whole("check_layer's samples", samples, Limit(3, 10_000))
    seed = whole("check_layer's seed", seed, ANY)
    modes: tuple[Mode, ...] = ("eval", "train") if layer.moded() else ("eval",)
    for where, (before, after) in _AROUND.items():
        layers = (*before, layer, *after, Flatten())
        for mode in modes:
            net = Network(layers, shape, backend, "float64", seed)
            trial = _Trial(net, len(before), where, mode)
            try:
                trial.draw(samples)
                trial.run()
            except LayerError:
                raise
            except Exception as wrong:  # a verb that is not there, or takes no stacked cotangents
                trial.fail("every verb answers", f"{type(wrong).__name__}: {wrong}", wrong)


class _Trial:
    """One network, in one mode, whose layer number `index` is on trial."""

    def __init__(self, net: Network, index: int, where: str, mode: Mode) -> None:
        self.net, self.index, self.where = net, index, where
        self.mode: Mode = mode
        self.layer, self.each = net.layers[index], not net.chain.couples(mode)

    def draw(self, samples: int) -> None:
        """Draw inputs, directions and cotangents; move parameters and state from their start."""
        net = self.net
        rng = np.random.default_rng([net.seed % 2**32, 0xC4EC])
        size, outputs = net.num_parameters, net.num_outputs
        self.x, self.tx, self.others = rng.normal(size=(3, samples, *net.input_shape))
        self.v = rng.normal(size=(STACKED, size))
        self.u = rng.normal(size=(STACKED, samples, outputs))
        self.y = rng.integers(0, outputs, samples)
        self.rounding = tolerance("float64", 100 * (size + self.x.size))
        net.theta += net.device.put(rng.normal(0, 0.1, size))
        for name, array in net.state.items():
            net.state[name] = array + net.device.put(rng.uniform(0, 1, array.shape))
        self.theta = self._host(net.theta).copy()

    def run(self) -> None:
        """Raise LayerError for the first identity that does not hold."""
        before = self.net.state.kept()
        self._check_dtype()
        self._check_modes()
        self._check_first_order()
        if self.each:
            self._check_each_sample()
            slope = self._slope(lambda x: self.net.jvp(x, self.v[0], self.mode))
            found = self.net.second(self._trace(), self.v[0])
            self._same("second is the tangent's central difference", found, slope, DIFFERENCES)
        self._check_still()
        if self.mode == "eval":
            for name, array in self.net.state.items():
                self._same(f"mode 'eval' leaves state '{name}' alone", array, before[name], 0)
        self._check_program()

    # ---- identities --------------------------------------------------------------------------

    def _check_dtype(self) -> None:
        """A network of float32 computes in float32."""
        net = Network(self.net.layers, self.net.input_shape, self.net.backend, "float32")
        saved = net.trace(self.x.astype("f"), self.mode)
        v, u = self.v[0].astype("f"), self.u[0].astype("f")
        for verb, found in (("forward", saved.outputs), ("tangent", net.push(saved, v)),
                            ("backward", net.pull_input(saved, u))):  # fmt: skip
            if found.dtype != np.float32:
                self.fail(f"{verb} keeps the dtype", f"{found.dtype} of float32")

    def _check_modes(self) -> None:
        *_, given = list(self.net.chain._shaped(self.net.input_shape))[self.index]
        shape = self.layer.output_shape(given)
        found = list(self.net.activations(self.x))[self.index].shape[1:]
        self._same("output_shape is that of forward's", np.array(found), np.array(shape), 0)
        y = self._forward(self.x)
        if self.each:
            others = self.others.copy()
            others[0] = self.x[0]
            self._same("no sample sees another (couples)", self._forward(others)[:1], y[:1])
        if self.each and self.mode == "eval":
            alone = np.concatenate([self._forward(self.x[n : n + 1]) for n in range(len(y))])
            self._same("forward answers a sample alone as in its batch", alone, y)
        if not self.layer.moded():
            train = self.net.forward(self.x, "train")
            self._same("mode 'train' is mode 'eval' (moded)", train, y, 0)

    def _check_first_order(self) -> None:
        net, same, u, v, tx = self.net, self._same, self.u[0], self.v[0], self.tx
        by_theta, by_x = self._slope(self._forward), self._slope(self._forward, by_input=True)
        saved = self._trace()
        jv, jx = self._host(net.push(saved, v)), self._host(net.push(saved, tx=tx))
        same("tangent is the central difference by the parameters", jv, by_theta, DIFFERENCES)
        same("tangent is the central difference by the inputs", jx, by_x, DIFFERENCES)
        same("tangent is linear in both directions", net.push(saved, v, tx), jv + jx)
        pushed = np.array([self._host(net.push(saved, one)) for one in self.v])
        same("tangents are tangent one after another", net.push_many(saved, self.v), pushed)
        dp, dx = self._host(net.pull(saved, u)).copy(), self._host(net.pull_input(saved, u)).copy()
        same("backward answers the same again", net.pull(saved, u), dp, 0, True)
        out = net.device.full((len(dp),), np.nan, np.float64)
        same("backward overwrites where beta is 0", net.pull(saved, u, out), dp, 0, True)
        twice = net.pull(saved, u, net.device.put(dp.copy()), beta=1.0)
        same("backward adds where beta is 1", twice, 2 * dp, None, True)
        for of, ty, t, dt in (("parameters", jv, v, dp), ("inputs", jx, tx, dx)):
            scale = np.linalg.norm(ty) * np.linalg.norm(u)  # the products themselves may cancel
            left, right = np.array([(ty * u).sum(), scale]), np.array([(t * dt).sum(), scale])
            same(f"<tangent, u> = <t, backward u> for the {of}", right, left)
        self.net.draws = 0
        same("forward_tangent is forward, then tangent", net.jvp(self.x, v, self.mode), jv)

    def _check_each_sample(self) -> None:
        net, same, saved = self.net, self._same, self._trace()
        single = np.eye(len(self.x))[:, :, None]  # (N, N, 1): all but one cotangent are 0
        rows = np.array([[self._host(net.pull(saved, u * one)) for one in single] for u in self.u])
        batch = np.array([self._host(net.pull(saved, u)) for u in self.u])
        same("backward of single samples sums to the batch's", rows.sum(1), batch, None, True)
        found = net.pull_each(saved, self.u[0])
        same("sample_grads are backward of single samples", found, rows[0], None, True)
        found = net.pull_many(saved, self.u)
        same("stacked_grads are backward one after another", found, batch, None, True)
        flat = rows.reshape(STACKED * len(self.x), net.num_parameters)
        same("gram is G G^T of the gradients G", net.gram(saved, self.u), flat @ flat.T)
        for power in (1, 2):
            total = self._ones()
            net.accumulate(saved, self.u, total, power)
            expected = 1 + (np.abs(flat) ** power).sum(0)
            same(f"accumulate adds |gradient|**{power}", total, expected, None, True)
        if self.mode == "eval":
            total, parts, ones = self._ones(), self._ones(), self._host(self._ones())
            net.signal(saved, total)
            for n in range(len(self.x)):
                net.signal(net.trace(self.x[n : n + 1]), parts)
            same("signal is a sum over samples", total, parts, None, True)
            same("signal adds, never less than 0", np.minimum(self._host(total), 1), ones, 0, True)

    def _check_program(self) -> None:
        """Recorded, a step does what the layer does when it is asked (if a program can hold it)."""
        net, found, before = self.net, [], self.net.state.kept()
        for replayed in (True, False):
            net.state.restore(before)
            net.draws = 0
            out = net.device.empty((net.num_parameters,), np.float64)
            x, y, mask = net._check_batch(self.x, self.y, None)
            if replayed:
                net.loss_and_grad(x, y, out, mode="train")
            else:
                net._gradient_of(x, y, mask, "train", out)
            found.append(self._host(out).copy())
        one, other = found
        self._same("a program's gradient is that of the verbs it records", one, other, 0)

    def _check_still(self) -> None:
        """What does not move is None, and costs the layers behind it nothing."""
        saved, name = self._trace(), str(self.index)
        kept, k = saved.layers[self.index], saved.frame.scope.child(name)
        p = self.net._own.get(name, {})
        found = {
            "tangent": [self.layer.tangent(k, p, kept, None, None)],
            "tangents": [self.layer.tangents(k, p, kept, None, None, STACKED)],
        }
        if self.each:
            found["second"] = list(self.layer.second(k, p, kept, None, None, None))
        if self.where == "alone":  # the inputs are its own
            x = self.net.device.put(self.x)
            found["forward_tangent"] = [self.layer.forward_tangent(k, p, x, None, None)[1]]
        for verb, moved in found.items():
            if any(t is not None for t in moved):
                self.fail(f"{verb} is None for directions None", "it is an array")

    # ---- inside ------------------------------------------------------------------------------

    def _trace(self) -> Saved:
        self.net.draws = 0  # each pass in mode "train" drops the same units
        return self.net.trace(self.x, self.mode)

    def _forward(self, x: np.ndarray) -> np.ndarray:
        self.net.draws = 0
        return self._host(self.net.forward(x, self.mode))

    def _slope(self, ask: Callable[[np.ndarray], Any], by_input: bool = False) -> np.ndarray:
        """The central difference of ask(x) as theta moves along v[0], or x along tx."""
        found = []
        for step in (STEP, -STEP):
            self.net.draws = 0
            self.net.theta = self.theta + (0 if by_input else step) * self.v[0]
            found.append(self._host(ask(self.x + (step if by_input else 0) * self.tx)))
        self.net.theta = self.theta
        return (found[0] - found[1]) / (2 * STEP)

    def _ones(self) -> Any:
        return self.net.device.full((self.net.num_parameters,), 1.0, np.float64)

    def _host(self, array: Any) -> np.ndarray:
        return self.net.device.get(array) if self.net.device.owns(array) else array

    def _same(
        self, identity: str, found: Any, expected: Any, allowed: float | None = None,
        of_theta: bool = False,
    ) -> None:  # fmt: skip
        """of_theta: the last axis is P, of which the name of the worst parameter is told."""
        found, expected = self._host(found), self._host(expected)
        allowed = self.rounding if allowed is None else allowed
        error = relative_error(found, expected)
        if error <= allowed:
            return
        if found.shape != expected.shape:
            self.fail(identity, f"shape {found.shape} in the place of {expected.shape}")
        off = np.nan_to_num(np.abs(found - expected), nan=np.inf)
        at = tuple(map(int, np.unravel_index(int(off.argmax()), off.shape)))
        places = self.net.layout
        names = [name for name in places if places.offset(name) <= at[-1]] if of_theta else []
        self.fail(
            identity,
            f"off by {error:.2g} of the largest (allowed: {allowed:.2g}), most at {at}"
            f"{f', in {names[-1]}' if names else ''}: {found[at]} in the place of {expected[at]}",
        )

    def fail(self, identity: str, what: str, cause: Exception | None = None) -> None:
        """Raise LayerError."""
        raise LayerError(
            f"{self.layer!r:.200}, {self.where} in mode '{self.mode}' on {self.net.backend}, "
            f"breaks the identity '{identity}': {what}"
        ) from cause
