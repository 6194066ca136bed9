"""The same bits for any batch, number of threads and CPU; what surrounds a process changes none.

Every sum has a written order (docs/order.md). What does depend on the batch by its meaning, batch
statistics, is here too, and so is what of an importance depends on how many samples share a pass.
"""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
from functools import cache

import digest
import numpy as np
import pytest

pytest.importorskip("numba", reason="these are the cpu backend's promises, which needs numba")
from llvmlite.binding import get_host_cpu_features
from numpy._core import _multiarray_umath as umath  # type: ignore[attr-defined]
from weightspace.kernels.cpu import target
from weightspace.methods import importance
from weightspace.nnlite import Network

DTYPES = ("float32", "float64")
BUILD = {"rows": digest.rows, "wide": digest.wide, "images": digest.images}


def of_each(net, x, y, gradients):
    """What belongs to each sample, by name, (N, ...)."""
    found = {
        "outputs": net.forward(x),
        "losses": net.losses(x, y),
        "tangents": net.jvp(x, digest.direction(net)),
        "gradients by the input": net.input_grad(x, y),
    }
    if gradients:
        found["gradients"] = net.sample_grads(x, y)
    return found


def assert_same_bits(found, expected, about):
    for name, array in expected.items():
        assert found[name].tobytes() == array.tobytes(), (name, about)


# ---- any batch -------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("build", BUILD)
def test_a_sample_alone_has_the_bits_it_has_among_others(build, dtype):
    """At every place among up to 33; at the first and last 33 places among 64, 256 and 4,096."""
    net = BUILD[build](dtype)
    x, y = digest.samples(net, 4096)
    alone = [of_each(net, x[i : i + 1], y[i : i + 1], gradients=True) for i in range(33)]
    first = {name: np.concatenate([one[name] for one in alone]) for name in alone[0]}
    few = 64 if build == "wide" else 4096  # the gradients of more would take gigabytes
    for n in (*range(1, 34), 64, 256, 4096):
        for turn in (1, -1) if n > 33 else (1,):
            rows = np.arange(n)[::turn]
            found = of_each(net, x[rows], y[rows], gradients=n <= few)
            among = {name: array[::turn][:33] for name, array in found.items()}
            assert_same_bits(among, {name: first[name][:n] for name in found}, (n, turn))


def test_batch_statistics_are_of_the_batch():
    """The exception: in mode "train" a norm takes mean and variance of all samples of the batch."""
    net = digest.images()
    x, _ = digest.samples(net, 7)
    alone, among = net.forward(x[:1], mode="train"), net.forward(x, mode="train")[:1]
    assert not np.allclose(alone, among)
    assert net.forward(x[:1]).tobytes() == net.forward(x)[:1].tobytes()


# ---- importances, a batch at a time ------------------------------------------------------------


def importances(net, x, y, batch):
    return {
        "fisher": importance.fisher(net, x, y, "empirical", batch=batch),
        "sampled fisher": importance.fisher(net, x, kind="sampled", batch=batch),
        "true fisher": importance.fisher(net, x, batch=batch),
        "mas": importance.mas(net, x, batch=batch),
    }


@pytest.mark.parametrize("dtype", DTYPES)
def test_an_importance_of_dense_layers_does_not_depend_on_how_many_share_a_pass(dtype):
    """Its sums go on from one pass to the next, in the order of the samples.

    Not so of convolutions, whose sums over a pass are cut into groups, of norms and of SIG, which
    add the sum of a pass to those before. These depend on `batch` in their last bits.
    """
    net = digest.rows(dtype)
    x, y = digest.samples(net, 300)
    whole = importances(net, x, y, 300)
    for batch in (1, 7, 32, 256):
        assert_same_bits(importances(net, x, y, batch), whole, batch)


# ---- threads and CPUs --------------------------------------------------------------------------


@cache
def answers(*arguments, **variables):
    return digest.ask(*arguments, **variables)


def plain():
    """The digests of a process to which nothing is told, and which has one thread."""
    return answers(NUMBA_NUM_THREADS="1", NUMBA_CPU_NAME="", NUMBA_CPU_FEATURES="")[0]


def test_any_number_of_threads_gives_the_same_bits():
    """1 to 64 of a pool of 64, whatever number of cores there is."""
    for found in answers("1", "2", "3", "7", "64", NUMBA_NUM_THREADS="64"):
        assert found == plain()


# What each is supposed to have. Code for it leaves out what this machine lacks, and so runs here.
CPUS = {"haswell": 32, "skylake-avx512": 64, "znver4": 64, "znver5": 64}


def code_for(cpu):
    """Variables for code made for that CPU, by its costs, of the instructions that are here too."""
    absent = [f"-{name}" for name, there in get_host_cpu_features().items() if not there]
    return {"NUMBA_CPU_NAME": cpu, "NUMBA_CPU_FEATURES": ",".join(absent)}


# AVX2's code is another (vectors half as wide); that of the others differs in costs, and takes as
# long to make: `make one-answer` asks of all.
ASKED = CPUS if "WEIGHTSPACE_TEST_ALL_CPUS" in os.environ else ("haswell",)


@pytest.mark.parametrize("cpu", ASKED)
def test_code_for_any_cpu_gives_the_same_bits(cpu):
    """And NumPy, whose exp and tanh follow the CPU's kind, has no part in them."""
    narrow = {} if CPUS[cpu] == 64 else {"NPY_DISABLE_CPU_FEATURES": _of_numpy("V4", "AVX512")}
    assert answers(NUMBA_NUM_THREADS="2", **narrow, **code_for(cpu))[0] == plain()


def _of_numpy(*parts):
    """Those features that NumPy chooses by, and that are here, whose names have such a part."""
    there = [name for name in umath.__cpu_dispatch__ if umath.__cpu_features__[name]]
    return " ".join(name for name in there if any(part in name for part in parts))


@pytest.mark.parametrize("cpu", CPUS)
def test_code_for_any_cpu_can_be_made(cpu):
    """Whole registers of each; this needs no such CPU."""
    assert target.vector_bytes(cpu, "") == CPUS[cpu]
    code = target.assembly(cpu, "")
    assert "vfmadd" in code and ("zmm" in code) == (CPUS[cpu] == 64)


TOO_LITTLE = [
    {"NUMBA_CPU_NAME": "nehalem"},
    {"NUMBA_CPU_FEATURES": "-avx2"},
    {"NUMBA_CPU_NAME": "haswell", "NUMBA_CPU_FEATURES": "-fma"},
    {"NUMBA_CPU_NAME": "no such CPU"},  # LLVM would end the process
]
ASK = """
from weightspace.kernels import available, errors, get_backend
print(available())
for _ in range(2):
    try:
        get_backend("cpu")
    except errors.SettingError as wrong:
        print(wrong)
"""


@pytest.mark.skipif(not target.X86, reason="what is asked for is of x86")
@pytest.mark.parametrize("variables", TOO_LITTLE)
def test_less_than_avx2_is_told_and_not_computed_with(variables):
    clean = {k: v for k, v in os.environ.items() if not k.startswith("NUMBA_CPU")}

    def run(*command):
        return subprocess.run(
            [sys.executable, *command], env={**clean, **variables},
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip

    done = run("-c", ASK)
    there, *told = done.stdout.splitlines()
    assert done.returncode == 0 and there == "['reference']"
    assert len(told) == 2 and told[0] == told[1]
    assert "has no AVX2 and FMA" in told[0] and "NUMBA_CPU_NAME=haswell" in told[0]
    done = run("-m", "weightspace.bench", "warmup")
    assert done.returncode == 2 and "Traceback" not in done.stderr
    assert done.stderr.splitlines()[-1].startswith("error: the backend 'cpu' is compiled for")


# ---- what else is in the process ---------------------------------------------------------------


@pytest.mark.parametrize("kind", ["Haswell", "SkylakeX", "Zen", "Nehalem"])
def test_numpys_blas_has_no_part_in_it(kind):
    """Of whatever kind OpenBLAS believes this CPU to be."""
    assert answers(NUMBA_NUM_THREADS="2", OPENBLAS_CORETYPE=kind)[0] == plain()


def test_repeated_runs_give_the_same_bits():
    assert digest.digests() == digest.digests() == plain()


def _in_a_child(name):
    net = BUILD[name]()
    return [array.tobytes() for array in digest.step(net, *digest.samples(net, 40), 3)]


@pytest.mark.parametrize("method", multiprocessing.get_all_start_methods())
def test_a_childs_steps_are_its_parents(method):
    """Three steps of each network in a process that was started so, and in this one."""
    ours = [_in_a_child(name) for name in BUILD]
    with multiprocessing.get_context(method).Pool(1) as pool:
        assert pool.map_async(_in_a_child, BUILD).get(timeout=300) == ours


@pytest.mark.parametrize("build", BUILD)
def test_a_network_that_was_kept_goes_on_to_the_same_bits(build, tmp_path):
    """Its file holds all that a step depends on; of `fit`, tests/test_fit.py shows it."""
    through, stopped = BUILD[build](), BUILD[build]()
    x, y = digest.samples(through, 40)
    digest.samples(stopped, 40)
    digest.step(through, x, y, 2)
    digest.step(stopped, x, y, 2)
    stopped.save(tmp_path / "net.safetensors")
    found = Network.load(tmp_path / "net.safetensors")
    for one, other in zip(digest.step(found, x, y), digest.step(through, x, y), strict=True):
        assert one.tobytes() == other.tobytes()
