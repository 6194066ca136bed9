"""What surrounds a kernel changes no bit of it: threads, forks, floating-point modes, other BLAS
users, read-only memory."""

from __future__ import annotations

import ctypes
import multiprocessing
import os
import subprocess
import sys
import threading

import numpy as np
import pytest

pytest.importorskip("numba", reason="these are the cpu backend's, which needs numba")
import llvmlite.binding as llvm
import numba
from numba import prange
from numba.core.dispatcher import Dispatcher
from weightspace.kernels import get_backend
from weightspace.kernels.cpu import door, gemm
from weightspace.kernels.cpu.jit import kernel
from weightspace.kernels.device import NUMPY
from weightspace.nnlite import models

ops = get_backend("cpu")


def run(program: str, **variables: str) -> str:
    """What a process prints that runs `program`; it must end by itself and well."""
    done = subprocess.run(
        [sys.executable, "-c", program], env={**os.environ, **variables},
        capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


# ---- the calling thread's floating-point mode ------------------------------------------------


@pytest.fixture(scope="module")
def mode():
    """mode(new) sets this thread's floating-point control and returns the old one."""
    if "ret i64 %new" in door.SOURCE:
        pytest.skip("this processor has no mode in which subnormal numbers are zero")
    module = llvm.parse_assembly(door.SOURCE.split("@weightspace_pool")[0])
    machine = llvm.Target.from_default_triple().create_target_machine()
    engine = llvm.create_mcjit_compiler(module, machine)
    engine.finalize_object()
    swap = ctypes.CFUNCTYPE(ctypes.c_uint64, ctypes.c_uint64)(
        engine.get_function_address("weightspace_arithmetic")
    )
    yield swap  # and the engine, whose code it is, lives on


FLUSH = 0x1F80 | 0x8040 if "x86" in door.SOURCE else 1 << 24  # subnormal numbers are zero
FLAGS = 0x3F if "x86" in door.SOURCE else 0  # what has happened so far: nobody's state


def tiny(*shape):
    rng = np.random.default_rng(0)
    return (rng.standard_normal(shape) * 1e-20).astype("float32")


SIZES = (3, 400)  # samples, for one thread and for two
TINY = [(tiny(n, 90), tiny(70, 90), tiny(70) * np.float32(1e-20)) for n in SIZES]


def products_of_tiny_numbers():
    """Results among the subnormal numbers: elementwise, fused, and the BLAS's."""
    found = []
    for x, w, b in TINY:
        y, z, theta = np.empty((len(x), 70), "float32"), np.empty_like(x), np.zeros_like(x)
        ops.dense_forward(x, w, b, 0, 0.0, y)
        ops.context_multiply(x, w[0], z)
        ops.sgd_update(theta.reshape(-1), x.reshape(-1), 1e-19, None, None, 0.0, None, None)
        found += [y, z, theta]
    return found


def in_a_new_thread(work):
    """What `work` returns in a new thread, which has workers of its own that inherit its mode."""
    found: list = []
    thread = threading.Thread(target=lambda: found.append(work()))
    thread.start()
    thread.join()
    return found[0]


def assert_same_bits(ones, others):
    for one, other in zip(ones, others, strict=True):
        assert one.tobytes() == other.tobytes()


def test_a_thread_that_flushes_subnormals_gets_the_same_bits(mode):
    plain = products_of_tiny_numbers()
    assert all(((a != 0) & (np.abs(a) < 1e-38)).any() for a in plain)

    def work():
        before = mode(FLUSH)
        found = products_of_tiny_numbers()
        return found, mode(before)

    found, left = in_a_new_thread(work)
    assert left & ~FLAGS == FLUSH, "the caller's mode is as it was"
    assert_same_bits(plain, found)


def test_workers_started_in_another_mode_compute_in_ours(mode):
    plain = products_of_tiny_numbers()

    @numba.njit(parallel=True)
    def others(x):
        for i in prange(x.size):
            x[i] += 1

    def work():
        before = mode(FLUSH)
        others(np.zeros(10_000))  # starts this thread's workers
        mode(before)
        return products_of_tiny_numbers()

    assert_same_bits(plain, in_a_new_thread(work))


def test_a_kernel_that_raises_leaves_mode_and_threads(mode):
    threads, before = numba.get_num_threads(), mode(FLUSH)
    try:
        with pytest.raises(ValueError, match="contiguous"):
            x = np.zeros((4, 6), "float32")[:, ::2]
            ops.dense_forward(x, np.zeros((5, 3), "float32"), None, 0, 0.0, np.zeros((4, 5), "f4"))
    finally:
        left = mode(before)
    assert left & ~FLAGS == FLUSH and numba.get_num_threads() == threads


@pytest.mark.parametrize("machine", ["x86_64", "aarch64", "riscv64"])
def test_the_door_is_valid_for_every_machine(machine):
    assert llvm.parse_assembly(door.source(machine)).get_function("weightspace_parallel_for")


# ---- threads ---------------------------------------------------------------------------------


@kernel(parallel=True)
def _count_threads(x, counted):
    for _ in prange(4):
        x[0] = 1
    counted[0] = numba.get_num_threads()


_count_threads._cache.disable()


def test_small_work_stays_on_the_calling_thread():
    counted = np.zeros(1, "int64")
    if (before := numba.get_num_threads()) == 1:
        pytest.skip("needs two threads")
    _count_threads(np.zeros(100), counted)
    assert counted[0] == 1 and numba.get_num_threads() == before
    _count_threads(np.zeros(door.SMALL), counted)
    assert counted[0] == before == numba.get_num_threads()


@kernel(parallel=True)
def _add_one(a):
    for i in prange(a.size):
        a[i] += 1


@kernel(nogil=True)
def _add_often(a, said, times):
    said[0] = 1
    for _ in range(times):
        _add_one(a)
    said[1] = 1


def test_a_loop_in_what_runs_without_pythons_lock_does_not_ask_for_it():
    a, said, times = np.zeros(8), np.zeros(2, "int64"), 1_000_000
    _add_often(a, said, 1)
    said[:] = 0
    other = threading.Thread(target=_add_often, args=(a, said, times))
    between = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # this thread gives the lock away where it waits, and nowhere else
    try:
        other.start()
        while not said[0]:
            threading.Event().wait(1e-6)
        looks = 0
        while not said[1] and looks < 100_000_000:
            looks += 1
        done = said[1]
    finally:
        sys.setswitchinterval(between)
        other.join()
    assert done and np.all(a == times + 1)


def test_a_pool_for_one_at_a_time_serves_many_threads():
    """Numba ends a process in which two threads are in its "workqueue" at once."""
    program = """
import threading, numba, numpy as np
numba.config.THREADING_LAYER = "workqueue"
from weightspace.kernels import codes, get_backend
ops = get_backend("cpu")
assert numba.threading_layer() == "workqueue"
x = np.random.default_rng(0).standard_normal((300, 400)).astype("float32")
wrong = []
def work():
    y = np.empty_like(x)
    for _ in range(200):
        ops.activation_forward(codes.RELU, 0.0, x, y)
        if not np.array_equal(y, np.maximum(x, 0)):
            wrong.append(1)
threads = [threading.Thread(target=work) for _ in range(4)]
for t in threads: t.start()
for t in threads: t.join()
print(len(wrong))
"""
    assert run(program, NUMBA_NUM_THREADS="2") == "0"


# ---- processes -------------------------------------------------------------------------------

FORK = """
import hashlib, multiprocessing, os, numpy as np
from concurrent.futures import ProcessPoolExecutor
from weightspace.methods import importance, shards
from weightspace.nnlite import models

def answer(seed):
    net = models.mlp((90, 70, 10), seed=seed)
    x = np.random.default_rng(seed).random((300, 90), dtype="float32")
    return hashlib.sha256(net.loss_and_grad(x, np.arange(300) % 10)[1].tobytes()).hexdigest()

if USED_BEFORE:
    ours = [answer(i) for i in range(3)]
fork = multiprocessing.get_context("fork")
with fork.Pool(2) as pool:
    theirs = pool.map_async(answer, range(3)).get(timeout=200)
net, x = models.mlp((90, 10)), np.random.default_rng(0).random((600, 90), dtype="float32")
one = shards.sharded(importance.mas, net, x, shard=256)
with ProcessPoolExecutor(2, mp_context=fork) as pool:
    two = shards.sharded(importance.mas, net, x, shard=256, map=pool.map)
print([answer(i) for i in range(3)] == theirs, np.array_equal(one, two))
"""


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
@pytest.mark.parametrize("used", [True, False])
def test_a_forked_child_computes_the_same_alone(used):
    assert run(FORK.replace("USED_BEFORE", str(used)), NUMBA_NUM_THREADS="2") == "True True"


@pytest.mark.skipif(
    "fork" not in multiprocessing.get_all_start_methods(), reason="this system does not fork"
)
def test_a_child_of_the_process_that_compiled_computes_too(tmp_path):
    """Code fresh from the compiler goes through the door as code from the cache does."""
    program = """
import os, numpy as np
from weightspace.kernels import get_backend
ops, x, sums = get_backend("cpu"), np.ones((40, 4000), "float32"), np.zeros(4000, "float32")
ops.context_gradient(x, x, 0.0, sums)
child = os.fork()
if child == 0:
    ops.context_gradient(x, x, 1.0, sums)
    os._exit(7 if (sums == 80).all() else 1)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run(program, WEIGHTSPACE_CACHE=str(tmp_path), NUMBA_NUM_THREADS="2") == "7"


# ---- memory ----------------------------------------------------------------------------------


def variants() -> int:
    """How many variants of kernels this process has compiled or loaded."""
    modules = [m for name, m in sys.modules.items() if name.startswith("weightspace.kernels.cpu.")]
    found = {v for module in modules for v in vars(module).values() if isinstance(v, Dispatcher)}
    return sum(len(dispatcher.signatures) for dispatcher in found)


def unaligned(array):
    raw = np.zeros(array.nbytes + 1, "uint8")[1:]
    raw[:] = array.reshape(-1).view("uint8")
    return raw.view(array.dtype).reshape(array.shape)


def frozen(array):
    array = array.copy()
    array.flags.writeable = False
    return array


def answers(net, x, y, v, u):
    return [
        net.forward(x), net.loss_and_grad(x, y)[1], net.jvp(x, v), net.vjp(x, u),
        net.sample_grads(x, y), net.input_grad(x, y), net.push_many(net.trace(x), v[None]),
        net.gram(net.trace(x), u[None]), net.push(net.trace(x), v, tx=x),
    ]  # fmt: skip


@pytest.mark.parametrize("build", [lambda: models.mlp((9, 7, 3)), lambda: models.mlp((9, 3))])
def test_arrays_of_any_kind_compile_nothing_new(build, tmp_path):
    net, rng = build(), np.random.default_rng(0)
    plain = [
        rng.random((5, 9), dtype="float32"), rng.integers(0, 3, 5),
        rng.standard_normal(net.num_parameters).astype("float32"),
        rng.standard_normal((5, 3)).astype("float32"),
    ]  # fmt: skip
    expected = [a.copy() for a in answers(net, *plain)]
    known = variants()

    def mapped(array):
        file = tmp_path / f"{array.size}-{array.ndim}.npy"
        np.save(file, array)
        return np.load(file, mmap_mode="r")

    for kind in (frozen, mapped, unaligned, np.asfortranarray):
        given = [kind(array) for array in plain]
        for one, other in zip(expected, answers(net, *given), strict=True):
            assert one.tobytes() == other.tobytes(), kind
        assert variants() == known, kind
        for array, before in zip(given, plain, strict=True):
            assert np.array_equal(array, before)


def test_read_only_memory_is_not_copied_and_not_unlocked():
    given = frozen(np.arange(6.0))
    seen = NUMPY.put(given)
    assert np.shares_memory(seen, given) and seen.flags.behaved
    assert not given.flags.writeable
    plain = np.arange(6.0)
    assert NUMPY.put(plain) is plain
    held = NUMPY.put(frozen(np.arange(1000.0)))  # whose owner is gone
    assert np.array_equal(held, np.arange(1000.0))


def test_what_only_compiled_code_calls_refuses_python():
    """No way in from Python was built: a call would end the process."""
    gemm._copy.compile((numba.float32, *[numba.intp] * 6))
    with pytest.raises(TypeError, match="compiled code alone"):
        gemm._copy(np.float32(1), 0, 0, 0, 0, 0, 0)
