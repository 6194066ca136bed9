"""`weightspace import`, and what `weightspace export` writes for other software: ONNX, torch."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape

from ...kernels.errors import MissingExtraError, SettingError
from .options import DataDir

console = Console()
SUFFIXES = {"onnx": ".onnx", "torch": ".safetensors"}
_SAMPLES = 1000  # of a data set, to calibrate by
_TRIED = 8  # samples by which an imported model is compared


def target(out: Path, to: str, name: str) -> Path:
    """The file to write: `out`, or of that name inside it where it has no suffix."""
    return out if out.suffix else out / f"{name}{SUFFIXES[to]}"


def under_contexts(net: Any, kind: str, task: int) -> Any:
    """A copy of a superposed network with the contexts of `task` set."""
    from ...methods import Superposition

    copy = net.like()
    for name, context in Superposition(kind).contexts(net, task).items():
        copy.state[name] = context.astype(net.dtype)
    return copy


def samples_of(given: Path | None, net: Any, data_dir: Path | None) -> Any:
    """Inputs to calibrate by: x of an .npz file, or a data set's first training images, in 0..1.

    Raises SettingError without any, or for images of another size.
    """
    import numpy as np

    from ..data import NAMES, load
    from ..explain import values

    if given is None:
        raise SettingError(
            "--weights int8 needs samples to read ranges off: --samples FILE.npz with some hundred "
            f"inputs x, as the network gets them, or a data set ({', '.join(NAMES)})"
        )
    if str(given) not in NAMES:
        return values.read(given, net)["x"]
    x = load(str(given), data_dir).train_x[:_SAMPLES]
    if x[0].size != int(np.prod(net.input_shape)):
        raise SettingError(
            f"{given} has images {x.shape[1:]}; this network takes {net.input_shape}"
        )
    return (x.reshape(len(x), *net.input_shape) / 255).astype(net.dtype)


def to_onnx(net: Any, out: Path, fold: bool, opset: int, samples: Any = None) -> None:
    """Write ONNX, in 8 bits where there are samples, and say so."""
    from ...nnlite.export.onnx import check_onnx, write_int8, write_onnx

    if samples is not None:
        write_int8(net, out, samples, opset)
        told = f"int8 weights, ranges of {len(samples):,} samples"
    else:
        write_onnx(net, out, opset, fold)
        try:
            error = check_onnx(net, out, _drawn(net))
            told = f"onnxruntime's outputs are the network's within {error:.1e}"
        except MissingExtraError:
            told = "not compared: onnxruntime is not installed"
    axes = "(N, C, H, W)" if len(net.input_shape) == 3 else "(N, I)"
    console.print(f"{escape(str(out))}: opset {opset}, input {axes}; {told}", highlight=False,
                  soft_wrap=True)  # fmt: skip


def to_torch(net: Any, out: Path, names: str) -> None:
    """Write a state_dict, and say how torch reads it."""
    from ...nnlite.export.torch_state import save_torch

    save_torch(net, out, names)
    console.print(
        f"{escape(str(out))}: module.load_state_dict(safetensors.torch.load_file(...)), names "
        f"'{names}'", highlight=False, soft_wrap=True,
    )  # fmt: skip


def _drawn(net: Any) -> Any:
    import numpy as np

    shape = (_TRIED, *net.input_shape)
    return np.random.default_rng(0).normal(size=shape).astype(net.dtype)


def import_(
    file: Annotated[Path, typer.Argument(help="MODEL.onnx, or a state_dict as .safetensors.")],
    out: Annotated[Path, typer.Option(help="The network's file.")] = Path("net.safetensors"),
    model: Annotated[
        str | None,
        typer.Option(help="Of a state_dict: widths, a model, a preset or a file it belongs to."),
    ] = None,
    names: Annotated[
        str, typer.Option(help="Of a state_dict: sequential or torchvision.")
    ] = "sequential",
    data_dir: DataDir = None,
) -> None:
    """Read a network that other software wrote, and keep it as one of ours."""
    if file.suffix == ".onnx":
        if model is not None:
            raise SettingError("--model is for a state_dict; an ONNX file says its own layers")
        net, notes = _from_onnx(file)
    else:
        net, notes = _from_torch(file, model, names, data_dir), []
    net.save(out)
    for note in notes:
        console.print(escape(note), style="dim", highlight=False)
    console.print(
        f"{escape(str(out))}: {len(net.layers)} layers, {net.num_parameters:,} parameters, samples "
        f"{net.input_shape}", highlight=False, soft_wrap=True,
    )  # fmt: skip


def _from_onnx(file: Path) -> tuple[Any, list[str]]:
    """The network, and what is to be told of it."""
    from ...kernels.spec import relative_error
    from ...nnlite.export.onnx import read_onnx
    from ...nnlite.export.onnx.check import outputs

    net, notes = read_onnx(file, "reference")
    if notes:  # a softmax was left out: outputs are others
        return net, list(notes)
    x = _drawn(net)[:1]
    try:
        error = relative_error(net.forward(x), outputs(file, x)[0])
    except MissingExtraError:
        return net, ["not compared: onnxruntime is not installed"]
    return net, [f"its outputs are onnxruntime's within {error:.1e}"]


def _from_torch(file: Path, model: str | None, names: str, data_dir: Path | None) -> Any:
    from ...nnlite.export.torch_state import load_torch
    from ..explain import subject

    net = None if model is None else subject.find(model, "reference", None, data_dir).net
    return load_torch(file, net, names, "reference")
