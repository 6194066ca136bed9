"""Every layer keeps the identities of `check_layer`, and a layer that breaks one is caught."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from weightspace import nnlite as nn
from weightspace.kernels.errors import LayerError, SettingError, ShapeError, UnknownNameError
from weightspace.nnlite.layers import LAYERS

PAGE = Path(__file__).parents[1] / "docs" / "new-layer.md"
IMAGE = (9, 8, 3)
BLOCK = (
    nn.Conv2d(6, 3, 2, 1, bias=False),
    nn.BatchNorm2d(activation="relu"),
    nn.Conv2d(6, 3, 1, 1, bias=False),
    nn.BatchNorm2d(),
)
CASES: list[tuple[nn.Layer, tuple[int, ...]]] = [
    (nn.Linear(9, "relu"), (13,)),
    (nn.Linear(9, "leaky_relu", 0.1), (13,)),
    (nn.Linear(1, "tanh"), (13,)),
    (nn.Linear(6, "sigmoid", bias=False), (13,)),
    (nn.Activation("tanh"), (13,)),
    (nn.Activation("sigmoid"), IMAGE),
    (nn.Flatten(), IMAGE),
    (nn.Dropout(0.5), (13,)),
    (nn.ContextLinear(9, "tanh"), (13,)),
    (nn.ContextLinear(5, bias=False), (13,)),
    (nn.Context(), IMAGE),
    (nn.Rotation(), (13,)),
    (nn.ComplexLinear(6, "tanh"), (2, 5)),
    (nn.ComplexLinear(5, "relu"), (7,)),
    (nn.ComplexLinear(5, real=True), (2, 6)),
    (nn.Conv2d(9, 3, 1, 1, "relu"), IMAGE),  # wide enough for Winograd
    (nn.Conv2d(8, 3, 1, 1, "tanh"), (9, 8, 9)),
    (nn.Conv2d(4, (2, 3), (2, 1), (0, 1), "leaky_relu", 0.1, bias=False), (9, 8, 8)),
    (nn.Conv2d(6, 3, 1, "same", "tanh", groups=3), (5, 4, 3)),  # depthwise, two filters a channel
    (nn.Conv2d(17, 3, 2, ((0, 1), (1, 0)), "relu", groups=17), (7, 6, 17)),
    (nn.Conv2d(6, (3, 2), 1, "same", dilation=(2, 3), groups=2, bias=False), (7, 6, 4)),
    (nn.Conv2d(4, 3, (2, 3), 2, "sigmoid", dilation=(3, 2)), IMAGE),
    (nn.ContextConv2d(6, 3, 1, 1, "relu", groups=3), (5, 4, 3)),
    (nn.ContextConv2d(5, 3, 1, 1, "relu"), IMAGE),
    (nn.ContextConv2d(4, 3, 2, bias=False), IMAGE),
    (nn.ComplexConv2d(4, 3, 1, 1, "relu", real_input=True), IMAGE),
    (nn.ComplexConv2d(3, (2, 3), 2, (1, 0), "tanh"), (9, 8, 4)),
    (nn.ComplexFlatten(), (4, 3, 6)),
    (nn.ComplexFlatten(), (6,)),
    (nn.MaxPool2d(2), IMAGE),
    (nn.MaxPool2d(3, 2, 1), IMAGE),
    (nn.MaxPool2d((2, 3), 2, ((1, 0), (0, 2)), ceil_mode=True), (6, 5, 3)),
    (nn.MaxPool2d(2, ceil_mode=True), (5, 7, 2)),
    (nn.AvgPool2d(2, 1), IMAGE),
    (nn.AvgPool2d(3, 2, 1, ceil_mode=True), (6, 5, 3)),
    (nn.AvgPool2d((2, 3), 2, ((0, 1), (2, 1)), count_padding=False), (5, 6, 2)),
    (nn.AdaptiveAvgPool2d(3, 2), IMAGE),
    (nn.GlobalAvgPool(), IMAGE),
    (nn.BatchNorm2d(activation="tanh"), IMAGE),
    (nn.BatchNorm2d(affine=False, activation="relu"), IMAGE),
    (nn.BatchNorm2d(statistics="batch"), IMAGE),
    (nn.BatchNorm2d(), (6,)),
    (nn.Residual(BLOCK, (nn.Conv2d(6, 1, 2, bias=False), nn.BatchNorm2d())), IMAGE),
    (nn.Residual((nn.Conv2d(3, 3, 1, 1), nn.Dropout(0.4)), activation="leaky_relu"), IMAGE),
    (nn.Residual((nn.Linear(5, "tanh"), nn.Context()), (nn.Linear(5),), "sigmoid"), (13,)),
    (nn.Sequential((nn.Activation("tanh"), nn.MaxPool2d(2))), IMAGE),
    (nn.Sequential((nn.Linear(6), nn.BatchNorm2d(), nn.Dropout(0.5), nn.Linear(3))), (13,)),
    (nn.Sequential((nn.Conv2d(3), nn.Residual((nn.Conv2d(3, 3, 1, 1),)))), IMAGE),
]


@pytest.mark.parametrize(("layer", "shape"), CASES, ids=lambda of: f"{of}".replace(" ", "")[:60])
def test_a_layer_keeps_every_identity(layer, shape, backend):
    nn.check_layer(layer, shape, backend=backend)


def test_every_layer_is_among_them():
    assert {type(layer) for layer, _ in CASES} == set(LAYERS.values())


# ---- the page for a new layer, and what may go wrong with one -----------------------------------


def page() -> dict:
    """The names that the page's code leaves behind."""
    names: dict = {"__name__": __name__}  # where dataclasses look for the module
    for block in re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL):
        exec(compile(block, str(PAGE), "exec"), names)
    return names


Scale = page()["Scale"]  # y = a x, one a for each feature; `saved` is x


def test_the_page_runs_and_trains_its_layer():
    names = page()
    assert names["losses"][-1] < 0.8 * names["losses"][0]


def wrong(**verbs) -> nn.Layer:
    """A Scale that has these verbs in the place of its own."""
    return dataclass(frozen=True)(type("Wrong", (Scale,), verbs))()


def forward(change):
    def made(self, k, p, x):
        y, saved = Scale.forward(self, k, p, x)
        return change(k, y), saved

    return made


def backward(dy_too=lambda dy: 1.0, dx=1.0, beta_too=1.0, forgets=False):
    def made(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
        found = Scale.backward(self, k, p, saved, dy * dy_too(dy), dp, beta * beta_too, want_dx)
        if forgets:
            saved[...] = 0
        return None if found is None else dx * found

    return made


def tangent(by_theta=1.0, by_x=1.0, both=1.0):
    def made(self, k, p, saved, tp, tx):
        parts = [] if tx is None else [by_x * p["scale"] * tx]
        parts += [] if tp is None else [by_theta * tp["scale"] * saved]
        return both ** (len(parts) - 1) * sum(parts) if parts else None

    return made


def writes(verb: str, change):
    """The verb, with `change` made to what it has written into `out` (or `total`)."""

    def made(self, k, p, saved, dy, out, *power):
        getattr(Scale, verb)(self, k, p, saved, dy, out, *power)
        change(out["scale"] if isinstance(out, dict) else out)

    return made


def grow(array):
    array *= 1.001


def moving(k, y):
    k.state["seen"] += 1
    return y


def alone_too(self, k, p, saved, tp, tx, txx):
    """`second` of a layer that is the first, whose inputs never move."""
    ty = self.tangent(k, p, saved, tp, tx)
    return ty, None


def still(self, k, p, saved, tp, tx):
    return np.zeros_like(saved) if tp is tx is None else Scale.tangent(self, k, p, saved, tp, tx)


def bent_by_two_alone(self, k, p, saved, tp, tx, txx):
    """`second` of one that forgets inputs that move to first order only."""
    ty, tyy = Scale.second(self, k, p, saved, tp, tx, txx)
    return ty, None if txx is None else tyy


def multiplied(self, k, p, saved, dy, dp, beta=1.0, want_dx=True):
    if dp is not None:
        dp["scale"][...] = beta * dp["scale"] + (saved * dy).sum(axis=0)
    return Scale.backward(self, k, p, saved, dy, None, beta, want_dx)


def unwritten(self, *given):
    raise NotImplementedError


def first_power(self, k, p, saved, dy, out, power):
    Scale.accumulate(self, k, p, saved, dy, out, 1)


def unmoved(self, k, p, x, tp, tx):
    return *Scale.forward(self, k, p, x)[:1], None if tp is None else 0 * x


WRONG = {
    "tangent is the central difference by the parameters": {"tangent": tangent(by_theta=2)},
    "tangent is the central difference by the inputs": {"tangent": tangent(by_x=2)},
    "tangent is linear in both directions": {"tangent": tangent(both=2)},
    "tangent is None": {"tangent": still},
    "for the parameters": {"backward": backward(lambda dy: 2.0, dx=0.5)},
    "for the inputs": {"backward": backward(dx=0.5)},
    "backward adds where beta is 1": {"backward": backward(beta_too=0.5)},
    "backward answers the same again": {"backward": backward(forgets=True)},
    "single samples sums": {"backward": backward(lambda dy: dy.any(axis=1).mean())},
    "second is": {"second": alone_too},
    "second is the tangent's": {"second": bent_by_two_alone},
    "backward overwrites where beta is 0": {"backward": multiplied},
    "tangent keeps the dtype": {"tangent": tangent(by_theta=np.float64(1))},
    "every verb answers': NotImplementedError": {"tangent": unwritten},
    "forward_tangent is": {"forward_tangent": unmoved},
    "tangents are": {"tangents": lambda self, *given: 2 * Scale.tangents(self, *given)},
    "stacked_grads are": {"stacked_grads": writes("stacked_grads", grow)},
    "sample_grads are": {"sample_grads": writes("sample_grads", grow)},
    "accumulate adds |gradient|**1": {"accumulate": writes("accumulate", grow)},
    "accumulate adds |gradient|**2": {"accumulate": first_power},
    "gram is G G^T": {"gram": writes("gram", grow)},
    "signal is a sum": {"signal": lambda self, k, p, s, out: np.add(out["scale"], 1, out["scale"])},
    "signal adds, never less": {"signal": lambda self, k, p, s, out: out["scale"].fill(0)},
    "output_shape is": {"output_shape": lambda self, shape: (1, *shape)},
    "a program's gradient is": {
        "backward": backward(lambda dy: 1.0 if type(dy) is np.ndarray else 2.0)
    },
    "no sample sees another": {"forward": forward(lambda k, y: y - y.mean(axis=0))},
    "a sample alone": {"forward": forward(lambda k, y: y * len(y))},
    "mode 'train' is mode 'eval'": {"forward": forward(lambda k, y: y * len(k.run.mode))},
    "mode 'eval' leaves state '0.seen' alone": {
        "state": lambda self, shape: {"seen": (shape, 0.0)}, "forward": forward(moving),
    },
}  # fmt: skip


@pytest.mark.parametrize("identity", WRONG)
def test_a_wrong_layer_is_caught_and_told_why(identity):
    with pytest.raises(LayerError, match=re.escape(identity)) as caught:
        nn.check_layer(wrong(**WRONG[identity]), (6,))
    where = "behind another" if identity.startswith("second is") else "alone"
    assert f"Wrong(), {where} in mode 'eval' on reference" in str(caught.value)


def test_each_mode_is_proved():
    doubled = {"forward": forward(lambda k, y: y * 2 if k.run.mode == "train" else y)}
    with pytest.raises(LayerError, match=r"in mode 'train' .*tangent is the central"):
        nn.check_layer(wrong(moded=lambda self: True, **doubled), (6,))


def test_a_slip_shows_where_it_is():
    def slip(array):
        array[..., 4] += 1e-6

    layer = wrong(sample_grads=writes("sample_grads", slip))
    with pytest.raises(LayerError, match=r"off by .*e-0\d .*most at \(\d, 4\), in 0\.scale: "):
        nn.check_layer(layer, (6,))


def test_wrong_arguments_are_named(untyped):
    for given, error, message in (
        ((nn.Linear, (3,)), SettingError, "an object of it"),
        ((nn.Linear(3), 3), ShapeError, "input_shape"),
        ((nn.Linear(3), (4, 4, 1)), ShapeError, "Flatten"),
    ):
        with pytest.raises(error, match=message):
            nn.check_layer(*untyped(given))
    with pytest.raises(SettingError, match="samples"):
        nn.check_layer(nn.Linear(3), (3,), samples=1)
    with pytest.raises(UnknownNameError, match="reference"):
        nn.check_layer(nn.Linear(3), (3,), backend="referrence")
