"""Checkpoints in safetensors: arrays by name, and a JSON description. Nothing is unpickled.

The file's metadata is one JSON record under the key "weightspace": `format`, so that a file of
another version is known, `sha256` over arrays and description, so that a damaged one is, and
`about`, the description. (One key, since safetensors writes several in any order, and two equal
checkpoints must be equal bytes.)
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable
from dataclasses import MISSING, fields
from typing import Any

import numpy as np

from ..kernels.errors import CheckpointError, SettingError, WeightspaceError
from .checks import network_dtype, sample_shape
from .files import write_whole
from .flat import FlatLayers, architecture
from .init import get_initialiser
from .layers import LAYERS, Layer, Sequential
from .layout import Shape
from .losses import get_loss
from .settings import ANY, whole

FORMAT = "weightspace-1"
KEY = "weightspace"
Path = str | os.PathLike[str]
# what a description of a network says, and how each of it is looked at
_SETTINGS: dict[str, Callable[[Any], Any]] = {
    "layers": lambda given: [_build_layer(layer) for layer in given],
    "input_shape": sample_shape,
    "dtype": network_dtype,
    "seed": lambda given: whole("seed", given, ANY),
    "init": get_initialiser,
    "loss": get_loss,
}
_DEPTH = 50  # of layers within layers: no network is built so, and each is a call within a call
# element types of safetensors that NumPy has not
_FOREIGN = {"BF16": "bfloat16", "F8_E4M3": "float8", "F8_E5M2": "float8", "F8_E8M0": "float8"}


def digest(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> str:
    """SHA-256 over the description, and names, dtypes, shapes and bytes in order of the names."""
    total = hashlib.sha256(json.dumps(about, sort_keys=True).encode())
    for name in sorted(arrays):
        array = arrays[name]
        total.update(f"{name}|{array.dtype.str}|{array.shape}|".encode())
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def pack_arrays(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> bytes:
    """Named arrays and a JSON-able description as the bytes of a safetensors file."""
    from safetensors.numpy import save  # noqa: PLC0415  (keeps the import of nnlite light)

    plain = {name: _plain(name, array) for name, array in arrays.items()}
    record = {"format": FORMAT, "sha256": digest(plain, about), "about": about}
    return save(plain, {KEY: json.dumps(record, sort_keys=True)})


def _plain(name: str, array: Any) -> np.ndarray:
    """An array as safetensors stores it right: in C order (0-d stays so) and little-endian.

    Raises SettingError for one whose elements are no numbers.
    """
    found = np.asarray(array, order="C")
    if found.dtype.kind not in "biufc" or found.dtype.itemsize > 8:
        raise SettingError(
            f"array '{name}' is {found.dtype}, which a checkpoint cannot hold: it takes bools, "
            "whole numbers, floats and complex64, of 8 bytes at most"
        )
    return found.astype(found.dtype.newbyteorder("<"), copy=False)


def unpack_arrays(data: bytes, source: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `pack_arrays` packed. Raises CheckpointError, naming `source`, for anything else."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        header = _json(data[8 : 8 + int.from_bytes(data[:8], "little")])
        _check_types(header, source)
        arrays = load(data)
        metadata = header.get("__metadata__", {})
    except CheckpointError:
        raise
    except (SafetensorError, ValueError, TypeError, KeyError, AttributeError) as wrong:
        raise CheckpointError(
            f"{source} is not a readable checkpoint ({wrong}); it may be cut short: use an older "
            "one"
        ) from None
    if KEY not in metadata:
        raise CheckpointError(f"{source} is a safetensors file, but was not written by weightspace")
    try:
        record = _json(metadata[KEY])
        fits = isinstance(record["about"], dict)
        fits = fits and record["sha256"] == digest(arrays, record["about"])
    except (ValueError, KeyError, TypeError):
        record, fits = {}, False
    if record.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{source} has format {record['format']!r}; this version reads '{FORMAT}'"
        )
    if not fits:
        raise CheckpointError(f"{source} is damaged: its checksum does not fit; use an older one")
    return arrays, record["about"]


def _json(text: str | bytes) -> Any:
    """What a JSON text says. Raises ValueError for any other, and for one nested beyond reason."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("its description is nested too deep") from None


def _check_types(header: dict[str, Any], source: Path) -> None:
    """Raise CheckpointError for arrays of a type that NumPy has not."""
    for name, entry in header.items():
        kind = entry.get("dtype")
        if name != "__metadata__" and kind in _FOREIGN:
            raise CheckpointError(
                f"{source} holds {_FOREIGN[kind]} arrays ('{name}' is {kind}), which NumPy has "
                "not: convert them to float32 with what wrote them"
            )


def save_arrays(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write named arrays and a JSON-able description, whole or not at all. Raises StorageError."""
    write_whole(path, pack_arrays(arrays, about))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `save_arrays` wrote. Raises CheckpointError for a missing, foreign or damaged file."""
    try:
        with open(os.fspath(path), "rb") as file:  # a number would be some file that is open
            data = file.read()
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}") from None
    except (OSError, TypeError, ValueError) as wrong:
        raise CheckpointError(f"{path!r:.200} is not a readable checkpoint ({wrong})") from None
    return unpack_arrays(data, path)


def _describe_layer(layer: Layer) -> dict[str, Any]:
    """A layer's kind and settings; layers inside it likewise.

    Settings that came later are left out where they are as usual: what was written before, and
    whatever is compared with it, stays what it is.
    """
    about: dict[str, Any] = {"kind": type(layer).__name__}
    for field in fields(layer):  # type: ignore[arg-type]
        value = getattr(layer, field.name)
        if "usual" not in field.metadata or value != field.metadata["usual"]:
            about[field.name] = _describe_setting(value)
    return about


def _describe_setting(value: Any) -> Any:
    """A setting as JSON has it: lists for tuples, a description for a layer."""
    if isinstance(value, tuple):
        return [_describe_setting(part) for part in value]
    return _describe_layer(value) if isinstance(value, Layer) else value


def describe_network(net: FlatLayers) -> dict[str, Any]:
    """What it takes to build `net` again, as JSON."""
    return {
        "layers": [_describe_layer(layer) for layer in net.layers],
        "input_shape": list(net.input_shape),
        "dtype": str(net.dtype),
        "seed": net.seed,
        "init": net.init,
        "loss": net.loss.describe(),
    }


def _build_layer(about: Any, depth: int = 1) -> Layer:
    """The layer that `_describe_layer` described. Raises CheckpointError or what it raises."""
    if depth > _DEPTH:
        raise CheckpointError(f"its layers are nested more than {_DEPTH} deep")
    if not isinstance(about, dict):
        raise CheckpointError(f"{about!r:.80} stands where a layer is described")
    settings = dict(about)
    kind = settings.pop("kind", None)
    if not isinstance(kind, str) or kind not in LAYERS:
        raise CheckpointError(f"it names a layer {kind!r:.80} that this version lacks")
    known = fields(LAYERS[kind])  # type: ignore[arg-type]
    needed = {field.name for field in known if field.default is MISSING}
    for name in (needed - set(settings)) | (set(settings) - {field.name for field in known}):
        has = "has" if name in settings else "lacks"
        raise CheckpointError(f"its {kind} {has} a setting '{name:.80}'")
    for name, value in settings.items():
        if isinstance(value, list):  # a pair of numbers, or the layers inside this one
            settings[name] = tuple(
                _build_layer(part, depth + 1) if isinstance(part, dict) else part for part in value
            )
    return LAYERS[kind](**settings)


def described(about: Any, source: Path) -> tuple[Sequential, Shape, np.dtype]:
    """Layers, input shape and dtype of the network that `describe_network` described.

    Nothing of their size is made. Raises CheckpointError for a description of none.
    """
    try:
        found: dict[str, Any] = {name: look(about[name]) for name, look in _SETTINGS.items()}
        chain, shape = architecture(found["layers"], found["input_shape"])
        found["loss"].check_outputs(*chain.output_shape(shape))
    except (WeightspaceError, KeyError, TypeError) as wrong:
        why = f"it does not say its {wrong}" if type(wrong) is KeyError else wrong
        raise CheckpointError(
            f"{source} describes no network that this version can build: {why}"
        ) from None
    return chain, shape, found["dtype"]


def _places(net: FlatLayers) -> dict[str, np.ndarray]:
    """What a checkpoint keeps of a network, by name, where it lies."""
    arrays = {f"theta.{name}": view for name, view in net.layout.views(net.theta).items()}
    return arrays | {f"state.{name}": array for name, array in net.state.items()}


def named_parameters(net: FlatLayers) -> dict[str, np.ndarray]:
    """theta by layer name, as a checkpoint keeps it: "theta.0.weight", "theta.0.bias", ...

    And what persists beside it: "state.1.mean", ..., and the number of training passes, if the
    network has layers to whom that means something.
    """
    arrays = {name: net.device.get(array) for name, array in _places(net).items()}
    return arrays | ({"draws": np.array([net.draws])} if net.moded else {})


def restore_parameters(net: FlatLayers, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Put theta and state back. Raises CheckpointError, changing nothing, where they do not fit."""
    check_arrays(net.chain, net.input_shape, net.dtype, arrays, path)
    if net.moded:
        net.draws = int(arrays["draws"][0])
    for name, view in _places(net).items():
        view[...] = net.device.put(arrays[name])


def check_arrays(
    chain: Sequential, shape: Shape, dtype: np.dtype, arrays: dict[str, np.ndarray], path: Path
) -> None:
    """Raise CheckpointError unless `arrays` hold theta, state and draws of a network of `chain`."""
    for name, size in chain.parameters(shape).items():
        _check_array(arrays, f"theta.{name}", size, dtype, path)
    check_state(chain, shape, dtype, arrays, path)
    if chain.moded():
        _check_array(arrays, "draws", (1,), np.dtype(np.int64), path)
        if arrays["draws"][0] < 0:
            raise CheckpointError(f"{path} counts {arrays['draws'][0]} draws; there are none below")


def check_state(
    chain: Sequential, shape: Shape, dtype: np.dtype, arrays: dict[str, np.ndarray], path: Path
) -> None:
    """Raise CheckpointError unless `arrays` hold what `chain` keeps beside theta."""
    for name, (size, _) in chain.state(shape).items():
        _check_array(arrays, f"state.{name}", size, dtype, path)


def _check_array(
    arrays: dict[str, np.ndarray], name: str, shape: Shape, dtype: np.dtype, path: Path
) -> None:
    found = arrays.get(name)
    if found is None or found.shape != tuple(shape) or found.dtype != dtype:
        has = "nothing" if found is None else f"{found.dtype} {found.shape}"
        raise CheckpointError(
            f"{path} was written for another network: {name} should be {dtype} {tuple(shape)}, "
            f"it has {has}"
        )


def read_network(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """Arrays and description of the network in a network's file, or a run's. CheckpointError."""
    arrays, about = load_arrays(path)
    kind = about.get("kind")
    if kind == "sparse-network":
        raise CheckpointError(f"{path} holds a sparse network: SparseNetwork.load reads it")
    if kind == "run" and "network" in about:
        return arrays, about["network"]
    if kind == "run":
        raise CheckpointError(
            f"{path} holds a run, with its network's weights but not its layers: make the network "
            "as the run did, then net.restore(path) reads them (the run goes on with --resume)"
        )
    if kind != "network":
        raise CheckpointError(f"{path} holds {kind!r:.80}, not a network: load_arrays reads it")
    return arrays, about
