"""The study `fip-geometry`: what the paths of `fip-two-tasks` look like (Raghavan & Thomson).

study: all of it, settings, the one part, figures and the table. Another number along a path is a
key of the rows that `_walk` gives.
"""
