"""Export: a network as what runs where Python does not.

`c` prints a network, and its learning, as C99. A new target is a module or a folder here that takes
a Network and writes files, whole or not at all; `bench/cli/export.py` lists it.
"""
