"""Functionally invariant paths (Raghavan & Thomson, arXiv 2205.00334): the metric and its uses."""

from .continual import FIP
from .distance import bhattacharyya
from .metric import Metric, effective_rank
from .path import Path, Step, energy, path, principal, refine
from .solve import Solution, conjugate_gradients, sampled, solve, woodbury
from .sparsify import SparsePath, SparseResult, authors_path, sparsify
from .walk import Walk

__all__ = [
    "FIP",
    "Metric",
    "Path",
    "Solution",
    "SparsePath",
    "SparseResult",
    "Step",
    "Walk",
    "authors_path",
    "bhattacharyya",
    "conjugate_gradients",
    "effective_rank",
    "energy",
    "path",
    "principal",
    "refine",
    "sampled",
    "solve",
    "sparsify",
    "woodbury",
]
