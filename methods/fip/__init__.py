"""Functionally invariant paths (Raghavan & Thomson): moving in weight space, outputs kept."""

from .distance import bhattacharyya

__all__ = ["bhattacharyya"]
