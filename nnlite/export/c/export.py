"""export: a Network to C, in memory; `Exported.write` puts it into a folder."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ....kernels.errors import SettingError
from ...files import write_whole
from ...layers import Layer
from ...layout import Shape
from ...net import Network
from ...sparse import SparseNetwork
from .contexts import Contexts, check_contexts, write_task
from .learn import learn
from .learning import Learning
from .parts import Parts, cut, numbered, whole_network
from .predict import Printed, frozen, write_predict
from .sparse import sparse
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
        header, source = folder / f"{self.name}.h", folder / f"{self.name}.c"
        write_whole(header, self.header.encode())
        write_whole(source, self.source.encode())
        return header, source


def export(
    net: Network | SparseNetwork,
    name: str = "net",
    learning: Learning | None = None,
    contexts: Contexts = (),
    trunk: Callable[[Unit], Printed] | None = None,
    winograd: bool = True,
) -> Exported:
    """`net` as C, its names beginning with `name`; learning: how it learns there.

    contexts: of each task, the state (of a superposed network) that the function `task` sets.
    trunk: prints what is before the tail that learns, where that is not float (`int8`).
    winograd: False sums all convolutions directly: faster on a device, with other roundings than
    the engine where that goes by Winograd's way.
    Raises SettingError for a name that is none in C, for contexts that are not the network's, and
    for a sparse network that is to learn; DtypeError for float64, ModeError for networks
    that answer for batches only, RecordingError for layers that have no C, NonFiniteError.
    """
    unit = Unit(check_prefix(name), winograd)
    if isinstance(net, SparseNetwork):
        if learning is not None or contexts:
            raise SettingError("a sparse network is exported as it is: net.to_network() can learn")
        buffers, inputs, outputs = sparse(unit, net)
        layers, parameters = net.to_network().layers, net.nonzeros
    else:
        buffers, inputs, outputs = _dense(unit, net, learning, contexts, trunk)
        layers, parameters = net.layers, net.num_parameters
    if buffers:
        unit.arena.add("buffers", "uint8_t", buffers, "what lies between two calls")
    unit.macro("INPUTS", inputs, "numbers in a sample, and in an answer")
    unit.macro("OUTPUTS", outputs)
    unit.macro("ARENA_ALIGN", ALIGN, "the arena: all memory but the stack, so aligned")
    unit.macro("ARENA_BYTES", max(unit.arena.nbytes, 1))
    about = _about(unit, parameters, layers, net.input_shape)
    regions = tuple((r.name, r.nbytes, r.says) for r in unit.arena.regions.values())
    return Exported(
        name, unit.header(about), unit.source(f"See {name}.h. Made by weightspace."),
        unit.constants.nbytes, max(unit.arena.nbytes, 1), regions,
    )  # fmt: skip


def _dense(
    unit: Unit, net: Network, learning: Learning | None, contexts: Contexts,
    trunk: Callable[[Unit], Printed] | None,
) -> tuple[int, int, int]:  # fmt: skip
    """Print an ordinary network; returns the bytes of its buffers, inputs and outputs."""
    check_contexts(contexts, net.state)
    named = list(contexts[0]) if contexts else []
    backend = "c" if unit.winograd else "c-direct"
    if learning is None or learning.tail is None:
        parts = Parts(None, whole_network(net, backend), 0)
    else:
        parts = cut(net, learning.tail, backend)
    regions = {}
    for each in named:
        if learning is None or int(each.partition(".")[0]) < parts.first:
            unit.arena.add(f"context {each}", "float", net.state[each].size, "set by task")
            regions[each] = f"context {each}"
        else:  # the tail's state, which is in the arena anyway
            regions[each] = f"state {numbered(each, -parts.first)}"
    if learning is None:
        forward = frozen(unit, parts.tail, "forward", 0, regions)
        forward.write(unit.arena.nbytes)
        write_predict(unit, parts.inputs, net.num_outputs, ["forward"])
        buffers = forward.nbytes
    else:
        moving = {name: where for name, where in regions.items() if where.startswith("context")}
        buffers = learn(unit, parts, learning, moving, trunk)
    if contexts:
        write_task(unit, contexts, regions)
    return buffers, parts.inputs, net.num_outputs


def _about(unit: Unit, parameters: int, layers: Sequence[Layer], shape_: Shape) -> str:
    """What the header begins with."""
    said = [
        f"{unit.prefix}: a network of {parameters} parameters in C99, made by weightspace.",
        "",
        f"Layers: {', '.join(map(repr, layers))}",
    ]
    if len(shape_) > 1:
        shape = " x ".join(map(str, shape_))
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
