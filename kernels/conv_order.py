"""Where the sums of a convolution are cut, and which way each layer takes: by size alone.

Every sum of a product is one chain, acc = fma(a, b, acc) over its index in order, from +0. Weight
gradients are sums over all samples and positions; for the threads' sake they are cut into groups,
whose chains are added up one by one. How many there are is decided here, from the sizes of the
layer and the batch: never from the dtype, the width of vectors, or how many threads there are.

Whole numbers in and out; plain Python that the `cpu` backend compiles, and others may read.
"""

from __future__ import annotations

GROUPS = 16  # at most so many, which is enough for the threads to share
SUMS = 1 << 21  # elements that the sums of all groups may take together
TILES = 32  # of Winograd's weight gradient: a group has at least so many, if there are
SMALL = 64 * 64  # channels times filters up to which its tiles are cut into groups

# Winograd's way shares each 6 x 6 pixels, and their rounding errors, among 4 x 4 outputs. Those
# that see nothing of this share of the tile's largest magnitude are computed directly,
HOT = 2.0**-6
# and so are all of a tile with a number not below the first, or of filters with one not below the
# second (float32, float64): what is infinite, NaN, or might overflow in the transforms.
LARGE_PIXEL = (2.0**60, 2.0**500)
LARGE_WEIGHT = (2.0**30, 2.0**450)


def winograd_wins(g):
    """Whether correlation `g` (a forward pass or its like) goes by Winograd's F(4x4, 3x3)."""
    return (
        g.r == 3 and g.s == 3 and g.down == 1 and g.across == 1
        and g.tap_down == 1 and g.tap_across == 1 and g.groups == 1
        and g.out_down == 1 and g.out_across == 1 and g.depth >= 8 and g.filters >= 8
        and g.rows >= 3 and g.columns >= 3
    )  # fmt: skip


def sample_groups(n, k, filters):
    """Groups of n samples in a direct weight gradient; k = r s depth entries of each filter, its
    depth being the channels that it sees.

    A group's sums are counted as they lie in the widest registers: rows of 32 filters, whole
    blocks of 16 entries, and one of the bias.
    """
    room = ((k + 15) // 16 * 16 + 1) * ((filters + 31) // 32 * 32)
    return max(min(n, GROUPS, SUMS // room), 1)


def tile_groups(tiles, depth, filters):
    """Groups of so many tiles (of all samples, in order) in Winograd's weight gradient."""
    if depth * filters > SMALL:
        return 1
    return max(min(GROUPS, (tiles + TILES - 1) // TILES), 1)


def group_begin(total, groups, group):
    """The first of `total` samples or tiles that `group` has; it ends where the next begins."""
    return group * total // groups
