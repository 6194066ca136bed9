"""Trains a network on digits and prints it as C, with learning, into the folder that is given.

python train.py FOLDER [naive | ewc]
"""

import sys
from pathlib import Path

import numpy as np
from weightspace.bench.data import load
from weightspace.nnlite import models
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.optim import SGD, Adam


def small(images: np.ndarray) -> np.ndarray:
    """28 x 28 as 14 x 14 bytes: means of squares."""
    return images.reshape(-1, 14, 2, 14, 2).mean(axis=(2, 4)).astype(np.uint8).reshape(-1, 196)


def bytes_in_c(name: str, values: np.ndarray) -> str:
    """An array of bytes as C."""
    numbers = ",".join(map(str, values.ravel()))
    return f"static const uint8_t {name}[{values.size}] = {{{numbers}}};\n"


folder, method = Path(sys.argv[1]), (sys.argv[2:] or ["ewc"])[0]
data = load("mnist-demo")
train, test = small(data.train_x), small(data.test_x)

net = models.mlp((196, 32, 10), dtype="float32", seed=1)
adam, grad = Adam(3e-3), np.empty_like(net.theta)
state, order = adam.state(net.num_parameters, net.dtype), np.random.default_rng(0)
for step in range(1, 601):
    rows = order.integers(0, len(train), 32)
    x = train[rows].astype(np.float32) / np.float32(255)
    net.loss_and_grad(x, data.train_y[rows], out=grad)
    adam.step(net.ops, net.theta, grad, state, step)

learning = Learning(batch=8, optimizer=SGD(0.05), method=method, lam=10.0)
made = export(net, "net", learning)
made.write(folder)
print(f"{method}: {made.weights_bytes:,} bytes of weights, {made.arena_bytes:,} of arena")

arrays = {"samples": train[:400], "labels": data.train_y[:400],
          "test_samples": test[:200], "test_labels": data.test_y[:200]}  # fmt: skip
text = "".join(bytes_in_c(name, values) for name, values in arrays.items())
(folder / "digits.h").write_text("#include <stdint.h>\n" + text)
