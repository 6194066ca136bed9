"""Sweeps: the same results file whoever works it out, whatever dies; nested, resumable, named."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np
import pytest
from reliability.place import write_data
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench import data
from weightspace.bench.cli.app import app
from weightspace.bench.data.validation import HeldOut
from weightspace.bench.runs.make import make_stream
from weightspace.bench.sweep import Dask, Executor, Pool, SweepPlan, read_axes, run_sweep
from weightspace.bench.sweep import executors as executors_module
from weightspace.bench.sweep import trials as trials_module
from weightspace.bench.sweep.results import choose, table
from weightspace.bench.sweep.trials import read_message, run_trial
from weightspace.kernels import errors
from weightspace.methods import importance, sharded
from weightspace.nnlite import models

pytest.importorskip("matplotlib", reason="a sweep draws a figure")

TINY = (
    "data=mnist", "hidden=8", "steps=6", "batch_size=16", "stream.num_tasks=2", "lr=0.01",
)  # fmt: skip
QUIET = Console(quiet=True)


@pytest.fixture(scope="module")
def images(tmp_path_factory) -> Path:
    """Small clusters in the format of MNIST, at once to read."""
    return write_data(tmp_path_factory.mktemp("data") / "mnist")


def tiny(**more) -> SweepPlan:
    given = {
        "axes": read_axes(["ewc.lam=1,100"], ["si.lam=log:0.1:10"]), "draws": 2, "trials": 2,
        "settings": TINY, "backend": "reference",
    }  # fmt: skip
    return SweepPlan("permuted-mnist", **{**given, **more})


def sweep(plan, out, images, executor=None, **more):
    return run_sweep(plan, out, executor or Executor(), QUIET, images, **more)


def contents(out: Path) -> dict[str, bytes]:
    """All that must be equal, trial by trial."""
    paths = [*sorted((out / "trials").iterdir()), *out.glob("results.*"), out / "sweep.toml"]
    return {str(path.relative_to(out)): path.read_bytes() for path in paths}


@pytest.fixture(scope="module")
def serial(images, tmp_path_factory) -> Path:
    """The results of `tiny`, worked out in this process."""
    out = tmp_path_factory.mktemp("serial") / "r"
    sweep(tiny(), out, images)
    return out


def sorted_pixels(x: np.ndarray) -> set[bytes]:
    """Each image's pixels in the order of their values."""
    rows = np.sort(np.round(x).astype(np.uint8).reshape(len(x), -1), axis=1)
    return {row.tobytes() for row in rows}


def test_every_task_of_a_stream_holds_out_the_same_images(images):
    preset = tiny().trial(tiny().candidates()[0], 0, None).resolve()[0]
    whole = data.load("mnist", images)
    stream = make_stream(preset, 7, images, HeldOut(0.3))
    held, tests = sorted_pixels(HeldOut(0.3).of(whole).test_x), sorted_pixels(whole.test_x)
    assert len(held) == 60 and not held & tests
    for task in stream:  # a permutation keeps an image's sorted pixels
        assert sorted_pixels(255 * task.load_test()[0]) == held
        assert not sorted_pixels(255 * task.load_train()[0]) & (held | tests)


def test_inner_seeds_are_not_outer_seeds(serial):
    rows = [json.loads(line) for line in (serial / "results.jsonl").read_text().splitlines()]
    inner = [row for row in rows if row["stage"] == "selection"]
    outer = [row for row in rows if row["stage"] == "test"]
    assert len(inner) == 4 and len(outer) == 4
    assert not {row["seed"] for row in inner} & {row["seed"] for row in outer}
    assert {(row["train_images"], row["test_images"]) for row in inner} == {(320, 80)}
    assert {(row["train_images"], row["test_images"]) for row in outer} == {(400, 120)}
    for method in ("ewc", "si"):
        best = max((row for row in inner if row["method"] == method), key=lambda row: row["acc"])
        chosen = [row["settings"] for row in outer if row["method"] == method]
        assert chosen == [best["settings"]] * 2


# ---- executors ---------------------------------------------------------------------------------


def die_once(marker: str) -> str:
    """Kill -9 this very process, the first time."""
    if not Path(marker).exists():
        Path(marker).write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return f"{marker} done"


def die(_: object) -> None:
    os.kill(os.getpid(), signal.SIGKILL)


class Murderous(Executor):
    """An executor beneath which a worker is killed after the first answer, whatever it is at."""

    def __init__(self, inner: Executor, kill) -> None:
        self.inner, self.kill, self.killed = inner, kill, False

    def unordered(self, function, items):
        for answer in self.inner.unordered(function, items):
            yield answer
            if not self.killed:
                self.killed = True
                self.kill()


def test_a_pool_with_a_killed_worker_has_the_serial_results(serial, images, tmp_path):
    with Pool(2) as pool:
        marker = str(tmp_path / "marker")
        assert list(pool.map(die_once, [marker])) == [f"{marker} done"]  # killed at its work
        assert pool.lost == 1

        def kill():
            os.kill(next(iter(pool._pool._processes)), signal.SIGKILL)

        done = sweep(tiny(), tmp_path / "r", images, Murderous(pool, kill))
        assert done.ran == 8
        net = models.mlp((20, 8, 10), backend="reference")
        x = np.random.default_rng(0).random((90, 20)).astype(np.float32)
        whole = sharded(importance.fisher, net, x, shard=20)
        assert np.array_equal(sharded(importance.fisher, net, x, shard=20, map=pool.map), whole)
    assert pool.lost >= 2
    assert contents(tmp_path / "r") == contents(serial)


def test_work_that_kills_every_worker_is_given_up(monkeypatch):
    monkeypatch.setattr(executors_module, "LIVES", 1)
    with pytest.raises(errors.WorkerError, match="memory"), Pool(1) as pool:
        list(pool.unordered(die, [0]))


def test_dask_with_a_killed_worker_has_the_serial_results(serial, images, tmp_path):
    """A cluster of processes; one worker is killed with kill -9 while it works."""
    distributed = pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None,
        host="127.0.0.1", local_directory=str(tmp_path / "dask"), silence_logs=50,
    ) as cluster, Dask(cluster.scheduler_address) as dask:  # fmt: skip

        def kill():
            os.kill(next(iter(cluster.workers.values())).pid, signal.SIGKILL)

        marker = str(tmp_path / "marker")
        assert list(dask.map(die_once, [marker])) == [f"{marker} done"]  # killed at its work
        executor = Murderous(dask, kill)
        done = sweep(tiny(), tmp_path / "r", images, executor)
        assert executor.killed and done.ran == 8
        net = models.mlp((20, 8, 10), backend="reference")
        x = np.random.default_rng(0).random((90, 20)).astype(np.float32)
        whole = sharded(importance.fisher, net, x, shard=20)
        assert np.array_equal(sharded(importance.fisher, net, x, shard=20, map=dask.map), whole)
    assert contents(tmp_path / "r") == contents(serial)


def test_no_scheduler_is_named():
    pytest.importorskip("distributed", reason="needs the extra 'distributed'")
    with pytest.raises(errors.WorkerError, match="dask scheduler"):
        Dask("tcp://127.0.0.1:9", patience=0.3)


def test_without_dask_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(errors.MissingExtraError, match=r"weightspace\[distributed\]"):
        Dask("tcp://127.0.0.1:8786")


# ---- resuming ----------------------------------------------------------------------------------


class Stopping(Executor):
    """Ctrl-C after so many answers."""

    def __init__(self, after: int) -> None:
        self.left = after

    def unordered(self, function, items):
        for answer in super().unordered(function, items):
            if not self.left:
                raise KeyboardInterrupt
            self.left -= 1
            yield answer


@pytest.mark.parametrize("after", [3, 5])
def test_a_stopped_sweep_does_what_is_missing(serial, images, tmp_path, after):
    out = tmp_path / "r"
    with pytest.raises(KeyboardInterrupt):
        sweep(tiny(), out, images, Stopping(after))
    assert len(list((out / "trials").iterdir())) == after
    with pytest.raises(errors.SettingError, match=r"--resume.*--overwrite"):
        sweep(tiny(), out, images)
    assert sweep(tiny(), out, images, resume=True).ran == 8 - after
    assert contents(out) == contents(serial)
    assert sweep(tiny(), out, images, resume=True).ran == 0
    timed = [json.loads(line)["id"] for line in (out / "timings.jsonl").read_text().splitlines()]
    assert len(timed) == len(set(timed)) == 8
    with pytest.raises(errors.CheckpointError, match="other settings"):
        sweep(tiny(trials=3), out, images, resume=True)
    assert sweep(tiny(trials=1), out, images, overwrite=True).ran == 6


_PATIENCE = 120  # seconds until a command is taken to hang


@contextmanager
def started(images, out, *more: str, steps: int = 200_000, **how):
    """A sweep on the command line that is at work; what is left of it is killed."""
    command = [
        sys.executable, "-m", "weightspace.bench", "sweep", "permuted-mnist", "--workers", "2",
        "--backend", "reference", "--grid", "ewc.lam=1,2", "--data-dir", str(images),
        "--out", str(out), *(word for one in TINY for word in ("--set", one)),
        "--set", f"steps={steps}", *more,
    ]  # fmt: skip
    # a shell's background jobs ignore Ctrl-C, and so would what they start
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    running = subprocess.Popen(command, text=True, start_new_session=True, **{**pipes, **how})
    signal.signal(signal.SIGINT, before)
    try:
        while not (out / "sweep.toml").exists():
            assert running.poll() is None, running.communicate()
            time.sleep(0.02)
        yield running
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)
        running.communicate()


def workers_of(running: subprocess.Popen[str], count: int = 2) -> None:
    """Wait until a command has so many workers that listen to their parent, or ended."""
    psutil = pytest.importorskip("psutil", reason="finds a sweep's workers")
    while running.poll() is None:
        children = psutil.Process(running.pid).children(recursive=True)
        if sum(child.num_threads() > 1 for child in children) >= count:
            return
        time.sleep(0.05)


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_leaves_a_sweep_to_resume_and_no_worker(images, tmp_path, sent):
    """That its output ends proves that nobody has it open any more."""
    with started(images, tmp_path / "r") as running:
        workers_of(running)
        running.send_signal(sent)
        said, _ = running.communicate(timeout=_PATIENCE)
    assert running.returncode == 128 + sent and "--resume" in said, said
    assert "Traceback" not in said


@pytest.mark.parametrize("early", [False, True])
def test_workers_end_with_a_parent_that_is_killed(images, tmp_path, early):
    """early: before they have come so far as to listen."""
    with started(images, tmp_path / "r") as running:
        if not early:
            workers_of(running)
        running.kill()
        running.communicate(timeout=_PATIENCE)  # else `sweep | tee` would wait for ever


def test_workers_hold_no_output_of_their_parent():
    with Pool(1) as pool:
        assert list(pool.map(target_of_stdout, [0])) == [os.devnull]


def target_of_stdout(_: object) -> str:
    return os.readlink("/proc/self/fd/1") if os.path.exists("/proc/self/fd") else os.devnull


def test_a_trial_gives_blas_one_thread_wherever_it_runs(monkeypatch, images):
    """A worker has fewer threads than who asked, and BLAS has other bits for another number."""
    threadpoolctl = pytest.importorskip("threadpoolctl")

    def threads(_: object) -> tuple[dict, str]:
        found = threadpoolctl.threadpool_info()
        counts = {one["num_threads"] for one in found if one["user_api"] == "blas"}
        return {"threads": counts}, "a stream"

    monkeypatch.setattr(trials_module, "_learn", threads)
    plan = tiny()
    message = plan.inner_trials(plan.candidates()[0])[0].message(images)
    with threadpoolctl.threadpool_limits(2, user_api="blas"):
        assert run_trial(message)["result"]["threads"] == {1}
        assert 2 in threads(None)[0]["threads"]


def test_a_damaged_result_is_named(serial, images, tmp_path):
    out = tmp_path / "r"
    sweep(tiny(axes=read_axes(["ewc.lam=1,2"], []), trials=1), out, images)
    clock, victim = out / "timings.jsonl", next((out / "trials").iterdir())
    for path, text in ((clock, '{"id": '), (victim, "{"), (victim, '{"result": 3}')):
        path.write_text(text)
        with pytest.raises(errors.CheckpointError, match=path.name):
            sweep(tiny(axes=read_axes(["ewc.lam=1,2"], []), trials=1), out, images, resume=True)
        path.unlink()


def test_a_result_without_its_accuracy_is_named(serial, images, tmp_path):
    """It counted as a trial that had diverged, and another candidate was chosen."""
    out = tmp_path / "r"
    shutil.copytree(serial, out)
    path = next((out / "trials").iterdir())
    record = json.loads(path.read_text())
    for result in ({**record["result"], "acc": "0.9"}, {"status": "ok", "stream_hash": "s"}):
        path.write_text(json.dumps({**record, "result": result}))
        with pytest.raises(
            errors.CheckpointError, match=rf"{path.name} is damaged: key 'result\.acc"
        ):
            sweep(tiny(), out, images, resume=True)


def test_a_resumed_sweep_names_what_differs(serial, images, tmp_path):
    out = tmp_path / "r"
    shutil.copytree(serial, out)
    with pytest.raises(errors.CheckpointError, match="trials: 2 then, 3 now"):
        sweep(tiny(trials=3), out, images, resume=True)
    (out / "sweep.toml").write_bytes(b"experiment = '\xff'")
    for more in ({"resume": True}, {"overwrite": True}):
        with pytest.raises(
            errors.CheckpointError, match=r"sweep\.toml is damaged: it is not UTF-8"
        ):
            sweep(tiny(), out, images, **more)


def test_a_test_that_diverged_is_left_out_of_the_mean_and_that_is_said(serial, images, untyped):
    plan = tiny()
    results = {path.stem: json.loads(path.read_text())["result"]
               for path in (serial / "trials").iterdir()}  # fmt: skip
    choices = choose(plan, results)
    lost = plan.outer_trials(untyped(choices[0].candidate))[1].identity()
    results[lost] = {"status": "diverged", "error": "DivergedError: ..."}
    told = table(plan, choices, results)
    test = [str(cell) for cell in told.columns[3].cells]
    assert test[0].endswith("(1 of 2)") and test[0] != "(1 of 2)" and "of" not in test[1]


# ---- what goes wrong ---------------------------------------------------------------------------


def test_a_trial_that_fails_is_a_result_and_the_sweep_goes_on(images, tmp_path, untyped):
    """A class order that does not divide is found out when the stream is made."""
    plan = SweepPlan(
        "split-mnist", read_axes(["stream.classes_per_task=2,3"], []), ("naive",),
        ("data=mnist", "hidden=8", "steps=4", "batch_size=16"), backend="reference", trials=1,
    )  # fmt: skip
    done = sweep(plan, tmp_path / "r", images)
    assert [row.result["status"] for row in done.rows] == ["ok", "failed", "ok"]
    assert "SettingError" in done.rows[1].result["error"]
    assert untyped(done.choices[0].candidate).settings == {"stream.classes_per_task": "2"}
    assert done.choices[0].failed == 1


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_divergence_is_told_apart(images):
    plan = tiny(axes=read_axes(["ewc.lam=1e30,1"], []), settings=(*TINY[:-1], "lr=1e20"))
    answer = run_trial(plan.inner_trials(plan.candidates()[0])[0].message(images))
    assert answer["result"]["status"] == "diverged"
    assert "DivergedError: the loss became" in answer["result"]["error"]


def test_what_is_wrong_with_the_place_ends_the_sweep(tmp_path, monkeypatch):
    monkeypatch.delenv("WEIGHTSPACE_DATA", raising=False)
    with pytest.raises(errors.WorkerError, match=r"DataNotFoundError.*was not found"):
        sweep(tiny(settings=(*TINY, "data=cifar-10")), tmp_path / "r", tmp_path)
    assert not (tmp_path / "r" / "trials").exists()


def test_damaged_data_end_the_sweep_and_unknown_ones_are_said_to_be(images, tmp_path):
    """A trial that failed for its data's sake would never be tried again."""
    told = Console(record=True, width=300, file=io.StringIO())
    plan = tiny(axes=read_axes(["ewc.lam=1,2"], []), trials=1)
    run_sweep(plan, tmp_path / "good", Executor(), told, images)
    assert told.export_text().count("mnist of unknown origin") == 2  # choosing, testing
    damaged = tmp_path / "damaged"
    shutil.copytree(images, damaged)
    with (damaged / "train-images-idx3-ubyte").open("ab") as file:
        file.write(b"x")
    with pytest.raises(errors.WorkerError, match=r"DataFileError.*too long"):
        sweep(plan, tmp_path / "r", damaged)
    assert not (tmp_path / "r" / "trials").exists()


def test_workers_of_another_version_or_with_other_data_are_noticed(serial, images, tmp_path):
    plan = tiny()
    message = plan.inner_trials(plan.candidates()[0])[0].message(images)
    assert read_message(json.loads(json.dumps(message))).identity() == message["id"]
    assert "same one everywhere" in run_trial({**message, "id": "0" * 24})["stopped"]
    out = tmp_path / "r"
    (out / "trials").mkdir(parents=True)
    for path in serial.iterdir():
        if path.is_file():
            (out / path.name).write_bytes(path.read_bytes())
    for number, path in enumerate(sorted((serial / "trials").iterdir())):
        record = json.loads(path.read_text())
        record["result"]["stream_hash"] = str(number)
        (out / "trials" / path.name).write_text(json.dumps(record))
    with pytest.raises(errors.DataError, match="different data"):
        sweep(plan, out, images, resume=True)


def test_the_command_writes_its_folder_and_says_what_it_chose(images, tmp_path):
    out = tmp_path / "r"
    words = [word for one in TINY for word in ("--set", one)]
    result = CliRunner().invoke(
        app, ["sweep", "permuted-mnist", *words, "--grid", "ewc.lam=1,100", "--grid",
              "activation=relu,tanh", "-m", "ewc", "-m", "naive", "--trials", "2", "--workers", "1",
              "--backend", "reference", "--data-dir", str(images), "--out", str(out)],
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "6 candidates" in result.output and "ewc.lam=" in result.output
    asked = tomllib.loads((out / "sweep.toml").read_text())
    assert asked["grid"] == {"activation": ["relu", "tanh"], "ewc.lam": ["1", "100"]}
    lines = (out / "results.csv").read_text().splitlines()
    assert lines[0] == ("stage,label,activation,ewc.lam,seed,fold,status,acc,bwt,fwt,forgetting")
    assert len(lines) == 1 + 6 + 4
    page = (out / "report.html").read_text()
    assert "data:image/png;base64," in page and "best setting" in page and "Asked for" in page
    assert (out / "figures" / "sweep.png").stat().st_size > 10_000
