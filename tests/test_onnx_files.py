"""ONNX files of others: what their nodes mean, what is refused by name, and damaged ones."""

from __future__ import annotations

import numpy as np
import pytest
from weightspace.kernels.errors import CheckpointError
from weightspace.kernels.spec import relative_error, tolerance
from weightspace.nnlite import Linear, Network, Residual, models

onnx = pytest.importorskip("onnx", reason="onnx is not installed: pip install onnx")

from weightspace.nnlite.export.onnx import read_onnx, write_onnx  # noqa: E402
from weightspace.nnlite.export.onnx.check import outputs  # noqa: E402

HELPER, FLOAT = onnx.helper, onnx.TensorProto.FLOAT
RNG = np.random.default_rng(5)
IMAGES = [1, 2, 9, 8]


def node(op, inputs, output, **settings):
    return HELPER.make_node(op, inputs, [output], f"the {op}", **settings)


def keep(path, nodes, constants, shape=(1, 6), opset=17, last="y"):
    """Write a model of nodes; constants as float32, or int64 where they are whole."""
    kept = [
        onnx.numpy_helper.from_array(
            np.asarray(a, None if np.asarray(a).dtype == np.int64 else "f"), n
        )
        for n, a in constants.items()
    ]
    graph = HELPER.make_graph(
        nodes, "g", [HELPER.make_tensor_value_info("x", FLOAT, list(shape))],
        [HELPER.make_tensor_value_info(last, FLOAT, None)], kept,
    )  # fmt: skip
    model = HELPER.make_model(graph, opset_imports=[HELPER.make_opsetid("", opset)], ir_version=8)
    onnx.save(model, path)
    return path


def compare(path, opset=17):
    """Our outputs beside onnxruntime's."""
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
    net, _ = read_onnx(path, "reference")
    x = RNG.normal(size=(1, *net.input_shape)).astype("f")
    assert relative_error(net.forward(x), outputs(path, x)[0]) <= tolerance("float32", 100)
    return net


def head(of, columns):
    """Flatten and a product, the end of a network on images."""
    return [node("Flatten", [of], "flat"), node("Gemm", ["flat", "head"], "y")], {
        "head": RNG.normal(size=(columns, 3))
    }


@pytest.mark.parametrize("counts", [0, 1])
@pytest.mark.parametrize("op", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("how", ["ceil_mode", "SAME_UPPER", "SAME_LOWER", "VALID", "uneven"])
def test_pools(how, op, counts, tmp_path):
    settings = {"kernel_shape": [3, 2], "strides": [2, 3]}
    if how == "ceil_mode":
        settings |= {"pads": [1, 0, 1, 0], "strides": [3, 3], "ceil_mode": 1}
    elif how == "uneven":
        settings |= {"pads": [0, 1, 2, 0]}
    else:
        settings |= {"auto_pad": how}
    settings |= {"count_include_pad": counts} if op == "AveragePool" else {}
    pool = node(op, ["x"], "pooled", **settings)
    shape = onnx.shape_inference.infer_shapes(
        onnx.load(keep(tmp_path / "pool.onnx", [pool], {}, IMAGES, last="pooled"))
    ).graph.output[0].type.tensor_type.shape  # fmt: skip
    ends, constants = head("pooled", int(np.prod([dim.dim_value for dim in shape.dim])))
    compare(keep(tmp_path / "net.onnx", [pool, *ends], constants, IMAGES))


@pytest.mark.parametrize("how", ["SAME_UPPER", "SAME_LOWER"])
def test_convolutions_that_pad_themselves(how, tmp_path):
    conv = node("Conv", ["x", "w"], "c", auto_pad=how, strides=[2, 2])
    ends, constants = head("c", 3 * 5 * 4)
    constants |= {"w": RNG.normal(size=(3, 2, 2, 4))}
    compare(keep(tmp_path / "net.onnx", [conv, *ends], constants, IMAGES))


def test_products_in_their_forms(tmp_path):
    """MatMul + Add, Gemm with its factors, a convolution's bias added to it, an Identity's too."""
    net = compare(keep(
        tmp_path / "a.onnx",
        [node("MatMul", ["x", "w"], "a"), node("Add", ["b", "a"], "s"), node("Relu", ["s"], "r"),
         node("Identity", ["b"], "b2"),
         node("Gemm", ["r", "v", "b2"], "y", alpha=0.5, beta=2.0, transB=1)],
        {"w": RNG.normal(size=(6, 4)), "b": RNG.normal(size=4), "v": RNG.normal(size=(4, 4))},
    ))  # fmt: skip
    assert net.layers == (Linear(4, "relu"), Linear(4))
    ends, constants = head("s", 3 * 7 * 6)
    constants |= {"w": RNG.normal(size=(3, 2, 3, 3)), "b": RNG.normal(size=(1, 3, 1, 1))}
    conv = [node("Conv", ["x", "w"], "c"), node("Add", ["c", "b"], "s")]
    compare(keep(tmp_path / "b.onnx", [*conv, *ends], constants, IMAGES))


def test_flattened_in_other_words(tmp_path):
    """Reshape to (0, -1) and to (-1, 144); the mean over height and width; Sigmoid by itself."""
    for target in ([0, -1], [-1, 144], [1, 144]):
        nodes = [node("Sigmoid", ["x"], "s"), node("Reshape", ["s", "to"], "r"),
                 node("Gemm", ["r", "w"], "y")]  # fmt: skip
        constants = {"to": np.array(target, np.int64), "w": RNG.normal(size=(144, 3))}
        compare(keep(tmp_path / "net.onnx", nodes, constants, IMAGES))
    for keepdims in (0, 1):
        nodes = [node("ReduceMean", ["x"], "m", axes=[2, -1], keepdims=keepdims),
                 node("Flatten", ["m"], "f"), node("Gemm", ["f", "w"], "y")]  # fmt: skip
        constants = {"w": RNG.normal(size=(2, 3))}
        compare(keep(tmp_path / "net.onnx", nodes, constants, IMAGES))


def test_sums_of_two_ways(tmp_path):
    """The shorter way is the shortcut, whichever the Add names first."""
    way = [node("Gemm", ["x", "w"], "a"), node("Tanh", ["a"], "b")]
    constants = {"w": RNG.normal(size=(6, 6)), "v": RNG.normal(size=(6, 2))}
    for order in (["x", "b"], ["b", "x"]):
        nodes = [*way, node("Add", order, "s"), node("Relu", ["s"], "r"),
                 node("MatMul", ["r", "v"], "y")]  # fmt: skip
        net = compare(keep(tmp_path / "net.onnx", nodes, constants))
        assert net.layers[0] == Residual((Linear(6, "tanh", bias=False),))


W = {"w": np.ones((6, 6)), "one": np.ones(()), "rate": np.array(0.5), "ends": np.ones((6, 2))}
REFUSED = {
    "an operator": ([node("Erf", ["x"], "y")], r"node 'the Erf' \(Erf\) is an operator"),
    "a live Dropout": (
        [node("Gemm", ["x", "w"], "a"), node("Dropout", ["a", "rate", "one"], "y")],
        r"'the Dropout' \(Dropout\) drops units at every answer"),
    "a Softmax inside": (
        [node("Softmax", ["x"], "a"), node("Gemm", ["a", "w"], "y")],
        r"'the Softmax' \(Softmax\) is not at the end"),
    "a weight that is computed": (
        [node("Tanh", ["x"], "t"), node("MatMul", ["x", "t"], "y")],
        "reads x, t; of its inputs all but one"),
    "another domain": (
        [HELPER.make_node("Gelu", ["x"], ["y"], "g", domain="com.microsoft")],
        r"'g' \(Gelu\) is of the domain 'com.microsoft'"),
    "three ways": (
        [node("Tanh", ["x"], "a"), node("Relu", ["x"], "b"), node("Sigmoid", ["x"], "c"),
         node("Add", ["a", "b"], "d"), node("Add", ["c", "d"], "y")], "not 3"),
    "x + x": ([node("Add", ["x", "x"], "y")], "adds a value to itself"),
    "a circle": (
        [node("Tanh", ["y"], "a"), node("Tanh", ["x"], "b"), node("Tanh", ["a"], "y")],
        "nothing reads 'b'"),
    "a node aside": (
        [node("Gemm", ["x", "w"], "y"), node("Tanh", ["z"], "a")], "on no way from the input"),
    "sizes that do not fit": ([node("Gemm", ["x", "ends"], "a"), node("Gemm", ["a", "w"], "y")],
                              r"has weight \(6, 6\)"),
    "a transposed input": ([node("Gemm", ["x", "w"], "y", transA=1)], "transA=1; only 0"),
    "a slope of 0": ([node("LeakyRelu", ["x"], "y", alpha=0.0)], "'the LeakyRelu'.*cannot be had"),
    "a shape": ([node("Reshape", ["x", "ends"], "y")], "Reshape"),
}  # fmt: skip


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_refused_is_named(what, tmp_path):
    nodes, says = REFUSED[what]
    with pytest.raises(CheckpointError, match=says):
        read_onnx(keep(tmp_path / "net.onnx", nodes, W), "reference")


def test_norms_in_training_and_pools_with_gaps_are_refused(tmp_path):
    four = {"a": np.ones(2), "b": np.ones(2), "c": np.ones(2), "d": np.ones(2)}
    norm = HELPER.make_node(
        "BatchNormalization", ["x", *four], ["y", "m", "v"], "n", training_mode=1
    )
    with pytest.raises(CheckpointError, match=r"'n' \(BatchNormalization\) has training_mode=1"):
        read_onnx(keep(tmp_path / "net.onnx", [norm], four, IMAGES))
    pool = node("MaxPool", ["x"], "y", kernel_shape=[2, 2], dilations=[2, 2])
    with pytest.raises(CheckpointError, match="needs dilation, which a MaxPool2d has not"):
        read_onnx(keep(tmp_path / "net.onnx", [pool], {}, IMAGES))
    pool = node("MaxPool", ["x"], "y", kernel_shape=[2, 2], strides=[3, 3], pads=[0, 0, 0, 1],
                ceil_mode=1)  # fmt: skip
    with pytest.raises(CheckpointError, match="a last window that begins beyond the image"):
        read_onnx(keep(tmp_path / "net.onnx", [pool], {}, IMAGES))
    with pytest.raises(CheckpointError, match="opset"):
        read_onnx(keep(tmp_path / "net.onnx", [pool], {}, IMAGES, opset=6))
    with pytest.raises(CheckpointError, match="all but the first must be numbers"):
        read_onnx(keep(tmp_path / "net.onnx", [pool], {}, [1, 2, "H", 8]))


# ---- damaged files, and files that lie -----------------------------------------------------------


def outside(path, **about):
    """A model whose weight lies elsewhere, as `about` says."""
    keep(path, [node("Gemm", ["x", "w"], "y")], {"w": np.ones((6, 6))})
    model = onnx.load(path)
    one = model.graph.initializer[0]
    one.ClearField("raw_data")
    one.data_location = onnx.TensorProto.EXTERNAL
    for key, value in about.items():
        one.external_data.add(key=key, value=str(value))
    path.write_bytes(model.SerializeToString())
    return path


def test_weights_beside_the_model(tmp_path):
    weight = RNG.normal(size=(6, 6)).astype("f")
    (tmp_path / "w.data").write_bytes(b"1234" + weight.tobytes())
    path = outside(tmp_path / "net.onnx", location="w.data", offset=4, length=144)
    net, _ = read_onnx(path, "reference")
    assert np.array_equal(net.theta.reshape(6, 6), weight.T)


def test_only_plain_files_beside_the_model_are_read(tmp_path):
    folder = tmp_path / "models"
    folder.mkdir()
    for place in (tmp_path / "secret", folder / "w.data"):
        place.write_bytes(np.ones(36, "f").tobytes())
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inside").mkdir()
    for location in (str(tmp_path / "secret"), "../secret", "inside/../../secret", "link", "inside",
                     "", "..", "c:secret", "..\\secret", "w.data\0x", "nowhere"):  # fmt: skip
        path = outside(folder / "net.onnx", location=location)
        with pytest.raises(CheckpointError, match="constant 'w' lies in"):
            read_onnx(path)
    for about in (
        {"offset": 4},
        {"offset": -4},
        {"length": 10**18},
        {"length": 8},
        {"offset": "x"},
    ):
        path = outside(folder / "net.onnx", location="w.data", **about)
        with pytest.raises(CheckpointError, match="constant 'w'"):
            read_onnx(path)


def test_sizes_are_compared_before_they_are_used(tmp_path):
    path = keep(tmp_path / "net.onnx", [node("Gemm", ["x", "w"], "y")], {"w": np.ones((6, 6))})
    for dims in ((10**9, 10**9), (6, 7), (-6, -6), (6,)):
        model = onnx.load(path)
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        (tmp_path / "bad.onnx").write_bytes(model.SerializeToString())
        with pytest.raises(CheckpointError, match="'w'"):
            read_onnx(tmp_path / "bad.onnx")


def test_any_bytes_are_refused_or_read(tmp_path):
    """A file cut short or with a byte changed: a network or CheckpointError, nothing else."""
    write_onnx(models.resnet((2, 3), 1, 2, (6, 6, 1), backend="reference"), tmp_path / "net.onnx")
    data = (tmp_path / "net.onnx").read_bytes()
    path, refusals = tmp_path / "bad.onnx", 0
    rng = np.random.default_rng(1)
    for trial in range(600):
        bad = bytearray(data)
        if trial % 4:
            for place in rng.integers(0, len(bad), 3):
                bad[place] = rng.integers(256)
        else:
            bad = bad[: rng.integers(len(bad))]
        path.write_bytes(bytes(bad))
        try:
            assert isinstance(read_onnx(path, "reference").net, Network)
        except CheckpointError:
            refusals += 1
    assert refusals > 150
    for nothing in (b"", b"PK\x03\x04", b"\x80\x04K\x01."):
        path.write_bytes(nothing)
        with pytest.raises(CheckpointError, match="not an ONNX file"):
            read_onnx(path)
    with pytest.raises(CheckpointError, match="there is no model"):
        read_onnx(tmp_path / "nowhere.onnx")
