"""Importances held against each other (Kutalev 2022).

correlations: the tables, figures and files of his experiment, a hook of the preset. why_sig: the
study of why SIG holds tasks; mixed: its penalty, importances taken apart and put together anew;
why_told: its answers, tables and figure.
"""
