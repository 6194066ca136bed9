"""Continual learning in exported C, under the memory of a small device."""
