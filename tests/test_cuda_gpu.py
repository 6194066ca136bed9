"""The backend "cuda" on a real GPU: `make test-cuda`.

Every kernel at the sizes of the bench (tests/test_kernels.py has the awkward ones); networks, a
training step captured as a graph, and what only a GPU can show. Where there is none, all of it
skips, or fails if it was required: see `backends`.
"""

from __future__ import annotations

import numpy as np
import pytest
from weightspace import methods
from weightspace.kernels import get_backend, spec
from weightspace.kernels.errors import OutOfMemoryError
from weightspace.nnlite import Network, models
from weightspace.nnlite.layers import Linear
from weightspace.nnlite.optim import SGD, Adam
from weightspace.nnlite.step import TrainingStep


def rungs() -> list[tuple[str, str]]:
    """Each kernel on each of the bench's sizes but the last, which is there to fill memory."""
    return [
        (kernel.name, rung)
        for kernel in spec.KERNELS.values()
        for rung in spec.LADDER[kernel.family]
        if rung != "memory"
    ]


@pytest.mark.parametrize(("name", "rung"), rungs())
def test_every_kernel_is_right_at_the_sizes_of_the_bench(gpu, name, rung, monkeypatch):
    """Large products also by cuBLAS."""
    if gpu == "cuda-host":
        pytest.skip("the host launcher takes minutes for these")
    kernel = spec.KERNELS[name]
    sizes = spec.LADDER[kernel.family][rung]
    for allowed in (False, True) if kernel.family == "dense" else (False,):
        monkeypatch.setattr(get_backend(gpu), "allow_cublas", allowed)
        assert spec.check(get_backend(gpu), kernel, sizes, "float32") <= 1


# ---- networks -----------------------------------------------------------------------------------


def close(net: Network, found, expected, allowed: float = 1e-9) -> None:
    found = net.device.get(found)
    scale = max(float(np.abs(expected).max()), 1e-30)
    assert np.abs(found - expected).max() <= allowed * scale


@pytest.fixture(params=["mlp", "lenet5"])
def pair(request, gpu):
    """The same network in float64 on the GPU and on the reference, and a batch for both."""

    def make(backend: str) -> Network:
        if request.param == "mlp":
            return models.mlp((12, 16, 9, 5), backend=backend, dtype="float64", seed=3)
        return models.lenet5(backend=backend, dtype="float64", seed=3)

    ours, theirs = make(gpu), make("reference")
    rng = np.random.default_rng(0)
    n = 3 if gpu == "cuda-host" else 17
    x = rng.normal(size=(n, *ours.input_shape))
    return ours, theirs, x, rng.integers(0, ours.num_outputs, n)


def test_the_verbs_of_a_network_agree_with_the_reference(pair):
    ours, theirs, x, y = pair
    rng = np.random.default_rng(1)
    v, u = rng.normal(size=ours.num_parameters), rng.normal(size=(len(x), ours.num_outputs))
    (loss, grad), (right, gradient) = (net.loss_and_grad(x, y, mode="train") for net in pair[:2])
    assert loss == pytest.approx(right, rel=1e-11)
    close(ours, grad, gradient)
    close(ours, ours.forward(x), theirs.forward(x))
    close(ours, ours.jvp(x, v), theirs.jvp(x, v))
    close(ours, ours.vjp(x, u), theirs.vjp(x, u))
    close(ours, ours.sample_grads(x, y), theirs.sample_grads(x, y))
    for measure in (
        lambda net: methods.importance.fisher(net, x, kind="true"),
        lambda net: methods.importance.fisher(net, x, y, kind="empirical"),
        lambda net: methods.importance.mas(net, x),
    ):
        close(ours, measure(ours), measure(theirs))


def trained(gpu: str, net: Network, x, y, captured: bool, optimizer=None) -> np.ndarray:
    """theta after a few steps, as graphs or launch by launch."""
    optimizer = optimizer or Adam(1e-3)
    moments = optimizer.state(net.num_parameters, net.dtype, net.device)
    adjust = None if captured else lambda net, grad: None  # a hook keeps a step from capture
    step = TrainingStep(net, optimizer, moments, adjust=adjust)
    x, y = net.device.put(x), net.device.put(y)
    for count in range(1, 7):
        step.queue(x, y, count)
    assert np.isfinite(step.read()).all()
    return net.device.get(net.theta)


def test_a_captured_step_gives_the_bits_of_a_plain_one(pair, gpu):
    ours, _, x, y = pair
    start = ours.device.get(ours.theta).copy()
    found = []
    for captured in (True, False):
        ours.theta[...] = ours.device.put(start)
        found.append(trained(gpu, ours, x, y, captured))
    assert found[0].tobytes() == found[1].tobytes() and (found[0] != start).any()


def test_products_of_cublas_can_be_captured(gpu, monkeypatch):
    """Wide enough that cuBLAS forms them; its answer is that of the reference."""
    if gpu == "cuda-host":
        pytest.skip("the host launcher has no cuBLAS")
    monkeypatch.setattr(get_backend(gpu), "allow_cublas", True)
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(256, 1024)), rng.integers(0, 10, 256)
    thetas = {}
    for backend, captured in ((gpu, True), (gpu, False), ("reference", False)):
        net = Network((Linear(1024, "tanh"), Linear(10)), (1024,), backend, "float64", seed=1)
        thetas[backend, captured] = trained(gpu, net, x, y, captured, SGD(0.1))
    assert thetas[gpu, True].tobytes() == thetas[gpu, False].tobytes()
    np.testing.assert_allclose(thetas[gpu, True], thetas["reference", False], rtol=0, atol=1e-12)


def test_a_network_moves_between_backends_by_file(pair, tmp_path):
    ours, _, x, _ = pair
    ours.save(tmp_path / "net.safetensors")
    again = Network.load(tmp_path / "net.safetensors", "reference")
    close(ours, ours.forward(x), again.forward(x))


def test_what_does_not_fit_is_refused_in_words(gpu):
    if gpu == "cuda-host":
        pytest.skip("the host launcher has this machine's memory")
    device = get_backend(gpu).device
    with pytest.raises(OutOfMemoryError, match=r"no room.*MiB are free.*plan"):
        device.empty((1 << 46,), np.float32)
    assert device.get(device.zeros((3,), np.float32)).tolist() == [0, 0, 0]  # and life goes on
