"""Other makers of C, a program each: `python with_MAKER.py FOLDER`, in their own virtual environment.

FOLDER has `net.json`, the layers, and `net.npz`, their arrays (of images in NHWC, weights (O, R, S, C))
and images for calibration. The program adds `net.h` and `net.c` with the interface of our own export,
and whatever they include. Nothing here may import weightspace: it is not installed there.
"""
