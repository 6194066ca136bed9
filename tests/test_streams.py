"""Streams: what was random was drawn once, the hash knows it, and scenarios are required."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from weightspace.bench import streams
from weightspace.bench.data import Dataset
from weightspace.bench.streams.normalise import PRESETS
from weightspace.kernels import errors

PROGRAM = """
import sys
sys.path.insert(0, {tests!r})
from test_streams import small
from weightspace.bench import streams
print(streams.build("permuted", small(), "domain", seed=4).hash)
"""


def small(classes: int = 10) -> Dataset:
    rng = np.random.default_rng(0)
    x = rng.integers(0, 256, (60, 28, 28, 1), dtype=np.uint8)
    y = np.arange(60) % classes
    w = np.stack([np.arange(60) % 20, np.where(np.arange(60) % 20 < 10, 0, 4)], axis=1)
    return Dataset("small", x[:40], y[:40], x[40:], y[40:], classes, "a test", "", w[:40], w[40:])


def colour(name: str = "colour", classes: int = 10, side: int = 8, n: int = 60) -> Dataset:
    """Images whose first pixel is the class and whose second numbers them, to follow both."""
    rng = np.random.default_rng(sum(name.encode()))
    x = rng.integers(0, 256, (n, side, side, 3), dtype=np.uint8)
    y = np.arange(n) % classes
    x[:, 0, 0, 0], x[:, 0, 0, 1] = y, np.arange(n)
    half = n // 2
    return Dataset(name, x[:half], y[:half], x[half:], y[half:], classes, "a test")


def marks(task) -> tuple[np.ndarray, np.ndarray]:
    """The classes that a task's images were given by `colour`, and the labels it has for them."""
    parts = [task.load_train(), task.load_test()]
    x, y = (np.concatenate(both) for both in zip(*parts, strict=True))
    return np.rint(x.reshape(len(x), -1)[:, 0] * 255).astype(int), y


def image(task, row=0):
    return np.rint(task.load_train()[0][row].reshape(28, 28) * 255).astype(int)


def test_permuted_tasks_hold_the_same_pixels_in_another_order():
    base = small()
    stream = streams.build("permuted", base, "domain", num_tasks=3, seed=1)
    original = base.train_x[0, :, :, 0].astype(int)
    assert np.array_equal(image(stream.tasks[0]), original)
    for task in stream.tasks[1:]:
        assert not np.array_equal(image(task), original)
        assert sorted(image(task).ravel()) == sorted(original.ravel())
    x, y = stream.tasks[1].load_test()
    assert x.dtype == np.float32 and y.dtype == np.int64 and x.max() <= 1
    assert stream.input_shape == (784,) and stream.num_classes == 10


def test_a_task_gives_the_same_arrays_every_time():
    for kind in ("permuted", "rotated", "manipulated", "split"):
        scenario = "task" if kind == "split" else "domain"
        task = streams.build(kind, small(), scenario).tasks[1]
        assert np.array_equal(task.load_train()[0], task.load_train()[0])
        assert task.train_size == len(task.load_train()[1])


def test_rotation_by_a_quarter_is_exact_and_counter_clockwise():
    pytest.importorskip("scipy", reason="rotation needs scipy")
    base = small()
    stream = streams.build("rotated", base, "domain", angles=[0, 90])
    assert np.array_equal(image(stream.tasks[1]), np.rot90(base.train_x[0, :, :, 0]))


def test_rotation_without_scipy_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "scipy.ndimage", None)
    stream = streams.build("rotated", small(), "domain", angles=[0, 30])
    stream.tasks[0].load_train()  # as it is: nothing to turn
    with pytest.raises(errors.MissingExtraError, match="demo"):
        stream.tasks[1].load_train()


def test_tasks_hold_no_copies_and_leave_the_data_alone():
    base = small()
    before = base.train_x.copy()
    for kind in streams.KINDS:
        if kind == "rotated":
            pytest.importorskip("scipy", reason="rotation needs scipy")
        several = {"datasets": {}, "incremental-cifar": {"classes_per_task": 2, "first_class": 0}}
        scenario = "class" if kind in several else "domain"
        sets = [base, base] if kind in several else base
        for task in streams.build(kind, sets, scenario, **several.get(kind, {})):
            first, second = task.load_train()[0], task.load_train()[0]
            assert not np.shares_memory(first, second)
            first[...] = -1
            assert second.min() >= 0 and second.max() <= 1
    assert np.array_equal(base.train_x, before)


@pytest.mark.parametrize("scenario", ["task", "class", "domain"])
def test_split_groups_classes(scenario):
    stream = streams.build("split", small(), scenario, classes_per_task=5)
    assert len(stream) == 2
    x, y = stream.tasks[1].load_train()
    assert len(x) == len(y) == 20
    assert set(y) == (set(range(5)) if scenario == "domain" else set(range(5, 10)))
    active = stream.tasks[1].active
    assert (active is None) == (scenario != "task")
    if active is not None:
        assert active.tolist() == [False] * 5 + [True] * 5
    assert stream.num_classes == (5 if scenario == "domain" else 10)


def test_manipulations_are_the_published_ones():
    base = small()
    x = base.train_x[0, :, :, 0].astype(int)
    inv = 255 - x
    stream = streams.build("manipulated", base, "domain")
    found = {task.name: image(task) for task in stream.tasks}
    assert list(found) == [
        "orig", "rot90", "fliplr", "flipud", "check", "inv", "cutud", "invbot"
    ]  # fmt: skip
    assert np.array_equal(found["orig"], x)
    assert np.array_equal(found["inv"], inv)
    assert np.array_equal(found["rot90"], np.rot90(inv))
    assert np.array_equal(found["fliplr"], np.fliplr(inv))
    assert np.array_equal(found["flipud"], np.flipud(inv))
    assert np.array_equal(found["cutud"], np.vstack([inv[14:], inv[:14]]))
    assert np.array_equal(found["invbot"], np.vstack([inv[:14], x[14:]]))
    row, column = np.indices((28, 28))
    assert np.array_equal(
        found["check"],
        np.where((row + column) % 2 == 0, np.where(row % 2 == column % 2, inv, x), x),
    )
    named = streams.build("manipulated", base, "domain", order=["invbot"], rows="name")
    assert np.array_equal(image(named.tasks[0]), np.vstack([x[:14], inv[14:]]))


def test_hash_knows_everything_that_matters():
    base = small()
    build = streams.build
    hashes = [
        build("permuted", base, "domain").hash,
        build("permuted", base, "domain", seed=1).hash,
        build("permuted", base, "domain", num_tasks=9).hash,
        build("permuted", base, "domain", identity_first=False).hash,
        build("permuted", base, "domain", normalise=(0.13, 0.3)).hash,
        build("permuted", base.limited(30), "domain").hash,
        build("split", base, "task").hash,
        build("split", base, "class").hash,
        build("split", base, "class", class_order=[1, 0, *range(2, 10)]).hash,
        build("manipulated", base, "domain").hash,
        build("manipulated", base, "domain", rows="name").hash,
        build("rotated", base, "domain").hash,
        build("rotated", base, "domain", max_angle=90).hash,
    ]
    assert len(set(hashes)) == len(hashes)
    assert build("permuted", small(), "domain").hash == hashes[0]


def test_hash_does_not_depend_on_how_a_setting_was_written():
    base = small()
    build = streams.build
    pairs = [
        ("permuted", {"seed": 3}, {"seed": np.int64(3)}),
        ("permuted", {"normalise": (0, 1)}, {"normalise": [np.float64(0), 1.0]}),
        ("rotated", {"angles": [0, 90]}, {"angles": np.array([0.0, 90.0])}),
        ("split", {"class_order": range(10)}, {"class_order": np.arange(10)}),
        ("manipulated", {"order": ("inv", "orig")}, {"order": ["inv", "orig"]}),
    ]
    for kind, one, other in pairs:
        assert build(kind, base, "domain", **one).hash == build(kind, base, "domain", **other).hash


@pytest.mark.parametrize(
    ("kind", "scenario", "settings", "start"),
    [
        ("permuted", "domain", {"num_tasks": 2, "normalise": (0.25, 0.5)}, "d34b89006c3d0c6e"),
        ("permuted", "domain", {}, "9e8223ba44a47f9e"),
        ("rotated", "domain", {"normalise": [0, 1]}, "b77fcf20369fba71"),
        ("manipulated", "domain", {}, "b6f10311deb8f130"),
        ("split", "task", {}, "a7d6ad30c359459a"),
        (
            "split",
            "domain",
            {"class_order": [3, 1], "normalise": (0.1307, 0.3081)},
            "9748ac4cd555f729",
        ),
    ],
)
def test_hash_stays_the_same_between_versions(kind, scenario, settings, start):
    assert streams.build(kind, small(), scenario, **settings).hash.startswith(start)


def test_hash_is_the_same_in_another_process(request):
    program = PROGRAM.format(tests=str(request.path.parent))
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == streams.build("permuted", small(), "domain", seed=4).hash


def test_description_says_the_scenario():
    text = streams.build("split", small(), "class").description
    assert "class-incremental" in text and "5 tasks" in text


def test_normalisation_and_shape():
    stream = streams.build("permuted", small(), "domain", normalise=(0.5, 0.25), flat=False)
    x, _ = stream.tasks[0].load_train()
    assert x.shape == (40, 28, 28, 1)
    assert np.allclose(x[0, :, :, 0], (small().train_x[0, :, :, 0] / 255 - 0.5) / 0.25, atol=1e-5)


@pytest.mark.parametrize(
    ("kind", "scenario", "settings", "error"),
    [
        ("permutation", "domain", {}, errors.UnknownNameError),
        ("permuted", "class", {}, errors.SettingError),
        ("rotated", "task", {}, errors.SettingError),
        ("split", "domian", {}, errors.SettingError),
        ("permuted", "domain", {"num_tasks": 0}, errors.SettingError),
        ("permuted", "domain", {"num_tasks": 10**9}, errors.SettingError),
        ("permuted", "domain", {"tasks": 3}, errors.UnknownNameError),
        (None, "domain", {}, errors.UnknownNameError),
        ("permuted", None, {}, errors.SettingError),
        ("permuted", "domain", {"num_tasks": 2.5}, errors.SettingError),
        ("permuted", "domain", {"num_tasks": True}, errors.SettingError),
        ("permuted", "domain", {"seed": 1.5}, errors.SettingError),
        ("permuted", "domain", {"seed": "one"}, errors.SettingError),
        ("permuted", "domain", {"normalise": 0.5}, errors.SettingError),
        ("permuted", "domain", {"normalise": (0.1,)}, errors.SettingError),
        ("rotated", "domain", {"normalise": (0.1, 0)}, errors.SettingError),
        ("split", "task", {"normalise": (float("nan"), 1)}, errors.SettingError),
        ("manipulated", "domain", {"normalise": ("a", "b")}, errors.SettingError),
        ("rotated", "domain", {"num_tasks": 0}, errors.SettingError),
        ("rotated", "domain", {"max_angle": float("inf")}, errors.SettingError),
        ("rotated", "domain", {"max_angle": None}, errors.SettingError),
        ("rotated", "domain", {"angles": 30}, errors.SettingError),
        ("rotated", "domain", {"angles": "30"}, errors.SettingError),
        ("rotated", "domain", {"angles": ["x"]}, errors.SettingError),
        ("rotated", "domain", {"angles": []}, errors.SettingError),
        ("rotated", "domain", {"angles": [float("nan")]}, errors.SettingError),
        ("split", "task", {"classes_per_task": 3}, errors.SettingError),
        ("split", "task", {"classes_per_task": 0}, errors.SettingError),
        ("split", "task", {"classes_per_task": 20}, errors.SettingError),
        ("split", "task", {"class_order": []}, errors.SettingError),
        ("split", "task", {"class_order": 3}, errors.SettingError),
        ("split", "task", {"class_order": [0, 1.5]}, errors.SettingError),
        ("split", "task", {"class_order": [0, 0]}, errors.SettingError),
        ("split", "task", {"class_order": [0, 11]}, errors.SettingError),
        ("manipulated", "domain", {"order": ["inverse"]}, errors.UnknownNameError),
        ("manipulated", "domain", {"order": [1]}, errors.UnknownNameError),
        ("manipulated", "domain", {"order": "inv"}, errors.SettingError),
        ("manipulated", "domain", {"order": []}, errors.SettingError),
        ("manipulated", "domain", {"rows": None}, errors.UnknownNameError),
        ("manipulated", "domain", {"rows": "top"}, errors.UnknownNameError),
        ("split", "task", {"class_order": "fip"}, errors.SettingError),
        ("split", "task", {"class_order": ["fip"]}, errors.SettingError),
        ("split", "task", {"class_order": "flip"}, errors.UnknownNameError),
        ("split", "task", {"class_order": ["fip", "fip"]}, errors.SettingError),
        ("permuted", "domain", {"normalise": "cifra"}, errors.UnknownNameError),
        ("permuted", "domain", {"normalise": ["imagenet"]}, errors.UnknownNameError),
        ("permuted", "domain", {"normalise": ["cifar", "mnist"]}, errors.SettingError),
        ("permuted", "domain", {"normalise": "cifar"}, errors.SettingError),
        ("permuted", "domain", {"normalise": (0.1, 0.2, 0.3)}, errors.SettingError),
        ("permuted", "domain", {"normalise": ((0.1, 0.2), 1)}, errors.SettingError),
        ("permuted", "domain", {"normalise": (0.1, None)}, errors.SettingError),
        ("permuted", "domain", {"normalise": (1e39, 1)}, errors.SettingError),
        ("permuted", "domain", {"normalise": (0, 1e-50)}, errors.SettingError),
        ("permuted", "domain", {"normalise": (0, 1e-39)}, errors.SettingError),
        ("permuted", "domain", {"flat": "false"}, errors.SettingError),
        ("split", "task", {"flat": 0}, errors.SettingError),
        ("permuted", "domain", {"identity_first": "no"}, errors.SettingError),
    ],
)
def test_bad_requests_are_named(kind, scenario, settings, error):
    with pytest.raises(error):
        streams.build(kind, small(), scenario, **settings)


@pytest.mark.parametrize(
    ("kind", "scenario", "settings"),
    [
        ("permuted", "domain", {"num_tasks": 3, "seed": 5, "identity_first": False}),
        ("rotated", "domain", {"num_tasks": 3, "max_angle": 90.0, "flat": False}),
        ("rotated", "domain", {"angles": [0, 45]}),
        ("split", "task", {"classes_per_task": 5, "class_order": [3, 1, 4, 5, 9, 2, 6, 8, 7, 0]}),
        ("split", "task", {"normalise": (0.5, 0.25)}),
        ("manipulated", "domain", {"order": ["noise1"], "seed": 4}),
    ],
)
def test_numpys_numbers_are_numbers(kind, scenario, settings):
    """Also as the number of classes; the same stream, the same hash."""

    def numpys(value):
        found = np.asarray(value)
        return list(found) if found.ndim else found[()]

    base = small()
    theirs = replace(base, num_classes=np.int64(10))
    converted = {name: numpys(value) for name, value in settings.items()}
    stream = streams.build(kind, theirs, scenario, **converted)
    assert stream.hash == streams.build(kind, base, scenario, **settings).hash


def test_an_empty_data_set_is_named():
    base = small()
    empty = Dataset("empty", base.train_x, base.train_y, base.test_x[:0], base.test_y[:0], 10, "")
    with pytest.raises(errors.DataError, match="40 training and 0 test"):
        streams.build("permuted", empty, "domain")


def test_a_class_without_images_is_named():
    base = small()
    sparse = Dataset("sparse", base.train_x, base.train_y % 8, base.test_x, base.test_y, 10, "")
    with pytest.raises(errors.DataError, match="8, 9"):
        streams.build("split", sparse, "task")


LEVEL = st.one_of(st.floats(0.05, 2), st.tuples(*[st.floats(0.05, 2)] * 3))


def plain_numpy(images: np.ndarray, mean, deviation) -> np.ndarray:
    """What normalisation means, in float64."""
    return (images / 255 - np.asarray(mean)) / np.asarray(deviation)


@given(LEVEL, LEVEL, st.booleans())
def test_normalisation_by_channel_is_what_numpy_says(mean, deviation, flat):
    base = colour()
    stream = streams.build(
        "split", base, "task", classes_per_task=10, normalise=(mean, deviation), flat=flat
    )
    x, _ = stream.tasks[0].load_test()
    expected = plain_numpy(base.test_x, mean, deviation)
    assert x.dtype == np.float32 and x.flags.c_contiguous
    assert x.shape == ((30, 192) if flat else (30, 8, 8, 3))
    assert np.allclose(x, expected.reshape(x.shape), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", PRESETS)
def test_named_normalisations(name):
    base = colour()
    mean, deviation = PRESETS[name]
    one, other, third = (
        streams.build("datasets", base, "class", normalise=given, flat=False)
        for given in (name, [name], (mean, deviation))
    )
    assert one.hash == other.hash == third.hash
    x, _ = one.tasks[0].load_train()
    assert np.allclose(x, plain_numpy(base.train_x, mean, deviation), atol=1e-5)


def test_symmetric_runs_from_minus_one_to_one():
    x, _ = streams.build("split", small(), "task", normalise="symmetric").tasks[0].load_train()
    assert (x.min(), x.max()) == (-1, 1)


def test_equal_channels_are_one_number():
    hashes = {
        streams.build("datasets", colour(), "class", normalise=values).hash
        for values in ((0.5, 0.25), ((0.5, 0.5, 0.5), 0.25), (0.5, np.full(3, 0.25)))
    }
    assert len(hashes) == 1


def test_a_permuted_pixel_keeps_the_scale_of_its_channel():
    """A permutation moves pixels from channel to channel: each is scaled by where it came from."""
    base = colour(side=4)
    places = replace(
        base, train_x=np.tile(np.arange(48, dtype=np.uint8).reshape(4, 4, 3), (30, 1, 1, 1))
    )
    settings = {"num_tasks": 3, "seed": 5}
    plain = streams.build("permuted", places, "domain", **settings)
    scaled = streams.build("permuted", base, "domain", normalise="cifar", **settings)
    expected = plain_numpy(base.train_x, *PRESETS["cifar"]).reshape(30, -1)
    for where, task in zip(plain, scaled, strict=True):
        order = np.rint(where.load_train()[0][0] * 255).astype(int)
        assert sorted(order) == list(range(48))
        assert np.allclose(task.load_train()[0], expected[:, order], atol=1e-5)


@pytest.mark.parametrize("kind", ["rotated", "manipulated"])
def test_transformed_colour_images_are_scaled_by_channel(kind):
    pytest.importorskip("scipy", reason="rotation needs scipy")
    base = colour()
    plain = streams.build(kind, base, "domain", flat=False)
    scaled = streams.build(kind, base, "domain", flat=False, normalise="cifar")
    for before, after in zip(plain, scaled, strict=True):
        images = np.rint(before.load_train()[0] * 255)
        x = after.load_train()[0]
        assert x.flags.c_contiguous
        assert np.allclose(x, plain_numpy(images, *PRESETS["cifar"]), atol=1e-5)
