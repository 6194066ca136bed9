"""Sparse networks: their kernel against the dense one, their files, and what they refuse."""

from __future__ import annotations

import numpy as np
import pytest
from blobs import make_blobs
from weightspace.kernels import codes, errors
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.methods.pruning import Magnitude
from weightspace.nnlite import (
    BatchNorm2d,
    Conv2d,
    Flatten,
    Linear,
    Network,
    SparseNetwork,
    load_arrays,
    models,
    save_arrays,
)
from weightspace.nnlite.sparse import Rows

LAYERS = {
    "mlp": ((Linear(30, "tanh"), Linear(20, "leaky_relu", bias=False), Linear(4)), (12,)),
    "images": (
        (Conv2d(5, 3, bias=False), BatchNorm2d(activation="relu"), Flatten(), Linear(9, "relu"),
         Linear(4)),
        (6, 6, 2),
    ),
}  # fmt: skip


def pruned(kind="mlp", sparsity=0.9, backend="cpu", dtype="float64"):
    layers, shape = LAYERS[kind]
    net = Network(layers, shape, backend=backend, dtype=dtype, seed=3)
    for array in net.state.values():
        array[...] = array + array.dtype.type(0.25)
    Magnitude("weights", "layer").project(net, sparsity)
    return net


def samples(net, n=7):
    return np.random.default_rng(0).normal(size=(n, *net.input_shape)).astype(net.dtype)


@pytest.mark.parametrize("act", list(codes.ACTIVATIONS.values()))
@pytest.mark.parametrize("samples", [1, 2, 5, 130, 300])
@pytest.mark.parametrize("share", [0.0, 0.03, 0.5, 1.0])
def test_the_kernel_is_the_dense_one_on_masked_weights(ops, rng, act, samples, share):
    w = rng.normal(size=(33, 65)) * (rng.random((33, 65)) < share)
    x, b = rng.normal(size=(samples, 65)), rng.normal(size=33)
    dense, sparse = np.full((samples, 33), np.nan), np.full((33, samples), np.nan)
    ops.dense_forward(x, w, b, act, 0.1, dense)
    rows, x_down = Rows.of(w), np.ascontiguousarray(x.T)
    ops.sparse_dense_forward(x_down, rows.starts, rows.columns, rows.values, b, act, 0.1, sparse)
    assert relative_error(sparse.T, dense) <= tolerance(np.float64, 65)


def test_the_kernel_gives_the_same_bits_for_any_number_of_threads(rng):
    numba = pytest.importorskip("numba")
    from weightspace.kernels import get_backend

    ops, most = get_backend("cpu"), numba.config.NUMBA_NUM_THREADS
    rows = Rows.of(rng.normal(size=(200, 300)).astype(np.float32))
    x = rng.normal(size=(300, 70)).astype(np.float32)
    found = []
    for threads in (1, most):
        numba.set_num_threads(threads)
        y = np.empty((200, 70), np.float32)
        ops.sparse_dense_forward(x, rows.starts, rows.columns, rows.values, None, 0, 0.0, y)
        found.append(y)
    numba.set_num_threads(most)
    assert (found[0] == found[1]).all()


def test_rows_of_a_matrix_and_back(rng):
    matrix = rng.normal(size=(6, 9)) * (rng.random((6, 9)) < 0.3)
    matrix[2], matrix[-1] = 0, 0
    rows = Rows.of(matrix)
    assert (rows.whole((6, 9)) == matrix).all()
    assert len(rows.values) == np.count_nonzero(matrix)


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("n", [1, 7])
def test_it_answers_as_the_dense_network(every_backend, kind, n):
    net = pruned(kind, backend=every_backend)
    sparse, get = SparseNetwork(net), net.device.get
    x = samples(net, n)
    expected = get(net.forward(x))
    assert relative_error(get(sparse.forward(x)), expected) <= tolerance(net.dtype, 200)
    first = sparse.forward(x)
    sparse.forward(x + 1)
    assert (get(first) == get(sparse.forward(x))).all()  # answers are arrays of their own
    assert sparse.nonzeros == np.count_nonzero(get(net.theta))
    assert abs(sparse.sparsity - (1 - sparse.nonzeros / net.num_parameters)) < 1e-12


@pytest.mark.parametrize("kind", LAYERS)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_files_bring_the_same_bits_back(kind, dtype, tmp_path):
    net = pruned(kind, dtype=dtype)
    sparse = SparseNetwork(net)
    sparse.save(tmp_path / "net")
    loaded = SparseNetwork.load(tmp_path / "net")
    x = samples(net)
    assert (loaded.forward(x) == sparse.forward(x)).all()
    assert (loaded.to_network().theta == net.theta).all()
    whole = SparseNetwork.load(tmp_path / "net", "reference").to_network()
    assert whole.backend == "reference" and whole.layers == net.layers
    for name, array in net.state.items():
        assert (whole.state[name] == array).all()
    first = (tmp_path / "net").read_bytes()
    loaded.save(tmp_path / "net")
    assert (tmp_path / "net").read_bytes() == first


def test_a_sparse_file_is_smaller_by_far(tmp_path):
    net = models.lenet_300_100(seed=1)
    net.save(tmp_path / "dense")
    Magnitude().project(net, 0.994)
    SparseNetwork(net).save(tmp_path / "sparse")
    dense, sparse = ((tmp_path / name).stat().st_size for name in ("dense", "sparse"))
    # 1,600 values of 4 bytes, columns of 2, counts of 410 rows, and the description
    assert sparse < 1600 * 6 + 2 * 410 + 3000
    assert dense > 80 * sparse


def test_what_is_not_sparse_is_kept_whole_and_costs_no_more(tmp_path):
    net = pruned(sparsity=0.0)
    net.save(tmp_path / "dense")
    SparseNetwork(net).save(tmp_path / "sparse")
    dense, sparse = ((tmp_path / name).stat().st_size for name in ("dense", "sparse"))
    assert sparse <= dense + 64
    assert (SparseNetwork.load(tmp_path / "sparse").to_network().theta == net.theta).all()


def test_files_of_another_kind_are_refused(tmp_path):
    net = pruned()
    net.save(tmp_path / "dense")
    SparseNetwork(net).save(tmp_path / "sparse")
    with pytest.raises(errors.CheckpointError, match=r"Network\.load"):
        SparseNetwork.load(tmp_path / "dense")
    with pytest.raises(errors.CheckpointError, match=r"SparseNetwork\.load"):
        Network.load(tmp_path / "sparse")
    with pytest.raises(errors.CheckpointError, match="no checkpoint"):
        SparseNetwork.load(tmp_path / "nothing")


def test_a_file_that_contradicts_itself_is_refused(tmp_path):
    """Its checksum may fit: what a kernel would read outside of its arrays must not get there."""
    SparseNetwork(pruned()).save(tmp_path / "net")
    arrays, about = load_arrays(tmp_path / "net")
    name = "0.weight"
    beyond = arrays[f"columns.{name}"].copy()
    beyond[-1] = 12
    twice = arrays[f"columns.{name}"].copy()
    row = int(np.flatnonzero(arrays[f"counts.{name}"] > 1)[0])
    at = int(arrays[f"counts.{name}"][:row].sum())
    twice[at + 1] = twice[at]
    more = arrays[f"counts.{name}"].copy()
    more[0] += 1
    for key, wrong in (
        (f"columns.{name}", beyond),
        (f"columns.{name}", twice),
        (f"counts.{name}", more),
        (f"values.{name}", arrays[f"values.{name}"].astype(np.float32)),
        (f"values.{name}", None),
    ):
        changed = {k: v for k, v in {**arrays, key: wrong}.items() if v is not None}
        save_arrays(tmp_path / "wrong", changed, about)
        with pytest.raises(errors.CheckpointError, match=name):
            SparseNetwork.load(tmp_path / "wrong")


def test_a_damaged_file_is_refused_and_a_full_disk_leaves_the_old_one(tmp_path, monkeypatch):
    sparse, path = SparseNetwork(pruned()), tmp_path / "net"
    sparse.save(path)
    kept = path.read_bytes()
    monkeypatch.setattr("os.replace", lambda *_: (_ for _ in ()).throw(OSError(28, "full")))
    with pytest.raises(errors.StorageError):
        SparseNetwork(pruned(sparsity=0.5)).save(path)
    assert path.read_bytes() == kept and len(list(tmp_path.iterdir())) == 1
    path.write_bytes(kept[:-9])
    with pytest.raises(errors.CheckpointError):
        SparseNetwork.load(path)


def test_wrong_inputs_and_networks_are_named():
    sparse = SparseNetwork(pruned())
    with pytest.raises(errors.ShapeError, match="12"):
        sparse.forward(np.zeros((3, 11)))
    with pytest.raises(errors.DtypeError, match="float64"):
        sparse.forward(make_blobs(0)[0])
    with pytest.raises(errors.SettingError, match="Flatten"):
        SparseNetwork(Network((Linear(4), Flatten()), (12,)))
