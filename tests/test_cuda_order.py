"""Which CUDA kernels give the cpu's bits: `cuda-host` compiles the same sources for the CPU.

Each kernel of the contract, in each variant, stands in one of two lists: those that add up in the
cpu's order and so give its bits at any size, and those that do not, with the reason.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from backends import OnHost
from kernel_sizes import CONV, FLOATS, SIZES, STACKED, STACKING, WIDE, fits, sizes
from weightspace.kernels import codes, get_backend
from weightspace.kernels.cuda import CudaOps, conv, tiles
from weightspace.kernels.cuda_host import HostDevice
from weightspace.kernels.spec import KERNELS, Kernel, Sizes

pytestmark = pytest.mark.skipif(
    shutil.which("g++") is None, reason="needs a C++ compiler: apt install g++"
)

# but for the variants in APART
SAME = frozenset((
    "matmul_nn", "matmul_nt", "matmul_tn", "dense_forward", "dense_backward", "superposed_forward",
    "superposed_backward", "dense_tangent", "dense_sample_grads", "dense_accumulate",
    "dense_signal", "sparse_dense_forward", "context_multiply", "context_gradient",
    "complex_expand", "complex_contract", "conv2d_forward", "conv2d_input_grad",
    "conv2d_weight_grad", "conv2d_tangent", "conv2d_sample_grads", "conv2d_accumulate",
    "max_pool_forward", "max_pool_backward", "max_pool_tangent", "average_pool_forward",
    "average_pool_backward", "shift_flip", "gather_rows", "norm_moments", "norm_forward",
    "norm_backward", "norm_tangent", "activation_forward", "activation_backward", "add",
    "residual_forward", "residual_tangent", "copy", "fill", "scale", "dropout", "softmax",
    "softmax_backward",
    "softmax_fisher_factor", "softmax_cross_entropy", "squared_error", "mean_loss", "label_weights",
    "weigh_losses", "weighted_mean", "divide", "sgd_update",
    "momentum_update", "adam_update", "rmsprop_update", "adadelta_update",
    "penalty_gradient",
))  # fmt: skip

ROWS = "threads of a block take rows side by side: one after the other would leave a GPU idle"
APART = {
    "norm_statistics": ROWS,
    "norm_sample_grads": ROWS,
    "norm_accumulate": ROWS,
    "norm_signal": ROWS,
    **{
        f"norm_backward: {variant}": ROWS
        for variant in KERNELS["norm_backward"].variants
        if variant not in ("running, plain", "running, input only")  # there no rows are summed
    },
    "norm_tangent: batch": ROWS,
    "norm_tangent: batch, plain": ROWS,
    "conv2d_signal": "samples are summed first, so that a tap's traffic is read once, not N times",
}

EXACT = get_backend("exact")  # states the cpu's bits; tests/test_exact.py holds the cpu to it


@cache
def cuda() -> CudaOps:
    return CudaOps(HostDevice(mode="fast", order=0))


def winograd(where: Sizes, arguments: dict[str, object]) -> bool:
    """Whether the cpu takes Winograd's way; the CUDA kernels never do."""
    return (
        where["R"] == where["S"] == 3 and min(where["C"], where["O"]) >= 8
        and arguments.get("groups", 1) == 1
        and all(arguments.get(name, (1, 1)) == (1, 1) for name in ("stride", "dilation"))
    )  # fmt: skip


def cases(kernel: Kernel, variant: str) -> Iterator[tuple[Sizes, dict[str, Any]]]:
    """Sizes that fit nothing, with arguments of both dtypes; of convolutions the direct ones."""
    direct = [*CONV[:3], *CONV[4:], WIDE[0], WIDE[3], STACKED]
    stacked = [{**where, "V": 2 if kernel.name in STACKING else 1} for where in SIZES]
    for seed, where in enumerate(direct if kernel.family == "conv" else stacked):
        for dtype in FLOATS:
            if fits(kernel, where, variant):
                made = kernel.arguments(np.random.default_rng(seed), where, dtype, variant)
                if kernel.family != "conv" or not winograd(where, made):
                    yield where, made


def differs(kernel: Kernel, arguments: dict[str, Any]) -> list[str]:
    """The results whose bits are not those of the canonical order."""
    found, expected = kernel.run(cuda(), arguments), kernel.run(EXACT, arguments)
    return [name for name in expected if found[name].tobytes() != expected[name].tobytes()]


@pytest.mark.parametrize("name", KERNELS)
def test_the_bits_are_the_cpus_where_they_are_said_to_be(name):
    kernel = KERNELS[name]
    for variant in kernel.variants:
        every = [(where, differs(kernel, made)) for where, made in cases(kernel, variant)]
        wrong = [one for one in every if one[1]]
        if name in APART or f"{name}: {variant}" in APART:
            assert wrong, f"{variant}: these are the cpu's bits by now; take them off APART"
        else:
            assert not wrong, f"{variant}: {wrong[:3]} and {len(wrong[3:])} more"


def test_every_kernel_is_in_a_list():
    named = {case.split(":")[0] for case in APART}
    whole = named & APART.keys()
    assert SAME | whole == KERNELS.keys() and not SAME & whole
    variants = {f"{name}: {variant}" for name in SAME for variant in KERNELS[name].variants}
    assert APART.keys() - whole <= variants


# ---- what the bits do not depend on -------------------------------------------------------------

PRODUCTS = [name for name in SAME if KERNELS[name].product]
EVEN = {"N": 44, "I": 64, "O": 72, "V": 1}, sizes(2, (9, 8), 12, 68, (2, 3))
ODD = {"N": 33, "I": 65, "O": 63, "V": 1}, sizes(2, (5, 6), 17, 65, (3, 2))


@pytest.fixture(params=["Small", "Medium", "Narrow", "Thin"])
def tile(request, monkeypatch):
    """Products by that tile wherever a family has it."""

    def forget() -> None:
        for cached in (conv.plan, conv.workspace, tiles.choose_tile):
            cached.cache_clear()

    for name, one in tiles.TILES.items():
        if not name.startswith(request.param):
            monkeypatch.setitem(tiles.TILES, name, one._replace(cost=1e9))
    forget()
    yield request.param
    forget()


@pytest.mark.parametrize("name", sorted(PRODUCTS))
def test_every_tile_gives_these_bits(tile, name):
    """With pieces of 16 bytes, which lie in another order in shared memory, and without."""
    kernel = KERNELS[name]
    for both in (EVEN, ODD):
        for dtype in FLOATS:
            where = both[kernel.family == "conv"]
            assert not differs(kernel, kernel.arguments(np.random.default_rng(1), where, dtype))


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("act", [codes.RELU, codes.LEAKY_RELU, codes.TANH, codes.SIGMOID])
def test_special_values_are_the_cpus_too(act, dtype):
    """Zeros of both signs, subnormal numbers, infinities, NaN, and where exp runs out."""
    small, tiny, most = (getattr(np.finfo(dtype), f) for f in ("smallest_subnormal", "tiny", "max"))
    ends = (0, small, tiny, 1e-5, 0.3, 1, 40, 88.5, 104, 709.5, 746, most)
    x = np.array([*ends, np.inf, np.nan], dtype)
    x = np.concatenate([x, -x])
    found, expected = np.empty_like(x), np.empty_like(x)
    for way, given in (("forward", (x,)), ("backward", (x, x[::-1].copy()))):
        for ops, out in ((OnHost(cuda()), found), (EXACT, expected)):
            with np.errstate(all="ignore"):
                getattr(ops, f"activation_{way}")(act, 0.25, *given, out)
        np.testing.assert_array_equal(found, expected)
        assert (np.signbit(found) == np.signbit(expected))[~np.isnan(expected)].all()


@pytest.mark.parametrize("name", ["forward", "input_grad", "weight_grad"])
def test_convolutions_are_direct_where_the_cpu_goes_by_winograd(name):
    """Its transforms round on their own: those bits are the cpu's alone."""
    kernel = KERNELS[f"conv2d_{name}"]
    arguments = kernel.arguments(np.random.default_rng(0), sizes(2, (6, 5), 8, 9, (3, 3)), "f4")
    assert winograd({"R": 3, "S": 3, "C": 8, "O": 9}, arguments) and differs(kernel, arguments)
