"""How every kernel is compiled: Numba's compiler, with the door of `door` and the cache of `cache`.

serial: runs on the thread that calls it; inner: as that, for callers that are compiled. parallel: a
`prange` in it is shared out. inlined: goes into its callers' code before LLVM sees it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import register_pass
from numba.core.lowering import Lower
from numba.core.pythonapi import PythonAPI
from numba.core.typed_passes import NativeLowering, NativeParforLowering
from numba.parfors.parfor_lowering import ParforLower

from . import door
from .cache import KernelCache

door.install()


class _Library(JITCodeLibrary):
    """A kernel's code, whose ways to and from other threads go through the door."""

    def _optimize_final_module(self) -> None:
        door.link(self._final_module)
        super()._optimize_final_module()


class _Entrance:
    """What lowering adds: the function that Python calls goes through the door."""

    def create_cpython_wrapper(self: Any, release_gil: bool = False) -> None:
        module = self.context.create_module("wrapper")
        door.wrap(self.context, module, self.fndesc, self.env, self.call_helper, release_gil)
        self.library.add_ir_module(module)


class _SerialLower(_Entrance, Lower):
    pass


class _ParallelLower(_Entrance, ParforLower):
    """It, and what stands around a `prange`: a function of its own, whose name Numba begins so."""

    def __init__(self, context: Any, *rest: Any, **options: Any) -> None:
        def api(builder: Any) -> Any:
            around = builder.function.name.startswith(".kernel.")
            return (_Lock if around else PythonAPI)(own, builder)

        own = context.subtarget(get_python_api=api)
        super().__init__(own, *rest, **options)


class _Lock(PythonAPI):
    """Python's functions by name, those of its lock replaced."""

    def _get_function(self, fnty: Any, name: str) -> Any:
        return super()._get_function(fnty, door.LOCK.get(name, name))


@register_pass(mutates_CFG=True, analysis_only=False)
class _SerialLowering(NativeLowering):
    _name = "weightspace_lowering"

    @property
    def lowering_class(self) -> type:
        return _SerialLower


@register_pass(mutates_CFG=True, analysis_only=False)
class _ParallelLowering(NativeParforLowering):
    _name = "weightspace_parfor_lowering"

    @property
    def lowering_class(self) -> type:
        return _ParallelLower


_OURS = {NativeLowering: _SerialLowering, NativeParforLowering: _ParallelLowering}


class _Compiler(CompilerBase):
    """Numba's own pipeline with the two lowering passes above."""

    def define_pipelines(self) -> list[Any]:
        state = self.state
        state.library = _Library(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        passes = DefaultPassBuilder.define_nopython_pipeline(state)
        passes.passes = [(_OURS.get(each, each), about) for each, about in passes.passes]
        passes.finalize()
        return [passes]


def kernel(**options: Any) -> Callable[[Callable[..., Any]], Any]:
    """A decorator: `numba.njit` with these options, the door and the cache.

    No fastmath: each operation rounds as it is written, and what is fused says so (`fused.fma`), so
    that bits do not depend on how LLVM optimises. The numpy error model lets x / 0 be inf: the
    check that Python's model puts in front of each division keeps the loop from being vectorised.
    """
    compiled = njit(pipeline_class=_Compiler, error_model="numpy", **options)

    def decorate(function: Callable[..., Any]) -> Any:
        dispatcher: Any = compiled(function)
        dispatcher._cache = KernelCache(function)
        return dispatcher

    return decorate


def inner(function: Callable[..., Any]) -> Any:
    """A decorator: as `serial`, for what only compiled code calls. No way in from Python is built,
    which is half of the time that a small function takes to compile."""
    dispatcher: Any = kernel(no_cpython_wrapper=True)(function)

    def add_overload(compiled: Any) -> None:
        dispatcher.overloads[tuple(compiled.signature.args)] = compiled

    def refuse(*_: Any, **__: Any) -> None:
        raise TypeError(f"{function.__name__} is called by compiled code alone: make it `serial`")

    dispatcher.add_overload = add_overload  # Numba would offer it to Python, at address 0
    dispatcher._compile_for_args = refuse
    return dispatcher


serial = kernel()
parallel = kernel(parallel=True)
inlined = kernel(inline="always")
