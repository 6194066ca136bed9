"""Exported C on emulated machines: the table, the harness, what is weighed.

A target that cannot be built for or run here is skipped, by the name of the missing package.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from test_imports import ROOT
from weightspace.bench.embedded import measure, memory, stack, toolchain, weigh
from weightspace.bench.embedded.emulator import run
from weightspace.bench.embedded.models import Model, Trained, as_floats, multiply_adds, smaller
from weightspace.bench.embedded.session import Program, Script
from weightspace.bench.embedded.targets import TARGETS, find
from weightspace.kernels.errors import (
    EmulatorError,
    MissingToolError,
    UnknownNameError,
)
from weightspace.nnlite import models
from weightspace.nnlite.export.c import Learning, export
from weightspace.nnlite.optim import SGD

INPUTS, OUTPUTS = 20, 4
M4F = TARGETS["m4f"]


def here(name: str):
    """The target, if all that it needs is installed."""
    target = TARGETS[name]
    if reason := toolchain.missing(target):
        pytest.skip(reason)
    return target


@pytest.fixture(scope="module")
def trained() -> Trained:
    """A small network with all of its learning, and images for it."""
    learnings = {"all": Learning(None, 4, SGD(0.1)), "tail:1": Learning(1, 4, SGD(0.1))}
    model = Model("20-9-4", 0, models.mlp, learnings)
    net = models.mlp((INPUTS, 9, OUTPUTS), backend="exact", dtype="float32", seed=3)
    rng = np.random.default_rng(5)
    images = rng.integers(0, 256, (30, INPUTS)).astype(np.uint8)
    return Trained(model, net, images, rng.integers(0, OUTPUTS, 30), images)


# ---- the table ----------------------------------------------------------------------------------


@pytest.mark.parametrize("target", TARGETS.values(), ids=TARGETS)
def test_a_line_of_the_table_is_whole(target):
    assert target.package and target.compiler and target.flags is not None
    assert all((toolchain.BOARD / name).is_file() for name in target.board)
    assert bool(target.emulator) == bool(target.emulator_package)
    assert (target.memory is not None) == target.bare
    if target.script:
        assert (toolchain.BOARD / target.script).is_file()
    if target.emulator:
        assert "{elf}" in target.emulator
    assert (target.counts == "nothing") == (not target.bare)


def test_the_issue_s_machines_are_there():
    for name in ("gcc", "clang", "m32", "musl", "arm64", "m0", "m3", "m4f", "m7", "m55",
                 "rv32imac", "rv32imafc", "atmega"):  # fmt: skip
        assert name in TARGETS
    assert [target.name for target in find(["m4f", "gcc"])] == ["gcc", "m4f"]
    with pytest.raises(UnknownNameError, match="m4f"):
        find(["m4"])


def test_what_is_not_installed_is_named(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    toolchain._absent.cache_clear()
    try:
        assert "apt install gcc-arm-none-eabi" in toolchain.absent(M4F)
        assert "apt install qemu-system-arm" in toolchain.missing(M4F)
        with pytest.raises(MissingToolError, match="gcc-avr"):
            toolchain.build(TARGETS["atmega"], [], tmp_path)
    finally:
        toolchain._absent.cache_clear()


# ---- networks on targets ------------------------------------------------------------------------


@pytest.mark.parametrize("name", TARGETS)
def test_a_network_answers_on_every_target(name, trained, tmp_path):
    target = here(name)
    row: Any = measure.predict(trained, target, tmp_path, 30)
    assert row.status == "measured", row.reason
    assert row.agreement == ("bits" if target.fma else "rounding"), row.difference
    assert 0 <= row.arena - row.arena_touched < 8  # the arena's parts are multiples of 8 bytes
    assert row.flash is not None and 0 < row.overhead < 4096
    assert memory.forbidden(row.asks) == []
    if target.bare:
        assert row.statics == 0
        assert 0 <= row.stack - row.stack_touched < 16  # a frame's last bytes may be padding
        assert row.work > row.multiply_adds


@pytest.mark.parametrize("name", TARGETS)
def test_an_int8_network_has_the_same_bits_on_every_target(name, trained, tmp_path):
    """With an fma or without, two products an instruction (Cortex-M4F, M7, M55) or one."""
    target = here(name)
    row: Any = measure.predict_int8(trained, target, tmp_path, 30)
    assert row.status == "measured", row.reason
    assert (row.agreement, row.difference) == ("bits", 0)
    assert row.arena == row.arena_touched
    assert memory.forbidden(row.asks) == []
    if target.bare:
        assert row.statics == 0
        assert 0 <= row.stack - row.stack_touched < 16
        assert row.work > row.multiply_adds


@pytest.mark.parametrize("name", ["gcc", "m4f", "rv32imafc", "rv32imac"])
def test_a_network_learns_there_as_here(name, trained, tmp_path):
    target = here(name)
    row: Any = measure.learn(trained, target, tmp_path, "all", 12)
    assert row.status == "measured", row.reason
    assert row.agreement == ("bits" if target.fma else "rounding"), row.difference
    assert memory.forbidden(row.asks) == []
    if target.bare:
        assert 0 <= row.stack - row.stack_touched < 16
    start = trained.net.theta
    images, labels = measure.batches(trained, 4, 12)
    after = measure.steps_here(trained.net, trained.model.learnings["all"], images, labels)
    assert np.abs(after - start).max() > 1e-3  # it did learn


@pytest.mark.parametrize("name", ["m4f", "atmega"])
def test_a_tail_learns_on_a_trunk_in_flash(name, trained, tmp_path):
    """Which AVR reads by other instructions than memory."""
    target = here(name)
    row: Any = measure.learn(trained, target, tmp_path, "tail:1", 12)
    assert row.status == "measured", row.reason
    assert row.agreement == ("bits" if target.fma else "rounding"), row.difference
    assert row.statics == 0
    assert row.stack == row.stack_touched or target.fma


def test_instructions_are_counted(trained, tmp_path):
    """Ten calls or a thousand: the same each, and an instruction a multiply-add at the least."""
    program = Program(here("rv32imafc"), [_exported(trained, tmp_path)], tmp_path / "built")
    x = as_floats(trained.images[0])
    once, often = program.ask(Script(INPUTS, OUTPUTS).count(x, 10).count(x, 1000))
    assert multiply_adds(trained.net) < often["work"] < 20 * multiply_adds(trained.net)
    assert once["work"] == pytest.approx(often["work"], rel=0.01)


def _exported(trained, folder):
    return export(trained.net).write(folder)[1]


def test_the_example_learns_and_does_not_forget(tmp_path):
    """examples/embedded by its Makefile: trained here, exported, built, run on a Cortex-M4F."""
    here("m4f")
    pytest.importorskip("mlxtend")
    if shutil.which("make") is None:
        pytest.skip("make is not installed: apt install make")
    folder = ROOT / "examples" / "embedded"
    words = ["make", "-C", str(folder), f"BUILD={tmp_path}", f"PYTHON={sys.executable}"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    said = re.findall(
        r"of 200 digits (\d+) right, of 200 lying digits (\d+)", done.stdout + done.stderr
    )
    (standing, lying), (still, learned) = [tuple(map(int, pair)) for pair in said]
    assert standing > 170 and lying < 50
    assert still > 150 and learned > 100


# ---- what goes wrong is said --------------------------------------------------------------------

HEADER = """#include <stdint.h>
#define NET_INPUTS 2
#define NET_OUTPUTS 1
#define NET_ARENA_ALIGN 16
#define NET_ARENA_BYTES 32
void net_predict(void *arena, const float *x, float *y);
"""


def written(folder, body, before=""):
    """A net.c of our own."""
    (folder / "net.h").write_text(HEADER)
    text = f'#include "net.h"\n{before}\nvoid net_predict(void *arena, const float *x, float *y) {{'
    (folder / "net.c").write_text(f"{text}\n    (void)arena;\n    {body}\n}}\n")
    return folder / "net.c"


def test_a_write_outside_the_arena_is_seen(tmp_path):
    source = written(tmp_path, "((uint8_t *)arena)[36] = 1; y[0] = x[0];")
    program = Program(here("m4f"), [source], tmp_path / "built")
    script = Script(2, 1).arena().predict(np.ones((1, 2), np.float32)).arena()
    before, _, after = program.ask(script)
    assert before["arena"] == (0, 1) and after["arena"] == (0, 0)


def test_a_fault_is_an_error_with_the_target_s_name(tmp_path):
    source = written(tmp_path, "*(volatile float *)0xf0000000UL = x[0]; y[0] = 0.0F;")
    program = Program(here("m4f"), [source], tmp_path / "built")
    with pytest.raises(EmulatorError, match="Cortex-M4F"):
        program.ask(Script(2, 1).predict(np.ones((1, 2), np.float32)))


def test_an_unknown_command_ends_the_program(tmp_path):
    program = Program(here("m4f"), [written(tmp_path, "y[0] = x[0];")], tmp_path / "built")
    with pytest.raises(EmulatorError, match="status 1"):
        run(program.elf, b"?\0\0\0\0\0\0\0")


def test_doubles_and_the_c_library_are_told(tmp_path):
    """sqrt of a double is one instruction on no Cortex-M4F; what it takes is asked for by name."""
    body = "y[0] = (float)(sqrt((double)x[0]) * 0.1);"
    source = written(tmp_path, body, "#include <math.h>")
    target = replace(here("m4f"), link=("-lm",))
    asked = memory.asked_for(Program(target, [source], tmp_path / "built").elf)
    assert {"sqrt", "__aeabi_f2d", "__aeabi_dmul"} <= set(memory.forbidden(asked))


def test_a_network_that_does_not_fit_is_too_large(trained, tmp_path):
    row: Any = measure.begin(trained, here("m0"), "ours", "predict")

    def fill(row):
        source = written(tmp_path, "y[0] = x[0] * big[(int)x[1]];",
                         "static const float big[100000] = {1.0F};")  # fmt: skip
        Program(TARGETS["m0"], [source], tmp_path / "built")

    assert measure.guarded(row, fill, TARGETS["m0"]).status == "too large"
    assert "FLASH" in row.reason


def test_an_answer_of_another_length_is_refused():
    with pytest.raises(EmulatorError, match="8 bytes where 16"):
        Script(3, 2).predict(np.zeros((1, 3), np.float32)).read(b"\0" * 8, M4F)


# ---- pieces -------------------------------------------------------------------------------------


def test_answers_are_read_by_their_names():
    script = Script(3, 2).predict(np.zeros((2, 3), np.uint8)).stack(np.zeros(3)).arena()
    floats = np.arange(4, dtype="<f4").tobytes()
    ticks, deep, arena = (
        (100).to_bytes(8, "little"),
        (64).to_bytes(4, "little"),
        b"\x08" + b"\0" * 7,
    )
    first, second, third = script.read(floats + ticks + deep + arena, M4F)
    assert first["outputs"].tolist() == [[0, 1], [2, 3]]
    assert first["work"] == 100 * 40 / 2  # ticks of 40 ns, an instruction each, of two samples
    assert (second["stack"], third["arena"]) == (64, (8, 0))


def test_stack_adds_up_along_the_deepest_calls():
    known = {
        "top": stack.Function(16, {"a", "b"}),
        "a": stack.Function(32),
        "b": stack.Function(8, {"c"}, {"a"}),
        "c": stack.Function(40),
        "again": stack.Function(8, {"again2"}),
        "again2": stack.Function(8, {"again"}),
        "by pointer": stack.Function(8, indirect=True),
    }
    assert stack.deepest(known, "top") == 16 + 8 + 40
    assert stack.deepest(known, "b") == 48
    assert stack.deepest(known, "again") is None
    assert stack.deepest(known, "by pointer") is None
    assert stack.deepest(known, "not there") is None


def test_forbidden_names():
    assert memory.forbidden(["__aeabi_fadd", "__mulsf3", "memcpy", "memset"]) == []
    bad = ["__aeabi_dmul", "__aeabi_f2d", "__adddf3", "__extendsfdf2", "__fixdfsi", "exp", "expf",
           "malloc", "printf"]  # fmt: skip
    assert memory.forbidden(bad) == bad


def test_images_become_smaller():
    image = np.zeros((1, 28, 28, 1), np.uint8)
    image[0, :4, :4] = 200
    small = smaller(image, 7)
    assert small.shape == (1, 49) and small[0, 0] == 200 and small[0, 1:].max() == 0


def test_reports_are_made_of_rows(tmp_path):
    pytest.importorskip("matplotlib")
    from weightspace.bench.embedded import report
    from weightspace.bench.speed import records
    from weightspace.bench.speed.record_kinds import KINDS

    row: Any = measure.Row(
        "a", "m4f", measure.OWN, "predict", multiply_adds=100, weights=400, flash=700, arena=64,
        arena_touched=64, stack=96, stack_touched=92, counts="instructions", work=275.0,
        samples=10, agreement="bits", difference=0.0, accuracy=0.9,
    )  # fmt: skip
    other = measure.Row("a", "m0", measure.OWN, "predict", "absent", "no compiler")
    made = report.as_records([row, other], {"gcc": "12"})
    path = records.write(tmp_path / "embedded.jsonl", made)
    found = records.read(path, KINDS)
    assert found[0]["each"] == 2.75 and found[0]["overhead"] == 300
    assert report.picture(found, tmp_path / "a.png").stat().st_size > 1000
    (table,) = report.tables([row, other])
    assert table.row_count == 2
    assert measure.worst([row, other]) == 0
    row.agreement = "wrong"
    assert measure.worst([row, other]) == 1


def test_an_export_is_weighed_on_what_is_here(tmp_path):
    here("m4f")
    made = export(models.mlp((9, 5, 3), backend="reference"), learning=Learning(batch=2))
    found = {each.target: each for each in weigh.weigh(made, weigh.Sizes(9, 3, 2))}["m4f"]
    assert found.reason == "" and found.arena == made.arena_bytes
    assert found.answer is not None and found.step is not None
    assert 0 < found.answer < found.step
    assert found.stack is not None and found.flash > made.weights_bytes
