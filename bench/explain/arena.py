"""The arena over time, drawn: a rectangle a buffer, from its first call to its last."""

from __future__ import annotations

import html
from collections.abc import Iterator, Sequence

from ...nnlite.program import Program
from .lines import phases
from .table import short

WIDTH, HEIGHT, LEFT, TOP, BOTTOM = 960, 420, 74, 30, 44
_TURN = 137.5  # degrees, the golden angle: layers that follow one another differ the most


def svg(program: Program) -> str:
    """An SVG picture: calls from left to right, bytes from below; names where there is room."""
    if not program.offsets:
        return "<p>No buffers lie between its calls.</p>"
    calls, size = len(program.calls), program.arena_bytes
    across, down = (WIDTH - LEFT) / calls, HEIGHT / size
    parts = [
        f'<svg viewBox="0 0 {WIDTH} {TOP + HEIGHT + BOTTOM}" role="img" class="arena" '
        f'aria-label="The arena of {short(size)} bytes over {calls} calls: each buffer from the '
        'first call that touches it to the last">'
    ]
    parts += _axes(calls, size)
    for number, offset in program.offsets.items():
        place = program.places[number]
        x, wide = LEFT + place.first * across, (place.last - place.first + 1) * across
        tall = place.nbytes * down
        y = TOP + HEIGHT - offset * down - tall
        told = f"{place.name}, {short(place.nbytes)} bytes, calls {place.first} to {place.last}"
        parts.append(
            f'<g><title>{html.escape(told)}</title><rect x="{x:.2f}" y="{y:.2f}" '
            f'width="{wide:.2f}" height="{tall:.2f}" fill="{_colour(place.name)}" '
            f'class="buffer{" thin" if tall < 2 else ""}"/>'
        )
        if tall > 13 and wide > 6.6 * len(place.name):
            parts.append(f'<text x="{x + 3:.1f}" y="{y + 11:.1f}">{html.escape(place.name)}</text>')
        parts.append("</g>")
    return "".join([*parts, *_phases(program, across), "</svg>"])


def legend(program: Program, layers: Sequence[str] = ()) -> str:
    """The layers whose buffers are drawn, with their colours; layers: what each is."""
    names = [program.places[number].name for number in program.offsets]
    found = {_layer(name): _colour(name) for name in names}
    parts = []
    for layer in sorted(found, key=lambda one: (one is None, one or 0)):
        said = "of no layer alone" if layer is None else f"{layer}"
        if layer is not None and layer < len(layers):
            said += f" {layers[layer]}"
        parts.append(f'<span><i style="background:{found[layer]}"></i>{html.escape(said)}</span>')
    return f'<p class="legend">{"".join(parts)}</p>' if parts else ""


def _phases(program: Program, across: float) -> Iterator[str]:
    """Where the way back and the update begin, with names above the plot."""
    found = phases(program)
    for name, first, last in found if len(found) > 1 else ():
        x, room = LEFT + first * across, (last - first + 1) * across
        if first:
            yield f'<line x1="{x:.1f}" x2="{x:.1f}" y1="6" y2="{TOP + HEIGHT}" class="phase"/>'
        if room > 7 * len(name):
            yield f'<text x="{x + 4:.1f}" y="16">{name}</text>'
        elif last == len(program.calls) - 1:  # too short for its name, which stands before it
            yield f'<text x="{x - 4:.1f}" y="16" text-anchor="end">{name}</text>'


def _axes(calls: int, size: int) -> Iterator[str]:
    for share in (0.0, 0.25, 0.5, 0.75, 1.0):
        y = TOP + HEIGHT * (1 - share)
        yield f'<line x1="{LEFT}" x2="{WIDTH}" y1="{y:.1f}" y2="{y:.1f}" class="grid"/>'
        yield f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{short(share * size)}</text>'
    step = max(1, -(-calls // 10))
    for call in range(0, calls, step):
        x = LEFT + (call + 0.5) * (WIDTH - LEFT) / calls
        yield f'<text x="{x:.1f}" y="{TOP + HEIGHT + 16}" text-anchor="middle">{call}</text>'
    middle = LEFT + (WIDTH - LEFT) / 2
    yield f'<text x="{middle}" y="{TOP + HEIGHT + 36}" text-anchor="middle">call</text>'
    yield f'<text x="{LEFT - 6}" y="14" text-anchor="end">bytes</text>'


def _layer(name: str) -> int | None:
    """The number of the layer whose buffer it is; None for what all layers use."""
    layer, dot, _ = name.partition(".")
    return int(layer) if dot and layer.isdigit() else None


def _colour(name: str) -> str:
    layer = _layer(name)
    return "hsl(210 10% 66%)" if layer is None else f"hsl({(28 + layer * _TURN) % 360:.0f} 58% 62%)"
