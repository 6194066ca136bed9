"""Other makers of C, each in a virtual environment of its own that is made when it is first asked.

Their C is compiled with the target's flags and -O2, as ours, without our warnings, and answers the
same images; a program of `makers` gives it our interface. Memory that they have beside an arena
counts as statics or stack.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from ...kernels.errors import MissingToolError, check_name
from ...kernels.places import places
from ...nnlite.layers import Conv2d, Flatten, Linear, MaxPool2d
from . import measure
from .models import Trained, as_floats, weights_bytes
from .session import Program
from .targets import Target

MAKERS = Path(__file__).resolve().parent / "makers"
_CALIBRATION = 200  # images
_SECONDS = 1200


@dataclass(frozen=True)
class Peer:
    """A maker: what pip installs, the version that is measured, the program that asks it.

    exact: whether it computes in float32, so that its answers are compared with the engine's.
    """

    name: str
    package: str
    version: str
    program: str
    exact: bool = True
    more: tuple[str, ...] = ()

    @property
    def operation(self) -> str:
        """What its rows are called."""
        return "predict" if self.exact else "predict int8"

    @property
    def requirements(self) -> tuple[str, ...]:
        """What pip is asked for."""
        return (f"{self.package}=={self.version}", *self.more)


PEERS = {
    peer.name: peer
    for peer in (
        Peer("emx", "emx-onnx-cgen", "1.4.0", "with_emx.py", more=("onnx>=1.18",)),
        Peer("emlearn", "emlearn", "0.23.2", "with_emlearn.py"),
        Peer("bakenn", "bakenn", "1.0.0", "with_bakenn.py", exact=False),
    )
}


def find(names: Iterable[str] | None) -> list[Peer]:
    """The peers of these names; None: all; "none" alone: none. Raises UnknownNameError."""
    wanted = list(PEERS if names is None else names)
    if wanted == ["none"]:
        return []
    for name in wanted:
        check_name("maker of C", name, PEERS)
    return [peer for name, peer in PEERS.items() if name in wanted]


@cache
def python_of(peer: Peer) -> Path:
    """The Python that has the peer installed. Raises MissingToolError where pip cannot."""
    folder = places("embedded-peers")[1]
    if folder is None:
        raise MissingToolError(
            f"{peer.name}: no folder to install it into: set WEIGHTSPACE_CACHE to one that can be "
            "written"
        )
    digest = hashlib.sha256(repr((sys.version, peer.requirements)).encode()).hexdigest()[:12]
    made = folder / f"{peer.name}-{digest}"
    python, done = made / "bin" / "python", made / "installed"
    if not done.exists():
        for words in (
            [sys.executable, "-m", "venv", "--clear", str(made)],
            [str(python), "-m", "pip", "install", "-q", *peer.requirements],
        ):
            said = subprocess.run(
                words, capture_output=True, text=True, timeout=_SECONDS, check=False
            )
            if said.returncode:
                last = (said.stderr.strip().splitlines() or ["nothing"])[-1]
                raise MissingToolError(
                    f"{peer.name}: {' '.join(peer.requirements)} is not to be had here ({last}): "
                    "run where pip can install it"
                )
        done.touch()
    return python


def measure_peer(
    peer: Peer, trained: Trained, target: Target, folder: Path, most: int
) -> measure.Row:
    """As `measure.predict`, of the peer's C, which lies in `folder` for all targets alike.

    One that cannot make the network is absent.
    """

    def fill(row: measure.Row) -> None:
        source = _made(peer, trained, folder)
        program = Program(target, [source], folder / target.name, strict=False)
        row.weights = weights_bytes(trained.net, 4 if peer.exact else 1)
        wanted = trained.net.forward(trained.samples(trained.images[:most]))
        measure.of_predict(row, trained, program, wanted, exact=False)
        if not peer.exact and row.agreement == "wrong":
            row.agreement = "other arithmetic"

    return measure.guarded(
        measure.begin(trained, target, f"{peer.name} {peer.version}", peer.operation), fill, target
    )


def _made(peer: Peer, trained: Trained, folder: Path) -> Path:
    """The peer's net.c, made once. Raises MissingToolError where it cannot be asked, or make it."""
    source = folder / "net.c"
    if source.exists():
        return source
    python = python_of(peer)
    describe(trained, folder)
    words = [str(python), str(MAKERS / peer.program), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=_SECONDS, check=False)
    if done.returncode:
        said = (done.stderr.strip().splitlines() or ["nothing"])[-1]
        raise MissingToolError(f"{peer.name} {peer.version} made no C of this network: {said}")
    return source


def describe(trained: Trained, folder: Path) -> None:
    """Write net.json and net.npz, which the programs of `makers` read."""
    folder.mkdir(parents=True, exist_ok=True)
    net = trained.net
    layers: list[dict[str, Any]] = []
    shape = net.input_shape
    for number, layer in enumerate(net.layers):
        shape = layer.output_shape(shape)
        layers.append({**_layer(layer, number), "output": list(shape)})
    side = trained.model.side
    (folder / "net.json").write_text(
        json.dumps({"input": [side, side, 1], "outputs": net.num_outputs, "layers": layers})
    )
    arrays = {name: net.layout.view(net.theta, name) for name in net.layout}
    arrays["calibration"] = as_floats(trained.seen[:_CALIBRATION])
    np.savez(folder / "net.npz", **arrays)  # type: ignore[arg-type]


def _layer(layer: Any, number: int) -> dict[str, Any]:
    """A layer in words and numbers."""
    named = {"weight": f"{number}.weight", "bias": f"{number}.bias"}
    if isinstance(layer, Linear):
        return {"kind": "linear", "activation": layer.activation, **named}
    if isinstance(layer, Conv2d):
        moves = {"stride": _two(layer.stride), "padding": _two(layer.padding)}
        return {"kind": "conv", "activation": layer.activation, **named, **moves}
    if isinstance(layer, MaxPool2d):
        return {"kind": "max_pool", "size": _two(layer.size), "stride": _two(layer.stride)}
    if isinstance(layer, Flatten):
        return {"kind": "flatten"}
    raise MissingToolError(f"{type(layer).__name__} is a layer that no peer is told of")


def _two(value: Any) -> list[int]:
    """Rows and columns."""
    return [value, value] if isinstance(value, int) else [int(each) for each in value[:2]]
