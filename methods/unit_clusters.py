"""Clusters of the units of two networks together: which groups of features do both have?

The affinity of units i and j of either network is |r_ij|, the absolute value of their correlation,
0 with themselves; the block matrix [within A, between; between', within B] holds all of them. (Li
et al. 2015 name spectral and agglomerative clustering but print no formula; this definition is
ours. The sign does not matter to it: an inverted feature is the same subspace.) Units that do not
vary belong to no cluster, label -1.

Spectral clustering: eigenvectors of the normalised Laplacian I - D^-1/2 A D^-1/2, then k-means
(Shi & Malik 2000; scikit-learn). Hierarchical: average linkage by the distance 1 - |r| (SciPy).
"""

from __future__ import annotations

from typing import Literal, NamedTuple, get_args

import numpy as np

from ..kernels.errors import MissingExtraError, SettingError, ShapeError, check_name
from ..kernels.host_blas import one_blas_thread
from .linear import solve
from .moments import Moments

Kind = Literal["spectral", "hierarchical"]
_RIDGE = 1e-9  # of a correlation matrix that is solved with


class Mixed(NamedTuple):
    """How two networks share clusters.

    first, second (k,): units of each in each cluster. mixed: share of the clusters with units of
    both. balance: mean over units of 2 min(first, second) / (first + second) of their cluster, 1
    where each is half and half. several: share of the units that lie in clusters of two units or
    more of each network, where a match is many-to-many.
    """

    first: np.ndarray
    second: np.ndarray
    mixed: float
    balance: float
    several: float


def affinity(correlation: np.ndarray) -> np.ndarray:
    """|r| (U, U) with 0 on the diagonal. Raises ShapeError for no square of finite numbers."""
    if (
        correlation.ndim != 2
        or correlation.shape[0] != correlation.shape[1]
        or not np.isfinite(correlation).all()
    ):
        raise ShapeError(f"affinities of {correlation.shape}: give finite correlations (U, U)")
    found = np.abs((correlation + correlation.T) / 2)
    np.fill_diagonal(found, 0)
    return found


def clusters(
    correlation: np.ndarray, count: int, kind: Kind = "spectral", seed: int = 0
) -> np.ndarray:
    """Labels (U,) 0..count-1 of units by their correlations (U, U); -1 for those that do not vary.

    seed: of spectral clustering's k-means. Raises UnknownNameError for another kind, SettingError
    for fewer than two clusters or not fewer than there are units.
    """
    check_name("kind of clusters", kind, get_args(Kind))
    alike = affinity(correlation)
    live = np.flatnonzero(np.diag(correlation) > 0)
    if not 2 <= count < len(live):
        raise SettingError(f"{count} clusters of {len(live)} units that vary: 2 or more, and fewer")
    labels = np.full(len(alike), -1)
    part = alike[np.ix_(live, live)]
    labels[live] = (
        _spectral(part, count, seed) if kind == "spectral" else _hierarchical(part, count)
    )
    return labels


@one_blas_thread
def _spectral(alike: np.ndarray, count: int, seed: int) -> np.ndarray:
    try:
        from sklearn.cluster import spectral_clustering  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scikit-learn", "analysis", "spectral clustering") from None
    return np.asarray(spectral_clustering(alike, n_clusters=count, random_state=seed))


def _hierarchical(alike: np.ndarray, count: int) -> np.ndarray:
    return np.unique(_cut(linkage(alike), count), return_inverse=True)[1]


def linkage(alike: np.ndarray) -> np.ndarray:
    """SciPy's tree (U - 1, 4) of average linkage by 1 - affinity."""
    try:
        from scipy.cluster import hierarchy  # noqa: PLC0415
        from scipy.spatial.distance import squareform  # noqa: PLC0415
    except ImportError:
        raise MissingExtraError("scipy", "analysis", "hierarchical clustering") from None
    return hierarchy.linkage(squareform(1 - alike - np.eye(len(alike))), "average")


def leaf_pairs(tree: np.ndarray) -> np.ndarray:
    """The pairs of leaves (k, 2) that a tree of `linkage` (U - 1, 4) joins before anything else.

    Each is a pair of units that are one another's nearest: the clusters at the tree's leaves.
    """
    leaves = len(tree) + 1
    return tree[(tree[:, :2] < leaves).all(axis=1), :2].astype(np.int64)


def _cut(tree: np.ndarray, count: int) -> np.ndarray:
    from scipy.cluster.hierarchy import fcluster  # noqa: PLC0415

    return fcluster(tree, count, criterion="maxclust")


def mixing(labels: np.ndarray, first: int) -> Mixed:
    """What clusters say of two networks, the first `first` units being of one of them."""
    if labels.ndim != 1 or not 0 < first < len(labels) or labels.max() < 0:
        raise ShapeError(f"labels {labels.shape}, {first} of the first network: give some of both")
    count = labels.max() + 1
    a, b = (
        np.bincount(part[part >= 0], minlength=count) for part in (labels[:first], labels[first:])
    )
    both, size = np.minimum(a, b), a + b
    return Mixed(
        a, b, float((both > 0).sum() / (size > 0).sum()), float(2 * both.sum() / size.sum()),
        float(size[both > 1].sum() / size.sum()),
    )  # fmt: skip


def explained(
    moments: Moments, labels: np.ndarray, first: int, sources: np.ndarray | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """How well a cluster's units of one network tell those of the other: two (units,) of R^2.

    For each unit of the second network in a cluster with two or more of each: R^2 of least squares
    from the cluster's units of the first, and r^2 of the best single one of them. sources: other
    units of the first network to stand in their place, (first,) a permutation of 0..first-1.
    """
    r = moments.correlation()
    whole, single = [], []
    for label in range(labels.max() + 1):
        members = np.flatnonzero(labels == label)
        a, b = members[members < first], members[members >= first]
        if min(len(a), len(b)) < 2:
            continue
        a = a if sources is None else sources[a]
        cross = r[np.ix_(a, b)]
        solved = solve(r[np.ix_(a, a)] + _RIDGE * np.eye(len(a)), cross)
        whole += list((cross * solved).sum(axis=0))
        single += list((cross**2).max(axis=0))
    return np.array(whole), np.array(single)
