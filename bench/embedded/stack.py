"""How deep a program's stack becomes, told without running it: frames, added up along the calls.

A function's frame is what the compiler says of it (-fstack-usage); where it says nothing, as of its
own library, what the instructions push and subtract.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from .memory import said_by
from .toolchain import Elf


@dataclass
class Function:
    """Bytes of its own frame; whom it calls, and whom it goes on as, its frame given back."""

    frame: int = 0
    calls: set[str] = field(default_factory=set)
    tails: set[str] = field(default_factory=set)
    indirect: bool = False


_HEAD = re.compile(r"^[0-9a-f]+ <([^>]+)>:$")
_NAMED = re.compile(r"<([^>+]+)>")
_TAILS = frozenset({"b", "b.n", "b.w", "j", "jmp", "rjmp", "c.j", "tail", "jmpq"})
_INDIRECT = frozenset({"blx", "jalr", "c.jalr", "icall", "eicall", "blr"})
_PADDING = frozenset({"xchg", "cs", "data16"})  # what x86 fills gaps between functions with
_ENDS = frozenset({"bx", "ret", "jr", "c.jr", "pop", "ldmia.w", "ijmp", "reti", "bkpt", "udf"})


def functions(elf: Elf) -> dict[str, Function]:
    """The program's functions, by their disassembly and by what gcc said of their frames."""
    found: dict[str, Function] = {}
    current, last = "", ""
    said = said_by(elf.target, "objdump", "-d", "--no-show-raw-insn", elf.path)
    for line in said.splitlines():
        if head := _HEAD.match(line):
            before = found.get(current)
            if before is not None and last not in _TAILS | _ENDS:
                before.tails.add(head[1])  # it falls through into the next
            current, last = head[1], ""
            found[current] = Function(2 if elf.target.text else 0)
        elif current and "\t" in line:
            word, *operands = line.partition(":")[2].split(None, 1) or [""]
            if word and word not in _PADDING and not word.startswith((".", "nop")):
                last = _read(found[current], current, word, "".join(operands))
    for name, frame in _said_frames(elf).items():
        for full in (each for each in found if each.split(".")[0] == name):
            found[full].frame = frame
    for one in found.values():
        one.calls &= found.keys()
        one.tails &= found.keys()
    return found


def _read(one: Function, name: str, word: str, operands: str) -> str:
    """Take an instruction into account; returns it, or an end where it ends the function."""
    target = _NAMED.search(operands.partition(" # ")[0])  # after it, what an address is near
    if target and target[1] != name:
        (one.tails if word in _TAILS else one.calls).add(target[1])
    registers = len(re.findall(r"\w+", operands.partition("{")[2].partition("}")[0]))
    if word in ("push", "push.w", "vpush"):
        one.frame += (8 if "d" in operands and word == "vpush" else 4) * registers or 1
    elif word.startswith("stmdb") and operands.startswith("sp!"):
        one.frame += 4 * registers
    elif word == "rcall" and not target:
        one.frame += 2  # AVR makes room by calling the next instruction
    elif taken := _subtracted(word, operands):
        one.frame += taken
    if word in _INDIRECT:
        one.indirect = True
    if word == "pop" and "pc" not in operands and "{" in operands:
        return "pop (not the end)"
    return "ret" if word.startswith("ldmia") and "pc" in operands else word


def _subtracted(word: str, operands: str) -> int:
    """Bytes that an instruction moves the stack pointer down, as Arm and RISC-V write it."""
    for instruction, moved in (
        (r"sub(w|\.w)?", r"(?:sp, )?sp, #(\d+)"),
        (r"strd?(\.w)?", r".*\[sp, #-(\d+)\]!"),
        (r"(c\.)?addi?(16sp)?", r"sp,(?:sp,)?-(\d+)"),
    ):
        if re.fullmatch(instruction, word) and (found := re.match(moved, operands)):
            return int(found[1])
    return 0


def _said_frames(elf: Elf) -> dict[str, int]:
    """Bytes by function, as gcc wrote them beside the objects."""
    found: dict[str, int] = {}
    for made in elf.objects:
        file = made.with_suffix(".su")
        for line in file.read_text().splitlines() if file.exists() else ():
            place, size, _ = line.split("\t")
            name = place.split(":")[-1].split(".")[0]
            found[name] = max(found.get(name, 0), int(size))
    return found


def deepest(known: Mapping[str, Function], name: str) -> int | None:
    """Bytes of stack below the caller of `name`, at the most; None where no end can be told: by
    pointers to functions, or where one comes to call itself."""

    def below(here: str, above: tuple[str, ...]) -> int | None:
        one = known[here]
        if here in above or one.indirect:
            return None
        path = (*above, here)
        depths = [below(each, path) for each in sorted(one.calls)]
        after = [below(each, path) for each in sorted(one.tails)]
        if None in depths or None in after:
            return None
        inner = max((depth for depth in depths if depth is not None), default=0)
        return max([one.frame + inner, *(depth for depth in after if depth is not None)])

    return below(name, ()) if name in known else None
