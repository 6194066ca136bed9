"""Against torch, where it is installed: the same numbers by a road that shares none of ours."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods import importance
from weightspace.nnlite import Conv2d, Flatten, Linear, Network, models, optim

torch = pytest.importorskip("torch", reason="torch is not installed: pip install torch")

SIZES = (20, 31, 17, 7)
N = 33


@pytest.fixture(params=["float32", "float64"])
def pair(request, backend):
    """Our network and torch's, of equal weights, with a batch."""
    dtype = request.param
    ours = models.mlp(SIZES, "relu", backend=backend, dtype=dtype, seed=2)
    layers = []
    for inputs, outputs in pairwise(SIZES):
        layers += [torch.nn.Linear(inputs, outputs), torch.nn.ReLU()]
    theirs = torch.nn.Sequential(*layers[:-1]).to(getattr(torch, dtype))
    torch.nn.utils.vector_to_parameters(torch.from_numpy(ours.theta.copy()), theirs.parameters())
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(N, SIZES[0])).astype(dtype), rng.integers(0, SIZES[-1], N)
    return ours, theirs, x, y


def flat(tensors) -> np.ndarray:
    return torch.cat([t.reshape(-1) for t in tensors]).detach().numpy()


def allowed(net) -> float:
    # some hundred sums, one after another through three layers
    return tolerance(net.dtype, N * max(SIZES))


def test_loss_and_gradient(pair):
    ours, theirs, x, y = pair
    loss = torch.nn.functional.cross_entropy(theirs(torch.from_numpy(x)), torch.from_numpy(y))
    expected = flat(torch.autograd.grad(loss, list(theirs.parameters())))
    found_loss, found = ours.loss_and_grad(x, y)
    assert abs(found_loss - loss.item()) <= allowed(ours) * loss.item()
    assert relative_error(found, expected) <= allowed(ours)


def functional(theirs, x):
    names = [name for name, _ in theirs.named_parameters()]

    def f(*parameters):
        named = dict(zip(names, parameters, strict=True))
        return torch.func.functional_call(theirs, named, (torch.from_numpy(x),))

    return f, tuple(p.detach() for p in theirs.parameters())


def test_jvp_and_vjp(pair):
    ours, theirs, x, _ = pair
    rng = np.random.default_rng(5)
    v = rng.normal(size=ours.num_parameters).astype(ours.dtype)
    u = rng.normal(size=(N, SIZES[-1])).astype(ours.dtype)
    f, parameters = functional(theirs, x)
    tangents = tuple(torch.from_numpy(view.copy()) for view in ours.layout.views(v).values())
    _, expected = torch.func.jvp(f, parameters, tangents)
    assert relative_error(ours.jvp(x, v), expected.numpy()) <= allowed(ours)
    _, pull = torch.func.vjp(f, *parameters)
    assert relative_error(ours.vjp(x, u), flat(pull(torch.from_numpy(u)))) <= allowed(ours)


def test_per_sample_gradients_and_empirical_fisher(pair):
    ours, theirs, x, y = pair
    rows = []
    for n in range(N):
        logits = theirs(torch.from_numpy(x[n : n + 1]))
        loss = torch.nn.functional.cross_entropy(logits, torch.from_numpy(y[n : n + 1]))
        rows.append(flat(torch.autograd.grad(loss, list(theirs.parameters()))))
    expected = np.array(rows)
    assert relative_error(ours.sample_grads(x, y), expected) <= allowed(ours)
    fisher = importance.fisher(ours, x, y, "empirical", batch=10)
    assert relative_error(fisher, (expected**2).mean(0)) <= allowed(ours)


@pytest.mark.parametrize(
    ("ours_", "theirs_"),
    [
        (optim.SGD(0.05), lambda p: torch.optim.SGD(p, lr=0.05)),
        (optim.SGD(0.05, 0.9), lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9)),
        (optim.Adam(0.01), lambda p: torch.optim.Adam(p, lr=0.01)),
        (optim.RMSprop(0.01), lambda p: torch.optim.RMSprop(p, lr=0.01)),
        (
            optim.Adadelta(0.5),
            lambda p: torch.optim.Adadelta(p, lr=0.5, rho=0.95, eps=1e-8),
        ),
    ],
    ids=["sgd", "momentum", "adam", "rmsprop", "adadelta"],
)
def test_optimizers_walk_the_same_path(backend, ours_, theirs_):
    """Twenty steps on the same gradients, in float64."""
    from weightspace.kernels import get_backend

    rng = np.random.default_rng(0)
    theta = rng.normal(size=50)
    tensor = torch.nn.Parameter(torch.from_numpy(theta.copy()))
    optimizer = theirs_([tensor])
    state = ours_.state(50, "float64")
    for count in range(1, 21):
        grad = rng.normal(size=50)
        ours_.step(get_backend(backend), theta, grad, state, count)
        tensor.grad = torch.from_numpy(grad)
        optimizer.step()
    assert relative_error(theta, tensor.detach().numpy()) <= tolerance("float64", 20)


CONVOLUTIONS = {
    "grouped": Conv2d(6, 3, 1, 1, "tanh", groups=2),
    "depthwise": Conv2d(4, 3, 2, 1, "tanh", groups=4),
    "two filters a channel": Conv2d(8, (3, 2), (1, 2), "same", groups=4),
    "dilated": Conv2d(5, 3, (2, 1), 2, "tanh", dilation=(3, 2)),
    "asymmetric": Conv2d(5, 3, 2, ((0, 1), (2, 0)), "tanh"),
    "asymmetric, depthwise, dilated": Conv2d(4, 3, 1, ((2, 1), (0, 3)), dilation=2, groups=4),
    "same, even": Conv2d(5, (2, 4), 1, "same", "tanh", dilation=(1, 3)),
}


@pytest.mark.parametrize("name", CONVOLUTIONS)
def test_convolutions_in_groups_dilated_and_of_any_padding(name, backend):
    """Outputs, gradients of parameters and of each sample, and a Jacobian, in float64."""
    from weightspace.bench.speed.torch_twin import flat as turned
    from weightspace.bench.speed.torch_twin import to_torch, twin

    ours = Network([CONVOLUTIONS[name], Flatten(), Linear(3)], (9, 8, 4), backend, "float64")
    theirs, rng = twin(ours), np.random.default_rng(6)
    x, y = rng.normal(size=(5, 9, 8, 4)), rng.integers(0, 3, 5)
    images, labels, close = to_torch(x), torch.from_numpy(y), tolerance("float64", 1000)
    assert relative_error(ours.forward(x), theirs(images).detach().numpy()) <= close
    for found, rows in ((ours.loss_and_grad(x, y)[1], slice(None)), *(
        (g, slice(n, n + 1)) for n, g in enumerate(ours.sample_grads(x, y))
    )):  # fmt: skip
        loss = torch.nn.functional.cross_entropy(theirs(images[rows]), labels[rows])
        expected = turned(torch.autograd.grad(loss, list(theirs.parameters())))
        assert relative_error(found, expected) <= close
    v = rng.normal(size=ours.num_parameters)
    step = 1e-6
    ahead, behind = (ours.like() for _ in range(2))
    ahead.theta += step * v
    behind.theta -= step * v
    numeric = (twin(ahead)(images) - twin(behind)(images)).detach().numpy() / (2 * step)
    assert relative_error(ours.jvp(x, v), numeric) <= 1e-7
