"""Importances held against each other: the figures, tables and files of Kutalev (2022)."""
