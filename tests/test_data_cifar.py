"""CIFAR's published files, and presets of several data sets."""

from __future__ import annotations

import numpy as np
import pytest
from test_data import preset, write_cifar, write_mnist
from weightspace.bench import data, streams
from weightspace.bench.data.cifar import read_records
from weightspace.bench.runs import make as runs
from weightspace.kernels import errors

pytestmark = pytest.mark.usefixtures("nowhere")


@pytest.mark.parametrize("hundred", [False, True])
def test_cifar_records(tmp_path, hundred):
    name, folder = (
        ("cifar-100", "cifar-100-binary") if hundred else ("cifar-10", "cifar-10-batches-bin")
    )
    rows = write_cifar(tmp_path / folder, hundred)
    found = data.load(name, tmp_path)
    assert found.test_x.shape == (4, 32, 32, 3)
    assert len(found.train_y) == (4 if hundred else 20)
    assert found.test_y.tolist() == rows[:, 1 if hundred else 0].tolist()
    red = rows[0, 2 if hundred else 1 :][:1024].reshape(32, 32)
    assert np.array_equal(found.test_x[0, :, :, 0], red)


def test_a_cifar_file_cut_inside_a_record_is_named(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin", False)
    path = tmp_path / "cifar-10-batches-bin" / "data_batch_3.bin"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(errors.DataError, match=r"data_batch_3.*3,073"):
        data.load("cifar-10", tmp_path)


def test_a_label_that_cifar_has_not_is_named(tmp_path):
    write_cifar(tmp_path / "cifar-100-binary", True)
    path = tmp_path / "cifar-100-binary" / "test.bin"
    content = bytearray(path.read_bytes())
    content[1] = 100
    path.write_bytes(content)
    with pytest.raises(errors.LabelError, match=r"from 2 to 100, expected 0\.\.99"):
        data.load("cifar-100", tmp_path)


def test_a_preset_names_several_sets(tmp_path):
    write_mnist(tmp_path / "mnist", n=6)
    write_mnist(tmp_path / "fashion-mnist", n=8)
    stream = runs.make_stream(
        preset("mnist+fashion-mnist", train_limit=5, test_limit=4), 0, tmp_path
    )
    assert [task.name for task in stream] == ["mnist", "fashion-mnist"]
    assert {(task.train_size, task.test_size) for task in stream} == {(5, 4)}
    assert stream.tasks[1].load_train()[1].tolist() == [10, 11, 12, 13, 14]
    assert "mnist then fashion-mnist" in stream.description
    spaced = preset("mnist + fashion-mnist", train_limit=5, test_limit=4)
    assert runs.make_stream(spaced, 0, tmp_path).hash == stream.hash


def test_a_preset_of_both_cifars(tmp_path):
    write_cifar(tmp_path / "cifar-10-batches-bin", False)
    write_cifar(tmp_path / "cifar-100-binary", True)
    settings = {"classes_per_task": 2, "slices": 3, "first_class": 0, "normalise": ["cifar"]}
    both = preset("cifar-10+cifar-100", "incremental-cifar", stream_settings=settings)
    stream = runs.make_stream(both, 0, tmp_path)
    assert len(stream) == 4 and stream.input_shape == (32, 32, 3)
    assert stream.tasks[2].load_train()[1].tolist() == [12]  # the label 2 of 0, 2, 4 and 6


@pytest.mark.parametrize(
    ("names", "stream", "scenario", "error"),
    [
        ("mnist+mnist", "permuted", "domain", errors.SettingError),
        ("mnist+mnist", "split", "task", errors.SettingError),
        ("mnist", "incremental-cifar", "class", errors.SettingError),
        ("mnist+mnist+mnist", "incremental-cifar", "class", errors.SettingError),
        ("mnist+cifar-10", "datasets", "class", errors.SettingError),
        ("mnist+", "datasets", "class", errors.UnknownNameError),
        ("mnist+minst", "datasets", "class", errors.UnknownNameError),
    ],
)
def test_sets_that_do_not_fit_a_stream_are_named(tmp_path, names, stream, scenario, error):
    write_mnist(tmp_path / "mnist")
    write_cifar(tmp_path / "cifar-10-batches-bin", False)
    with pytest.raises(error):
        runs.make_stream(preset(names, stream, scenario), 0, tmp_path)


def test_one_set_is_given_as_before(tmp_path):
    write_mnist(tmp_path / "mnist")
    stream = runs.make_stream(preset("mnist", "permuted", "domain"), 3, tmp_path)
    again = data.load("mnist", tmp_path)
    assert stream.hash == streams.build("permuted", again, "domain", seed=3).hash


def test_the_classes_of_fip_have_the_superclasses_they_should(real_data):
    """CIFAR-100 files hold the superclass too: a check of the numbers behind the names."""
    folder = data.places.locate(data.ENTRIES["cifar-100"], real_data)
    coarse, fine = np.fromfile(folder / "test.bin", np.uint8).reshape(-1, 3074)[:, :2].T
    assert np.array_equal(fine, read_records(folder / "test.bin", 2)[1])
    aquatic, containers, furniture, herbivores, people = 0, 3, 6, 11, 14
    expected = [aquatic] * 3 + [people, furniture, people, people, containers, containers]
    numbers = streams.split.ORDERS["fip"][1]
    found = [set(coarse[fine == number].tolist()) for number in numbers]
    assert found == [{group} for group in [*expected, herbivores]]
