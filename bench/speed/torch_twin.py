"""The same network in torch: its layers, parameters and running statistics, in channels_last.

For comparing results and times with ours; needs the extra `peers`. Torch keeps a convolution's
weight as (O, C, R, S) and images as (N, C, H, W), whatever their memory format; ours are (O, R, S,
C) and (N, H, W, C).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from ...kernels.errors import SettingError
from ...nnlite import Network, layers
from ...nnlite.layers import Layer
from ...nnlite.layers.shapes import sides
from ...nnlite.layout import Shape

_ACTIVATIONS = {"tanh": nn.Tanh, "sigmoid": nn.Sigmoid, "identity": nn.Identity}


class _Flatten(nn.Module):
    """Flattens in the order of ours, channels last."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.permute(0, 2, 3, 1).flatten(1) if x.dim() == 4 else x.flatten(1)


class _Residual(nn.Module):
    def __init__(self, body: nn.Module, shortcut: nn.Module, after: nn.Module) -> None:
        super().__init__()
        self.body, self.shortcut, self.after = body, shortcut, after

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.after(self.body(x) + self.shortcut(x))


def _activation(layer: Any, name: str, inplace: bool) -> nn.Module:
    if name == "leaky_relu":
        return nn.LeakyReLU(layer.slope, inplace)
    return nn.ReLU(inplace) if name == "relu" else _ACTIVATIONS[name]()


def _padding(layer: Any) -> Any:
    """Of a pooling layer, if torch knows it."""
    (rows, more_rows), (columns, more_columns) = sides(layer.padding)
    if rows != more_rows or columns != more_columns:
        raise SettingError(f"torch pools pad both sides alike; {layer} does not")
    return rows, columns


def _module(layer: Any, shape: Shape, inplace: bool) -> nn.Module:  # noqa: PLR0912  (a table of layers)
    """The torch module of one layer for samples of `shape`, without its activation."""
    match layer:
        case layers.Conv2d():
            (top, bottom), (left, right) = sides(layer.padding)  # type: ignore[arg-type]
            even = top == bottom and left == right
            module: nn.Module = nn.Conv2d(
                shape[-1], layer.filters, layer.size, layer.stride, (top, left) if even else 0,
                layer.dilation, layer.groups, layer.bias,
            )  # fmt: skip
            if not even:  # which torch's own padding cannot be
                module = nn.Sequential(nn.ZeroPad2d((left, right, top, bottom)), module)
        case layers.Linear():
            module = nn.Linear(shape[0], layer.units, bias=layer.bias)
        case layers.BatchNorm2d():
            kind = nn.BatchNorm2d if len(shape) == 3 else nn.BatchNorm1d
            keeps = layer.statistics == "running"
            module = kind(shape[-1], layer.eps, layer.momentum, layer.affine, keeps)
        case layers.MaxPool2d():
            module = nn.MaxPool2d(
                layer.size, layer.stride, _padding(layer), ceil_mode=layer.ceil_mode
            )
        case layers.AvgPool2d():
            module = nn.AvgPool2d(
                layer.size, layer.stride, _padding(layer), layer.ceil_mode, layer.count_padding
            )
        case layers.AdaptiveAvgPool2d():
            module = nn.AdaptiveAvgPool2d((layer.rows, layer.columns))
        case layers.GlobalAvgPool():
            module = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case layers.Flatten():
            module = _Flatten()
        case layers.Dropout():
            module = nn.Dropout(layer.rate) if layer.rate else nn.Identity()
        case layers.Activation():
            module = _activation(layer, layer.name, inplace)
        case layers.Sequential():
            module = chain(layer.layers, shape, inplace)
        case layers.Residual():
            body, shortcut = (chain(p, shape, inplace) for p in (layer.body, layer.shortcut))
            module = _Residual(body, shortcut, _activation(layer, layer.activation, inplace))
        case _:
            raise SettingError(f"no torch module is known for the layer {type(layer).__name__}")
    return module


def chain(parts: Sequence[Layer], shape: Shape, inplace: bool = False) -> nn.Sequential:
    """Our layers as torch modules, for samples of `shape`; inplace: rectifiers overwrite."""
    modules: list[nn.Module] = []
    for layer in parts:
        modules.append(_module(layer, shape, inplace))
        fused = getattr(layer, "activation", "identity")
        if fused != "identity" and not isinstance(layer, layers.Residual):
            modules.append(_activation(layer, fused, inplace))
        shape = layer.output_shape(shape)
    return nn.Sequential(*modules)


def to_torch(ours: np.ndarray, layout: torch.memory_format = torch.channels_last) -> torch.Tensor:
    """A copy: images NHWC or filters (O, R, S, C) in torch's axes and `layout`; others as is."""
    tensor = torch.tensor(ours)
    if tensor.dim() != 4:
        return tensor
    return tensor.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def turned_back(theirs: torch.Tensor) -> torch.Tensor:
    """The reverse of `to_torch`'s turning of axes."""
    tensor = theirs.detach()
    return tensor.permute(0, 2, 3, 1) if tensor.dim() == 4 else tensor


def to_ours(theirs: torch.Tensor) -> np.ndarray:
    """The inverse of `to_torch`."""
    return turned_back(theirs).cpu().contiguous().numpy()


def parameters_of(module: nn.Module) -> list[nn.Parameter]:
    """The module's parameters in the order of our layout."""
    return list(module.parameters())


def flat(tensors: Any) -> np.ndarray:
    """Tensors like the parameters as one vector (P,) in our layout."""
    return np.concatenate([to_ours(tensor).reshape(-1) for tensor in tensors])


def _norms(module: nn.Module) -> Iterator[Any]:
    return (m for m in module.modules() if isinstance(m, nn.BatchNorm1d | nn.BatchNorm2d))


def twin(net: Network) -> nn.Module:
    """A torch module with the layers, theta and running statistics of `net`, in eval mode.

    Raises SettingError for a layer that torch has no module for here.
    """
    # Any: torch's releases disagree on whether `to` is typed to take a memory format
    module: Any = chain(net.layers, net.input_shape).to(getattr(torch, str(net.dtype)))
    module = module.to(memory_format=torch.channels_last)
    views = net.layout.views(net.theta).values()
    with torch.no_grad():
        for parameter, view in zip(parameters_of(module), views, strict=True):
            parameter.copy_(to_torch(view))
        running = iter(net.state.values())
        for norm in _norms(module):
            if norm.track_running_stats:
                norm.running_mean.copy_(torch.from_numpy(next(running)))
                norm.running_var.copy_(torch.from_numpy(next(running)))
    return module.eval()
