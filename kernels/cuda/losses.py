"""Launches of the losses' kernels; the meaning is in `reference.losses`.

Labels lie on the device and are not looked at here: one that names no class gives a loss and a
cotangent of NaN.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .launch import MOST_BLOCKS, REAL, Family, Source, c_type, ceil_div, contiguous

NARROW = 32  # the most classes for which a thread works on a row, as in losses.cu
ROWS = 64  # threads and rows of such a block
WARPS = 4  # of a block where a warp works on a row

SOURCE = Source(
    "losses.cu",
    {
        f"{kernel}{way}": REAL
        for kernel in ("softmax", "cross_entropy", "jacobian", "squared_error")
        for way in ("_narrow", "_wide")
    }
    | {
        "softmax_fisher_factor": REAL,
        "mean_loss": REAL,
        "label_weights": REAL,
        "weigh_losses": REAL,
        "weighted_mean": REAL,
    },
)


class Losses(Family):
    """Launches of losses.cu."""

    def _loss_rows(self, kernel: str, array: Any, *args: Any) -> None:
        """Launch a kernel over the rows of `array` (N, K), in the way that suits their length."""
        n, k = array.shape
        sizes = np.int64(n), np.int32(k)
        if k <= NARROW:
            name, rows, threads = f"{kernel}_narrow<{c_type(array)}>", ROWS, ROWS
        else:
            name, rows, threads = f"{kernel}_wide<{c_type(array)}>", WARPS, 32 * WARPS
        if n:
            blocks = min(ceil_div(n, rows), 4 * MOST_BLOCKS)
            self.launch(name, (blocks,), (threads,), *sizes, *args)

    def softmax(self, logits: Any, active: Any, p: Any) -> None:
        contiguous(logits, active, p)
        self._loss_rows("softmax", logits, logits, active, p)

    def softmax_backward(self, p: Any, u: Any, dz: Any) -> None:
        contiguous(p, u, dz)
        self._loss_rows("jacobian", p, p, u, dz)

    def softmax_fisher_factor(self, p: Any, factor: Any) -> None:
        contiguous(p, factor)
        n, k = p.shape
        name = f"softmax_fisher_factor<{c_type(p)}>"
        self.over_rows(name, k * n, k, np.int32(n), p, factor)

    def softmax_cross_entropy(
        self, logits: Any, labels: Any, active: Any, loss: Any, dlogits: Any
    ) -> None:
        contiguous(logits, labels, active, loss, dlogits)
        self._loss_rows("cross_entropy", logits, logits, labels, active, loss, dlogits)

    def squared_error(self, outputs: Any, targets: Any, loss: Any, doutputs: Any) -> None:
        contiguous(outputs, targets, loss, doutputs)
        self._loss_rows("squared_error", outputs, outputs, targets, loss, doutputs)

    def mean_loss(self, loss: Any, mean: Any) -> None:
        contiguous(loss, mean)
        self._in_one_block("mean_loss", loss, np.int64(loss.size), loss, mean)

    def label_weights(
        self, labels: Any, weights: Any, ignored: int, known: Any, weight: Any, total: Any
    ) -> None:
        contiguous(labels, weights, known, weight, total)
        sizes = np.int64(labels.size), np.int32(weights.size)
        self._in_one_block(
            "label_weights", weight, *sizes, labels, weights, np.int64(ignored), known, weight,
            total,
        )  # fmt: skip

    def weigh_losses(self, weight: Any, loss: Any, dlogits: Any) -> None:
        contiguous(weight, loss, dlogits)
        name = f"weigh_losses<{c_type(loss)}>"
        self.over_rows(name, *dlogits.shape, weight, loss, dlogits)

    def weighted_mean(self, loss: Any, total: Any, mean: Any) -> None:
        contiguous(loss, total, mean)
        self._in_one_block("weighted_mean", loss, np.int64(loss.size), loss, total, mean)

    def _in_one_block(self, kernel: str, array: Any, *args: Any) -> None:
        """Launch a kernel of `array`'s type that sums over all samples."""
        self.launch(f"{kernel}<{c_type(array)}>", (1,), (256,), *args)
