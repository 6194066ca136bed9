"""Regenerated: the variations of MNIST of Larochelle et al. (2007), made anew from its digits.

The published files are gone from where they were, so these are not the same images. What the paper
and its web page say of how they were made is followed; what they leave unsaid is chosen here:

| set        | as published                                   | chosen here                        |
|------------|------------------------------------------------|------------------------------------|
| basic      | 62,000 of MNIST's digits, as they are          | all of the data set's              |
| rotated    | turned by U(0, 360) degrees                    | bilinear, rounded to whole pixels  |
| back-rand  | pixels ~ U(0, 255) behind the digit            | the lighter of digit and backdrop  |
| noiseK     | z ~ N(0, g I + (1 - g) K), K the Gaussian      | g = (K - 1) / 5, so noise1 is the  |
|            | kernel exp(-d^2 / 36); 255 Phi(z) behind it    | smoothest and noise6 is white      |
| back-image | patches of 20 photographs, flat ones left out  | eight of scikit-image's; a patch   |
|            |                                                | deviates by 20 of 255 at least     |

What is random about an image follows from (seed, set, part, number of the image) through Philox, so
it is the same whichever images, sets and tasks come before it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from ...kernels.errors import MissingExtraError, SettingError, check_name
from ...kernels.host_blas import one_blas_thread
from ...nnlite.init import generator

NAMES = ("basic", "rotated", "back-rand", "back-image", *(f"noise{k}" for k in range(1, 7)))
# the five sets that Campbell et al. (2018) set beside their eight, in the order of their figure 12
CAMPBELL = ("basic", "rotated", "noise1", "noise3", "noise5")
PHOTOGRAPHS = ("astronaut", "brick", "camera", "chelsea", "coffee", "coins", "grass", "gravel")
BANDWIDTH = 6.0  # of the Gaussian kernel, in pixels
FLAT = 20.0  # deviation of a patch below which another one is drawn
_TRIES = 100
_CHUNK = 1000  # images whose noise is held at a time

Draw = Callable[[np.ndarray, Callable[[int], np.random.Generator]], np.ndarray]


@dataclass(frozen=True)
class Regenerated:
    """The set `name` as a pair of transforms: `train` and `test`, each of its own randomness.

    Raises UnknownNameError.
    """

    name: str
    seed: int = 0

    def __post_init__(self) -> None:
        check_name("regenerated set", self.name, NAMES)

    def train(self, images: np.ndarray) -> np.ndarray:
        """uint8 training images (N, H, W, C), the first N of the set, changed."""
        return self._change(images, 0)

    def test(self, images: np.ndarray) -> np.ndarray:
        """uint8 test images (N, H, W, C), likewise."""
        return self._change(images, 1)

    def _change(self, images: np.ndarray, part: int) -> np.ndarray:
        if self.name == "basic":
            return images
        draw, key = _draw(self.name), 2 * NAMES.index(self.name) + part
        made = np.empty_like(images)
        for lo in range(0, len(images), _CHUNK):
            chunk = images[lo : lo + _CHUNK]

            def at(row: int, lo: int = lo) -> np.random.Generator:
                return generator(self.seed, 0x1A20 + key, lo + row)

            made[lo : lo + _CHUNK] = draw(chunk, at)
        return made


def _draw(name: str) -> Draw:
    """How the set's images are made of a chunk and a generator for each of its rows."""
    if name == "rotated":
        return _rotate
    if name == "back-rand":
        return _behind(lambda shape, at, n: [at(row).integers(0, 256, shape) for row in range(n)])
    if name == "back-image":
        patch = _patches(_photographs())
        return _behind(lambda shape, at, n: [patch(shape, at(row)) for row in range(n)])
    share = (int(name.removeprefix("noise")) - 1) / 5
    return _behind(lambda shape, at, n: _noise(shape, [at(row) for row in range(n)], share))


def _behind(backdrops: Callable) -> Draw:
    """The lighter, pixel by pixel, of a digit and its backdrop (H, W), the same in all channels."""

    def change(images: np.ndarray, at: Callable[[int], np.random.Generator]) -> np.ndarray:
        made = np.asarray(backdrops(images.shape[1:3], at, len(images)))
        return np.maximum(images, made.astype(np.uint8)[..., None])

    return change


def _rotate(images: np.ndarray, at: Callable[[int], np.random.Generator]) -> np.ndarray:
    try:
        from scipy.ndimage import rotate
    except ImportError:
        raise MissingExtraError("scipy", "demo", "the regenerated set 'rotated'") from None
    made = np.empty(images.shape, np.float32)
    for row, image in enumerate(images):
        angle = at(row).uniform(0, 360)
        made[row] = rotate(image.astype(np.float32), angle, reshape=False, order=1)
    return np.clip(np.rint(made), 0, 255).astype(np.uint8)


@one_blas_thread
def _noise(shape: tuple[int, int], rngs: list[np.random.Generator], white: float) -> np.ndarray:
    """Uniform pixels (N, H, W) in 0..255 whose normal scores have the covariance of the table.

    The kernel of two axes is the product of one of each, so its root is, too: R_H z R_W.
    """
    try:
        from scipy.special import ndtr
    except ImportError:
        raise MissingExtraError("scipy", "demo", "a regenerated set with noise") from None
    z = np.stack([rng.standard_normal((2, *shape)) for rng in rngs])
    smooth = _root(shape[0]) @ z[:, 0] @ _root(shape[1])
    return np.rint(255 * ndtr(np.sqrt(1 - white) * smooth + np.sqrt(white) * z[:, 1]))


def _root(size: int) -> np.ndarray:
    """The symmetric root (size, size) of the Gaussian kernel along one axis."""
    place = np.arange(size)
    kernel = np.exp(-(((place[:, None] - place) / BANDWIDTH) ** 2))
    values, vectors = np.linalg.eigh(kernel)
    return (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T


def _photographs() -> list[np.ndarray]:
    """The photographs that scikit-image carries, grey, 0..255."""
    try:
        from skimage import color, data
    except ImportError:
        raise MissingExtraError(
            "scikit-image", "analysis", "the regenerated set 'back-image'"
        ) from None
    found = [getattr(data, name)() for name in PHOTOGRAPHS]
    return [255 * color.rgb2gray(image) if image.ndim == 3 else image for image in found]


def _patches(photographs: list[np.ndarray]) -> Callable:
    def patch(shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
        """A patch (H, W) of any photograph; the flattest are drawn again."""
        for _ in range(_TRIES):
            photograph = photographs[rng.integers(len(photographs))]
            room = [have - want + 1 for have, want in zip(photograph.shape, shape, strict=True)]
            if min(room) < 1:
                raise SettingError(
                    f"back-image: images of {shape[0]} x {shape[1]} do not fit photographs of "
                    f"{photograph.shape[0]} x {photograph.shape[1]}"
                )
            top, left = (int(rng.integers(count)) for count in room)
            cut = photograph[top : top + shape[0], left : left + shape[1]]
            if cut.std() >= FLAT:
                break
        return np.rint(cut)

    return patch
