"""Every CUDA kernel compiles for every architecture, and takes of a GPU what was written down."""

from __future__ import annotations

import io
import re
from concurrent.futures import Future, ThreadPoolExecutor
from functools import cache
from importlib import resources

import pytest
from rich.console import Console
from typer.testing import CliRunner
from weightspace.bench.cli.app import app
from weightspace.bench.speed import resources as cuda_resources
from weightspace.bench.speed.resources import ARCHITECTURES, EXCUSED, FILE, Multiprocessor
from weightspace.kernels.cores import cores_here
from weightspace.kernels.cuda import SOURCES, nvrtc
from weightspace.kernels.cuda.launch import OPTIONS, THREADS, Source
from weightspace.kernels.cuda.nvrtc import Resources
from weightspace.kernels.errors import (
    DataError,
    MissingExtraError,
    SettingError,
    StorageError,
    UnknownNameError,
)


def installed() -> bool:
    try:
        nvrtc.nvrtc()
    except MissingExtraError:
        return False
    return True


needs_nvrtc = pytest.mark.skipif(
    not installed(), reason="needs NVRTC: pip install nvidia-cuda-nvrtc (the dev extra has it)"
)


def by_file(source: Source) -> str:
    return source.file


@cache
def by_architecture(source_file: str) -> dict[str, Future[dict[str, Resources]]]:
    """A source's compilations for all architectures, side by side."""
    source = next(source for source in SOURCES if source.file == source_file)
    nvrtc.nvrtc()
    pool = ThreadPoolExecutor(cores_here())
    return {a: pool.submit(cuda_resources.compiled, source, a) for a in ARCHITECTURES}


def compiled(source_file: str, architecture: str) -> dict[str, Resources]:
    return by_architecture(source_file)[architecture].result()


# ---- what is compiled ---------------------------------------------------------------------------


@needs_nvrtc
@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("source", SOURCES, ids=by_file)
def test_every_instantiation_compiles_and_can_be_launched(source, architecture):
    found = compiled(source.file, architecture)
    assert set(found) == set(source.names())
    for name, used in found.items():
        threads = used.threads or THREADS
        assert used.registers * threads <= 65536, f"{name}: {used} cannot be launched"
        assert used.shared <= 48 * 1024, f"{name}: {used.shared} bytes of shared memory"
        assert ARCHITECTURES[architecture].holds(used) >= 1, f"{name}: {used}"


@needs_nvrtc
@pytest.mark.parametrize("source", SOURCES, ids=by_file)
def test_nothing_spills_on_a_large_gpu(source):
    """Local memory lies in device memory: what spills there is hardly ever worth it."""
    for name, used in compiled(source.file, "sm_90").items():
        local = max(used.stack, used.spill_stores, used.spill_loads)
        assert not local or name in EXCUSED, (
            f"{name} keeps {local} bytes a thread in local memory; if that is right, say why in "
            "EXCUSED of bench/speed/resources.py"
        )


@needs_nvrtc
@pytest.mark.parametrize("source", SOURCES, ids=by_file)
def test_the_committed_figures_are_those_of_the_sources(source):
    version, committed = cuda_resources.load()
    if version != nvrtc.nvrtc().version:
        pytest.skip(f"written by NVRTC {version}; this is {nvrtc.nvrtc().version}")
    by_kernel = {
        name: {a: compiled(source.file, a)[name] for a in ARCHITECTURES} for name in source.names()
    }
    said = cuda_resources.differences(committed, {source.file: by_kernel})
    assert not said, "\n".join([*said, f"if that is meant: {cuda_resources.COMMAND}"])


def test_the_committed_figures_are_of_these_sources_and_no_others():
    _, committed = cuda_resources.load()
    assert {f: set(kernels) for f, kernels in committed.items()} == {
        source.file: set(source.names()) for source in SOURCES
    }, f"sources came or went: {cuda_resources.COMMAND}"
    assert set(EXCUSED) <= {name for source in SOURCES for name in source.names()}


# ---- what is registered -------------------------------------------------------------------------


def defined(file: str) -> set[str]:
    """The names of the __global__ functions of a file."""
    text = (resources.files("weightspace.kernels.cuda") / file).read_text()
    text = re.sub(r"//.*", "", text)
    return set(
        re.findall(r"__global__\s+void\s+(?:__launch_bounds__\([^{;]*?\)\s+)?(\w+)\s*\(", text)
    )


@pytest.mark.parametrize("source", SOURCES, ids=by_file)
def test_every_kernel_is_registered(source):
    text = source.text()
    assert defined(source.file) == set(source.kernels)
    assert len(re.findall(r"^[^/\n]*__global__", text, re.MULTILINE)) == len(source.kernels)
    assert "#include" not in text, "NVRTC finds no headers; g++ would find others"


def test_every_file_is_registered_once():
    folder = resources.files("weightspace.kernels.cuda")
    files = [one.name for one in folder.iterdir() if one.name.endswith(".cu")]
    assert sorted(files) == sorted(source.file for source in SOURCES)
    names = [name for source in SOURCES for name in source.names()]
    assert len(names) == len(set(names))


# ---- NVRTC itself -------------------------------------------------------------------------------


@needs_nvrtc
def test_a_mistake_is_reported_with_file_and_line(monkeypatch):
    broken = Source("activations.cu", {"activation_forward": ("float", "NoType")})
    with pytest.raises(nvrtc.CompileError, match="NoType"):
        nvrtc.compile_source(broken, "sm_90")
    monkeypatch.setattr(
        Source, "text", lambda self: '#line 1 "some.cu"\n\n__global__ void k() { int a = b; }\n'
    )
    with pytest.raises(nvrtc.CompileError, match=r'some\.cu\(2\): error: identifier "b"'):
        nvrtc.compile_source(Source("some.cu", {}), "sm_90")


@needs_nvrtc
def test_nothing_is_fused_but_what_says_fma():
    """As on the cpu: a product and a sum round apart unless the source says otherwise."""
    text = """
    extern "C" __global__ void apart(float* x, double* y)
    {
        x[0] += x[1] * x[2];
        y[0] -= y[1] * y[2];
    }
    extern "C" __global__ void fused(float* x, double* y)
    {
        x[0] = fma(x[1], x[2], x[0]);
        y[0] = fma(y[1], y[2], y[0]);
    }"""
    options = (*OPTIONS, *nvrtc.CUPY_OPTIONS, "-arch=sm_90")
    ptx = nvrtc.nvrtc().compile(text, "some.cu", (), options).ptx
    _, apart, fused = re.split(r"\.entry \w+", ptx)
    assert "fma" not in apart and len(re.findall(r"fma\.rn", fused)) == 2


def test_without_the_library_the_error_names_the_extra(monkeypatch):
    def none(path: str):
        raise OSError(path)

    monkeypatch.setattr(nvrtc.ctypes, "CDLL", none)
    with pytest.raises(MissingExtraError, match=r"nvidia-cuda-nvrtc.*weightspace\[cuda\]"):
        nvrtc.Nvrtc()


@needs_nvrtc
def test_spills_stacks_and_bounds_are_read():
    """A thread that wants 100 numbers at once, and may have 32 registers."""
    text = """
    template <typename T> __global__ void __launch_bounds__(1024, 2) greedy(T* x, int n) {
        T held[100];
        for (int i = 0; i < 100; ++i) held[i] = x[i * n + threadIdx.x];
        for (int r = 0; r < n; ++r)
            for (int i = 0; i < 100; ++i) held[i] = held[i] * held[(i * 7 + 3) % 100] + r;
        for (int i = 0; i < 100; ++i) x[i * n + threadIdx.x] = held[i];
    }
    template <typename T> __global__ void modest(T* x) {
        __shared__ T shared[32];
        shared[threadIdx.x] = x[threadIdx.x];
        __syncthreads();
        x[threadIdx.x] = shared[31 - threadIdx.x];
    }"""
    names = ("greedy<float>", "modest<double>")
    options = ("-arch=sm_90", "--ptxas-options=-v")
    found = nvrtc.resources(nvrtc.nvrtc().compile(text, "some.cu", names, options))
    greedy, modest = (found[name] for name in names)
    assert greedy.threads == 1024 and greedy.registers <= 32
    assert greedy.spill_stores + greedy.stack > 0
    assert modest.threads == 0 and modest.shared == 256 and modest.stack == 0


# ---- the arithmetic of multiprocessors ----------------------------------------------------------


@pytest.mark.parametrize(
    "used, blocks",
    [
        (Resources(1024, 32, 0, 0, 0, 0), 2),  # threads
        (Resources(1024, 33, 0, 0, 0, 0), 1),  # 33 registers are 40
        (Resources(1024, 65, 0, 0, 0, 0), 0),
        (Resources(32, 16, 0, 0, 0, 0), 32),  # blocks
        (Resources(256, 128, 0, 0, 0, 0), 2),
        (Resources(128, 16, 48 * 1024, 0, 0, 0), 4),  # 49 KiB each of 228
        (Resources(0, 32, 0, 0, 0, 0), 8),  # no bound: as elementwise kernels are launched
    ],
)
def test_blocks_of_a_multiprocessor(used, blocks):
    """As NVIDIA's occupancy calculator says for compute capability 9.0."""
    assert ARCHITECTURES["sm_90"].holds(used) == blocks


def test_a_multiprocessor_without_reserve_holds_what_fits():
    small = Multiprocessor(threads=1024, blocks=16, shared=64 << 10, reserved=0, unit=256)
    assert small.holds(Resources(64, 16, 0, 0, 0, 0)) == 16
    assert small.holds(Resources(64, 16, 32 << 10, 0, 0, 0)) == 2


# ---- the file and the command -------------------------------------------------------------------

ONE = {"some.cu": {"k<float>": {"sm_90": Resources(256, 40, 1024, 0, 0, 0)}}}


@needs_nvrtc
def test_figures_are_read_as_written(tmp_path):
    path = tmp_path / "figures.json"
    cuda_resources.save(ONE, path)
    assert cuda_resources.load(path) == (nvrtc.nvrtc().version, ONE)
    with pytest.raises(StorageError, match="no folder"):
        cuda_resources.save(ONE, tmp_path / "none" / "figures.json")


@pytest.mark.parametrize("text", ["", "[]", '{"columns": ["registers"]}'])
def test_a_broken_file_says_how_to_write_it(tmp_path, text):
    path = tmp_path / "figures.json"
    path.write_text(text)
    with pytest.raises(DataError, match="bench resources --write"):
        cuda_resources.load(path)


def test_changes_are_told_one_a_line():
    more = {"some.cu": {"k<float>": {"sm_90": Resources(256, 44, 1024, 8, 0, 0)}}}
    assert cuda_resources.differences(ONE, ONE) == []
    assert cuda_resources.differences(ONE, more) == [
        "k<float>, sm_90: registers 40 -> 44, stack 0 -> 8"
    ]
    other = {"some.cu": {"j<float>": ONE["some.cu"]["k<float>"]}}
    assert cuda_resources.differences(ONE, other) == [
        "some.cu: k<float> is gone",
        "some.cu: j<float> is new",
    ]


@needs_nvrtc
def test_the_command_compares_and_its_status_says_so(monkeypatch, tmp_path):
    said = CliRunner().invoke(app, ["bench", "resources", "activations", "--arch", "sm_90"])
    assert "activation_forward<float>" in said.output
    _, committed = cuda_resources.load(FILE)
    name, by = next(iter(committed["activations.cu"].items()))
    committed["activations.cu"][name] = {"sm_90": by["sm_90"]._replace(registers=99)}
    path = tmp_path / "figures.json"
    cuda_resources.save(committed, path)
    monkeypatch.setattr(cuda_resources, "load", lambda: (nvrtc.nvrtc().version, committed))
    out = io.StringIO()
    console = Console(file=out, width=100)
    assert cuda_resources.run(["activations"], ["sm_90"], console=console) == 1
    assert "registers 99 ->" in out.getvalue() and cuda_resources.COMMAND in out.getvalue()
    monkeypatch.setattr(cuda_resources, "load", lambda: ("1.0", committed))
    assert cuda_resources.run(["activations"], ["sm_90"], console=console) == 0


def test_the_command_refuses_what_it_does_not_know():
    with pytest.raises(UnknownNameError, match="Did you mean 'dense_pull'"):
        cuda_resources.run(["dense_pul_"])
    with pytest.raises(UnknownNameError, match="architecture"):
        cuda_resources.run(None, ["sm_91"])
    with pytest.raises(SettingError, match="--write"):
        cuda_resources.run(["dense"], write=True)
