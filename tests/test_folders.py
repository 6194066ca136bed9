"""OUT folders: who holds one, what is taken up, and that nothing else's file is ever removed."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import threading

import pytest
from weightspace.bench.runs.files import RUNS
from weightspace.bench.store import locks
from weightspace.bench.store.folders import check, claimed, is_bare, write_asked
from weightspace.bench.store.locks import held
from weightspace.bench.studies.study import KIND as STUDIES
from weightspace.bench.sweep.sweep import SWEEPS
from weightspace.kernels.errors import CheckpointError, SettingError, StorageError

CONFIG = """\
name = "toy"
stream = "split"
scenario = "task"
data = "mnist-demo"
hidden = [8]
activation = "relu"
optimizer = "adam"
lr = 0.001
batch_size = 16
backend = "cpu"
seed = 0

[stream_settings]

[method]
name = "naive"
"""
FIRST = {  # what each kind writes first, and something that it writes later
    RUNS.name: (RUNS, "naive/seed-0/config.toml", CONFIG, "naive/seed-0/summary.json"),
    STUDIES.name: (STUDIES, "config.toml", 'study = "toy"\nbackend = "cpu"\n', "seed-0/a.jsonl"),
    SWEEPS.name: (SWEEPS, "sweep.toml", 'experiment = "toy"\nmethods = []\n', "results.csv"),
}


def put(path, text=""):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return path


def files(folder):
    return {str(p.relative_to(folder)) for p in folder.rglob("*") if not p.is_dir()}


@pytest.mark.parametrize("name", FIRST)
def test_what_a_kill_at_any_moment_leaves_is_taken_up(tmp_path, name):
    """Nothing; a lock; a file half written; the first file; the first file and more."""
    kind, first, text, later = FIRST[name]
    out = tmp_path / "out"
    marker = out / first
    unfinished = f".{marker.name}.a1b2c3_4"
    states = [[], [out / locks.NAME], [marker.parent / unfinished], [marker], [marker, out / later]]
    for left in states:
        for resume in (True, False):
            for path in left:
                put(path, text if path == marker else "{")
            with claimed(out, kind, resume, overwrite=not resume):
                assert not (marker.parent / unfinished).exists()
                assert marker.exists() == (resume and marker in left)
            for path in left:
                path.unlink(missing_ok=True)


@pytest.mark.parametrize("name", FIRST)
def test_what_is_unfinished_counts_as_nothing(tmp_path, name):
    kind, first, _, _ = FIRST[name]
    put(tmp_path / "out" / first).rename((tmp_path / "out" / first).with_name(
        f".{(tmp_path / first).name}.abcdefgh"))  # fmt: skip
    assert is_bare(tmp_path / "out", kind)
    check(tmp_path / "out", kind, resume=False, overwrite=False)


@pytest.mark.parametrize("name", FIRST)
def test_a_parent_of_other_things_is_no_folder_of_ours(tmp_path, name):
    """`--out runs --overwrite`, where runs/ holds a study, a sweep, a run and a file of others."""
    kind = FIRST[name][0]
    for other, (_, first, text, later) in FIRST.items():
        put(tmp_path / other / first, text)
        put(tmp_path / other / later)
    put(tmp_path / "another-tool" / "config.toml", "a = 1")
    put(tmp_path / "another-tool" / "summary.json", "{}")
    before = files(tmp_path)
    with (
        pytest.raises(SettingError, match=f"no {kind.name} of weightspace"),
        claimed(tmp_path, kind, False, overwrite=True),
    ):
        pass
    assert files(tmp_path) == before


@pytest.mark.parametrize("name", FIRST)
def test_overwrite_removes_what_was_written_and_nothing_else(tmp_path, name):
    kind, first, text, later = FIRST[name]
    out = tmp_path / "out"
    put(out / first, text)
    put(out / later)
    foreign = {"notes.txt", "data/summary.json", "data/config.toml", "x/seed-0/model.pt",
               f"{'/'.join(first.split('/')[:-1]) or 'seed-0'}/thesis.tex"}  # fmt: skip
    for path in foreign:
        put(out / path, "mine")
    target = put(tmp_path / "elsewhere" / "figures" / "compare.png", "mine")
    (out / "figures").symlink_to(target.parent)
    with claimed(out, kind, False, overwrite=True):
        left = files(out) - {locks.NAME}
    assert left == foreign
    assert (out / "figures").is_symlink() and target.exists()


def test_overwrite_unlinks_a_link_and_not_what_it_points_to(tmp_path):
    out, target = tmp_path / "out", put(tmp_path / "kept.json", "mine")
    put(out / "sweep.toml", FIRST["sweep"][2])
    (out / "results.csv").symlink_to(target)
    with claimed(out, SWEEPS, False, overwrite=True):
        assert files(out) == {locks.NAME}
    assert target.read_text() == "mine"


def test_a_damaged_marker_is_named_and_not_removed(tmp_path):
    for content, said in (
        (b"\xff\xfe", "UTF-8"),
        (b"study = ", "not TOML"),
        (b"study = 3", "study"),
    ):
        (tmp_path / "config.toml").write_bytes(content)
        for resume in (True, False):
            with (
                pytest.raises(CheckpointError, match=rf"config\.toml is damaged.*{said}"),
                claimed(tmp_path, STUDIES, resume, not resume),
            ):
                pass
        assert (tmp_path / "config.toml").exists()


def test_what_differs_is_named(tmp_path):
    path = tmp_path / "sweep.toml"
    write_asked(path, "steps = 200\nlr = 1.0\n", {"steps": 200, "lr": 1.0}, resume=False)
    with pytest.raises(CheckpointError, match=r"other settings \(steps: 200 then, 100 now\)"):
        write_asked(path, "", {"steps": 100, "lr": 1}, resume=True)


@pytest.mark.parametrize("name", FIRST)
def test_what_is_refused_at_the_start_leaves_no_folder(tmp_path, name):
    kind, first, text, later = FIRST[name]
    out = tmp_path / "new" / "out"
    with pytest.raises(SettingError, match="too much"), claimed(out, kind, False, False):
        put(out / first, text)
        raise SettingError("too much")
    assert not (tmp_path / "new").exists()
    with pytest.raises(SettingError, match="too much"), claimed(out, kind, False, False):
        put(out / first, text)
        put(out / later)
        raise SettingError("too much")
    assert files(out) == {first, later}  # what was worked out stays


# ---- locks ---------------------------------------------------------------------------------------

HOLD = """
import sys, time
from pathlib import Path
from weightspace.bench.store.locks import held
with held(Path(sys.argv[1])):
    print("held", flush=True)
    sys.stdin.read()
"""


def holding(folder):
    """A process that holds `folder` until it is killed or its stdin is closed."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        text=True,
    )  # fmt: skip
    assert process.stdout and process.stdout.readline() == "held\n"
    return process


def test_a_folder_is_held_by_one_process_that_is_named_and_by_no_dead_one(tmp_path):
    process = holding(tmp_path / "out")
    try:
        said = f"in use by process {process.pid} on this machine"
        with pytest.raises(SettingError, match=said), held(tmp_path / "out"):
            pass
    finally:
        process.kill()
        process.communicate()
    assert (tmp_path / "out" / locks.NAME).exists()  # it had no time to remove it
    with held(tmp_path / "out"):
        pass
    assert not (tmp_path / "out" / locks.NAME).exists()


def test_a_thread_may_hold_what_it_holds_and_another_may_not(tmp_path):
    said = []

    def other():
        try:
            with held(tmp_path):
                pass
        except SettingError as wrong:
            said.append(str(wrong))

    with held(tmp_path), held(tmp_path):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert len(said) == 1 and "in use" in said[0]
    with held(tmp_path):
        pass


def without_locks(*_):
    raise OSError(37, "No locks available")


@pytest.mark.parametrize(
    ("host", "pid", "said"),
    [
        (None, os.getpid(), "wait for it to end"),
        ("elsewhere", 1, "the machine elsewhere.*cannot see whether it still runs.*remove"),
        (None, 2**22 + 1, None),  # above the most that Linux gives
    ],
    ids=["ours", "elsewhere", "dead"],
)
def test_where_there_are_no_locks_the_process_is_looked_for(tmp_path, monkeypatch, host, pid, said):
    monkeypatch.setattr(locks.fcntl, "flock", without_locks)
    who = {"host": host or platform.node(), "pid": pid, "started": "", "command": ""}
    put(tmp_path / locks.NAME, json.dumps(who))
    if said:
        with pytest.raises(SettingError, match=said), held(tmp_path):
            pass
    else:
        with held(tmp_path):
            assert json.loads((tmp_path / locks.NAME).read_text())["pid"] == os.getpid()


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    put(tmp_path / "file")
    with pytest.raises(StorageError, match="cannot be written"), held(tmp_path / "file" / "out"):
        pass
