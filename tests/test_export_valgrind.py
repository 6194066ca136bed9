"""Exported C under valgrind's memcheck: no byte is read before it was written, none outside the
arena, the slots, the samples; also where damaged slots are restored."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from weightspace import methods
from weightspace.kernels.c import library
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    models,
)
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.export.int8 import export_int8
from weightspace.nnlite.optim import Adam

SETTINGS = {"backend": "exact", "dtype": "float32", "seed": 3}
STEPS, BATCH = 3, 5
ERRORS = 9  # the exit status that valgrind is to give

# Each array is a block of its own, of just its size, and holds nothing when the program begins.
MAIN = """
#include "net.h"
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void answer(void *arena, const float *x) {
    float *y = malloc(NET_OUTPUTS * sizeof *y);
    net_predict(arena, x, y);
    fwrite(y, sizeof *y, NET_OUTPUTS, stdout);
    free(y);
}

int main(void) {
    void *arena = malloc(NET_ARENA_BYTES);
    uint8_t *slots = malloc(NET_SAVE_BYTES), *torn = malloc(NET_SAVE_BYTES);
    float *x = malloc(sizeof(float) * NET_BATCH * NET_INPUTS);
    int32_t *y = malloc(sizeof(int32_t) * NET_BATCH);
    float loss = 0.0F;
    int task, step, n, wrong = 0;
    if (!arena || !slots || !torn || !x || !y) {
        return 2;
    }
    memset(slots, 0xff, NET_SAVE_BYTES); /* flash that was erased */
    net_start(arena);
    wrong += net_restore(arena, slots) != 0;
    for (task = 0; task < 2; ++task) {
        BEFORE;
        for (step = 0; step < STEPS; ++step) {
            if (fread(x, sizeof(float) * NET_BATCH * NET_INPUTS, 1, stdin) != 1) {
                return 3;
            }
            for (n = 0; n < NET_BATCH; ++n) {
                y[n] = (n + step) % NET_OUTPUTS;
            }
            loss += net_learn_step(arena, x, y);
            EACH;
        }
        AFTER;
        net_end_task(arena);
        answer(arena, x);
        net_save(arena, slots);
    }
    for (n = 0; n < NET_SAVE_BYTES / 2; n += 61) {
        memcpy(torn, slots, NET_SAVE_BYTES);
        torn[n] ^= 0x55;
        torn[n + NET_SAVE_BYTES / 2] ^= 0x55;
        wrong += net_restore(arena, torn) != 0;
    }
    memset(arena, 0x77, NET_ARENA_BYTES);
    wrong += net_restore(arena, slots) != 1;
    answer(arena, x);
    fwrite(net_theta(arena), sizeof(float), NET_PARAMETERS, stdout);
    fwrite(&loss, sizeof loss, 1, stdout);
    free(arena), free(slots), free(torn), free(x), free(y);
    return wrong;
}
"""


def mlp() -> Network:
    return models.mlp((9, 7, 6, 4), **SETTINGS)


def grey() -> Network:
    """A convolution of one channel, one by Winograd's way, BatchNorm, dropout."""
    layers = [Conv2d(8, 3, padding=1, activation="relu"), MaxPool2d(2), Conv2d(8, 3, padding=1),
              BatchNorm2d(activation="relu"), Flatten(), Linear(6, "tanh"), Dropout(0.25),
              Linear(4)]  # fmt: skip
    return Network(layers, (11, 10, 1), **SETTINGS)


_OF_ALL = "for (n = 0; n < NET_BATCH; ++n) {{ {} }}"
CASES = {
    "all, Adam": (mlp, Learning(batch=BATCH, optimizer=Adam(0.01)), {}),
    "ewc, a tail": (mlp, Learning(2, BATCH, method="ewc", lam=3), {
        "AFTER": _OF_ALL.format("net_importance(arena, x + n * NET_INPUTS);"),
    }),
    "mas": (mlp, Learning(batch=BATCH, method="mas"), {"AFTER": "net_importance(arena, x)"}),
    "si": (grey, Learning(batch=BATCH, method="si"), {}),
    "packnet": (mlp, Learning(batch=BATCH, method="packnet"), {"AFTER": "net_prune(arena)"}),
    "replay, bytes": (grey, Learning(1, BATCH, method="replay", memories=3, latents=(-1, 1)), {
        "EACH": _OF_ALL.format("net_remember(arena, x + n * NET_INPUTS, y[n]);"),
    }),
    "int8, replay": (grey, Learning(1, BATCH, method="replay", memories=3), {
        "EACH": _OF_ALL.format("net_remember(arena, x + n * NET_INPUTS, y[n]);"),
    }),
    "contexts": (mlp, Learning(batch=BATCH), {"BEFORE": "(void)net_task(arena, 1 - task)"}),
}  # fmt: skip


def program(name, folder, text=MAIN):
    """The program of a case, and its samples as bytes."""
    make, learning, words = CASES[name]
    net = make()
    rng = np.random.default_rng(1)
    x = rng.normal(size=(2 * STEPS * BATCH, *net.input_shape)).astype(np.float32)
    if name.startswith("int8"):
        made = export_int8(net, x, learning=learning)
    else:
        contexts = ()
        if name == "contexts":
            method = methods.Superposition("binary")
            net = method.wrap(net)
            contexts = [method.contexts(net, number) for number in range(2)]
        made = export(net, learning=learning, contexts=contexts)
    _, source = made.write(folder)
    main, elf = folder / "main.c", folder / "main"
    main.write_text(text)
    defined = [f"-D{key}={words.get(key, '(void)0')}" for key in ("BEFORE", "EACH", "AFTER")]
    flags = [*library.STRICT, *library.machine_flags(), "-O1", "-g", f"-DSTEPS={STEPS}", *defined]
    subprocess.run(["gcc", *flags, str(source), str(main), "-o", str(elf)], check=True)
    return elf, x.tobytes()


def run(words, given):
    return subprocess.run(words, input=given, capture_output=True, check=False)


@pytest.fixture
def memcheck():
    for tool in ("gcc", "valgrind"):
        if shutil.which(tool) is None:
            pytest.skip(f"needs {tool}: apt install {tool}")
    return ["valgrind", "-q", f"--error-exitcode={ERRORS}", "--leak-check=full"]


@pytest.mark.parametrize("name", CASES)
def test_memcheck_finds_nothing(name, memcheck, tmp_path):
    elf, given = program(name, tmp_path)
    seen = run([*memcheck, str(elf)], given)
    assert seen.returncode == 0, seen.stderr.decode()
    assert seen.stderr == b""
    assert seen.stdout == run([str(elf)], given).stdout  # the bits do not depend on who looks


def test_memcheck_sees_what_was_not_written(memcheck, tmp_path):
    """Else the test above could not fail: here the arena is never begun."""
    spoiled = MAIN.replace("    net_start(arena);\n", "")
    assert spoiled != MAIN
    elf, given = program("all, Adam", tmp_path, spoiled)
    assert run([*memcheck, str(elf)], given).returncode == ERRORS
