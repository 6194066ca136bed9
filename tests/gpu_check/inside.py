"""Steps that are no command of their own: `python -m gpu_check.inside WHAT BACKEND [ARGUMENT]`.

The last line that one prints is what the table says of it; its exit status is 1 where an answer is
wrong, `runner.SKIP` where something that it needs is not here.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable

import numpy as np
from digest import images, rows, samples, step
from kernel_sizes import FLOATS, fits, ladder
from weightspace.kernels import available, get_backend
from weightspace.kernels.spec import KERNELS, check
from weightspace.nnlite import Network

from .runner import SKIP

NETWORKS: dict[str, Callable[[], Network]] = {"dense": rows, "images": images}


def device(backend: str) -> int:
    """The device, its driver and CuPy's versions."""
    if backend != "cuda":
        print(f"{type(get_backend(backend).device).__name__}: no GPU is asked")
        return 0
    import cupy

    about = cupy.cuda.runtime.getDeviceProperties(0)
    driver, runtime = cupy.cuda.runtime.driverGetVersion(), cupy.cuda.runtime.runtimeGetVersion()
    print(f"{about['name'].decode()}, sm_{about['major']}{about['minor']}, "
          f"{about['totalGlobalMem'] >> 30} GiB, driver {driver}, runtime {runtime}, "
          f"CuPy {cupy.__version__}")  # fmt: skip
    return 0


def kernels(backend: str, family: str) -> int:
    """Every kernel of a family at odd sizes, both dtypes, against the reference; wrong: named."""
    ops, wrong, tried = get_backend(backend), [], 0
    for kernel in (one for one in KERNELS.values() if one.family == family):
        for dtype in FLOATS:
            for variant in kernel.variants:
                told = f"{kernel.name} {np.dtype(dtype)} {variant}"
                try:
                    worst = max(
                        (check(ops, kernel, sizes, dtype, variant, seed)
                         for seed, sizes in enumerate(ladder(kernel, backend, variant))
                         if fits(kernel, sizes, variant)), default=0.0,
                    )  # fmt: skip
                except Exception as fault:  # whatever it is, the others go on
                    worst, told = np.inf, f"{told}: {type(fault).__name__}: {fault}"
                tried += 1
                if not worst <= 1:
                    wrong.append(told)
                    print(f"WRONG {told}: {worst:.3g} times the tolerance", flush=True)
    print(f"{tried - len(wrong)} of {tried} right" + (f"; wrong: {wrong[0]}" if wrong else ""))
    return int(bool(wrong))


def _digest(make: Callable[[], Network], backend: str) -> str:
    """Of the losses and everything that moves in three steps of Adam."""
    like = make()
    net = Network(like.layers, like.input_shape, backend, str(like.dtype), like.seed)
    net.theta[...] = net.device.put(like.theta)
    x, y = samples(like, 37)
    for name, value in net.state.items():
        value[...] = net.device.put(like.state[name])
    found = hashlib.sha256()
    losses, *moved = step(net, x, y, 3)
    for array in (losses, *map(net.device.get, moved)):
        found.update(np.ascontiguousarray(array).tobytes())
    return found.hexdigest()[:16]


def bits(backend: str, name: str) -> int:
    """Two trainings have the same bits; the dense network's are those of cpu or cuda-host, too."""
    first, second = _digest(NETWORKS[name], backend), _digest(NETWORKS[name], backend)
    others = {other: _digest(NETWORKS[name], other)
              for other in ("cpu", "cuda-host")
              if other != backend and other in available(study=True)}  # fmt: skip
    same = [other for other, found in others.items() if found == first]
    print(f"{first}, again {second}; equal to {', '.join(same) or 'none'} of {', '.join(others)}")
    return int(first != second or (name == "dense" and len(same) < len(others)))


def copies(backend: str) -> int:
    """Memory-bound kernels as shares of a copy's bandwidth: a copy of 256 MiB, timed by events."""
    if backend != "cuda":
        print("a copy's bandwidth is the GPU's")
        return SKIP
    import cupy

    size = 1 << 26
    source, target = cupy.zeros(size, cupy.float32), cupy.empty(size, cupy.float32)
    begun, ended = cupy.cuda.Event(), cupy.cuda.Event()
    times = []
    for _ in range(30):
        begun.record()
        cupy.copyto(target, source)
        ended.record()
        ended.synchronize()
        times.append(cupy.cuda.get_elapsed_time(begun, ended))
    print(f"copy of 256 MiB: {8 * size / (np.median(times) * 1e-3) / 1e9:.0f} GB/s, median of 30")
    return 0


WHAT: dict[str, Callable[..., int]] = {
    "device": device, "kernels": kernels, "bits": bits, "copies": copies,
}  # fmt: skip

if __name__ == "__main__":
    sys.exit(WHAT[sys.argv[1]](*sys.argv[2:]))
