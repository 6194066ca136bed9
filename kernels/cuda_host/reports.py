"""Reading what the checker found: the reports and the lines of source that they speak of."""

from __future__ import annotations

import ctypes
import shutil
import subprocess
from pathlib import Path

from .errors import Report
from .module import Library


class _Report(ctypes.Structure):
    """`Report` of reports.hpp."""

    _fields_ = (
        ("kind", ctypes.c_char * 24),
        ("text", ctypes.c_char * 360),
        ("file", ctypes.c_char * 160),
        ("instruction", ctypes.c_uint64),  # of the compiled code, where file and line are not known
        ("variable", ctypes.c_uint64),  # an address in static shared memory
        ("line", ctypes.c_int),
    )


def read_reports(library: Library, count: int) -> list[Report]:
    """The reports of the last launch."""
    found = (_Report * count).from_address(library.functions.coh_reports())
    return [Report(one.kind.decode(), _place(library, one), one.text.decode()) for one in found]


def _place(library: Library, report: _Report) -> str:
    if report.file:
        return f"{Path(report.file.decode()).name}:{report.line}"
    return source_line(library.path, report.instruction)


def source_line(path: Path, instruction: int) -> str:
    """The file and line of an instruction of a loaded library, by addr2line of the binutils."""
    tool = shutil.which("addr2line")
    offset = offset_in(path, instruction)
    if tool is None or offset is None:
        return "?"
    # the address is where a call returns to, one past the call itself
    command = [tool, "-e", str(path), hex(offset - 1)]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    return said.strip().split(" ")[0].rsplit("/", 1)[-1] or "?"


def offset_in(path: Path, instruction: int) -> int | None:
    """Where in its file an instruction lies that is loaded at some address."""
    for line in Path("/proc/self/maps").read_text().splitlines():
        fields = line.split(maxsplit=5)
        if fields[-1] == str(path):
            first, last = (int(number, 16) for number in fields[0].split("-"))
            if first <= instruction < last:
                return instruction - first + int(fields[2], 16)
    return None
