"""Same seed, same bits: run after run, and for any number of threads."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
from weightspace.nnlite import models, optim

# Everything the engine computes, on sizes that fit no tile, as one digest.
PROGRAM = """
import hashlib, numpy as np
from weightspace import methods
from weightspace.nnlite import models, optim
rng = np.random.default_rng(0)
total = hashlib.sha256()
for sizes, n in (((784, 300, 100, 10), 64), ((33, 517, 65, 7), 129), ((5, 3), 1)):
    net = models.mlp(sizes, activation="leaky_relu", seed=2)
    x = rng.random((n, sizes[0]), dtype="float32")
    y = rng.integers(0, sizes[-1], n)
    v = rng.standard_normal(net.num_parameters).astype("float32")
    answers = [net.forward(x), net.loss_and_grad(x, y)[1], net.jvp(x, v), net.input_grad(x, y)]
    answers += [methods.importance.fisher(net, x, y, k) for k in ("true", "sampled", "empirical")]
    answers += [methods.importance.mas(net, x), methods.importance.sig(net, x)]
    adam = optim.Adam()
    state = adam.state(net.num_parameters, "float32")
    for step in range(1, 6):
        adam.step(net.ops, net.theta, net.loss_and_grad(x, y)[1], state, step,
                  optim.Streams(omega=v * v, anchor=v, lam=0.1, path=np.zeros_like(v)))
    for array in (*answers, net.theta):
        total.update(array.tobytes())
for build, shape in ((models.fip_cnn, (14, 14, 1)), (models.resnet20, (12, 12, 3))):
    net = build(7, input_shape=shape)
    x, y = rng.random((9, *shape), dtype="float32"), rng.integers(0, 7, 9)
    v = rng.standard_normal(net.num_parameters).astype("float32")
    answers = [net.loss_and_grad(x, y, mode="train")[1], net.forward(x), net.jvp(x, v)]
    answers += [methods.importance.fisher(net, x, y, "sampled"), methods.importance.sig(net, x)]
    for array in (*answers, *net.state.values()):
        total.update(array.tobytes())
print(total.hexdigest())
"""


FEW_STEPS = """
import hashlib, numpy as np
from weightspace.nnlite import models, optim
rng = np.random.default_rng(0)
net = models.mlp((20, 16, 5), activation="tanh", seed=2)
x, y = rng.random((32, 20), dtype="float32"), rng.integers(0, 5, 32)
adam = optim.Adam()
state = adam.state(net.num_parameters, "float32")
for step in range(1, 6):
    adam.step(net.ops, net.theta, net.loss_and_grad(x, y)[1], state, step)
for array in (net.theta, state["m"], state["v"], net.forward(x[:1])):
    print(hashlib.sha256(array.tobytes()).hexdigest())
"""


def digest(threads: int, program: str = PROGRAM, **more: str) -> str:
    environment = {**os.environ, "NUMBA_NUM_THREADS": str(threads), **more}
    command = [sys.executable, "-c", program]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


def test_threads_do_not_change_a_bit():
    pytest.importorskip("numba", reason="threads are the cpu backend's, which needs numba")
    one = digest(1)
    assert digest(2) == one
    assert digest(3) == one, "more threads than cores"


def test_a_cold_cache_gives_the_bits_of_a_warm_one(tmp_path):
    """The process that compiled used to fuse other products and sums than those that came after."""
    pytest.importorskip("numba", reason="only the cpu backend compiles")
    cold = digest(2, FEW_STEPS, NUMBA_CACHE_DIR=str(tmp_path))
    assert any(tmp_path.rglob("*.nbi")), "it compiled, and kept what it had compiled"
    assert digest(2, FEW_STEPS, NUMBA_CACHE_DIR=str(tmp_path)) == cold


def train(backend: str) -> bytes:
    net = models.mlp((30, 40, 5), backend=backend, seed=1)
    rng = np.random.default_rng(3)
    adam = optim.Adam(1e-2)
    state = adam.state(net.num_parameters, "float32")
    for step in range(1, 51):
        x, y = rng.random((17, 30), dtype="float32"), rng.integers(0, 5, 17)
        adam.step(net.ops, net.theta, net.loss_and_grad(x, y)[1], state, step)
    return hashlib.sha256(net.theta.tobytes()).digest()


def test_training_twice_gives_the_same_bits(backend):
    assert train(backend) == train(backend)
