"""What machine this is, and what it can do at most: the ground every percentage stands on."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping, Sequence
from importlib import metadata
from pathlib import Path
from statistics import median
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from ...kernels.cores import cores_here
from . import peaks, peaks_cuda

_PACKAGES = (
    "weightspace", "numpy", "numba", "llvmlite", "scipy", "torch",
    "backpack-for-pytorch", "jax", "jaxlib", "cupy-cuda12x", "cupy-cuda13x", "nvidia-cuda-nvrtc",
    "nvidia-cublas", "mkl", "blis",
)  # fmt: skip
# What changes how fast (or with which instructions) the libraries run: a result without it cannot
# be repeated.
_VARIABLES = re.compile(
    r"^(OPENBLAS|OMP|GOMP|KMP|MKL|NUMBA|XLA|ONEDNN|DNNL|ATEN|TORCH|JAX|GOTO|BLIS)_|^MALLOC_|^LD_PRELOAD$"
)
RATES = ("fma_gflops", "blas_gflops", "bandwidth_gbs")
PEAKS = ("vector_bits", *RATES, "blas", "gpu")  # what `measure` adds
_SYSFS = Path("/sys/devices/system/cpu/cpu0/cache")


def describe() -> dict[str, Any]:
    """The machine, the versions and the commit, as plain JSON values.

    Keys: cpu, architecture, system, cores (this process may use), memory_bytes, caches (bytes by
    level), cache_cores (cores that share each), versions, environment (the variables that set how
    the numerical libraries run), commit and dirty (None outside a git checkout), load (1-minute
    average: above 0 means that something else ran here too).
    """
    caches, shared = cache_sizes()
    commit, dirty = git_state(Path(__file__).parent)
    return {
        "cpu": cpu_model(),
        "architecture": platform.machine(),
        "system": f"{platform.system()} {platform.release().partition('-')[0]}",
        "cores": cores_here(),
        "memory_bytes": memory_bytes(),
        "caches": caches,
        "cache_cores": shared,
        "versions": versions(),
        "environment": {k: v for k, v in sorted(os.environ.items()) if _VARIABLES.match(k)},
        "commit": commit,
        "dirty": dirty,
        "load": os.getloadavg()[0] if hasattr(os, "getloadavg") else None,
    }


def versions() -> dict[str, str]:
    """Version of Python and of each package that matters and is installed."""
    found = {"python": platform.python_version()}
    for package in _PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return found


def cpu_model() -> str:
    """The processor's name, with family and model where the name alone says little."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return platform.processor() or platform.machine()
    fields = dict(re.findall(r"^(model name|cpu family|model)\s*:\s*(.+)$", text, re.MULTILINE))
    name = fields.get("model name", platform.processor() or platform.machine())
    if "cpu family" in fields:
        name += f" (family {fields['cpu family']}, model {fields.get('model', '?')})"
    return name


def memory_bytes() -> int | None:
    """Physical memory in bytes, or None where the system does not say."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):
        return None


def busy_seconds() -> float | None:
    """CPU seconds that all cores together have spent working since the machine started, those
    its hypervisor took away included; None without psutil."""
    try:
        import psutil
    except ImportError:
        return None
    times = psutil.cpu_times()._asdict()
    # Linux counts guests within user and nice already; iowait is waiting, not work.
    idle = {"idle", "iowait", "guest", "guest_nice"}
    return sum(seconds for name, seconds in times.items() if name not in idle)


def cache_sizes() -> tuple[dict[str, int], dict[str, int]]:
    """Bytes of each data cache ("L1", "L2", "L3") and how many cores share it.

    Empty where the system does not say (read from Linux's sysfs).
    """
    sizes: dict[str, int] = {}
    shared: dict[str, int] = {}
    for index in sorted(_SYSFS.glob("index*")):
        try:
            kind, level, size, cores = (
                (index / name).read_text(encoding="ascii").strip()
                for name in ("type", "level", "size", "shared_cpu_list")
            )
        except OSError:
            continue
        if kind == "Instruction" or not (match := re.fullmatch(r"(\d+)([KMG]?)", size)):
            continue
        unit = {"": 0, "K": 10, "M": 20, "G": 30}[match[2]]
        sizes[f"L{level}"] = int(match[1]) << unit
        shared[f"L{level}"] = _count(cores)
    return sizes, shared


def _count(cpu_list: str) -> int:
    """How many CPUs a kernel list such as "0-3,8" names."""
    ends = (part.split("-") for part in cpu_list.split(",") if part)
    return sum(int(pair[-1]) - int(pair[0]) + 1 for pair in ends)


def git_state(folder: Path) -> tuple[str | None, bool | None]:
    """The commit and whether the working tree differs from it; (None, None) without git."""

    def git(*words: str) -> str:
        done = subprocess.run(
            ["git", *words], cwd=folder, capture_output=True, text=True, check=True, timeout=10
        )
        return done.stdout.strip()

    try:
        return git("rev-parse", "HEAD"), bool(git("status", "--porcelain"))
    except (OSError, subprocess.SubprocessError):
        return None, None


def measure(quick: bool = False) -> dict[str, Any]:
    """`describe()` and the measured peaks; about 7 s when quick, else a minute.

    Adds vector_bits (width of the FMA instructions the compiler made, by dtype), fma_gflops and
    blas_gflops (by dtype: "one" core, "all" cores), blas (which one that is: NumPy's),
    bandwidth_gbs (by level, see `peaks.bandwidths`) and, where there is one, gpu (see
    `peaks_cuda.measure`). Raises MissingExtraError without the `cpu` extra.
    """
    found = describe()
    cores = found["cores"]
    rates = {"fma_gflops": peaks.fma_rate, "blas_gflops": peaks.blas_rate}
    found["blas"] = peaks.blas_name()
    found["vector_bits"] = {dtype: peaks.vector_bits(dtype) for dtype in ("float32", "float64")}
    for key, rate in rates.items():
        found[key] = {
            dtype: {"one": rate(dtype, 1, quick), "all": rate(dtype, cores, quick)}
            for dtype in ("float32", "float64")
        }
    found["bandwidth_gbs"] = peaks.bandwidths(found["caches"], found["cache_cores"], cores, quick)
    return found | _gpu(quick)


def measure_gpu(quick: bool = False) -> dict[str, Any]:
    """`describe()` and the GPU's peaks, without the processor's."""
    return describe() | _gpu(quick)


def _gpu(quick: bool) -> dict[str, Any]:
    found = peaks_cuda.measure(quick)
    return {"gpu": found} if found else {}


def middle(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Several results of `measure` as one: the median of each rate, the rest from the last.

    Those of `measure_gpu` have no rates of the processor; so may the result.
    """

    def merge(parts: Sequence[Any]) -> Any:
        if isinstance(parts[0], Mapping):
            return {key: merge([part[key] for part in parts]) for key in parts[0]}
        return float(median(parts))

    rated = [one for one in found if "fma_gflops" in one]
    rates = {key: merge([one[key] for one in rated]) for key in RATES} if rated else {}
    gpus = [one["gpu"] for one in found if "gpu" in one]
    return {**found[-1], **rates, **({"gpu": gpus[-1]} if gpus else {})}


def show(found: Mapping[str, Any], console: Console) -> None:
    """Print what `measure` returned as two tables."""
    console.print(f"{found['cpu']}, {found['cores']} cores", highlight=False)
    if gpu := found.get("gpu"):
        said = (f"{key} {v if isinstance(v, str) else f'{v:,.0f}'}" for key, v in gpu.items())
        console.print(", ".join(said), highlight=False)
    if "fma_gflops" not in found:
        return
    rates = Table(title="arithmetic, GFLOP/s", title_justify="left", box=SIMPLE_HEAD)
    for name, side in (("", "left"), ("one core", "right"), ("all cores", "right")):
        rates.add_column(name, justify=side)  # type: ignore[arg-type]
    for label, key in (("FMA", "fma_gflops"), (found.get("blas", "BLAS"), "blas_gflops")):
        for dtype, rate in found[key].items():
            rates.add_row(f"{label} {dtype}", f"{rate['one']:,.0f}", f"{rate['all']:,.0f}")
    console.print(rates)
    speeds = Table(
        title="bandwidth, GB/s, one core/all cores", title_justify="left", box=SIMPLE_HEAD
    )
    speeds.add_column("")
    for name in peaks.STREAMS:
        speeds.add_column(name, justify="right")
    for level, rate in found["bandwidth_gbs"].items():
        cells = (f"{rate[f'{n}_1']:.0f}/{rate[f'{n}_all']:.0f}" for n in peaks.STREAMS)
        speeds.add_row(level, *cells)
    console.print(speeds)
