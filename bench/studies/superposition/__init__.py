"""Superposition (Cheung et al. 2019) beyond single runs: capacity, choice of contexts, figures."""
