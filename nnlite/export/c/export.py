"""export: a Network to C, in memory; `Exported.write` puts it into a folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ...files import write_whole
from ...net import Network
from .learning import Learning
from .parts import Parts, cut, whole_network
from .predict import predict_frozen
from .text import check_prefix
from .unit import Unit

ALIGN = 16


@dataclass(frozen=True)
class Exported:
    """The two files' texts, and what was known of memory before anything was compiled.

    weights_bytes: constant numbers, which go to flash. arena_bytes: RAM, but for the stack.
    regions: (name, bytes, what it holds) of the arena, in order.
    """

    name: str
    header: str
    source: str
    weights_bytes: int
    arena_bytes: int
    regions: tuple[tuple[str, int, str], ...]

    def write(self, folder: Path) -> tuple[Path, Path]:
        """NAME.h and NAME.c in `folder`, each whole or not at all. Raises StorageError."""
        folder.mkdir(parents=True, exist_ok=True)
        header, source = folder / f"{self.name}.h", folder / f"{self.name}.c"
        write_whole(header, self.header.encode())
        write_whole(source, self.source.encode())
        return header, source


def export(net: Network, name: str = "net", learning: Learning | None = None) -> Exported:
    """`net` as C, its names beginning with `name`; learning: how it learns there.

    Raises SettingError for a name that is none in C, DtypeError for float64, ModeError for networks
    that answer for batches only, RecordingError for layers that have no C, NonFiniteError.
    """
    unit = Unit(check_prefix(name), learning is not None and learning.tail is None)
    if learning is None:
        parts = Parts(None, whole_network(net), 0)
        buffers = predict_frozen(unit, parts)
    else:
        from .learn import learn  # noqa: PLC0415

        parts = (
            Parts(None, whole_network(net), 0) if learning.tail is None else cut(net, learning.tail)
        )
        buffers = learn(unit, parts, learning)
    if buffers:
        unit.arena.add("buffers", "uint8_t", buffers, "what lies between two calls")
    unit.macro("INPUTS", parts.inputs, "numbers in a sample, and in an answer")
    unit.macro("OUTPUTS", net.num_outputs)
    unit.macro("ARENA_ALIGN", ALIGN, "the arena: all memory but the stack, so aligned")
    unit.macro("ARENA_BYTES", max(unit.arena.nbytes, 1))
    about = _about(unit, net, learning)
    regions = tuple((r.name, r.nbytes, r.says) for r in unit.arena.regions.values())
    return Exported(
        name, unit.header(about), unit.source(f"See {name}.h. Made by weightspace."),
        unit.constants.nbytes, max(unit.arena.nbytes, 1), regions,
    )  # fmt: skip


def _about(unit: Unit, net: Network, learning: Learning | None) -> str:
    """What the header begins with."""
    layers = ", ".join(repr(layer) for layer in net.layers)
    said = [
        f"{unit.prefix}: a network of {net.num_parameters} parameters in C99, made by weightspace.",
        "",
        f"Layers: {layers}",
    ]
    if net.input_shape and len(net.input_shape) > 1:
        shape = " x ".join(map(str, net.input_shape))
        said.append(f"A sample is {shape}: rows, columns, channels, channels lying together.")
    if unit.arena.regions:
        said += ["", "The arena, in bytes:"]
        said += [
            f"  {region.offset} to {region.offset + region.nbytes}: {region.name}"
            + (f", {region.says}" if region.says else "")
            for region in unit.arena.regions.values()
        ]
    said += [
        "",
        "Compile with -std=c99 -O2 -ffp-contract=off and, on x86, -mfma. Where the processor has "
        "an fma the numbers are weightspace's to the bit; elsewhere they agree to rounding.",
    ]
    return "\n".join(said)
