"""Forward in C: a network, or a trunk and then a tail, one sample at a time."""

from __future__ import annotations

from ....kernels.errors import ModeError
from ...net import Network
from ...program import record
from .calls import FLASH, Statements
from .parts import Parts
from .unit import Unit

MEMORY = "unsigned char *const memory = (unsigned char *)arena;"


def frozen_weights(unit: Unit, net: Network, first: int = 0) -> dict[int, str]:
    """Constant arrays of a network's parameters: offset in theta -> name. first: the number of its
    first layer in the whole network."""
    found = {}
    for name in net.layout:
        number, _, rest = name.partition(".")
        values = net.layout.view(net.theta, name)
        array = unit.constants.add(f"{int(number) + first}.{rest}", values, "float", FLASH)
        found[net.layout.offset(name)] = array
    return found


def frozen_state(unit: Unit, net: Network, first: int = 0) -> dict[str, str]:
    """Constant arrays of what persists beside theta: place in a program -> name."""
    found = {}
    for name, values in net.state.items():
        number, _, rest = name.partition(".")
        array = unit.constants.add(f"{int(number) + first}.{rest}", values, "float")
        found[f"state {name}"] = array
    return found


def check_alone(net: Network) -> None:
    """Raise ModeError for a network that answers for a batch only."""
    if net.chain.couples("eval"):
        raise ModeError(
            "BatchNorm2d(statistics='batch') takes its statistics from the batch, and exported C "
            "sees one sample at a time: use statistics='running'"
        )


class Forward:
    """The static function `PREFIX_name(memory, x, y)` of a network's forward pass.

    where: what the network's places are in C, weights as `Statements` takes them; declared: lines
    before, which say what `where` names.
    """

    def __init__(self, unit: Unit, net: Network, name: str, where: dict[str, str],
                 weights: dict[int, str] | None, declared: list[str]) -> None:  # fmt: skip
        self.unit, self.name, self._declared = unit, name, declared
        told = {"x": "x", "outputs": "y", **where}
        self._statements = Statements(
            record(net, "forward", 1), told, unit.constants, "buffers", weights
        )
        self.nbytes = self._statements.nbytes

    def write(self, buffers: int) -> None:
        """Print it, its buffers from this byte of the arena on."""
        at = [f"unsigned char *const buffers = memory + {buffers};"] if self.nbytes else []
        calls, pointers = self._statements.calls(), self._statements.pointers()
        self.unit.use_of(self._statements)
        body = [*at, *self._declared, *pointers]
        if not at and not self._declared:
            body.append("(void)memory;")
        self.unit.function(
            "static void", self.name, "unsigned char *memory, const float *x, float *y",
            [*body, *calls], "forward, one sample",
        )  # fmt: skip


def predict_frozen(unit: Unit, parts: Parts) -> int:
    """`PREFIX_predict` of a network that never changes; returns the bytes of its buffers."""
    net = parts.tail
    check_alone(net)
    weights, state = frozen_weights(unit, net), frozen_state(unit, net)
    forward = Forward(unit, net, "forward", state, weights, [])
    forward.write(unit.arena.nbytes)
    unit.function(
        "void", "predict", "void *arena, const float *x, float *y",
        [f"{unit.prefix}_forward((unsigned char *)arena, x, y);"],
        f"y ({net.num_outputs}) = the network's outputs for one sample x ({parts.inputs}).",
    )  # fmt: skip
    return forward.nbytes
