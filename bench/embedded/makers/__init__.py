"""Other makers of C, a program each: `python with_MAKER.py FOLDER`, in an environment of its own.

FOLDER has `net.json`, the layers, and `net.npz`, their arrays (for images in NHWC, with weights
(O, R, S, C)) and images for calibration. The program adds `net.h` and `net.c` with the interface of
our own export, and what they include. Nothing here imports weightspace: it is not installed there.
"""
