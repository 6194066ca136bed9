"""MNIST by who wrote it: QMNIST's files, and the stream of groups of writers."""

from __future__ import annotations

import gzip
import struct

import numpy as np
import pytest
from weightspace.bench import data, streams
from weightspace.bench.data import writers
from weightspace.bench.data.idx import LABELS, NUMBERS, read_idx
from weightspace.bench.data.validation import HeldOut
from weightspace.bench.runs.make import make_stream
from weightspace.bench.runs.preset import Preset
from weightspace.kernels import errors


def known(people: int = 12, each: int = 10, others: int = 6) -> data.Dataset:
    """Images whose first pixel is their writer: half employees, half students; tests by others."""
    who = np.concatenate(
        [np.repeat(np.arange(people), each), 100 + np.repeat(np.arange(others), 5)]
    )
    x = np.zeros((len(who), 4, 4, 1), np.uint8)
    x[:, 0, 0, 0], x[:, 0, 1, 0] = who, np.arange(len(who)) % 251
    series = np.where((who % 100) % 2 == 0, 1, 4)
    table, y, n = np.stack([who, series], axis=1), np.arange(len(who)) % 10, people * each
    return data.Dataset("known", x[:n], y[:n], x[n:], y[n:], 10, "a test", "", table[:n], table[n:])


def who(x: np.ndarray) -> set[int]:
    return set(np.rint(x[:, 0] * 255).astype(int).tolist())


def numbers(x: np.ndarray) -> set[int]:
    return set(np.rint(x[:, 1] * 255).astype(int).tolist())


# ---- the files -----------------------------------------------------------------------------------


def write(path, rows: np.ndarray, magic: int = NUMBERS) -> str:
    content = struct.pack(">3I", magic, *rows.shape) + rows.astype(">i4").tobytes()
    path.write_bytes(gzip.compress(content))
    return read_idx(path, magic)[1]


def test_rows_of_numbers_are_read_as_they_are(tmp_path):
    rows = np.array([[5, 4, 2154], [-1, 0, 1 << 20]])
    write(tmp_path / "a.gz", rows)
    found, _ = read_idx(tmp_path / "a.gz", NUMBERS)
    assert np.array_equal(found, rows) and found.dtype == np.int64
    with pytest.raises(errors.DataError, match=r"0x00000c02, expected 0x00000801 for labels"):
        read_idx(tmp_path / "a.gz", LABELS)
    whole = gzip.decompress((tmp_path / "a.gz").read_bytes())
    for wrong, says in ((whole[:-1], "cut short"), (whole + b"\0", "too long")):
        (tmp_path / "b").write_bytes(wrong)
        with pytest.raises(errors.DataError, match=says):
            read_idx(tmp_path / "b", NUMBERS)


def test_only_the_published_files_beside_their_own_images(tmp_path, monkeypatch):
    rows = np.zeros((6, 8), int)
    rows[:, 0], rows[:, 1], rows[:, 2] = np.arange(6), 4, 7 + np.arange(6)
    found = write(tmp_path / "a.gz", rows)
    with pytest.raises(errors.DataError, match="is that of none of QMNIST's label files"):
        writers.read_writers(tmp_path / "a.gz", np.arange(6))
    monkeypatch.setattr(writers, "SUMS", (found,))
    assert writers.read_writers(tmp_path / "a.gz", np.arange(4)).tolist() == [
        [7, 4], [8, 4], [9, 4], [10, 4]]  # fmt: skip
    with pytest.raises(errors.DataError, match="of 6 images of MNIST 2 have another class"):
        writers.read_writers(tmp_path / "a.gz", np.array([0, 1, 3, 2, 4, 5]))
    with pytest.raises(errors.DataError, match="of 7 images"):
        writers.read_writers(tmp_path / "a.gz", np.arange(7))


def test_the_published_writers(real_data):
    found = data.load("mnist-writers", real_data)
    mnist = data.load("mnist", real_data)
    assert found.hash == mnist.hash and mnist.train_writers is None
    assert found.train_writers is not None and found.test_writers is not None
    student, tested = (writers.is_student(w) for w in (found.train_writers, found.test_writers))
    people = np.unique(found.train_writers[:, 0])
    assert len(people) == 539 and len(np.unique(found.train_writers[student, 0])) == 250
    assert (len(student) - student.sum(), student.sum()) == (30_950, 29_050)
    assert not len(np.intersect1d(people, found.test_writers[:, 0]))
    assert len(np.unique(found.test_writers[:, 0])) == 297
    # the first are the students', not, as is often read, the easier employees'
    assert np.array_equal(tested, np.arange(10_000) <= 5_000)


# ---- the stream ----------------------------------------------------------------------------------


def test_every_writer_is_in_one_task_and_what_is_held_out_is_never_trained_on():
    base = known()
    stream = streams.build("writers", base, "domain", num_tasks=4, held=0.3)
    assert [task.name for task in stream] == [
        "employees 0", "employees 1", "students 2", "students 3"]  # fmt: skip
    people, trained, tested = [], set(), set()
    for task in stream:
        (x, y), (x_test, _) = task.load_train(), task.load_test()
        assert who(x) == who(x_test) and len(who(x)) == 3
        assert {w % 2 for w in who(x)} == ({0} if task.name.startswith("emp") else {1})
        assert (len(x), len(x_test)) == (21, 9) == (task.train_size, task.test_size)
        assert np.array_equal(y, [n % 10 for n in np.rint(x[:, 1] * 255).astype(int)])
        people += who(x)
        trained, tested = trained | numbers(x), tested | numbers(x_test)
    assert sorted(people) == list(range(12))
    assert not trained & tested and len(trained | tested) == 120


@pytest.mark.parametrize(("tests", "sizes"), [("new", (15, 15)), ("common", (30, 30))])
def test_tested_on_writers_that_no_task_has(tests, sizes):
    base = known()
    two = streams.build("writers", base, "domain", num_tasks=2, tests=tests)
    same = streams.build("writers", base, "domain", num_tasks=2)
    for one, other, size in zip(two, same, sizes, strict=True):
        assert np.array_equal(one.load_train()[0], other.load_train()[0])
        x = one.load_test()[0]
        assert len(x) == size and min(who(x)) >= 100
        if tests == "new":
            assert {w % 2 for w in who(x)} == {w % 2 for w in who(one.load_train()[0])}
    assert two.hash != same.hash


def test_groups_are_drawn_by_the_seed_and_the_hash_knows_them():
    base = known()
    made = [streams.build("writers", base, "domain", num_tasks=3, order="drawn", seed=s)
            for s in (0, 0, 1)]  # fmt: skip
    first = [who(stream.tasks[0].load_train()[0]) for stream in made]
    assert first[0] == first[1] != first[2] and made[0].hash == made[1].hash != made[2].hash
    assert {w % 2 for w in first[0]} == {0, 1}
    other = known()
    assert other.train_writers is not None
    other.train_writers[:, 0] = np.roll(other.train_writers[:, 0], 1)
    again = streams.build("writers", other, "domain", num_tasks=3, order="drawn")
    assert again.hash != made[0].hash


def test_a_run_draws_its_groups_by_its_own_seed(monkeypatch):
    monkeypatch.setattr(data, "load", lambda name, data_dir: known())
    preset = Preset("p", "s", "writers", "domain", stream_settings={"num_tasks": 4})
    assert make_stream(preset, 0, None).hash != make_stream(preset, 1, None).hash


@pytest.mark.parametrize(
    ("settings", "says"),
    [
        ({"num_tasks": 1}, "a group of each partition"),
        ({"num_tasks": 13}, "makes 7 groups of 6 students"),
        ({"num_tasks": 13, "order": "drawn"}, "makes 13 groups of 12 writers"),
        ({"num_tasks": 2, "held": 0.97}, "of the 10 images of writer 0 are all"),
        ({"num_tasks": 2, "held": 1.0}, "held"),
        ({"num_tasks": 2, "order": "drawn", "tests": "new"}, "which order='drawn' mixes"),
    ],
)
def test_what_does_not_fit_is_said(settings, says):
    with pytest.raises(errors.SettingError, match=says):
        streams.build("writers", known(), "domain", **settings)
    for wrong in ({"order": "alphabet"}, {"tests": "old"}):
        with pytest.raises(errors.UnknownNameError, match="Known:"):
            streams.build("writers", known(), "domain", **wrong)


def test_a_set_that_does_not_know_its_writers_and_one_whose_tests_are_not_new():
    base = known()
    unknown = data.Dataset("plain", base.train_x, base.train_y, base.test_x, base.test_y, 10, "-")
    with pytest.raises(errors.DataError, match="plain does not say who wrote its images"):
        streams.build("writers", unknown, "domain")
    validated = HeldOut(0.2).of(base)
    assert validated.train_writers is not None
    assert np.array_equal(validated.train_writers[:, 0], validated.train_x[:, 0, 0, 0])
    assert streams.build("writers", validated, "domain", num_tasks=2).tasks[0].train_size
    with pytest.raises(errors.DataError, match="12 writers of known are in its test set"):
        streams.build("writers", validated, "domain", num_tasks=2, tests="common")


def test_limits_keep_images_and_writers_together():
    base = known().limited(30, 4)
    assert base.train_writers is not None and base.test_writers is not None
    assert base.train_writers[:, 0].tolist() == base.train_x[:, 0, 0, 0].tolist()
    assert base.test_writers.shape == (4, 2)
    with pytest.raises(errors.DataError, match="30 images, and writers in shape"):
        data.Dataset("odd", base.train_x, base.train_y, base.test_x, base.test_y, 10, "-", "",
                     base.train_writers[:9], base.test_writers)  # fmt: skip
