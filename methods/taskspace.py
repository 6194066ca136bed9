"""Task space: how alike tasks look before any network has seen them (Campbell et al. 2018).

A task is told by its mean images m[t, c] (D,), t of T tasks, c of C classes. Following the authors'
code, they are compared by Pearson's correlation over pixels,

    digits[t, c, d] = corr(m[t, c], m[t, d])       classes within a task, (T, C, C)
    tasks[c, s, t]  = corr(m[s, c], m[t, c])       tasks on one class, (C, T, T)

and by structural similarity (Wang et al. 2004) and Ward's clustering of all T C of them.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from ..kernels.errors import LabelError, MissingExtraError, ShapeError, check_name
from .correlation import centred
from .vectors import near_one

OVER = ("rows", "all")
WINDOW = 7  # pixels a side, of SSIM


def class_means(x: np.ndarray, y: np.ndarray, classes: int) -> np.ndarray:
    """The mean image of each class, (C, D) float64, of x (N, ...) flattened with labels y (N,).

    Raises ShapeError where x and y differ in number, and for a class without images; LabelError
    for labels that are no whole numbers from 0.
    """
    if y.shape != (len(x),):
        raise ShapeError(f"mean images of {len(x)} images with labels {y.shape}; give as many")
    if y.dtype.kind not in "iu" or (y.size and y.min() < 0):
        raise LabelError(f"mean images by labels of {y.dtype}: give whole numbers from 0")
    counts = np.bincount(y, minlength=classes)
    if len(counts) > classes or not counts.all():
        raise ShapeError(
            f"mean images of {classes} classes: the labels have {counts.tolist()} images each; "
            "every class needs at least one"
        )
    flat = x.reshape(len(x), -1)
    sums = [flat[y == c].sum(axis=0, dtype=np.float64) for c in range(classes)]
    return np.stack(sums) / counts[:, None]


def correlations(rows: np.ndarray) -> np.ndarray:
    """Pearson's correlation of each two of the last axis's vectors: (..., n, D) to (..., n, n).

    In float64; NaN where a vector is constant. Raises ShapeError for a single vector, and for
    vectors without values.
    """
    if rows.ndim < 2 or not rows.shape[-1]:
        raise ShapeError(f"correlations of an array of shape {rows.shape}; give rows (..., n, D)")
    apart = centred(rows)
    apart = near_one(apart)
    norm = np.sqrt((apart * apart).sum(axis=-1, keepdims=True))
    unit = np.divide(apart, norm, out=np.full_like(apart, np.nan), where=norm > 0)
    return np.einsum("...id,...jd->...ij", unit, unit)  # no BLAS, whose threads change bits


def digit_correlations(means: np.ndarray) -> np.ndarray:
    """Classes within each task, (T, C, C), of means (T, C, D)."""
    return correlations(means)


def task_correlations(means: np.ndarray) -> np.ndarray:
    """Tasks on each class, (C, T, T), of means (T, C, D)."""
    return correlations(means.swapaxes(0, 1))


def standardised(values: np.ndarray, over: Literal["rows", "all"] = "all") -> np.ndarray:
    """z-scores of correlations: (v - mean) / deviation, of each row or of all values at once.

    The deviation is the sample's (N - 1), as MATLAB's zscore has it. Raises UnknownNameError.
    """
    check_name("way to standardise", over, OVER)
    axis = -1 if over == "rows" else None
    centre = values.mean(axis=axis, keepdims=True)
    return (values - centre) / values.std(axis=axis, ddof=1, keepdims=True)


# ---- structure -----------------------------------------------------------------------------------


def ssim(a: np.ndarray, b: np.ndarray) -> float:
    """Structural similarity of two images (H, W, C) in [0, 1], a window of 7 x 7; 1 if equal.

    Raises ShapeError for images of different shapes, without channels or smaller than the window,
    MissingExtraError.
    """
    if a.shape != b.shape or a.ndim != 3 or min(a.shape[:2]) < WINDOW or not a.shape[2]:
        raise ShapeError(
            f"SSIM of images {a.shape} and {b.shape}; give two of one (H, W, C), {WINDOW} x "
            f"{WINDOW} pixels or more"
        )
    try:
        from skimage.metrics import structural_similarity  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scikit-image", "analysis", "structural similarity") from None
    found: Any = structural_similarity(a, b, win_size=WINDOW, data_range=1.0, channel_axis=-1)
    return float(found)


def ssim_to_means(
    x: np.ndarray, y: np.ndarray, means: np.ndarray, limit: int | None = None
) -> np.ndarray:
    """Mean SSIM (C,) of each class's images x (N, H, W, C), in [0, 1], to its mean in means (C, D).

    limit: only so many of each class, the first.
    """
    images = means.reshape(len(means), *x.shape[1:])
    found = np.empty(len(means))
    for c, mean in enumerate(images):
        of_class = np.flatnonzero(y == c)[:limit]
        found[c] = np.mean([ssim(x[row].astype(np.float64), mean) for row in of_class])
    return found


def ssim_between(means: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """SSIM of mean images task by task, (C, T, T), of means (T, C, D); shape (H, W, channels)."""
    tasks, classes = means.shape[:2]
    images = means.reshape(tasks, classes, *shape)
    found = np.ones((classes, tasks, tasks))
    for s in range(tasks):
        for t in range(s):
            for c in range(classes):
                found[c, s, t] = found[c, t, s] = ssim(images[s, c], images[t, c])
    return found


def ward(rows: np.ndarray) -> np.ndarray:
    """Ward's clustering of rows (n, D): scipy's linkage (n - 1, 4), neighbours put together.

    Each line joins two clusters at the root of twice the squared error that joining them adds.
    """
    try:
        from scipy.cluster.hierarchy import linkage  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "a dendrogram") from None
    return linkage(rows, "ward", optimal_ordering=True)
