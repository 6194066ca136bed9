"""Where Winograd's way wins: a 3x3 convolution's forward pass both ways, on a grid of sizes.

The rule in `kernels.conv_order` (`winograd_wins`) was read off this table; a star marks where the
rule chooses Winograd.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from rich.table import Table

from ....kernels import get_backend
from ....kernels.errors import SettingError
from ...runs.tables import titled
from ..rows import grouped
from ..study import Part, PartRow, Row, Study, Work


@dataclass(frozen=True)
class Settings:
    """channels: as many filters. heights: of square images. pixels: of a batch, of any height."""

    channels: tuple[int, ...] = (3, 4, 8, 16, 32, 128, 512)
    heights: tuple[int, ...] = (2, 3, 4, 6, 8, 16, 32)
    pixels: int = 32 * 32 * 16


class Ratio(PartRow):
    """The direct way's time over Winograd's, and whether the rule takes Winograd."""

    channels: int
    height: int
    ratio: float
    chosen: bool


def _part(channels: int) -> Part:
    def measure(work: Work) -> Iterator[Row]:
        from .ratio import ratio  # needs the extra "cpu"

        if work.backend != "cpu":
            raise SettingError(f"winograd-rule times the backend cpu, not {work.backend}")
        for done, height in enumerate(work.settings.heights):
            work.advance(done, len(work.settings.heights))
            found, chosen = ratio(channels, height, work.settings.pixels)
            yield {"channels": channels, "height": height, "ratio": found, "chosen": chosen}

    return Part(f"channels-{channels}", measure)


def parts(settings: Settings) -> Sequence[Part]:
    """A part a line. Raises SettingError for sizes below 1, MissingExtraError without numba."""
    if min(*settings.channels, min(settings.heights, default=0), settings.pixels) < 1:
        raise SettingError("channels, heights and pixels are 1 or more")
    get_backend("cpu")
    return [_part(channels) for channels in settings.channels]


def tell(rows: Sequence[Row]) -> list[Table]:
    """The rule's table."""
    heights = grouped(rows, "height")
    heads = ("channels", *(f"{height}x{height}" for height in heights))
    table = titled("direct time / Winograd time; * where the rule takes Winograd", heads)
    for channels, of in grouped(rows, "channels").items():
        cells = (f"{row['ratio']:.2f}{'*' if row['chosen'] else ' '}" for row in of)
        table.add_row(str(channels), *cells)
    return [table]


STUDY = Study(
    name="winograd-rule",
    summary="a 3x3 convolution by Winograd's way and directly: which is faster on this CPU",
    settings=Settings(),
    parts=parts,
    draw=lambda rows, folder: [],
    tell=tell,
    row=Ratio,
    seeded=False,
)
