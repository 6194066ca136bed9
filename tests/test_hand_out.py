"""How the door hands out loops: all of each, once, to whoever is free, by any of Numba's pools."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

pytest.importorskip("numba", reason="the door is the cpu backend's, which needs numba")

KERNEL = """
import numba, numpy as np
from numba import prange, types
from weightspace.kernels.cpu.jit import kernel

room = np.zeros(40_000)  # so many elements are worth a second thread's while

def compiled(function):
    made = kernel(parallel=True)(function)
    made._cache.disable()
    return made
"""
COUNT = """
@compiled
def count(room, seen):
    for i in prange(seen.size):
        seen[i] += 1

wrong = []
for threads in {threads}:
    numba.set_num_threads(threads)
    for chunk in (0, 1, 3, 40):
        with numba.parallel_chunksize(chunk):
            for length in (0, 1, 2, 3, 7, 8, 63, 64, 65, 1000):
                seen = np.zeros(length, "int64")
                count(room, seen)
                if not (seen == 1).all():
                    wrong.append((threads, chunk, length))
print(numba.threading_layer(), wrong)
"""
# Index 0 waits for the last of its own part, which the thread that waits would do after it.
WAIT = '''
from llvmlite import ir
from numba.extending import intrinsic

give_way = types.ExternalFunction("sched_yield", types.int32())

@intrinsic
def look(typing, place):
    """The int64 at an address, read anew whatever LLVM believes about it."""
    def generate(context, builder, signature, arguments):
        pointer = builder.inttoptr(arguments[0], ir.IntType(64).as_pointer())
        return builder.load_atomic(pointer, "seq_cst", 8)

    return types.int64(types.intp), generate

@compiled
def wait(room, seen, waited):
    last = np.intp(seen.ctypes.data) + (seen.size // 2 - 1) * 8
    for i in prange(seen.size):
        if i == 0:
            while look(last) == 0 and waited[0] < 3_000_000:
                give_way()
                waited[0] += 1
        seen[i] += 1

seen, waited = np.zeros({length}, "int64"), np.zeros(1, "int64")
wait(room, seen, waited)
print((seen == 1).all(), waited[0] < 3_000_000)
'''
SUMS = """
@compiled
def double(room, out):
    out[:] = 2 * out + 1

@compiled
def total(room, x):
    s = 0
    for i in prange(x.size):
        s += x[i]
    return s

rows, line = np.ones((70, 90), "int64"), np.arange(1000)
double(room, rows)
print((rows == 3).all(), total(room, line) == line.sum())
"""


@pytest.fixture
def run(tmp_path):
    """run(program, threads, pool): what a process prints that has so many of Numba's threads."""

    def ask(program: str, threads: int, pool: str = "") -> str:
        file = tmp_path / "program.py"  # a kernel's source is a file
        file.write_text(KERNEL + program)
        named = {"NUMBA_THREADING_LAYER": pool} if pool else {}
        done = subprocess.run(
            [sys.executable, file],
            env={**os.environ, "NUMBA_NUM_THREADS": str(threads), **named},
            capture_output=True, text=True, check=False, timeout=300,
        )  # fmt: skip
        if "of which Numba has no threads here" in done.stderr:
            pytest.skip(f"Numba cannot load the pool {pool} here")
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    return ask


@pytest.mark.parametrize("pool", ["omp", "tbb", "workqueue"])
def test_every_index_runs_once(run, pool):
    program = COUNT.format(threads=(1, 2, 3, 7, 64))
    assert run(program, 64, pool) == f"{pool} []"


def test_more_threads_than_the_door_counts_for(run):
    assert run(COUNT.format(threads=(2, 256, 257, 300)), 300).endswith(" []")


@pytest.mark.skipif(sys.platform == "win32", reason="a thread gives way by a function of POSIX")
@pytest.mark.parametrize("length", [16, 2000])
@pytest.mark.parametrize("pool", ["omp", "workqueue"])  # tbb promises no second thread
def test_a_free_thread_takes_over_what_another_has_not_begun(run, pool, length):
    """Length 16: pieces of one index; 2000: pieces of 125, the last of which is taken over."""
    assert run(WAIT.format(length=length), 2, pool) == "True True"


@pytest.mark.parametrize("pool", ["omp", "workqueue"])
def test_loops_in_two_dimensions_and_sums_are_as_numba_makes_them(run, pool):
    assert run(SUMS, 3, pool) == "True True"
