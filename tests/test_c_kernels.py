"""The kernels in C: the bits of `exact` from every compiler, and no access that is not theirs.

What they mean is tested with all backends (tests/test_kernels.py and others, "c" among them).
"""

from __future__ import annotations

import platform
import shutil
import subprocess

import c_driver
import numpy as np
import pytest
from backends import find
from kernel_sizes import STACKED as STACKED_CONV
from kernel_sizes import STACKING, fits
from test_exact import CONV, SIZES, assert_same_bits, of_convolutions, planted
from weightspace.kernels import available, get_backend
from weightspace.kernels.c import conv_plan, library
from weightspace.kernels.c.signature import prototype
from weightspace.kernels.c.sources import FOLDER, functions, needed
from weightspace.kernels.errors import DtypeError, ShapeError
from weightspace.kernels.spec import KERNELS
from weightspace.methods import importance
from weightspace.nnlite import ContextLinear, Dropout, Linear, Network, models, optim
from weightspace.nnlite.step import TrainingStep

STACKED = {**SIZES[3], "V": 3}
PAIRS = [*zip(SIZES, CONV, strict=True), (STACKED, STACKED_CONV)]  # sizes, and of convolutions
# The compiler, its flags, and what runs what it makes.
WAYS = {
    "gcc-O0": (["gcc", "-O0"], []),
    "gcc-O3": (["gcc", "-O3"], []),
    "clang-O0": (["clang", "-O0"], []),
    "clang-O3": (["clang", "-O3"], []),
    "32 bits": (["gcc", "-O2", "-m32", "-msse2", "-mfpmath=sse"], []),
    "arm64": (["aarch64-linux-gnu-gcc", "-O2", "-static"], ["qemu-aarch64"]),
    "sanitizers": (
        ["gcc", "-O1", "-g", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"], [],
    ),
}  # fmt: skip


TARGETS = {
    "Cortex-M0": ["arm-none-eabi-gcc", "-mcpu=cortex-m0", "-mthumb"],
    "Cortex-M4F": ["arm-none-eabi-gcc", "-mcpu=cortex-m4", "-mthumb", "-mfloat-abi=hard",
                   "-mfpu=fpv4-sp-d16"],
    "RV32IMAFC": ["riscv64-unknown-elf-gcc", "-march=rv32imafc", "-mabi=ilp32f",
                  "--specs=picolibc.specs"],
    "ATmega": ["avr-gcc", "-mmcu=atmega2560"],
}  # fmt: skip
# What stacked cotangents have no sums of.
ALONE = {
    "dense_backward": {"dw": None, "db": None},
    "superposed_backward": {"dw": None, "db": None},
    "norm_backward": {"dgamma": None, "dshift": None, "batch": False},
}
WHERE_FMA = pytest.mark.skipif(
    not library.machine_flags() and platform.machine() not in ("aarch64", "arm64"),
    reason="this processor has no fma: there results agree to rounding",
)


def cases(sizes, special=False, names=tuple(KERNELS)):
    """Kernels in every variant; special: some of the numbers are infinite, NaN, tiny or zeros.

    sizes: a pair of `PAIRS`. Only some kernels have stacked cotangents.
    """
    found = []
    for name in names:
        kernel, rng = KERNELS[name], np.random.default_rng(2)
        mine = sizes[kernel.family == "conv"]
        for variant in kernel.variants if mine["V"] == 1 or name in (*STACKING, *ALONE) else ():
            if not fits(kernel, mine, variant):
                continue
            made = kernel.arguments(rng, mine, "float32", variant)
            if mine["V"] > 1:
                made |= ALONE.get(name, {})
            for array in made.values() if special else ():
                if isinstance(array, np.ndarray) and array.dtype == np.float32:
                    planted(rng, array)
            found.append(c_driver.Case(name, made))
    return found


def of_exact(case):
    with np.errstate(all="ignore"):
        return KERNELS[case.kernel].run(get_backend("exact"), case.arguments)


@WHERE_FMA
@pytest.mark.parametrize("name", KERNELS)
def test_c_gives_the_bits(name):
    """Those of `exact`, of all sizes, stacked cotangents and special numbers."""
    ops = find("c")
    for sizes in PAIRS:
        for case in (*cases(sizes, False, [name]), *cases(sizes, True, [name])):
            found = KERNELS[name].run(ops, case.arguments)
            assert_same_bits(found, of_exact(case), (name, sizes))


@WHERE_FMA
def test_c_gives_the_bits_of_adam_after_a_long_time():
    """Its powers and its root are of doubles, and nobody's but ours."""
    made = KERNELS["adam_update"].arguments(np.random.default_rng(7), SIZES[3], "float32")
    for step in (1, 2, 999, 65_537, 10**7):
        for beta2 in (0.5, 0.999, 0.9999999):
            case = c_driver.Case("adam_update", {**made, "step": step, "beta2": beta2})
            found = KERNELS["adam_update"].run(find("c"), case.arguments)
            assert_same_bits(found, of_exact(case), (step, beta2))


@WHERE_FMA
@pytest.mark.parametrize("way", WAYS)
def test_every_compiler_gives_the_bits(way, tmp_path):
    """And memory of exactly the arrays' sizes is enough, as the sanitizers see it."""
    (compiler, *flags), launcher = WAYS[way]
    for program in (compiler, *launcher):
        if shutil.which(program) is None:
            pytest.skip(f"needs {program}")
    trial = tmp_path / "trial.c"
    trial.write_text("#include <stdio.h>\nint main(void) { return 0; }\n")
    command = [compiler, *flags, *(() if launcher else library.machine_flags())]
    tried = subprocess.run([*command, str(trial), "-o", str(tmp_path / "trial")], check=False)
    if tried.returncode:
        pytest.skip(f"{way}: {compiler} has no libraries for it here")
    wanted = [case for sizes in (PAIRS[1], PAIRS[3], PAIRS[-1])
              for special in (False, True) for case in cases(sizes, special)]  # fmt: skip
    found = c_driver.run(wanted, command, tmp_path, launcher)
    for case, wrote in zip(wanted, found, strict=True):
        assert_same_bits(wrote, of_exact(case), (way, case.kernel))


def test_every_function_alone_compiles_strictly(c_compiler):
    """With what it calls and nothing else, as an export prints it; and it asks for no library."""
    for name in KERNELS:
        built = library.build(library.source([name]), (*library.STRICT, "-O2"))
        told = subprocess.run(["nm", "-u", str(built)], capture_output=True, text=True, check=True)
        asked = {line.split()[-1].split("@")[0] for line in told.stdout.splitlines()}
        foreign = {each for each in asked if not each.startswith("_")}
        assert foreign <= {"memcpy", "memset", "memmove"}, (name, foreign)


@pytest.mark.parametrize("target", TARGETS)
def test_small_targets_compile_strictly(target, tmp_path):
    """An int of 16 bits on AVR, soft floats; no function of a mathematical library is asked for."""
    compiler, *flags = TARGETS[target]
    if shutil.which(compiler) is None:
        pytest.skip(f"needs {compiler}")
    (tmp_path / "all.c").write_text(library.source(tuple(KERNELS)))
    command = [compiler, *flags, *library.STRICT, "-O2", "-c", "all.c", "-o", "all.o"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stderr
    names = subprocess.run(
        [compiler.replace("gcc", "nm"), "-u", "all.o"],
        cwd=tmp_path, capture_output=True, text=True, check=True,
    )  # fmt: skip
    asked = {line.split()[-1] for line in names.stdout.splitlines()}
    foreign = {each for each in asked if not each.startswith("__")}
    assert foreign <= {"memcpy", "memset", "memmove"}, foreign


def test_the_contract_says_how_each_is_called():
    """The compiler would take sizes in another order without a word."""
    for name in KERNELS:
        for way in conv_plan.functions(name):
            text = functions()[f"ws_{way}"].text
            head = " ".join(text[text.index("static") : text.index(" {\n")].split())
            assert head == prototype(name).replace(f"ws_{name}(", f"ws_{way}("), way


def test_every_function_is_a_kernel_or_is_called():
    ways = [f"ws_{way}" for name in KERNELS for way in conv_plan.functions(name)]
    assert {each.name for each in needed(ways)} == {each.name for each in of_floats()}


def test_sources_keep_what_all_files_are_held_to():
    for path in FOLDER.glob("*.c"):
        lines = path.read_text().splitlines()
        assert len(lines) <= 450, path
        assert not any(word in line for line in lines for word in ("malloc", "#include <math"))
    for function in of_floats():
        code = function.text[function.text.index("static ") :]
        assert code.count("\n") <= 60, function.name


def of_floats():
    """All functions but those of int8 networks, which are no kernels of the contract."""
    return [each for each in functions().values() if not each.name.startswith("ws_q_")]


def test_float64_is_refused():
    ops, x = get_backend("c"), np.ones((2, 3))
    with pytest.raises(DtypeError, match="add got a in float64; the C kernels take float32"):
        ops.add(x, x, x)


def test_whole_numbers_are_gathered_as_they_are():
    """Beyond what a float holds; strided ones are refused."""
    ops = get_backend("c")
    x = np.array([2**40 + 1, -(2**53) - 1, 5])
    out = np.zeros(2, np.int64)
    ops.gather_rows(x, np.array([1, 0]), out)
    assert out.tolist() == [-(2**53) - 1, 2**40 + 1]
    with pytest.raises(ShapeError, match="in one piece"):
        ops.gather_rows(np.zeros((4, 4), np.int64)[:, :2], np.array([1, 0]), out)


def test_it_is_for_study():
    assert "c" not in available()
    assert ("c" in available(study=True)) == any(map(shutil.which, ("gcc", "clang", "cc")))


# ---- networks -----------------------------------------------------------------------------------


OPTIMIZERS = {
    "sgd": optim.SGD(0.1), "momentum": optim.SGD(0.1, 0.9), "adam": optim.Adam(1e-2),
    "rmsprop": optim.RMSprop(1e-3), "adadelta": optim.Adadelta(),
}  # fmt: skip


def of_rows(backend):
    return models.mlp((33, 17, 9, 4), "tanh", backend=backend, seed=1)


def of_dropped_units(backend):
    layers = [ContextLinear(17, activation="leaky_relu"), Dropout(0.3), Linear(9, "sigmoid")]
    return Network([*layers, Linear(4)], (33,), backend, seed=3)


def of_images(backend):
    return of_convolutions(backend, "float32")


BUILDS = (of_rows, of_dropped_units, of_images)


@WHERE_FMA
@pytest.mark.parametrize("build", BUILDS)
def test_networks_answer_the_same_bits(build):
    """Outputs, gradients, tangents, and importances that pull stacked cotangents back."""
    find("c")
    found = []
    for backend in ("c", "exact"):
        net, rng = build(backend), np.random.default_rng(3)
        x, y = rng.normal(size=(7, *net.input_shape)).astype("f"), rng.integers(0, 4, 7)
        loss, grad = net.loss_and_grad(x, y, mode="eval")
        v = rng.normal(size=net.num_parameters).astype("f")
        told = {"outputs": net.forward(x).copy(), "loss": np.array(loss), "grad": grad.copy()}
        told |= {"tangent": net.jvp(x, v).copy(), "fisher": importance.fisher(net, x)}
        found.append(told | {"mas": importance.mas(net, x), "sig": importance.sig(net, x)})
    assert_same_bits(found[0], found[1], build.__name__)


@WHERE_FMA
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", BUILDS)
def test_networks_learn_the_same_bits(build, optimizer):
    """Steps on batches of two sizes, with a penalty and a path."""
    find("c")
    found = []
    for backend in ("c", "exact"):
        net, rng, chosen = build(backend), np.random.default_rng(10), OPTIMIZERS[optimizer]
        size = net.num_parameters
        moments = chosen.state(size, "float32")
        omega = rng.uniform(size=size).astype("f")
        streams = optim.Streams(omega, net.theta.copy(), 0.5, np.zeros(size, "f"))
        step = TrainingStep(net, chosen, moments, streams)
        for count, rows in ((1, 7), (2, 7), (3, 5)):
            x = rng.normal(size=(rows, *net.input_shape)).astype("f")
            step.queue(x, rng.integers(0, 4, rows), count)
        told = {"theta": net.theta, "path": streams.path, "losses": np.array(step.read())}
        found.append({**told, **net.state, **moments})
    assert_same_bits(found[0], found[1], build.__name__)
