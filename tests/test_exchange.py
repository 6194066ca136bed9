"""`weightspace export --to onnx | torch` and `weightspace import`."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.kernels.errors import MissingExtraError, SettingError
from weightspace.methods import Superposition
from weightspace.nnlite import Network, models
from weightspace.nnlite.export.onnx import read_onnx, write_onnx


def command(*words):
    """Run a command; what it printed. Its errors are raised."""
    done = CliRunner().invoke(app, [str(word) for word in words], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.fixture
def net(tmp_path):
    """A network of the zoo, in a file."""
    made = models.lenet5(seed=4, backend="reference")
    made.save(tmp_path / "given.safetensors")
    return made


def test_by_way_of_torch(net, tmp_path):
    given, state, back = (tmp_path / f"{n}.safetensors" for n in ("given", "net", "back"))
    assert "names 'sequential'" in command("export", given, "--to", "torch", "--out", tmp_path)
    command("import", state, "--out", back)
    assert np.array_equal(Network.load(back, "reference").theta, net.theta)
    command("import", state, "--out", back, "--model", "lenet5")
    assert np.array_equal(Network.load(back, "reference").theta, net.theta)
    with pytest.raises(SettingError, match="neither"):
        command("export", given, "--to", "torch", "--names", "torchvision", "--out", tmp_path)


def test_by_way_of_onnx(net, tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    given, back = tmp_path / "given.safetensors", tmp_path / "back.safetensors"
    said = command("export", given, "--to", "onnx", "--out", tmp_path / "a.onnx")
    assert "(N, C, H, W); onnxruntime's outputs are the network's" in " ".join(said.split())
    said = command("import", tmp_path / "a.onnx", "--out", back)
    assert "61,706 parameters" in said
    assert np.array_equal(Network.load(back, "reference").theta, net.theta)
    np.savez(tmp_path / "x.npz", x=np.random.default_rng(0).random((20, 28, 28, 1), np.float32))
    command("export", given, "--to", "onnx", "--weights", "int8", "--samples", tmp_path / "x.npz",
            "--out", tmp_path / "q.onnx")  # fmt: skip
    assert (tmp_path / "q.onnx").stat().st_size < (tmp_path / "a.onnx").stat().st_size / 3
    with pytest.raises(SettingError, match="--samples"):
        command("export", given, "--to", "onnx", "--weights", "int8")
    with pytest.raises(SettingError, match="--to onnx writes what predicts"):
        command("export", given, "--to", "onnx", "--learn", "all")
    with pytest.raises(SettingError, match="--model is for a state_dict"):
        command("import", tmp_path / "a.onnx", "--model", "lenet5")


def test_the_contexts_of_a_task_are_folded_in(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    pytest.importorskip("onnx", reason="onnx is not installed")
    method = Superposition("binary")
    net = method.wrap(models.mlp((6, 5, 4), backend="reference"))
    net.save(tmp_path / "net.safetensors")
    command("export", tmp_path / "net.safetensors", "--to", "onnx", "--contexts", "binary",
            "--task", 3, "--out", tmp_path / "net.onnx")  # fmt: skip
    method.select(net, 3, None)
    x = np.random.default_rng(0).normal(size=(4, 6)).astype("float32")
    found = read_onnx(tmp_path / "net.onnx", "reference").net
    assert np.array_equal(found.forward(x), net.forward(x))


def test_a_missing_package_is_named(net, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for act in (lambda: write_onnx(net, tmp_path / "a.onnx"), lambda: read_onnx(tmp_path / "a")):
        with pytest.raises(MissingExtraError, match=r"pip install 'weightspace\[onnx\]'"):
            act()
    assert not (tmp_path / "a.onnx").exists()
