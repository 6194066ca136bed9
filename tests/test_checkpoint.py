"""Checkpoints and files: there whole or not at all, and damage is noticed."""

from __future__ import annotations

import errno
import os

import numpy as np
import pytest
from weightspace.kernels import errors
from weightspace.nnlite import Activation, Flatten, Linear, Network, load_arrays, save_arrays
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


def test_foreign_and_missing_files_are_refused(tmp_path):
    from safetensors.numpy import save_file

    save_file({"a": np.zeros(3)}, tmp_path / "foreign.safetensors")
    with pytest.raises(errors.CheckpointError, match="not written by weightspace"):
        load_arrays(tmp_path / "foreign.safetensors")
    with pytest.raises(errors.CheckpointError, match="no checkpoint"):
        load_arrays(tmp_path / "absent")
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
