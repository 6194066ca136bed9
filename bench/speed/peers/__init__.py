"""The peers that whole operations are timed against, each run in a process of its own.

`REGISTRY` names them; `worker` is the process, `client` its handle on this side, `problem`, `kinds`
and `sizes` what they are all given, `selection` which of it, and `truth` what they must answer. A
peer's module has `settings()` (how the peer runs: device, threads, versions, flags) and a table for
each kind of network: OPERATIONS for MLPs, REGRESSIONS for those on squared error, CONVOLUTIONS for
single convolutions, NETWORKS for convolutional networks, PRODUCTS for dense products. A table goes
from an operation's name to its variants, each a label and a function of a `Problem`; one that is
missing has no operations, and a sentence in the place of one says why. Where a peer's
calls only queue their work, its module has `wait()`. It is imported in the worker only, and
computes where `place` says.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from ....kernels.errors import unknown_name

BASELINE = "weightspace"


@dataclass(frozen=True)
class PeerSpec:
    """A peer: its name, the module that implements it, the groups it can be asked for by, what it
    can compute on ("cpu", "cuda"), the work it is asked for ("networks", "products"), and what
    its process's environment has besides; commit: of the checkout it comes from, if of another."""

    name: str
    module: str
    groups: tuple[str, ...] = ()
    places: tuple[str, ...] = ("cpu",)
    work: tuple[str, ...] = ("networks",)
    environment: tuple[tuple[str, str], ...] = ()
    commit: str | None = None


_BOTH = ("cpu", "cuda")
_ALL = ("networks", "products")


def _openblas(core: str = "") -> PeerSpec:
    """NumPy's OpenBLAS as for processors of a kind; its own choice without one."""
    name = f"openblas-{core.lower()}" if core else "openblas"
    environment = (("OPENBLAS_CORETYPE", core),) if core else ()
    module = f"{__name__}.numpy_blas"
    return PeerSpec(name, module, ("openblas", "blas"), ("cpu",), ("products",), environment)


REGISTRY = {
    spec.name: spec
    for spec in (
        PeerSpec(BASELINE, f"{__name__}.weightspace_net", (), _BOTH, _ALL),
        PeerSpec("torch-eager", f"{__name__}.torch_eager", ("torch",), _BOTH, _ALL),
        PeerSpec("torch-compile", f"{__name__}.torch_compile", ("torch",), _BOTH),
        PeerSpec("torch-func", f"{__name__}.torch_func", ("torch",), _BOTH),
        PeerSpec("backpack", f"{__name__}.torch_backpack", ("torch",), _BOTH),
        PeerSpec("jax", f"{__name__}.jax_jit", (), ("cpu",), _ALL),
        PeerSpec("cupy", f"{__name__}.cupy_expressions", (), ("cuda",)),
        *map(_openblas, ("", "SkylakeX", "Zen", "Haswell")),
        PeerSpec("mkl", f"{__name__}.mkl_blas", ("blas",), ("cpu",), ("products",)),
        PeerSpec("blis", f"{__name__}.blis_gemm", ("blas",), ("cpu",), ("products",)),
    )
}


def select(names: Iterable[str | PeerSpec] | None, backend: str = "cpu") -> list[PeerSpec]:
    """The peers of these names or groups ("torch" is all that run on torch), weightspace first.

    None means all. Weightspace is always among them: it is what the others are compared with,
    unless a PeerSpec of that name is given in its place. backend: what they are to compute on (see
    `place`); those that cannot are left out. Raises UnknownNameError.
    """
    where = "cuda" if backend == "cuda" else "cpu"
    fit = {name: spec for name, spec in REGISTRY.items() if where in spec.places}
    known = {*fit, *(group for spec in fit.values() for group in spec.groups)}
    chosen: dict[str, PeerSpec] = {BASELINE: REGISTRY[BASELINE]}
    for name in fit if names is None else names:
        if isinstance(name, PeerSpec):
            chosen[name.name] = name
            continue
        if name not in known:
            raise unknown_name("peer", name, known)
        chosen |= {
            spec.name: spec for spec in fit.values() if name == spec.name or name in spec.groups
        }
    return list(chosen.values())
