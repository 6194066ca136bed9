"""What the bench's peers are given, and what they must answer: float64, and other libraries."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from weightspace.bench.speed.peers import kinds as networks
from weightspace.bench.speed.peers import problem, truth, truth_conv

TINY = problem.Problem("forward-1", networks.Mlp((5, 7, 4, 3)), 6)
TINY_TANH = problem.Problem("train-step-adam", networks.Regression((5, 7, 4, 3)), 6)
TINY_CONV = problem.Problem("conv-forward", networks.Convolution(9, 8, 5), 3)


def test_no_unit_sits_at_its_kink():
    made = problem.Problem("jvp", mlp := networks.Mlp((20, 300, 300, 5)), 64).draw()
    layers = mlp.split(made.arrays["theta"].astype(np.float64))
    _, inputs = truth.forward(layers, made.arrays["x"].astype(np.float64))
    for (weight, bias), x in zip(layers[:-1], inputs, strict=False):
        assert np.abs(x @ weight.T + bias).min() > networks.KINK_MARGIN / 2


def drawn(operation):
    """The tiny problem with its arrays, and these in float64 with theta's layers."""
    made = replace(TINY, operation=operation).draw()
    arrays = {name: value.astype(np.float64) for name, value in made.arrays.items()}
    return made, arrays


def logits(made, theta, x):
    return truth.forward(made.network.split(theta), x)[0]


def jacobian(made, arrays, step=1e-6):
    """dlogits/dtheta by central differences: (N, K, P)."""
    columns = []
    for index in range(made.num_parameters):
        offset = np.zeros(made.num_parameters)
        offset[index] = step
        above = logits(made, arrays["theta"] + offset, arrays["x"])
        below = logits(made, arrays["theta"] - offset, arrays["x"])
        columns.append((above - below) / (2 * step))
    return np.stack(columns, axis=-1)


def test_truth_against_central_differences():
    made, arrays = drawn("jvp")
    j = jacobian(made, arrays)
    n, v, u = made.batch, arrays["v"], arrays["u"]
    f = logits(made, arrays["theta"], arrays["x"])
    p = truth.softmax(f)
    rows, y = np.arange(n), arrays["y"].astype(int)
    empirical = np.einsum("nk,nkp->np", p - np.eye(3)[y], j)
    every = [np.einsum("nk,nkp->np", p - np.eye(3)[c], j) for c in range(3)]
    expected = {
        "jvp": j @ v,
        "vjp": np.einsum("nk,nkp->p", u, j),
        "gram": np.einsum("nkp,nk->p", j, j @ v),
        "mas": np.abs(np.einsum("nk,nkp->np", 2 * f, j)).mean(axis=0),
        "fisher-empirical": (empirical**2).mean(axis=0),
        "fisher-true": sum(p[rows, c] @ g**2 for c, g in enumerate(every)) / n,
    }
    for operation, right in expected.items():
        (found,) = truth.answer(replace(made, operation=operation)).values()
        assert np.linalg.norm(found - right) < 1e-7 * np.linalg.norm(right), operation


def test_truth_of_a_training_step_is_the_gradients():
    made, arrays = drawn("train-step-sgd")
    j = jacobian(made, arrays)
    p = truth.softmax(logits(made, arrays["theta"], arrays["x"]))
    grad = np.einsum("nk,nkp->p", p - np.eye(3)[arrays["y"].astype(int)], j) / made.batch
    after = {"theta": arrays["theta"] - problem.LR_SGD * grad}
    for _ in range(problem.CHECK_STEPS - 1):
        again = {**arrays, **after}
        p = truth.softmax(logits(made, again["theta"], arrays["x"]))
        cotangent = p - np.eye(3)[arrays["y"].astype(int)]
        grad = np.einsum("nk,nkp->p", cotangent, jacobian(made, again)) / made.batch
        after = {"theta": again["theta"] - problem.LR_SGD * grad}
    change = truth.answer(made)["change"]
    assert np.linalg.norm(arrays["theta"] + change - after["theta"]) < 1e-7 * np.linalg.norm(change)


def test_truth_of_a_step_on_squared_error_is_the_losses_slope():
    """The gradient by differences of the loss, and Adam's steps along it."""
    made = TINY_TANH.draw()
    a = {name: value.astype(np.float64) for name, value in made.arrays.items()}
    net: Any = made.network
    assert a["y"].shape == (6, 3) and net.table == "REGRESSIONS"

    def loss(theta):
        outputs = truth.forward(net.split(theta), a["x"], "tanh")[0]
        return 0.5 * ((outputs - a["y"]) ** 2).sum() / made.batch

    offsets = 1e-6 * np.eye(made.num_parameters)
    slope = np.array([loss(a["theta"] + e) - loss(a["theta"] - e) for e in offsets]) / 2e-6

    def gradient(theta):
        layers = net.split(theta)
        outputs = truth.forward(layers, a["x"], "tanh")[0]
        return truth.pull(layers, a["x"], (outputs - a["y"]) / made.batch, act="tanh")

    assert np.allclose(gradient(a["theta"]), slope, atol=1e-8)
    m, v, theta = 0.0, 0.0, a["theta"].copy()
    for step in range(1, problem.CHECK_STEPS + 1):
        g = gradient(theta)
        m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
        root = np.sqrt(v / (1 - 0.999**step)) + problem.EPS
        theta = theta - problem.LR_ADAM * m / (1 - 0.9**step) / root
    assert np.allclose(truth.answer(made)["change"], theta - a["theta"], rtol=1e-9)


def test_a_small_wrong_part_does_not_hide():
    made, _ = drawn("vjp")
    right = truth.answer(made)
    wrong = right["vjp"].copy()
    wrong[-1] *= 1.5  # one of the last layer's three biases
    assert truth.error_of(made, {"vjp": wrong}, right) > 0.01
    assert truth.error_of(made, right, right) == 0.0
    for bad in ({}, {"vjp": right["vjp"][:-1]}, {"vjp": np.full_like(wrong, np.nan)}):
        assert truth.error_of(made, bad, right) == float("inf")


def test_truth_of_a_convolution_against_torch():
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    made = TINY_CONV.draw()
    a = {name: array.astype(np.float64) for name, array in made.arrays.items()}
    x, w, dy = (torch.tensor(a[name]).permute(0, 3, 1, 2) for name in ("x", "w", "dy"))
    x.requires_grad_()
    w.requires_grad_()
    y = torch.nn.functional.conv2d(x, w, padding=1)
    every = [torch.autograd.grad(y[n], w, dy[n], retain_graph=True)[0] for n in range(len(x))]
    dx, dw = torch.autograd.grad(y, (x, w), dy)
    expected = {"y": y, "dx": dx, "dw": dw, "fisher": sum(g.square() for g in every)}
    found = {}
    for operation in made.network.operations:
        found |= truth_conv.convolution(operation, a)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        right = tensor.detach().permute(0, 2, 3, 1).numpy()
        assert np.abs(found[name] - right).max() < 1e-13 * np.abs(right).max(), name


def test_truth_of_a_network_against_torch():
    """In float64, the peers' modules and the reference backend: logits, gradients, statistics."""
    torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")
    from weightspace.bench.speed.peers import torch_images, torch_net

    made = problem.Problem("train-step-sgd", networks.ConvNet("resnet20"), 2).draw()
    a = {name: value.astype(np.float64) for name, value in made.arrays.items() if name != "y"}
    made = replace(made, arrays={**a, "y": made.arrays["y"]})
    net = torch_images.network(made, torch.channels_last, inplace=False).double()
    torch_net.restore(net, made)
    x = torch_net.tensor(made, "x")
    logits = truth.answer(replace(made, operation="forward-1"))["logits"]
    assert np.abs(net(x).detach().numpy() - logits).max() < 1e-12 * np.abs(logits).max()
    net.train()
    optimizer = torch_net.momentum()(list(net.parameters()))
    for _ in range(problem.CHECK_STEPS):
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(net(x), torch_net.tensor(made, "y")).backward()
        optimizer.step()
    found = {
        "change": torch_net.flat(list(net.parameters())) - a["theta"],
        "state": torch_net.flat(torch_images.statistics(net)),
    }
    assert truth.error_of(made, found, truth.answer(made)) < 1e-9


def test_a_network_is_drawn_sane():
    for name in networks.NAMES:
        kind = networks.ConvNet(name)
        one, two = (problem.Problem("jvp", kind, 2).draw() for _ in range(2))
        assert all(np.array_equal(one.arrays[key], two.arrays[key]) for key in one.arrays)
        assert all(array.dtype in (np.float32, np.int64) for array in one.arrays.values())
        net = kind.build(one.arrays["theta"], one.arrays["state"], backend="reference")
        variances = [array for key, array in net.state.items() if key.endswith("var")]
        assert bool(variances) == (name != "lenet5")  # which has no norms
        assert all((array > 0).all() for array in variances)
        logits = net.forward(one.arrays["x"])
        assert 0.01 < logits.std() < 30  # a softmax that is neither flat nor one-hot
        assert np.array_equal(net.forward(one.arrays["x"]), logits)
        assert not any(getattr(layer, "rate", 0.0) for layer in net.layers)
