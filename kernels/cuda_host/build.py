"""Compiling with g++, and the cache of what was compiled.

A file's name in the cache holds a hash of all that it was made from: the source, the launcher's
own files, the flags, the compiler's version and the processor. It is written under another name
and then renamed, so any number of processes may build at once.
"""

from __future__ import annotations

import functools
import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

from ..errors import CompileError, MissingCompilerError
from ..places import folder_for

SOURCES = Path(__file__).resolve().parent / "cpp"
HEADER, RUNTIME = "cuda_on_host.h", "runtime.cpp"
COMMON = (
    "-std=c++17",
    "-fPIC",
    "-fvisibility=hidden",
    "-fno-gnu-unique",  # the same template in two libraries has shared memory of its own in each
    "-march=native",
    "-ffp-contract=off",  # as NVRTC's --fmad=false
    "-fno-math-errno",
)
# Warnings are errors, but for those that are none in a kernel, or come wrongly with optimisation.
WARNINGS = (
    "-Wall",
    "-Werror",
    "-fmax-errors=8",
    "-Wno-unknown-pragmas",
    "-Wno-unused",
    "-Wno-sign-compare",
    "-Wno-enum-compare",  # enumerations serve as constants
    "-Wno-maybe-uninitialized",
    "-Wno-array-bounds",
    "-Wno-stringop-overflow",
)
# In the mode "check" g++ puts a call before every access to memory, as for ThreadSanitizer, whose
# library is not linked: hooks.hpp answers the calls.
KERNEL_FLAGS = {
    "fast": ("-O2", "-fpeel-loops"),
    "check": (
        "-O1",
        "-gdwarf-4",
        "-DCOH_CHECK",
        "-fsanitize=thread",
        "-fsanitize=bounds-strict,alignment",
    ),
}
RUNTIME_FLAGS = {"fast": ("-O2",), "check": ("-O2", "-DCOH_CHECK")}
MODES = tuple(KERNEL_FLAGS)


@functools.cache
def compiler() -> str:
    """The path of g++, or of $CXX if that is set."""
    name = os.environ.get("CXX", "g++")
    path = shutil.which(name)
    if path is None:
        raise MissingCompilerError(
            f"the compiler '{name}' was not found, and the backend 'cuda-host' compiles kernels "
            "with it: install g++ (Debian, Ubuntu: apt install g++), or set CXX to its path"
        )
    return path


@functools.cache
def toolchain() -> str:
    """What decides about the machine code besides the sources: compiler and processor."""
    said = subprocess.run([compiler(), "--version"], capture_output=True, text=True, check=False)
    return "\n".join((compiler(), said.stdout, platform.machine(), processor()))


def processor() -> str:
    """The processor's model and instruction sets, on which -march=native depends."""
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    wanted = ("model name", "flags", "Features", "CPU part")
    found = {line.split(":")[0]: line for line in lines if line.startswith(wanted)}
    return "\n".join(found.values())


@functools.cache
def own_sources() -> str:
    """The launcher's own C++."""
    return "\0".join(path.read_text() for path in sorted(SOURCES.iterdir()))


def fingerprint(*texts: str) -> str:
    """A hash of everything that a file in the cache is made from."""
    everything = "\0".join((*texts, own_sources(), toolchain()))
    return hashlib.sha256(everything.encode()).hexdigest()[:24]


def run(*command: str, folder: str) -> None:
    """Run the compiler; what it says becomes the error's message."""
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = done.stderr.replace(f"{folder}/", "").strip()
        raise CompileError(f"g++ refused the source:\n{said}\nThe command: {' '.join(command)}")


def runtime(mode: str) -> Path:
    """The runtime of a mode, a shared library that those of kernels load."""
    flags = (*COMMON, *RUNTIME_FLAGS[mode])
    target = folder_for("cuda_host") / f"runtime-{mode}-{fingerprint(*flags)}.so"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=target.parent) as folder:
            made, source = f"{folder}/runtime.so", str(SOURCES / RUNTIME)
            run(compiler(), *flags, "-shared", source, "-o", made, folder=folder)
            os.replace(made, target)
    return target


def build(source: str, wrapper: str, filename: str, definitions: Sequence[str], mode: str) -> Path:
    """The shared library of one kernel file: `source` is its text, `wrapper` includes it."""
    flags = (*COMMON, *WARNINGS, *KERNEL_FLAGS[mode], *definitions)
    key = fingerprint(source, wrapper, filename, *flags)
    target = folder_for("cuda_host") / f"{Path(filename).stem}-{mode}-{key}.so"
    if target.exists():
        runtime(mode)  # it is loaded along with the library
        return target
    with tempfile.TemporaryDirectory(dir=target.parent) as folder:
        Path(folder, filename).write_text(source)
        main = Path(folder, "wrapper.cpp")
        main.write_text(wrapper)
        compiled, linked = f"{folder}/kernels.o", f"{folder}/kernels.so"
        paths = ("-isystem", str(SOURCES), f"-ffile-prefix-map={folder}/=")
        run(compiler(), *flags, *paths, "-c", str(main), "-o", compiled, folder=folder)
        link = ("-shared", "-Wl,--no-as-needed", "-Wl,-rpath,$ORIGIN", f"-L{target.parent}")
        beside = f"-l:{runtime(mode).name}"
        run(compiler(), *link, compiled, beside, "-o", linked, folder=folder)
        os.replace(linked, target)
    return target
