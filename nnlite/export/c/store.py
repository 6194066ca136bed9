"""save and restore in C: two slots in a caller's buffer, so that a torn write loses nothing."""

from __future__ import annotations

import hashlib

from .memory import Region
from .predict import MEMORY
from .unit import Unit

HEAD = 12  # bytes of a slot before its content: which network, number of the writing, CRC-32


def identity(unit: Unit) -> int:
    """32 bits that tell this network's slots from another's: names, types and sizes of all that
    is saved."""
    said = repr([(r.name, r.kind, r.count) for r in unit.arena.saved])
    return int.from_bytes(hashlib.sha256(said.encode()).digest()[:4], "little")


def store(unit: Unit, classes: int) -> None:
    """Print `save` and `restore`. classes: what labels of a memory must be below."""
    regions = unit.arena.saved
    content = sum(region.nbytes for region in regions)
    slot = HEAD + content
    network = f"0x{identity(unit):08x}U"
    unit.macro("SAVE_BYTES", 2 * slot, "what save writes into: two slots, one after another")
    unit.use("ws_slot", "ws_newest", "ws_put32", "ws_crc")
    unit.function(
        "void", "save", "const void *arena, uint8_t *slots",
        [
            "const unsigned char *const memory = (const unsigned char *)arena;",
            f"const uint32_t first = ws_slot(slots, {network}, {content});",
            f"const uint32_t second = ws_slot(slots + {slot}, {network}, {content});",
            "const int newest = ws_newest(first, second);",
            f"uint8_t *const slot = newest == 0 ? slots + {slot} : slots;",
            "uint32_t number = (newest < 0 ? 0 : newest == 0 ? first : second) + 1;",
            "number += number == 0;",
            "ws_put32(slot + 8, ~ws_get32(slot + 8)); /* from here on it is none */",
            *_moves(regions, "memcpy(slot + {at}, memory + {offset}, {nbytes});"),
            f"ws_put32(slot, {network});",
            "ws_put32(slot + 4, number);",
            f"ws_put32(slot + 8, ws_crc(ws_crc(0, slot, 8), slot + {HEAD}, {content}));",
        ],
        f"Write the state into the older of two slots of {slot} bytes. Cut short at any byte, the "
        "newer one is as it was. The first time, the buffer may hold anything.",
    )  # fmt: skip
    looked = []
    for at, region in _offsets(regions):
        if region.name == "memory y":  # a kernel writes where a label says
            unit.use("ws_labels_within")
            looked += [f"if (!ws_labels_within(slot + {at}, {region.count}, {classes})) {{",
                       "    return 0;", "}"]  # fmt: skip
    unit.function(
        "int", "restore", "void *arena, const uint8_t *slots",
        [
            MEMORY,
            f"const int newest = ws_newest(ws_slot(slots, {network}, {content}),",
            f"                             ws_slot(slots + {slot}, {network}, {content}));",
            f"const uint8_t *const slot = newest == 1 ? slots + {slot} : slots;",
            "if (newest < 0) {",
            "    return 0;",
            "}",
            *looked,
            f"memset(memory, 0, {unit.arena.nbytes});",
            *_moves(regions, "memcpy(memory + {offset}, slot + {at}, {nbytes});"),
            *_after(unit),
            "return 1;",
        ],
        "The newest state that is whole, in place of start: 1, or 0 where neither slot holds one "
        "of this network (the arena is then as it was). Any bytes may be there.",
    )  # fmt: skip


def _offsets(regions: list[Region]) -> list[tuple[int, Region]]:
    at, found = HEAD, []
    for region in regions:
        found.append((at, region))
        at += region.nbytes
    return found


def _moves(regions: list[Region], line: str) -> list[str]:
    return [
        line.format(at=at, offset=region.offset, nbytes=region.nbytes)
        for at, region in _offsets(regions)
    ]


def _after(unit: Unit) -> list[str]:
    """What follows from the saved state, and is not saved."""
    if "gain" not in unit.arena:
        return []
    owner, gain = unit.arena["owner"], unit.arena["gain"]
    counts = f"((const uint32_t *)(void *)(memory + {unit.arena['counts'].offset}))"
    task = f"(uint8_t)({counts}[4] ? {counts}[2] + 1 : 0)"
    return [f"ws_let_move({owner.pointer}, {task}, {gain.pointer}, {gain.count});"]
