"""The GPU's device as far as it can be held without one: errors, launches, graphs, products."""

from __future__ import annotations

import importlib
import importlib.util
import sys

import fake_cupy
import numpy as np
import pytest
from weightspace.kernels import available, get_backend
from weightspace.kernels.cuda import SOURCES, cublas, device, launch
from weightspace.kernels.cuda.device import CupyDevice
from weightspace.kernels.errors import (
    DeviceError,
    DtypeError,
    MissingExtraError,
    OutOfMemoryError,
    SettingError,
)

HAS_CUPY = importlib.util.find_spec("cupy") is not None


@pytest.fixture
def cupy(monkeypatch):
    """A CuPy with one GPU."""
    made = fake_cupy.cupy()
    monkeypatch.setitem(sys.modules, "cupy", made)
    return made


@pytest.fixture
def blas(monkeypatch):
    """A libcublas."""
    made = fake_cupy.cublas(cublas.PROTOTYPES)
    monkeypatch.setattr(device, "load", lambda: made)
    return made


# ---- what is missing ----------------------------------------------------------------------------


def test_without_cupy_the_error_names_the_extra(monkeypatch):
    real = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *a: None if name == "cupy" else real(name, *a)
    )
    with pytest.raises(MissingExtraError, match=r"'cupy'.*weightspace\[cuda\]"):
        get_backend("cuda")
    assert "cuda" not in available()


def test_without_a_driver_the_error_says_so(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.cupy(devices=-1))
    with pytest.raises(DeviceError, match=r"InsufficientDriver.*needs an NVIDIA GPU.*'cuda-host'"):
        CupyDevice()


def test_without_a_gpu_the_error_says_where_to_look(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy.cupy(devices=0))
    with pytest.raises(DeviceError, match="CUDA_VISIBLE_DEVICES"):
        CupyDevice()


def test_a_broken_cupy_is_no_traceback(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", None)  # import raises ImportError
    with pytest.raises(DeviceError, match=r"cannot be imported.*cupy"):
        CupyDevice()


@pytest.mark.parametrize(
    "said, package",
    [
        ('Failure finding "libnvrtc.so.13 or libnvrtc.so.12"', "nvidia-cuda-nvrtc"),
        ("Failed to find CUDA headers. Please install", "nvidia-cuda-runtime"),
    ],
)
def test_a_missing_compiler_names_its_package(cupy, said, package):
    cupy.RawModule.wrong = RuntimeError(said)
    with pytest.raises(MissingExtraError, match=rf"'{package}'.*weightspace\[cuda\]"):
        CupyDevice().module("", (), (), "some.cu")


def test_what_does_not_compile_or_load_names_the_file(cupy):
    cupy.RawModule.wrong = fake_cupy.CompileException('some.cu(3): error: "b" is undefined')
    with pytest.raises(DeviceError, match=r"NVRTC refuses some\.cu.*\n.*some\.cu\(3\): error"):
        CupyDevice().module("", (), (), "some.cu")
    cupy.RawModule.wrong = RuntimeError("CUDA_ERROR_INVALID_IMAGE")
    with pytest.raises(DeviceError, match=r"some\.cu cannot be loaded.*INVALID_IMAGE"):
        CupyDevice().module("", (), (), "some.cu")


def test_out_of_memory_says_what_was_asked_and_what_to_do(cupy):
    def full(*_):
        raise fake_cupy.OutOfMemoryError("Out of memory allocating 4,000,000 bytes")

    here = CupyDevice()
    cupy.empty = cupy.zeros = cupy.full = cupy.asarray = full
    host = np.zeros((1000, 1000), np.float32)
    for ask in (
        lambda: here.empty((1000, 1000), np.float32),
        lambda: here.zeros((1000, 1000), np.float32),
        lambda: here.full((1000, 1000), 1.0, np.float32),
        lambda: here.put(host),
    ):
        with pytest.raises(OutOfMemoryError, match=r"\(1000, 1000\).*float32.*3 of 80 MiB.*plan"):
            ask()


@pytest.mark.parametrize("dtype", [np.float16, np.int64, np.complex64])
def test_other_types_are_refused(cupy, blas, dtype):
    array = np.zeros((2, 2), dtype)
    with pytest.raises(DtypeError, match=f"float32 and float64.*{array.dtype}"):
        launch.c_type(array)
    there = CupyDevice().put(array)
    with pytest.raises(DtypeError, match=str(array.dtype)):
        CupyDevice().gemm((False, False), (2, 2, 2), there, there, there, (2, 2, 2), 0.0)


# ---- arrays, launches, graphs -------------------------------------------------------------------


def test_arrays_go_there_and_come_back(cupy):
    here, host = CupyDevice(), np.arange(6.0).reshape(2, 3)
    there = here.put(host.T)
    assert here.owns(there) and not here.owns(host) and there.flags.c_contiguous
    assert here.address(there) == there.ctypes.data
    assert np.array_equal(here.get(there), host.T) and not here.owns(here.get(there))
    assert here.full((2,), 3, np.float32).dtype == np.float32


def test_a_launch_passes_everything_on(cupy):
    here, function = CupyDevice(), fake_cupy.Function()
    args = (np.int32(3), None, here.zeros(3, np.float32))
    here.launch(function, (2, 3), (256,), args)
    assert function.launches == [((2, 3), (256,), args, 0)]
    assert function.max_dynamic_shared_size_bytes == 0
    here.launch(function, (1,), (32,), args, 100_000)
    assert function.max_dynamic_shared_size_bytes == 100_000
    assert function.launches[1][3] == 100_000


def test_a_module_is_asked_for_all_its_instantiations(cupy):
    source = SOURCES[0]
    made = CupyDevice().module(source.text(), launch.OPTIONS, source.names(), source.file)
    assert made.asked == (source.text(), launch.OPTIONS, source.names())


def test_a_graph_is_captured_on_a_stream_of_its_own(cupy):
    here, outside = CupyDevice(), fake_cupy.Stream.current
    seen = []
    replay = here.capture(lambda: seen.append(fake_cupy.Stream.current))
    assert outside.events == ["synchronize"] and seen[0] is not outside
    assert seen[0].events == ["begin", "end"]
    replay()
    replay()
    assert outside.events == ["synchronize", "graph", "graph"]


def test_a_capture_that_fails_says_why_and_ends(cupy):
    here, outside = CupyDevice(), fake_cupy.Stream.current
    streams = []

    def wrong() -> None:
        streams.append(fake_cupy.Stream.current)
        streams[0].events.append("broken")
        raise ValueError("the reason")

    with pytest.raises(ValueError, match="the reason"):
        here.capture(wrong)
    assert streams[0].events[-1] == "end" and fake_cupy.Stream.current is outside


# ---- products -----------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("beta", [0.0, 1.0, 0.5])
@pytest.mark.parametrize("padding", [(0, 0, 0), (3, 1, 2)])
@pytest.mark.parametrize("transposed", [(a, b) for a in (False, True) for b in (False, True)])
@pytest.mark.parametrize("sizes", [(2, 3, 4), (5, 1, 2), (1, 4, 3), (1, 1, 1)])
def test_products_are_those_of_row_major_arrays(
    cupy, blas, rng, transposed, sizes, padding, beta, dtype
):
    """Rows lie `padding` elements further apart than they are long; nothing between is touched."""
    here, (m, n, k) = CupyDevice(), sizes
    shapes = [(k, m) if transposed[0] else (m, k), (n, k) if transposed[1] else (k, n), (m, n)]
    wide = [
        here.put(rng.normal(size=(rows, columns + pad)).astype(dtype))
        for (rows, columns), pad in zip(shapes, padding, strict=True)
    ]
    a, b, c = (w[:, : s[1]] for w, s in zip(wide, shapes, strict=True))
    before = here.get(wide[2])
    expected = (here.get(a).T if transposed[0] else here.get(a)) @ (
        here.get(b).T if transposed[1] else here.get(b)
    )
    if beta == 0:
        c[...] = np.nan  # must not be read
    else:
        expected = expected + beta * here.get(c)
    strides = (int(launch.row_stride(a)), int(launch.row_stride(b)), int(launch.row_stride(c)))
    here.gemm(transposed, sizes, a, b, c, strides, beta)
    np.testing.assert_allclose(here.get(c), expected, rtol=1e-5, atol=1e-6)
    assert np.array_equal(here.get(wide[2])[:, n:], before[:, n:])


def square(here: CupyDevice, **settings) -> None:
    a, b, c = (here.zeros((2, 2), np.float32) for _ in range(3))
    here.gemm((False, False), (2, 2, 2), a, b, c, (2, 2, 2), 0.0, **settings)


def test_products_run_on_the_current_stream_with_memory_of_its_own(cupy, blas):
    here = CupyDevice()
    square(here)
    square(here)
    with fake_cupy.Stream() as other:
        square(here)
    streams = [call[2] for call in blas.log if call[0] == "cublasSetStream_v2"]
    rooms = [call[2:] for call in blas.log if call[0] == "cublasSetWorkspace_v2"]
    assert streams == [None, None, other.ptr]  # a null pointer is the default stream
    assert rooms[0] == rooms[1] != rooms[2]
    assert all(size == cublas.WORKSPACE for _, size in rooms)


def test_a_graph_keeps_the_memory_its_products_work_in(cupy, blas):
    here = CupyDevice()
    square(here)
    graphs = [here.capture(lambda: square(here)) for _ in range(2)]
    rooms = [call[2] for call in blas.log if call[0] == "cublasSetWorkspace_v2"]
    assert len(set(rooms)) == 3 and len(graphs) == 2


@pytest.mark.parametrize("value, modes", [(None, [0, 3, 0]), ("0", [0, 3, 0]), ("1", [3, 3, 0])])
def test_tf32_is_used_where_it_was_asked_for(cupy, blas, monkeypatch, value, modes):
    if value is not None:
        monkeypatch.setenv("WEIGHTSPACE_TF32", value)
    here = CupyDevice()
    for tf32 in (None, True, False):
        square(here, tf32=tf32)
    assert [call[2] for call in blas.log if call[0] == "cublasSetMathMode"] == modes


def test_tf32_is_one_or_zero(cupy, monkeypatch):
    monkeypatch.setenv("WEIGHTSPACE_TF32", "yes")
    with pytest.raises(SettingError, match="WEIGHTSPACE_TF32 is 'yes'"):
        CupyDevice()


def test_cublas_that_fails_says_with_which_status():
    with pytest.raises(DeviceError, match="cublasCreate_v2 failed with status 1"):
        cublas.Cublas(fake_cupy.cublas(cublas.PROTOTYPES, status=1))


def test_cublas_itself_has_these_functions():
    """Where its wheel is installed: it loads without a driver, and refuses to make a handle."""
    pytest.importorskip("cuda.pathfinder", reason="needs cuda-pathfinder, which CuPy brings")
    try:
        library = cublas.load()
    except MissingExtraError:
        pytest.skip("needs the wheel nvidia-cublas")
    for name in cublas.PROTOTYPES:
        assert getattr(library, name)
    if "cuda" not in available():
        with pytest.raises(DeviceError, match="cublasCreate_v2 failed with status 1"):
            cublas.Cublas(library)


# ---- CuPy itself, without a GPU -----------------------------------------------------------------


@pytest.mark.skipif(not HAS_CUPY, reason="needs CuPy")
def test_the_real_cupy_without_a_driver_is_refused():
    if "cuda" in available():
        pytest.skip("there is a GPU here")
    with pytest.raises(DeviceError, match="needs an NVIDIA GPU"):
        get_backend("cuda")


@pytest.mark.skipif(not HAS_CUPY, reason="needs CuPy")
@pytest.mark.parametrize("source", SOURCES, ids=lambda source: source.file)
def test_the_real_cupy_compiles_every_source(source, monkeypatch, tmp_path):
    """All of CuPy's way to a cubin, with its own options and cache, short of loading it."""
    core = importlib.import_module("cupy._core.core")
    from cupy.cuda import compiler, function

    class Loaded:
        """In the place of a Module, which would need a driver."""

        def load(self, cubin: bytes) -> None:
            self.cubin = cubin

        def _set_mapping(self, mapping: dict[str, str]) -> None:
            self.mapping = mapping

    monkeypatch.setenv("CUPY_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr(function, "Module", Loaded)
    monkeypatch.setattr(
        compiler, "_get_arch_for_options_for_nvrtc", lambda arch: ("-arch=sm_90", "cubin")
    )
    names = source.names("float")
    options = core.assemble_cupy_compiler_options(launch.OPTIONS)
    for _ in range(2):  # the second comes from the cache
        made = compiler._compile_module_with_cache(
            source.text(), options, arch="90", name_expressions=names
        )
        assert set(made.mapping) == set(names) and len(made.cubin) > 1000
