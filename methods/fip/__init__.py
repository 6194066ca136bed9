"""Functionally invariant paths (Raghavan & Thomson, arXiv 2205.00334): the metric and its uses."""

from .continual import FIP
from .distance import bhattacharyya, fisher_rao
from .metric import Metric, effective_rank
from .path import WANDERS, Path, Step, Wander, energy, path, principal, refine
from .solve import Solution, conjugate_gradients, sampled, solve, woodbury
from .sparsify import SparsePath, SparseResult, authors_path, sparsify
from .walk import Stop, Walk

__all__ = [
    "FIP",
    "WANDERS",
    "Metric",
    "Path",
    "Solution",
    "SparsePath",
    "SparseResult",
    "Step",
    "Stop",
    "Walk",
    "Wander",
    "authors_path",
    "bhattacharyya",
    "conjugate_gradients",
    "effective_rank",
    "energy",
    "fisher_rao",
    "path",
    "principal",
    "refine",
    "sampled",
    "solve",
    "sparsify",
    "woodbury",
]
