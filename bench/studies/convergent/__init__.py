"""The study `convergent-learning` (Li, Yosinski, Clune, Lipson & Hopcroft 2015).

study: settings and the parts of a seed. keeping: its second half, a part for each method. tree: of
the units of two networks, its leaves and its figure. tables: claims, tables and CSV of the rows.
figures: of the rows, and of the pictures that a part leaves.
A new question is a part in `study` or a file of its own beside it, and a function in `tables`.
"""
