"""Compiling: the cache, many processes at once, and what is said when it fails."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from weightspace.kernels.cuda_host import (
    CompileError,
    HostDevice,
    KernelFault,
    MissingCompilerError,
    build,
)
from weightspace.kernels.errors import WeightspaceError

SOURCE = 'extern "C" __global__ void one(float* y)\n{\n    y[threadIdx.x] = VALUE;\n}\n'


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """An empty cache."""
    monkeypatch.setenv("WEIGHTSPACE_CACHE", str(tmp_path))
    return tmp_path / "cuda_host"


def run(source: str, *options: str, mode: str = "fast") -> np.ndarray:
    device = HostDevice(mode)
    y = device.empty(4, np.float32)
    kernel = device.module(source, options, (), "one.cu").get_function("one")
    device.launch(kernel, (1,), (4,), (y,))
    return y.get()


def libraries(cache) -> list[str]:
    return sorted(path.name for path in cache.glob("one-*.so"))


def test_options_and_modes_are_compiled_apart(cache):
    assert (run(SOURCE, "--std=c++17", "-DVALUE=1") == 1).all()
    assert (run(SOURCE, "--std=c++17", "-DVALUE=2") == 2).all()
    assert (run(SOURCE, "-DVALUE=2", mode="check") == 2).all()
    names = libraries(cache)
    assert [name.split("-")[:2] for name in names] == [
        ["one", "check"], ["one", "fast"], ["one", "fast"],
    ]  # fmt: skip
    assert (run(SOURCE, "-DVALUE=2") == 2).all()
    assert libraries(cache) == names


def test_a_kernel_that_asks_nothing_of_the_runtime(cache):
    assert run(SOURCE.replace("threadIdx.x", "0"), "-DVALUE=5")[0] == 5


def test_what_the_machine_code_depends_on_is_in_the_name(cache, monkeypatch):
    run(SOURCE, "-DVALUE=1")
    for other in ("g++ (Debian) 99.1", "model name: another processor"):
        monkeypatch.setattr(build, "toolchain", lambda other=other: other)
        run(SOURCE, "-DVALUE=1")
    assert len(libraries(cache)) == 3


def test_many_processes_build_at_once(cache):
    code = "import test_host_build as t; print(t.run(t.SOURCE, '-DVALUE=3').tolist() == [3.0] * 4)"
    environment = {**os.environ, "PYTHONPATH": os.path.dirname(__file__)}
    started = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    assert [process.communicate()[0].strip() for process in started] == [b"True"] * 3
    assert len(libraries(cache)) == 1
    assert not [path for path in cache.iterdir() if path.is_dir()]  # nothing half-made is left


@pytest.mark.parametrize("mode", build.MODES)
@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("y[threadIdx.x] = undeclared;", "undeclared"),
        ("if (threadIdx.x = 1) y[0] = 1.0f;", "read-only"),
        ("int i = 2; if (i = 1) y[0] = 1.0f;", "parentheses"),
    ],
)
def test_errors_and_warnings_name_the_line(cache, mode, line, complaint):
    changed = SOURCE.replace("y[threadIdx.x] = VALUE;", line)
    source = f'#line 1 "common.cuh"\n\n#line 1 "one.cu"\n{changed}'
    with pytest.raises(CompileError, match=complaint) as wrong:
        run(source, mode=mode)
    assert "one.cu:3" in str(wrong.value)
    assert not libraries(cache)


def test_without_a_compiler(cache, monkeypatch):
    monkeypatch.setenv("CXX", "no-such-compiler")
    build.compiler.cache_clear()
    build.toolchain.cache_clear()
    try:
        with pytest.raises(MissingCompilerError, match="install g") as missing:
            run(SOURCE, "-DVALUE=1")
        assert isinstance(missing.value, WeightspaceError)
    finally:
        build.compiler.cache_clear()
        build.toolchain.cache_clear()


def test_importing_needs_no_compiler():
    code = "import weightspace.kernels.cuda_host as h; h.HostDevice().zeros(3, 'f4')"
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "CXX": "none"})


LINES = """
// A remark on __launch_bounds__(1) and (more), before the kernel
template <typename T, int N>
__global__ void
__launch_bounds__((N > 4 ? 8 : 4) * 2, 1)
one(
    T* y)
{
    extern __shared__
        unsigned char raw[];
    T* part = reinterpret_cast<T*>(raw);
    part[threadIdx.x] = T(__LINE__);
    y[threadIdx.x] = part[threadIdx.x];
}
"""


def test_lines_keep_their_numbers():
    device = HostDevice("check")
    y = device.empty(8, np.float32)
    kernel = device.module(LINES, (), ("one<float, 4>",), "one.cu").get_function("one<float, 4>")
    device.launch(kernel, (1,), (8,), (y,), 32)
    assert (y.get() == 12).all()
    with pytest.raises(KernelFault, match="__launch_bounds__") as fault:
        device.launch(kernel, (1,), (9,), (y,), 64)
    assert fault.value.reports[0].where == "one.cu:8"


BARRIER = """
extern "C" __global__ void one(float* y)
{
    __syncthreads();
    y[threadIdx.x] = VALUE;
}
"""


def test_libraries_have_their_stacks_in_common(cache):
    """A process may have some 65,000 mappings of memory, and each stack is two."""
    device = HostDevice("fast")
    y = device.empty(1024, np.float32)
    mappings = []
    for value in range(3):
        module = device.module(BARRIER, (f"-DVALUE={value}",), (), "one.cu")
        device.launch(module.get_function("one"), (1,), (1024,), (y,))
        mappings.append(len(Path("/proc/self/maps").read_text().splitlines()))
    assert mappings[-1] - mappings[0] < 100
