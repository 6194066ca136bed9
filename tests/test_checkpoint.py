"""Checkpoints and files: there whole or not at all, and damage is noticed."""

from __future__ import annotations

import errno
import json
import os
import struct
import tracemalloc

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.nnlite import (
    Activation,
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    Linear,
    MaxPool2d,
    Network,
    SparseNetwork,
    load_arrays,
    save_arrays,
)
from weightspace.nnlite.checkpoint import describe_network, named_parameters, pack_arrays
from weightspace.nnlite.files import write_whole


@pytest.fixture
def net() -> Network:
    layers = [Flatten(), Linear(7, "leaky_relu", 0.2), Activation("tanh"), Linear(3, bias=False)]
    return Network(layers, (4, 2, 1), "reference", seed=9, init="he_normal")


def test_a_network_comes_back_bit_for_bit(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    back = Network.load(tmp_path / "net.safetensors", backend="reference")
    assert back.layers == net.layers
    assert back.theta.tobytes() == net.theta.tobytes()
    assert (back.init, back.seed, back.dtype) == (net.init, net.seed, net.dtype)


def test_parameters_are_stored_by_name(net, tmp_path):
    net.save(tmp_path / "net.safetensors")
    arrays, about = load_arrays(tmp_path / "net.safetensors")
    assert set(arrays) == {"theta.1.weight", "theta.1.bias", "theta.3.weight"}
    assert about["kind"] == "network"


def test_every_way_of_being_damaged_is_noticed(net, tmp_path):
    path = tmp_path / "net.safetensors"
    net.save(path)
    whole = path.read_bytes()
    for cut in (0, 4, 20, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:cut])
        with pytest.raises(errors.CheckpointError):
            Network.load(path, "reference")
    for at in range(8, len(whole), 37):  # a flipped bit anywhere after the length
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(errors.CheckpointError):
            Network.load(path, "reference")


def test_foreign_and_missing_files_are_refused(tmp_path, untyped):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(errors.CheckpointError, match="not written by weightspace"):
        load_arrays(tmp_path / "foreign.safetensors")
    with pytest.raises(errors.CheckpointError, match="no checkpoint"):
        load_arrays(tmp_path / "absent")
    for no_path in (None, 0, ["a"], "a\0b", tmp_path):
        with pytest.raises(errors.CheckpointError, match="not a readable"):
            load_arrays(untyped(no_path))
    save_arrays(tmp_path / "run", {"a": np.zeros(3)}, {"kind": "run"})
    with pytest.raises(errors.CheckpointError, match="--resume"):
        Network.load(tmp_path / "run", "reference")


def test_a_pickle_is_not_opened(tmp_path):
    import pickle

    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "trap").write_bytes(pickle.dumps(Trap()))
    with pytest.raises(errors.CheckpointError):
        load_arrays(tmp_path / "trap")
    assert not (tmp_path / "sprung").exists()


def test_a_full_disk_leaves_the_old_file(net, tmp_path, monkeypatch):
    path = tmp_path / "net.safetensors"
    net.save(path)
    before = path.read_bytes()

    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    net.theta[:] = 0
    with pytest.raises(errors.StorageError, match=r"No space left.*untouched"):
        net.save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["net.safetensors"], "a temporary file was left behind"


def test_a_place_that_cannot_be_written(net, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(errors.StorageError, match="could not write"):
        net.save(tmp_path / "file" / "net.safetensors")


def test_written_files_have_ordinary_permissions(tmp_path):
    write_whole(tmp_path / "a", "text")
    (tmp_path / "b").write_text("text")
    assert (tmp_path / "a").stat().st_mode == (tmp_path / "b").stat().st_mode


# ---- files with a right checksum, and a wrong description ----------------------------------------


def change(about, path, value):
    """`about` with the entry at `path` set, or taken out where value is None."""
    *inner, last = path
    for key in inner:
        about = about[key]
    if value is None:
        del about[last]
    else:
        about[last] = value


def nested(depth):
    layer = {"kind": "Flatten"}
    for _ in range(depth):
        layer = {"kind": "Sequential", "layers": [layer]}
    return layer


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (["layers", 1, "units"], 10**9, "theta.1.weight should be"),
        (["layers", 1, "units"], "7", "whole number"),
        (["layers", 1, "units"], 7.5, "whole number"),
        (["layers", 1, "units"], -1, "at least 1"),
        (["layers", 1, "untis"], 7, "a setting 'untis'"),
        (["layers", 1, "units"], None, "lacks a setting 'units'"),
        (["layers", 1, "activation"], 5, "activation"),
        (["layers", 1, "slope"], float("nan"), "finite"),
        (["layers", 1, "slope"], 10**400, "finite"),
        (["layers", 1, "bias"], "no", "True or False"),
        (["layers", 1, "kind"], "Evil", "Evil"),
        (["layers", 1, "kind"], ["Linear"], "lacks"),
        (["layers", 1], "Linear", "is described"),
        (["layers"], 5, "describes no network"),
        (["layers"], None, "'layers'"),
        (["layers"], [], "at least one layer"),
        (["layers", 2], nested(400), "nested"),
        (["layers", 0], {"kind": "Residual", "body": "abc"}, "as a layer"),
        (["layers", 0], {"kind": "AdaptiveAvgPool2d", "rows": 10**9, "columns": 10**9}, "flat"),
        (["layers", 0], {"kind": "Rotation"}, "flat"),
        (["input_shape"], [10**9, 2, 1], "theta.1.weight should be"),
        (["input_shape"], [10**30, 10**30], "theta.1.weight should be"),
        (["input_shape"], [4, 0, 1], "at least 1"),
        (["input_shape"], "abc", "input_shape"),
        (["dtype"], "float16", "float32"),
        (["dtype"], 5, "float32"),
        (["seed"], "x", "seed"),
        (["init"], "he", "he_"),
        (["loss"], {}, "by name"),
    ],
)
def test_a_description_that_fits_nothing_is_refused_in_a_line(net, tmp_path, path, value, message):
    about = {"kind": "network", **json.loads(json.dumps(describe_network(net)))}
    change(about, path, value)
    (tmp_path / "forged").write_bytes(pack_arrays(named_parameters(net), about))
    tracemalloc.start()
    try:
        with pytest.raises(errors.CheckpointError, match=message) as refused:
            Network.load(tmp_path / "forged", "reference")
        assert tracemalloc.get_traced_memory()[1] < 20e6
    finally:
        tracemalloc.stop()
    assert len(str(refused.value)) < 500 and "\n" not in str(refused.value)


def test_convolutions_come_back_with_all_their_settings(tmp_path, rng):
    """And what needs none of the later ones is described as it was before there were any."""
    layers = [
        Conv2d(4, 3, 2, ((0, 1), (2, 1)), groups=2, dilation=(1, 2)), Conv2d(3, padding=1),
        Flatten(), Linear(2),
    ]  # fmt: skip
    net = Network(layers, (8, 9, 2), "reference")
    net.save(tmp_path / "net")
    SparseNetwork(net).save(tmp_path / "sparse")
    x = rng.normal(size=(3, 8, 9, 2)).astype("f")
    for back in (
        Network.load(tmp_path / "net", "reference"),
        SparseNetwork.load(tmp_path / "sparse", "reference").to_network(),
    ):
        assert back.layers == net.layers
        assert np.array_equal(back.forward(x), net.forward(x))
    first, second = describe_network(net)["layers"][:2]
    assert first["padding"] == [[0, 1], [2, 1]] and first["groups"] == 2
    assert list(second) == [
        "kind", "filters", "size", "stride", "padding", "activation", "slope", "bias",
    ]  # fmt: skip


def test_a_sparse_file_of_next_to_nothing_is_refused(tmp_path):
    net = Network([Linear(2)], (3,), "reference")
    SparseNetwork(net).save(tmp_path / "sparse")
    arrays, about = load_arrays(tmp_path / "sparse")
    about["input_shape"] = [10**10]
    counts = {
        "counts.0.weight": np.zeros(2, np.uint8),
        "columns.0.weight": np.zeros(0, np.uint32),
        "values.0.weight": np.zeros(0, np.float32),
    }
    bias = {key: array for key, array in arrays.items() if key.endswith("bias")}
    (tmp_path / "forged").write_bytes(pack_arrays(counts | bias, about))
    with pytest.raises(errors.CheckpointError, match="next to nothing"):
        SparseNetwork.load(tmp_path / "forged", "reference")
    about["input_shape"], about["layers"][0]["units"] = [3], 10**9
    (tmp_path / "forged").write_bytes(pack_arrays(counts | bias, about))
    with pytest.raises(errors.CheckpointError, match=r"counts\.0\.weight should be"):
        SparseNetwork.load(tmp_path / "forged", "reference")


def raw(header: bytes, data: bytes = b"") -> bytes:
    return struct.pack("<Q", len(header)) + header + data


@pytest.mark.parametrize("text", ["[" * 100_000, '{"a":' * 100_000, "[]", "5", '"a"', "null"])
def test_json_of_any_form_is_refused(tmp_path, text):
    (tmp_path / "a").write_bytes(raw(text.encode()))
    with pytest.raises(errors.CheckpointError):
        load_arrays(tmp_path / "a")
    header = json.dumps({"__metadata__": {"weightspace": text}}).encode()
    (tmp_path / "b").write_bytes(raw(header))
    with pytest.raises(errors.CheckpointError):
        load_arrays(tmp_path / "b")


def test_a_description_must_be_a_mapping(tmp_path, untyped):
    (tmp_path / "a").write_bytes(pack_arrays({}, untyped([1])))
    with pytest.raises(errors.CheckpointError):
        load_arrays(tmp_path / "a")


@pytest.mark.parametrize(("kind", "size"), [("BF16", 2), ("F8_E4M3", 1), ("F8_E5M2", 1)])
def test_types_that_numpy_lacks_are_named(tmp_path, kind, size):
    entry = {"dtype": kind, "shape": [2], "data_offsets": [0, 2 * size]}
    (tmp_path / "a").write_bytes(raw(json.dumps({"w": entry}).encode(), bytes(2 * size)))
    with pytest.raises(errors.CheckpointError, match=f"'w' is {kind}.*convert them to float32"):
        load_arrays(tmp_path / "a")


ARRAYS = {
    "0-d": np.array(3.5),
    "a number": np.float32(2.5),
    "0-d bool": np.array(True),
    "0-d float16": np.array(1, np.float16),
    "columns first": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "turned": np.arange(6.0).reshape(2, 3).T,
    "strided": np.arange(20)[::3],
    "backwards": np.arange(5.0)[::-1],
    "broadcast": np.broadcast_to(np.float32(3), (4, 2)),
    "big-endian": np.arange(4, dtype=">f4"),
    "empty": np.zeros((0, 3)),
    "complex": np.array([1 + 2j], np.complex64),
}


@pytest.mark.parametrize("name", ARRAYS)
def test_arrays_of_any_layout_come_back(tmp_path, name):
    array = ARRAYS[name]
    save_arrays(tmp_path / "a", {name: array}, {})
    back = load_arrays(tmp_path / "a")[0][name]
    assert back.shape == array.shape and back.dtype == array.dtype.newbyteorder("=")
    assert np.array_equal(back, array)


@pytest.mark.parametrize("array", [np.array(["a"]), np.array([None]), np.zeros(2, np.complex128)])
def test_arrays_that_a_checkpoint_cannot_hold_are_named(tmp_path, array):
    with pytest.raises(errors.SettingError, match="array 'this one'"):
        save_arrays(tmp_path / "a", {"this one": array}, {})
    assert not (tmp_path / "a").exists()


def test_numpys_numbers_are_settings_like_any(tmp_path, untyped):
    n, one, two = untyped((np, np.int64(1), np.int32(2)))
    layers = [
        Conv2d(n.int64(3), two, one, n.uint8(0), "leaky_relu", n.float32(0.5), n.bool_(True)),
        BatchNorm2d(n.float32(0.25), n.float64(1e-3)),
        MaxPool2d(two),
        AdaptiveAvgPool2d(one, two),
        Flatten(),
        Dropout(n.float32(0.5)),
        Linear(n.int16(4)),
    ]
    net = Network(layers, n.array([5, 6, 2]), "reference", n.float64, n.uint64(2**64 - 1))
    assert net.plan(n.int8(100)) == net.plan(100)
    net.draws = n.int64(3)
    net.save(tmp_path / "a")
    back = Network.load(tmp_path / "a", "reference")
    assert back.layers == net.layers and back.seed == 2**64 - 1 and back.draws == 3
    assert back.theta.tobytes() == net.theta.tobytes()
    same = Network(layers, (5, 6, 2), "reference", "float64", 2**64 - 1)
    assert same.theta.tobytes() == net.theta.tobytes()


def test_a_runs_checkpoint_says_what_reads_it(net, tmp_path):
    save_arrays(tmp_path / "run", named_parameters(net) | {"more": np.zeros(2)}, {"kind": "run"})
    with pytest.raises(errors.CheckpointError, match=r"net\.restore\(path\)"):
        Network.load(tmp_path / "run", "reference")
    twin = Network(net.layers, net.input_shape, "reference", seed=1)
    twin.restore(tmp_path / "run")
    assert twin.theta.tobytes() == net.theta.tobytes()
    with pytest.raises(errors.CheckpointError, match="another network"):
        Network([Flatten(), Linear(3)], (4, 2, 1), "reference").restore(tmp_path / "run")
    about = {"kind": "run", "network": describe_network(net)}
    save_arrays(tmp_path / "run", named_parameters(net), about)
    assert Network.load(tmp_path / "run", "reference").theta.tobytes() == net.theta.tobytes()
