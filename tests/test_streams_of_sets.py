"""Streams of several data sets: one a task, or CIFAR's classes in slices; and the real ones."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_streams import colour, marks, plain_numpy, small
from weightspace.bench import streams
from weightspace.bench.data import load
from weightspace.bench.streams.normalise import PRESETS
from weightspace.kernels import errors


def test_data_sets_one_a_task_in_order_with_labels_side_by_side():
    a, b, c = colour("a", 3), colour("bb", 5), colour("ccc", 2)
    stream = streams.build("datasets", [b, a, c], "class")
    assert [task.name for task in stream] == ["bb", "a", "ccc"]
    assert stream.num_classes == 10 and stream.input_shape == (192,)
    for task, dataset, shift in zip(stream, (b, a, c), (0, 5, 8), strict=True):
        x, y = task.load_train()
        assert np.array_equal(np.rint(x * 255), dataset.train_x.reshape(len(x), -1))
        assert np.array_equal(y, dataset.train_y + shift) and y.dtype == np.int64
        assert np.array_equal(task.load_test()[1], dataset.test_y + shift)
        assert task.active is None


@given(st.lists(st.integers(1, 6), min_size=1, max_size=4))
def test_masks_of_data_sets_partition_the_head(sizes):
    sets = [colour(f"set {i}", size, side=2) for i, size in enumerate(sizes)]
    stream = streams.build("datasets", sets, "task")
    masks = np.array([task.active for task in stream])
    assert masks.sum(axis=0).tolist() == [1] * sum(sizes) == [1] * stream.num_classes
    for task, mask in zip(stream, masks, strict=True):
        assert set(task.load_train()[1]) == set(np.flatnonzero(mask))


def test_hash_name_and_description_cover_all_data_sets():
    a, b = colour("a"), colour("bb")
    hashes = [
        streams.build("datasets", [a, b], "class").hash,
        streams.build("datasets", [b, a], "class").hash,
        streams.build("datasets", [a, b], "task").hash,
        streams.build("datasets", [a, a], "class").hash,
        streams.build("datasets", [a], "class").hash,
        streams.build("datasets", [a, b.limited(20)], "class").hash,
        streams.build("datasets", [a, b], "class", normalise="cifar").hash,
        streams.build("datasets", [a, b], "class", flat=False).hash,
    ]
    for settings in ({}, {"slices": 3}, {"first_class": 0}, {"classes_per_task": 2}):
        sets = [a, colour("hundred", 50, n=200)]
        hashes.append(streams.build("incremental-cifar", sets, "task", **settings).hash)
    assert len(set(hashes)) == len(hashes)
    stream = streams.build("datasets", [a, b], "class")
    assert stream.name == "datasets a then bb"
    assert stream.description.startswith(
        "datasets: 2 tasks of a then bb (30 training and 30 test images each), class-incremental"
    )


INCREMENTAL = st.tuples(st.integers(1, 4), st.integers(1, 4), st.integers(0, 4))


@given(INCREMENTAL, st.sampled_from(["class", "task", "domain"]))
def test_incremental_cifar_takes_slices_in_order(numbers, scenario):
    per_task, slices, first_class = numbers
    base = per_task if scenario == "domain" else 3
    sets = [colour("ten", base, side=2), colour("hundred", 20, side=2)]
    stream = streams.build(
        "incremental-cifar",
        sets,
        scenario,
        classes_per_task=per_task,
        slices=slices,
        first_class=first_class,
    )
    assert len(stream) == 1 + slices and stream.input_shape == (2, 2, 3)
    total = base if scenario == "domain" else base + slices * per_task
    assert stream.num_classes == total
    for i, task in enumerate(stream):
        low = 0 if i == 0 else first_class + (i - 1) * per_task  # the first class in its data set
        start = 0 if i == 0 or scenario == "domain" else base + (i - 1) * per_task
        size = base if i == 0 else per_task
        found, labels = marks(task)
        assert set(found) == set(range(low, low + size))
        assert np.array_equal(labels, found - low + start)
        assert (task.active is None) == (scenario != "task")
        if task.active is not None:
            assert np.flatnonzero(task.active).tolist() == list(range(start, start + size))
            assert len(task.active) == total


def test_incremental_cifar_as_published():
    sets = [colour("cifar-10"), colour("cifar-100", 100, n=400)]
    stream = streams.build("incremental-cifar", sets, "domain", normalise="symmetric")
    assert [task.name for task in stream] == [
        "cifar-10",
        "cifar-100 classes 10-19",
        "cifar-100 classes 20-29",
        "cifar-100 classes 30-39",
        "cifar-100 classes 40-49",
    ]
    assert stream.num_classes == 10
    zenke = streams.build("incremental-cifar", sets, "task", slices=5, first_class=0)
    assert len(zenke) == 6 and zenke.num_classes == 60
    assert zenke.tasks[-1].name == "cifar-100 classes 40-49"


@pytest.mark.parametrize(
    ("scenario", "settings", "message"),
    [
        ("class", {"slices": 0}, "slices is 0"),
        ("class", {"slices": 2.0}, r"slices is 2\.0"),
        ("class", {"first_class": -1}, "first_class is -1"),
        ("class", {"classes_per_task": 0}, "classes_per_task is 0"),
        ("class", {"slices": 2, "first_class": 5}, "reach class 24"),
        ("domain", {"classes_per_task": 5, "slices": 1}, "has 10 classes and classes_per_task=5"),
        ("both", {}, "can be"),
    ],
)
def test_groups_and_heads_that_do_not_fit_are_named(scenario, settings, message):
    sets = [colour("ten"), colour("twenty", 20)]
    with pytest.raises(errors.SettingError, match=message):
        streams.build("incremental-cifar", sets, scenario, **settings)


def test_a_number_of_data_sets_that_does_not_fit_is_named():
    a = colour("a", 5)
    for kind in streams.KINDS:
        wrong = {"datasets": [[]], "incremental-cifar": [a, [a], [a] * 3]}
        scenario = "task" if kind in ("split", *wrong) else "domain"
        for sets in wrong.get(kind, [[], [a, a]]):
            with pytest.raises(errors.SettingError, match=r"takes .* data set.*plus"):
                streams.build(kind, sets, scenario)


@pytest.mark.parametrize("kind", streams.SEVERAL)
def test_images_of_different_shapes_are_named(kind):
    with pytest.raises(errors.SettingError, match=r"one shape .*small \(28, 28, 1\)"):
        streams.build(kind, [colour(), small()], "class")


def test_data_sets_have_no_domain():
    with pytest.raises(errors.SettingError, match="domain"):
        streams.build("datasets", [colour(), colour()], "domain")


def test_an_empty_group_of_the_second_set_is_named():
    sets = [colour("a"), colour("hundred", 100, n=120)]  # 20-59 in training, none of them in test
    with pytest.raises(errors.DataError, match=r"hundred classes 20-29' .* 0 test"):
        streams.build("incremental-cifar", sets, "class")


def test_the_order_of_fip():
    base = colour("cifar-100", 100, n=400)
    stream = streams.build("split", base, "task", classes_per_task=5, class_order="fip")
    assert stream.tasks[0].name == "classes 30, 95, 55, 2, 94"
    assert stream.tasks[1].name == "classes 11, 46, 10, 28, 19"
    assert stream.tasks[2].name == "classes 0, 1, 3, 4, 5"
    assert stream.tasks[-1].name == "classes 93, 96, 97, 98, 99"
    listed = streams.build("split", base, "task", classes_per_task=5, class_order=["fip"])
    assert listed.hash == stream.hash


@pytest.mark.parametrize("order", [None, "fip", list(range(99, -1, -1))])
def test_twenty_groups_of_five_partition_the_hundred_classes(order):
    base = colour("cifar-100", 100, n=400)
    stream = streams.build("split", base, "class", classes_per_task=5, class_order=order)
    groups = []
    for task in stream:
        found, labels = marks(task)
        assert np.array_equal(found, labels)
        groups.append(set(labels))
    assert len(groups) == 20 and all(len(group) == 5 for group in groups)
    assert set.union(*groups) == set(range(100))
    assert sum(task.train_size for task in stream) == len(base.train_y)
    assert stream.num_classes == 100


def test_real_cifar_10_in_five_pairs(real_data):
    base = load("cifar-10", real_data)
    order = [8, 1, 6, 7, 5, 0, 2, 9, 4, 3]
    stream = streams.build("split", base, "task", class_order=order, normalise="cifar", flat=False)
    assert len(stream) == 5 and stream.input_shape == (32, 32, 3)
    for i, task in enumerate(stream):
        assert set(task.load_train()[1]) == set(order[2 * i : 2 * i + 2])
    x, y = stream.tasks[0].load_test()
    images = base.test_x[np.isin(base.test_y, order[:2])]
    assert np.allclose(x, plain_numpy(images, *PRESETS["cifar"]), atol=1e-5)
    assert len(y) == len(images)


def test_real_cifar_100_in_twenty_groups(real_data):
    base = load("cifar-100", real_data)
    stream = streams.build("split", base, "class", classes_per_task=5, class_order="fip")
    rows = [task.load_test()[1] for task in stream]
    assert sum(map(len, rows)) == len(base.test_y)
    assert [len(set(labels)) for labels in rows] == [5] * 20
    assert set(np.concatenate(rows)) == set(range(100))


def test_real_data_sets_in_order(real_data):
    sets = [load(name, real_data).limited(500, 200) for name in ("mnist", "fashion-mnist")]
    stream = streams.build("datasets", sets, "class", normalise="mnist")
    assert stream.num_classes == 20 and stream.input_shape == (784,)
    assert set(stream.tasks[0].load_train()[1]) == set(range(10))
    assert set(stream.tasks[1].load_train()[1]) == set(range(10, 20))
    assert "mnist then fashion-mnist" in stream.description


def test_real_incremental_cifar(real_data):
    sets = [load(name, real_data) for name in ("cifar-10", "cifar-100")]
    stream = streams.build("incremental-cifar", sets, "domain", normalise="symmetric")
    for task in stream:
        x, y = task.load_train()
        assert x.shape[1:] == (32, 32, 3) and x.min() >= -1 and x.max() <= 1
        assert len(x) == len(y) == task.train_size
    for i, task in enumerate(stream.tasks[1:]):
        labels = sets[1].train_y
        mine = labels[(labels >= 10 * (i + 1)) & (labels < 10 * (i + 2))]
        assert np.array_equal(task.load_train()[1], mine - 10 * (i + 1))
