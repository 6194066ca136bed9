"""Where Winograd's way of convolving wins, and whether the kernels' rule says so."""
