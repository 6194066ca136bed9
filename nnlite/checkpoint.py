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
from dataclasses import fields
from typing import Any

import numpy as np

from ..kernels.errors import CheckpointError
from .files import write_whole
from .layers import LAYERS, Layer
from .net import Network

FORMAT = "weightspace-1"
KEY = "weightspace"
Path = str | os.PathLike[str]


def _digest(arrays: dict[str, np.ndarray], about: dict[str, Any]) -> str:
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

    whole = {name: np.ascontiguousarray(array) for name, array in arrays.items()}
    record = {"format": FORMAT, "sha256": _digest(whole, about), "about": about}
    return save(whole, {KEY: json.dumps(record, sort_keys=True)})


def unpack_arrays(data: bytes, source: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `pack_arrays` packed. Raises CheckpointError, naming `source`, for anything else."""
    from safetensors import SafetensorError  # noqa: PLC0415
    from safetensors.numpy import load  # noqa: PLC0415

    try:
        arrays = load(data)
        header = json.loads(data[8 : 8 + int.from_bytes(data[:8], "little")])
        metadata = header.get("__metadata__", {})
    except (SafetensorError, ValueError, TypeError, KeyError) as wrong:
        raise CheckpointError(
            f"{source} is not a readable checkpoint ({wrong}); it may be cut short: use an older "
            "one"
        ) from None
    if KEY not in metadata:
        raise CheckpointError(f"{source} is a safetensors file, but was not written by weightspace")
    try:
        record = json.loads(metadata[KEY])
        fits = record["sha256"] == _digest(arrays, record["about"])
    except (ValueError, KeyError, TypeError):
        record, fits = {}, False
    if record.get("format", FORMAT) != FORMAT:
        raise CheckpointError(
            f"{source} has format {record['format']!r}; this version reads '{FORMAT}'"
        )
    if not fits:
        raise CheckpointError(f"{source} is damaged: its checksum does not fit; use an older one")
    return arrays, record["about"]


def save_arrays(path: Path, arrays: dict[str, np.ndarray], about: dict[str, Any]) -> None:
    """Write named arrays and a JSON-able description, whole or not at all. Raises StorageError."""
    write_whole(path, pack_arrays(arrays, about))


def load_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """What `save_arrays` wrote. Raises CheckpointError for a missing, foreign or damaged file."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except FileNotFoundError:
        raise CheckpointError(f"there is no checkpoint at {path}") from None
    except OSError as wrong:
        raise CheckpointError(f"{path} is not a readable checkpoint ({wrong})") from None
    return unpack_arrays(data, path)


def _describe_layer(layer: Layer) -> dict[str, Any]:
    """A layer's kind and settings; layers inside it likewise."""
    about: dict[str, Any] = {"kind": type(layer).__name__}
    for field in fields(layer):  # type: ignore[arg-type]
        value = getattr(layer, field.name)
        if isinstance(value, tuple):
            value = [_describe_layer(v) if isinstance(v, Layer) else v for v in value]
        about[field.name] = value
    return about


def describe_network(net: Network) -> dict[str, Any]:
    """What it takes to build `net` again, as JSON."""
    return {
        "layers": [_describe_layer(layer) for layer in net.layers],
        "input_shape": list(net.input_shape),
        "dtype": str(net.dtype),
        "seed": net.seed,
        "init": net.init,
        "loss": net.loss_name,
    }


def _build_layer(about: dict[str, Any]) -> Layer:
    settings = dict(about)
    kind = settings.pop("kind", None)
    if kind not in LAYERS:
        raise CheckpointError(f"the checkpoint names a layer '{kind}' that this version lacks")
    for name, value in settings.items():
        if isinstance(value, list):  # a pair of numbers, or the layers inside this one
            parts = (_build_layer(part) if isinstance(part, dict) else part for part in value)
            settings[name] = tuple(parts)
    return LAYERS[kind](**settings)


def _places(net: Network) -> dict[str, np.ndarray]:
    """What a checkpoint keeps of a network, by name, where it lies."""
    arrays = {f"theta.{name}": view for name, view in net.layout.views(net.theta).items()}
    return arrays | {f"state.{name}": array for name, array in net.state.items()}


def named_parameters(net: Network) -> dict[str, np.ndarray]:
    """theta by layer name, as a checkpoint keeps it: "theta.0.weight", "theta.0.bias", ...

    And what persists beside it: "state.1.mean", ..., and the number of training passes, if the
    network has layers to whom that means something.
    """
    arrays = {name: net.device.get(array) for name, array in _places(net).items()}
    return arrays | ({"draws": np.array([net.draws])} if net.moded else {})


def restore_parameters(net: Network, arrays: dict[str, np.ndarray], path: Path) -> None:
    """Put theta and state back. Raises CheckpointError, changing nothing, where they do not fit."""
    ours = _places(net)
    for name, view in (named_parameters(net) if net.moded else ours).items():
        found = arrays.get(name)
        if found is None or found.shape != view.shape or found.dtype != view.dtype:
            has = "nothing" if found is None else f"{found.dtype} {found.shape}"
            raise CheckpointError(
                f"{path} was written for another network: {name} should be "
                f"{view.dtype} {view.shape}, it has {has}"
            )
    if net.moded:
        net.draws = int(arrays["draws"][0])
    for name, view in ours.items():
        view[...] = net.device.put(arrays[name])


def save_network(net: Network, path: Path) -> None:
    """Write architecture and theta to `path`, whole or not at all. Raises StorageError."""
    save_arrays(path, named_parameters(net), {"kind": "network", **describe_network(net)})


def build_network(about: dict[str, Any], backend: str) -> Network:
    """A network of the architecture that `describe_network` described, with its first weights."""
    return Network(
        [_build_layer(layer) for layer in about["layers"]],
        input_shape=tuple(about["input_shape"]),
        backend=backend,
        dtype=about["dtype"],
        seed=about["seed"],
        init=about["init"],
        loss=about["loss"],
    )


def network_from(
    arrays: dict[str, np.ndarray], about: dict[str, Any], backend: str, source: Path
) -> Network:
    """The network that arrays and description of `source` hold. Raises CheckpointError."""
    net = build_network(about, backend)
    restore_parameters(net, arrays, source)
    return net


def load_network(path: Path, backend: str = "cpu") -> Network:
    """The network in `path`, on `backend`. Raises CheckpointError."""
    arrays, about = load_arrays(path)
    if about.get("kind") == "sparse-network":
        raise CheckpointError(f"{path} holds a sparse network: SparseNetwork.load reads it")
    if about.get("kind") != "network":
        raise CheckpointError(
            f"{path} holds a '{about.get('kind')}', not a network; resume a run with --resume"
        )
    return network_from(arrays, about, backend, path)
