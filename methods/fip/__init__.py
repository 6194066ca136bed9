"""Functionally invariant paths (Raghavan & Thomson): moving in weight space, outputs kept."""

from .distance import bhattacharyya
from .sparsify import SparsePath, SparseResult, authors, sparsify

__all__ = ["SparsePath", "SparseResult", "authors", "bhattacharyya", "sparsify"]
