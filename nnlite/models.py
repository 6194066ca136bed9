"""Ready-made architectures, each as the paper that used it counts its parameters.

`settings` go to Network: backend, dtype, seed, init, loss. Convolutional networks take NHWC images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ..kernels.errors import SettingError
from .layers import (
    AdaptiveAvgPool2d,
    BatchNorm2d,
    Conv2d,
    Dropout,
    Flatten,
    GlobalAvgPool,
    Layer,
    Linear,
    MaxPool2d,
    Residual,
)
from .layout import Shape
from .net import Network


def mlp(
    sizes: Sequence[int], activation: str = "relu", slope: float = 0.01, **settings: Any
) -> Network:
    """A multi-layer perceptron: sizes = (inputs, hidden..., outputs), the last layer linear.

    Raises SettingError for fewer than two sizes.

    >>> mlp((784, 300, 100, 10), backend="reference").num_parameters
    266610
    """
    if len(sizes) < 2:
        raise SettingError(f"mlp got sizes={tuple(sizes)}; it needs inputs and outputs at least")
    inputs, *hidden, outputs = sizes
    layers = [Linear(units, activation, slope) for units in hidden]
    return Network([*layers, Linear(outputs)], input_shape=(inputs,), **settings)


def lenet_300_100(**settings: Any) -> Network:
    """LeNet-300-100 (LeCun et al. 1998): 784-300-100-10, relu, 266,610 parameters."""
    return mlp((784, 300, 100, 10), **settings)


def lenet5(outputs: int = 10, input_shape: Shape = (28, 28, 1), **settings: Any) -> Network:
    """LeNet-5 as it is taught today: 5x5 convolutions of 6 and 16 maps, max pooling, relu.

    The first one is padded by 2 on 28 x 28 images, so that 32 x 32 ones see the same sizes:
    61,706 parameters for one channel, 62,006 for three.
    """
    padding = 2 if input_shape[0] == 28 else 0
    layers = [
        Conv2d(6, 5, padding=padding, activation="relu"),
        MaxPool2d(2),
        Conv2d(16, 5, activation="relu"),
        MaxPool2d(2),
        Flatten(),
        Linear(120, "relu"),
        Linear(84, "relu"),
        Linear(outputs),
    ]
    return Network(layers, input_shape, **settings)


def fip_cnn(
    outputs: int = 20,
    input_shape: Shape = (28, 28, 1),
    statistics: str = "running",
    **settings: Any,
) -> Network:
    """The 5-layer CNN of the FIP paper (Raghavan & Thomson): 1,476,548 parameters at 20 outputs.

    Two 3x3 convolutions (32 maps padded, 64 not) with BatchNorm, relu and max pooling, then
    600-120-outputs without non-linearities between, and dropout 0.25 after the first of them.
    """

    def stage(maps: int, padding: int) -> list[Layer]:
        norm = BatchNorm2d(statistics=statistics, activation="relu")
        return [Conv2d(maps, 3, padding=padding), norm, MaxPool2d(2)]

    head = [Flatten(), Linear(600), Dropout(0.25), Linear(120), Linear(outputs)]
    return Network([*stage(32, 1), *stage(64, 0), *head], input_shape, **settings)


def zenke_cnn(outputs: int = 60, input_shape: Shape = (32, 32, 3), **settings: Any) -> Network:
    """The CIFAR network of Zenke et al. 2017 (their code), 1,276,508 parameters at 60 outputs.

    Twice two 3x3 convolutions (the first of each padded), max pooling and dropout 0.25; then 512
    units and dropout 0.5.
    """

    def stage(maps: int) -> list[Layer]:
        first = Conv2d(maps, 3, padding="same", activation="relu")
        return [first, Conv2d(maps, 3, activation="relu"), MaxPool2d(2), Dropout(0.25)]

    head = [Flatten(), Linear(512, "relu"), Dropout(0.5), Linear(outputs)]
    return Network([*stage(32), *stage(64), *head], input_shape, **settings)


def _block(maps: int, stride: int, change: bool, norm: Callable[..., Layer]) -> Residual:
    """A basic block: two 3x3 convolutions, and a 1x1 one in the shortcut where shapes change."""
    body = [
        Conv2d(maps, 3, stride, 1, bias=False),
        norm(activation="relu"),
        Conv2d(maps, 3, 1, 1, bias=False),
        norm(),
    ]
    shortcut = [Conv2d(maps, 1, stride, bias=False), norm()] if change else []
    return Residual(tuple(body), tuple(shortcut))


def resnet(
    widths: Sequence[int],
    blocks: int,
    outputs: int,
    input_shape: Shape = (32, 32, 3),
    affine: bool = True,
    statistics: str = "running",
    **settings: Any,
) -> Network:
    """A residual network for small images (He et al. 2015) with 1x1 convolutions as shortcuts.

    widths: the maps of each stage, `blocks` blocks each; every stage but the first halves height
    and width. The stem is one 3x3 convolution; global average pooling and a linear layer end it.
    affine, statistics: of its BatchNorm2d layers (PSP uses affine=False, statistics="batch").
    """

    def norm(**more: Any) -> Layer:
        return BatchNorm2d(affine=affine, statistics=statistics, **more)

    layers: list[Layer] = [Conv2d(widths[0], 3, 1, 1, bias=False), norm(activation="relu")]
    before = widths[0]
    for stage, maps in enumerate(widths):
        for number in range(blocks):
            stride = 2 if stage and not number else 1
            layers.append(_block(maps, stride, stride > 1 or maps != before, norm))
            before = maps
    return Network([*layers, GlobalAvgPool(), Linear(outputs)], input_shape, **settings)


def resnet20(outputs: int = 10, **settings: Any) -> Network:
    """ResNet-20 for CIFAR (He et al. 2015), 1x1-convolution shortcuts: 272,474 parameters."""
    return resnet((16, 32, 64), 3, outputs, **settings)


def resnet18(outputs: int = 10, **settings: Any) -> Network:
    """ResNet-18 with the stem for small images: 11,173,962 parameters at 10 outputs."""
    return resnet((64, 128, 256, 512), 2, outputs, **settings)


def reduced_resnet18(outputs: int = 100, **settings: Any) -> Network:
    """GEM's reduced ResNet-18 (Lopez-Paz & Ranzato 2017), 20 maps: 1,109,240 at 100 outputs."""
    return resnet((20, 40, 80, 160), 2, outputs, **settings)


_VGG16 = ((64, 2), (128, 2), (256, 3), (512, 3), (512, 3))


def vgg16_layers(outputs: int, head: Sequence[int], pooled: int, batch_norm: bool) -> list[Layer]:
    """The layers of `vgg16`."""
    layers: list[Layer] = []
    for maps, count in _VGG16:
        for _ in range(count):
            if batch_norm:
                layers += [Conv2d(maps, 3, 1, 1), BatchNorm2d(activation="relu")]
            else:
                layers.append(Conv2d(maps, 3, 1, 1, activation="relu"))
        layers.append(MaxPool2d(2))
    layers += [AdaptiveAvgPool2d(pooled, pooled), Flatten()]
    for units in head:
        layers += [Linear(units, "relu"), Dropout(0.5)]
    return [*layers, Linear(outputs)]


def vgg16(
    outputs: int = 10,
    head: Sequence[int] = (4096, 4096),
    pooled: int = 7,
    batch_norm: bool = False,
    input_shape: Shape = (32, 32, 3),
    **settings: Any,
) -> Network:
    """VGG16 (Simonyan & Zisserman 2015) as torchvision builds it: 134,301,514 at 10 outputs.

    The features are averaged to pooled x pooled before the head (7: pixels are repeated on 32 x 32
    images); dropout 0.5 between the head's layers. See `vgg16_cifar` for the usual small form.
    """
    return Network(vgg16_layers(outputs, head, pooled, batch_norm), input_shape, **settings)


def vgg16_cifar(outputs: int = 10, batch_norm: bool = True, **settings: Any) -> Network:
    """VGG16 with one linear layer on its 512 features: 14,728,266 with BatchNorm2d."""
    return vgg16(outputs, (), 1, batch_norm, **settings)


# ---- MLPerf Tiny (Banbury et al. 2021), as its reference code builds them -----------------------

# Its "same" padding at stride 2: an odd zero goes below and to the right.
_AFTER = (0, 1), (0, 1)


def _keras_norm(activation: str = "relu") -> Layer:
    """Batch normalisation with the settings of the reference code's framework."""
    return BatchNorm2d(0.01, 1e-3, activation=activation)


def resnet8(outputs: int = 10, input_shape: Shape = (32, 32, 3), **settings: Any) -> Network:
    """MLPerf Tiny's image classifier: three blocks of 16, 32 and 64 maps; 78,186 parameters (and
    480 running statistics)."""

    def block(maps: int, stride: int) -> Residual:
        first = Conv2d(maps, 3, stride, 1 if stride == 1 else _AFTER)
        body = (first, _keras_norm(), Conv2d(maps, 3, 1, 1), _keras_norm("identity"))
        return Residual(body, () if stride == 1 else (Conv2d(maps, 1, stride),))

    stem = [Conv2d(16, 3, 1, 1), _keras_norm()]
    blocks = [block(16, 1), block(32, 2), block(64, 2)]
    return Network([*stem, *blocks, GlobalAvgPool(), Linear(outputs)], input_shape, **settings)


def _separable(channels: int, maps: int, stride: int = 1) -> list[Layer]:
    """A depthwise 3x3 convolution and a pointwise one, each with its norm and relu."""
    depthwise = Conv2d(channels, 3, stride, 1 if stride == 1 else _AFTER, groups=channels)
    return [depthwise, _keras_norm(), Conv2d(maps, 1), _keras_norm()]


def ds_cnn(outputs: int = 12, input_shape: Shape = (49, 10, 1), **settings: Any) -> Network:
    """MLPerf Tiny's keyword spotter (Zhang et al. 2017): four separable convolutions of 64 maps on
    49 x 10 coefficients of sound; 23,756 parameters."""
    stem = [Conv2d(64, (10, 4), 2, ((4, 5), (1, 1))), _keras_norm(), Dropout(0.2)]
    body = [layer for _ in range(4) for layer in _separable(64, 64)]
    head = [Dropout(0.4), GlobalAvgPool(), Linear(outputs)]
    return Network([*stem, *body, *head], input_shape, **settings)


_MOBILE = ((16, 1), (32, 2), (32, 1), (64, 2), (64, 1), (128, 2), *((128, 1),) * 5, (256, 2),
           (256, 1))  # fmt: skip


def mobilenet_quarter(
    outputs: int = 2, input_shape: Shape = (96, 96, 3), **settings: Any
) -> Network:
    """MLPerf Tiny's visual wake words: MobileNet v1 (Howard et al. 2017) at a quarter of its width;
    216,322 parameters."""
    layers: list[Layer] = [Conv2d(8, 3, 2, _AFTER), _keras_norm()]
    before = 8
    for maps, stride in _MOBILE:
        layers += _separable(before, maps, stride)
        before = maps
    return Network([*layers, GlobalAvgPool(), Linear(outputs)], input_shape, **settings)


def autoencoder(
    outputs: int = 640, input_shape: Shape = (640,), loss: str = "squared_error", **settings: Any
) -> Network:
    """MLPerf Tiny's detector of anomalies: 640 numbers of sound through 8 units and back, in nine
    dense layers of 128; 267,928 parameters."""
    widths = (128, 128, 128, 128, 8, 128, 128, 128, 128)
    layers = [layer for units in widths for layer in (Linear(units), _keras_norm())]
    return Network([*layers, Linear(outputs)], input_shape, loss=loss, **settings)
