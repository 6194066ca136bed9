"""What must hold when things go wrong: killed, no room left, damaged files, long use.

`make reliability` runs all of it; `tests/test_reliability.py` a short form. Each part yields
records with counts and the list of its failures; all that is drawn follows from a seed.
"""
