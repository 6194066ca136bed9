"""Reading what a launch reported, with the lines of source and the variables it speaks of.

The compiled code knows addresses; addr2line and nm of the binutils, which g++ needs anyway, turn
them into lines and names.
"""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

from .errors import Report
from .library import Library


class _Report(ctypes.Structure):
    """`Report` of reports.hpp."""

    _fields_ = (
        ("kind", ctypes.c_char * 24),
        ("text", ctypes.c_char * 360),
        ("file", ctypes.c_char * 160),
        ("instruction", ctypes.c_uint64),  # of the compiled code, where file and line are not known
        ("variable", ctypes.c_uint64),  # an address in static shared memory, or 0
        ("line", ctypes.c_int),
    )


def read_reports(library: Library, count: int) -> list[Report]:
    """The reports of the last launch."""
    found = (_Report * count).from_address(library.functions.coh_reports())
    return [_read(library.path, one) for one in found]


def _read(path: Path, report: _Report) -> Report:
    text = report.text.decode()
    if report.variable:
        text = text.replace("static shared memory", variable_at(path, report.variable), 1)
    if report.file:
        where = f"{Path(report.file.decode()).name}:{report.line}"
    else:
        where = source_line(path, report.instruction)
    return Report(report.kind.decode(), where, text)


def source_line(path: Path, instruction: int) -> str:
    """The file and line of an instruction, such as "dense.cu:31"."""
    # the address is where a call returns to, one past the call itself
    said = ask("addr2line", "-e", str(path), hex(instruction - 1 - base_of(path)))
    return said.strip().split(" ")[0].rsplit("/", 1)[-1] or "?"


def variable_at(path: Path, address: int) -> str:
    """What lies at an address of a library's zeroed data, such as "byte 4 of tile"."""
    place = address - base_of(path)
    before = []
    for line in ask("nm", "-C", str(path)).splitlines():
        number, kind, name = [*line.split(maxsplit=2), "", ""][:3]
        if kind in ("b", "B") and int(number, 16) <= place:
            before.append((int(number, 16), name))
    if not before:
        return "static shared memory"
    start, name = max(before)
    return f"byte {place - start} of {name.rsplit('::', 1)[-1]}"


def base_of(path: Path) -> int:
    """The address that a library is loaded at."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        if line.endswith(f" {path}"):
            return int(line.split("-")[0], 16)
    return 0


def ask(tool: str, *args: str) -> str:
    """What a program says, or nothing if it is not installed."""
    path = shutil.which(tool)
    if path is None:
        return ""
    return subprocess.run([path, *args], capture_output=True, text=True, check=False).stdout
