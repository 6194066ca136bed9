"""Each planted mistake of bugs.cu is reported, as the right kind and at the right line."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from weightspace.kernels.cuda_host import HostDevice, KernelFault

f4, i4 = np.float32, np.int32
SOURCE = Path(__file__).with_name("bugs.cu")


def expected() -> dict[str, dict[bool, set[tuple[str, str]]]]:
    """kernel -> whether in reverse order -> the (kind, place) that its comments announce."""
    found: dict[str, dict[bool, set[tuple[str, str]]]] = {}
    name = ""
    for number, line in enumerate(SOURCE.read_text().splitlines(), 1):
        if declared := re.search(r"(\w+)\((const )?float\* ", line):
            name = declared[1]
        if caught := re.search(r"caught( in reverse)?: ([\w-]+)", line):
            places = found.setdefault(name, {False: set(), True: set()})
            places[caught[1] is not None].add((caught[2], f"bugs.cu:{number}"))
    return found


EXPECTED = expected()


def arguments(device: HostDevice, name: str) -> tuple:
    """grid, block, args and dynamic shared memory: one warp and plain arrays, or as needed."""
    x, y, out = device.zeros(256, f4), device.zeros(64, f4), device.empty(32, f4)
    rows = device.zeros((4, 16), f4)[:, :10]
    special = {
        "no_second_barrier": ((1,), (64,), (x, y, i4(4))),
        "no_barrier": ((1,), (32,), (x, y), 4),
        "no_atomic": ((2,), (32,), (x, y)),
        "half_atomic": ((1,), (32,), (y,)),
        "from_block_before": ((4,), (32,), (x,)),
        "past_global": ((1,), (64,), (x, out, i4(32))),
        "between_rows": ((1,), (32,), (rows, y, i4(10))),
        "null_pointer": ((1,), (32,), (None, y)),
        "past_dynamic_shared": ((1,), (32,), (y,), 31 * 4),
        "past_array": ((1,), (32,), (y, i4(1))),
        "shuffle_after_return": ((1,), (32,), (x, y, i4(20))),
        "writes_const": ((1,), (32,), (x,)),
        "too_many_threads": ((1,), (96,), (x,)),
    }
    alone = re.search(rf"\b{name}\(float\* y\)", SOURCE.read_text())
    return special.get(name, ((1,), (32,), (y,) if alone else (x, y)))


def reports(kernel, name: str, mode: str = "check", order: int = 0) -> set[tuple[str, str]]:
    """The (kind, place) of all that is reported about a kernel of bugs.cu."""
    device = HostDevice(mode, order)
    try:
        device.launch(kernel("bugs.cu", name), *arguments(device, name))
    except KernelFault as fault:
        assert name in str(fault)
        return {(report.kind, report.where) for report in fault.reports}
    return set()


@pytest.mark.parametrize("name", EXPECTED)
def test_the_checker_finds_it(kernel, name):
    assert EXPECTED[name][False] <= reports(kernel, name)


@pytest.mark.parametrize("order", [1, 2, 3, 4])
@pytest.mark.parametrize("name", EXPECTED)
def test_it_is_found_in_any_order(kernel, name, order):
    """Perhaps at another line of those announced: an access is seen as wrong by who comes later."""
    found = reports(kernel, name, order=order)
    assert found & (EXPECTED[name][False] | EXPECTED[name][True])


ALWAYS = {
    "barrier-divergence", "deadlock", "warp-divergence", "warp-mask", "shfl-inactive", "trap",
}  # fmt: skip


@pytest.mark.parametrize(
    "name", [name for name, at in EXPECTED.items() if {kind for kind, _ in at[False]} & ALWAYS]
)
def test_barriers_and_collectives_are_watched_in_every_mode(kernel, name):
    assert EXPECTED[name][False] <= reports(kernel, name, mode="fast")


def test_a_report_says_who_and_what(kernel):
    device = HostDevice("check")
    with pytest.raises(KernelFault) as fault:
        device.launch(kernel("bugs.cu", "no_syncwarp"), (1,), (32,), (device.empty(32, f4),))
    text = fault.value.reports[0].text
    assert "thread (1,0,0) of block (0,0,0)" in text
    assert re.search(r"byte \d+ of places", text)
    assert "thread 0 of block (0,0,0)" in text


def test_a_device_works_on_after_a_fault(kernel):
    device = HostDevice("check")
    for name in ("past_global", "barrier_in_branch", "shuffle_in_branch"):
        assert reports(kernel, name)
        y = device.empty(64, f4)
        device.launch(kernel("clean.cu", "exchange_in_warps"), (1,), (64,), (y,))
        np.testing.assert_array_equal(y.get(), (np.arange(64) ^ 3) + 1)


def test_a_race_between_blocks_shows_in_the_results(kernel):
    """Even without the checker: the order of blocks decides."""
    found = []
    for order in (0, 1):
        device = HostDevice("fast", order)
        x = device.zeros(8, f4)
        device.launch(kernel("bugs.cu", "from_block_before"), (4,), (32,), (x,))
        found.append(x.get())
    assert (found[0] != found[1]).any()


@pytest.mark.xfail(reason="a pointer into a thread's own stack may go anywhere in it", strict=True)
def test_local_arrays_are_not_watched(kernel):
    device = HostDevice("check")
    args = (device.empty(4, f4), i4(6))
    with pytest.raises(KernelFault):
        device.launch(kernel("bugs.cu", "past_local_array"), (1,), (4,), args)


@pytest.mark.parametrize(
    ("grid", "block", "shared", "why"),
    [
        ((0,), (32,), 0, "grid"),
        ((1, 65536), (32,), 0, "grid"),
        ((1,), (2048,), 0, "block"),
        ((1,), (64, 32), 0, "2048 threads"),
        ((1,), (1, 1, 65), 0, "block"),
        ((1,), (32,), 50_000, "max_dynamic_shared_size_bytes"),
    ],
)
def test_launches_a_gpu_refuses(kernel, device, grid, block, shared, why):
    with pytest.raises(KernelFault, match=why):
        function = kernel("clean.cu", "exchange_in_warps")
        device.launch(function, grid, block, (device.empty(64, f4),), shared)
