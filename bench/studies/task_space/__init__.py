"""The study `task-space` (Campbell et al. 2018).

study: its parts, and those that are short; schemes, pairs: the long ones. lab: settings, tasks and
training. numbers: what rows come to, which claims, tables and figures read; claims: of the paper,
each with its criterion; figures, pictures: what is forgotten, and how sets look. A new measure is a
number in the rows of a part, a function in `numbers`, and a line in one of the tables that name
what is judged (`CLAIMS`), told (`_TABLES`) and drawn (`figures.draw`).
"""
