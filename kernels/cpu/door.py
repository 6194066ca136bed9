"""The door between Python and the kernels' machine code, and between it and the worker threads.

What a kernel computes may depend on nothing that its caller's thread happens to be set to. So every
call from Python goes through `weightspace_enter` and `weightspace_leave`:

- arithmetic is IEEE's, with subnormal numbers, whatever the thread's floating-point control says
  (torch.set_flush_denormal, a library compiled with -ffast-math), and that is as it was afterwards;
- small work stays on the calling thread: to wake another takes longer than the work.

And every `prange` goes through `weightspace_parallel_for`, in place of Numba's own entrance to the
pool. Workers compute in the same arithmetic. The calling thread does the work alone, piece by piece
and with the same bits, where the pool cannot be used: with one thread, in a process that was forked
(GNU OpenMP's threads are not there, and Numba would end the process), and while another thread is
in a pool that takes only one at a time ("workqueue").

Around each `prange` Numba takes Python's lock and lets it go, so a program that runs without the
lock would wait for whoever is in Python, several times a step. Kernels let go what they hold, and
ask for nothing (`LOCK`).

The few functions are text in LLVM's language, linked into each kernel and cached with it. `ALONE`
and `ONE_AT_A_TIME` are told to them in the array `pool`, by name.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from typing import Any

import llvmlite.binding as llvm
from llvmlite import ir
from numba.core import config, types
from numba.core.callwrapper import PyCallWrapper
from numba.np.ufunc import parallel as numba_threads

from ..errors import SettingError

SHARES = 8  # pieces that a thread's part of a loop is taken in, by it and by who has no more to do
SMALL = 32_768  # elements of all arrays of a call, below which one thread does it
THEIRS, OURS = "numba_parallel_for", "weightspace_parallel_for"

# pool[0]: how the pool may be used; pool[1]: whether a thread is in it
SHARED, ALONE, ONE_AT_A_TIME = range(3)
pool = (ctypes.c_int32 * 2)(SHARED, 0)

_X86 = """
declare void @llvm.x86.sse.stmxcsr(i8*)
declare void @llvm.x86.sse.ldmxcsr(i8*)
define linkonce_odr i64 @weightspace_arithmetic(i64 %new) {
  %room = alloca i32
  %at = bitcast i32* %room to i8*
  call void @llvm.x86.sse.stmxcsr(i8* %at)
  %old = load i32, i32* %room
  %word = trunc i64 %new to i32
  store i32 %word, i32* %room
  call void @llvm.x86.sse.ldmxcsr(i8* %at)
  %result = zext i32 %old to i64
  ret i64 %result
}
"""
_ARM = """
declare i64 @llvm.aarch64.get.fpcr()
declare void @llvm.aarch64.set.fpcr(i64)
define linkonce_odr i64 @weightspace_arithmetic(i64 %new) {
  %old = call i64 @llvm.aarch64.get.fpcr()
  call void @llvm.aarch64.set.fpcr(i64 %new)
  %result = and i64 %old, 4294967295
  ret i64 %result
}
"""
_OTHER = """
define linkonce_odr i64 @weightspace_arithmetic(i64 %new) {
  ret i64 %new
}
"""
_DOOR = """
%weightspace_note = type { void (i8*, i8*, i8*, i8*)*, i64*, [2 x i64]*, i64 }
declare void @llvm.memset.p0i8.i64(i8*, i8, i64, i1)
@weightspace_pool = external global [2 x i32]
declare i64 @get_num_threads()
declare void @set_num_threads(i64)
declare void @weightspace_pool_for(i8*, i8*, i8*, i8*, i8*, i64, i64, i64)

define linkonce_odr i64 @weightspace_enter(i64 %work) {
  %mode = call i64 @weightspace_arithmetic(i64 {DEFAULT})
  %threads = call i64 @get_num_threads()
  %small = icmp ult i64 %work, {SMALL}
  br i1 %small, label %alone, label %done
alone:
  call void @set_num_threads(i64 1)
  br label %done
done:
  %high = shl i64 %threads, 32
  %before = or i64 %high, %mode
  ret i64 %before
}

define linkonce_odr void @weightspace_leave(i64 %before) {
  %threads = lshr i64 %before, 32
  call void @set_num_threads(i64 %threads)
  %mode = and i64 %before, 4294967295
  call i64 @weightspace_arithmetic(i64 %mode)
  ret void
}

define linkonce_odr void @weightspace_task(i8* %args, i8* %sizes, i8* %steps, i8* %data) {
entry:
  %before = call i64 @weightspace_arithmetic(i64 {DEFAULT})
  %note = bitcast i8* %data to %weightspace_note*
  %task.at = getelementptr %weightspace_note, %weightspace_note* %note, i64 0, i32 0
  %task = load void (i8*, i8*, i8*, i8*)*, void (i8*, i8*, i8*, i8*)** %task.at
  %taken.at = getelementptr %weightspace_note, %weightspace_note* %note, i64 0, i32 1
  %taken = load i64*, i64** %taken.at
  %whole = icmp eq i64* %taken, null
  br i1 %whole, label %direct, label %shared
direct:
  call void %task(i8* %args, i8* %sizes, i8* %steps, i8* null)
  br label %end
shared:
  %parts.at = getelementptr %weightspace_note, %weightspace_note* %note, i64 0, i32 2
  %parts = load [2 x i64]*, [2 x i64]** %parts.at
  %count.at = getelementptr %weightspace_note, %weightspace_note* %note, i64 0, i32 3
  %count = load i64, i64* %count.at
  %piece = alloca [2 x i64]
  %piece.lo = getelementptr [2 x i64], [2 x i64]* %piece, i64 0, i64 0
  %piece.hi = getelementptr [2 x i64], [2 x i64]* %piece, i64 0, i64 1
  %slot = bitcast i8* %args to i8**
  %mine = load i8*, i8** %slot
  %piece.raw = bitcast [2 x i64]* %piece to i8*
  store i8* %piece.raw, i8** %slot
  %rows = bitcast i8* %sizes to i64*
  store i64 1, i64* %rows
  %mine.word = ptrtoint i8* %mine to i64
  %parts.word = ptrtoint [2 x i64]* %parts to i64
  %apart = sub i64 %mine.word, %parts.word
  %number = lshr i64 %apart, 4
  br label %part
part:
  %round = phi i64 [ 0, %shared ], [ %round.next, %empty ]
  %sum = add i64 %number, %round
  %part.number = urem i64 %sum, %count
  %lo.at = getelementptr [2 x i64], [2 x i64]* %parts, i64 %part.number, i64 0
  %hi.at = getelementptr [2 x i64], [2 x i64]* %parts, i64 %part.number, i64 1
  %lo = load i64, i64* %lo.at
  %hi = load i64, i64* %hi.at
  %span = sub i64 %hi, %lo
  %length = add i64 %span, 1
  %share = sdiv i64 %length, {SHARES}
  %some = icmp sgt i64 %share, 1
  %grain = select i1 %some, i64 %share, i64 1
  %place = mul i64 %part.number, 8
  %counter = getelementptr i64, i64* %taken, i64 %place
  br label %next
next:
  %begun = atomicrmw add i64* %counter, i64 %grain monotonic
  %left = icmp slt i64 %begun, %length
  br i1 %left, label %run, label %empty
run:
  %first = add i64 %lo, %begun
  %after = add i64 %first, %grain
  %last = sub i64 %after, 1
  %over = icmp sgt i64 %last, %hi
  %to = select i1 %over, i64 %hi, i64 %last
  store i64 %first, i64* %piece.lo
  store i64 %to, i64* %piece.hi
  call void %task(i8* %args, i8* %sizes, i8* %steps, i8* null)
  br label %next
empty:
  %round.next = add i64 %round, 1
  %more = icmp ult i64 %round.next, %count
  br i1 %more, label %part, label %end
end:
  call i64 @weightspace_arithmetic(i64 %before)
  ret void
}

define linkonce_odr void @weightspace_parallel_for(
    i8* %task, i8* %args, i8* %sizes, i8* %steps, i8* %data, i64 %inner, i64 %count, i64 %threads
) {
  %told = alloca %weightspace_note
  %first = getelementptr [2 x i32], [2 x i32]* @weightspace_pool, i64 0, i64 0
  %second = getelementptr [2 x i32], [2 x i32]* @weightspace_pool, i64 0, i64 1
  %single = icmp ule i64 %threads, 1
  br i1 %single, label %alone, label %look
look:
  %step.at = bitcast i8* %steps to i64*
  %step = load i64, i64* %step.at
  %line = icmp eq i64 %step, 16
  %size.at = bitcast i8* %sizes to i64*
  %size = load i64, i64* %size.at
  %args.at = bitcast i8* %args to [2 x i64]**
  %parts = load [2 x i64]*, [2 x i64]** %args.at
  br i1 %line, label %part, label %choose
part:
  %number = phi i64 [ 0, %look ], [ %number.next, %part ]
  %total = phi i64 [ 0, %look ], [ %total.next, %part ]
  %lo.at = getelementptr [2 x i64], [2 x i64]* %parts, i64 %number, i64 0
  %hi.at = getelementptr [2 x i64], [2 x i64]* %parts, i64 %number, i64 1
  %lo = load i64, i64* %lo.at
  %hi = load i64, i64* %hi.at
  %span = sub i64 %hi, %lo
  %length = add i64 %span, 1
  %there = icmp sgt i64 %length, 0
  %counted = select i1 %there, i64 %length, i64 0
  %total.next = add i64 %total, %counted
  %number.next = add i64 %number, 1
  %more = icmp ult i64 %number.next, %size
  br i1 %more, label %part, label %sum
sum:
  %trivial = icmp ule i64 %total.next, 1
  br i1 %trivial, label %alone, label %choose
choose:
  %use = load volatile i32, i32* %first
  switch i32 %use, label %together [
    i32 {ALONE}, label %alone
    i32 {ONE_AT_A_TIME}, label %try
  ]
try:
  %seen = cmpxchg i32* %second, i32 0, i32 1 acq_rel monotonic
  %free = extractvalue { i32, i1 } %seen, 1
  br i1 %free, label %together, label %alone
alone:
  %direct = bitcast i8* %task to void (i8*, i8*, i8*, i8*)*
  call void %direct(i8* %args, i8* %sizes, i8* %steps, i8* %data)
  ret void
together:
  %mine = phi i1 [ false, %choose ], [ true, %try ]
  %kernel.at = getelementptr %weightspace_note, %weightspace_note* %told, i64 0, i32 0
  %taken.at = getelementptr %weightspace_note, %weightspace_note* %told, i64 0, i32 1
  %parts.at = getelementptr %weightspace_note, %weightspace_note* %told, i64 0, i32 2
  %count.at = getelementptr %weightspace_note, %weightspace_note* %told, i64 0, i32 3
  %kernel = bitcast i8* %task to void (i8*, i8*, i8*, i8*)*
  store void (i8*, i8*, i8*, i8*)* %kernel, void (i8*, i8*, i8*, i8*)** %kernel.at
  store i64* null, i64** %taken.at
  %many = icmp ugt i64 %size, 1
  %few = icmp ule i64 %size, 256
  %several = and i1 %many, %few
  %hand.out = and i1 %line, %several
  br i1 %hand.out, label %prepare, label %go
prepare:
  %words = mul i64 %size, 8
  %counters = alloca i64, i64 %words, align 64
  %bytes = mul i64 %words, 8
  %counters.raw = bitcast i64* %counters to i8*
  call void @llvm.memset.p0i8.i64(i8* %counters.raw, i8 0, i64 %bytes, i1 false)
  store i64* %counters, i64** %taken.at
  store [2 x i64]* %parts, [2 x i64]** %parts.at
  store i64 %size, i64* %count.at
  br label %go
go:
  %entrance = bitcast void (i8*, i8*, i8*, i8*)* @weightspace_task to i8*
  %note = bitcast %weightspace_note* %told to i8*
  call void @weightspace_pool_for(i8* %entrance, i8* %args, i8* %sizes, i8* %steps, i8* %note,
                                  i64 %inner, i64 %count, i64 %threads)
  br i1 %mine, label %release, label %end
release:
  store atomic i32 0, i32* %second release, align 4
  br label %end
end:
  ret void
}
"""


# What Numba calls around a `prange`, and what is called in its place.
LOCK = {
    "numba_gil_ensure": "weightspace_as_it_is",
    "PyEval_SaveThread": "weightspace_let_go",
    "PyEval_RestoreThread": "weightspace_take_back",
    "numba_gil_release": "weightspace_as_it_is",
}
_LOCK = """
declare i32 @PyGILState_Check()
declare i8* @PyEval_SaveThread()
declare void @PyEval_RestoreThread(i8*)

define void @weightspace_as_it_is(i32* %state) {
  ret void
}

define i8* @weightspace_let_go() {
  %held = call i32 @PyGILState_Check()
  %none = icmp eq i32 %held, 0
  br i1 %none, label %without, label %with
with:
  %thread = call i8* @PyEval_SaveThread()
  ret i8* %thread
without:
  ret i8* null
}

define void @weightspace_take_back(i8* %thread) {
  %none = icmp eq i8* %thread, null
  br i1 %none, label %without, label %with
with:
  call void @PyEval_RestoreThread(i8* %thread)
  br label %without
without:
  ret void
}
"""
_engines: list[Any] = []  # they live as long as the process


def source(machine: str) -> str:
    """The functions of the door for a machine, as LLVM's triples name it."""
    if machine in ("x86_64", "amd64"):
        control, default = _X86, 0x1F80  # rounding to nearest, subnormals, no traps
    elif machine.startswith(("aarch64", "arm64")):
        control, default = _ARM, 0
    else:
        control, default = _OTHER, 0
    names = {
        "DEFAULT": default,
        "SMALL": SMALL,
        "SHARES": SHARES,
        "ALONE": ALONE,
        "ONE_AT_A_TIME": ONE_AT_A_TIME,
    }
    door = _DOOR
    for name, value in names.items():
        door = door.replace(f"{{{name}}}", str(value))
    return control + door


SOURCE = source(llvm.get_process_triple().split("-")[0].lower())


def install() -> None:
    """Start Numba's pool, say how it may be used, and make both known to compiled code by name.

    Raises SettingError where the pool that was asked for cannot be had.
    """
    try:
        numba_threads._launch_threads()
    except ValueError:
        asked = config.THREADING_LAYER  # type: ignore[attr-defined]
        raise SettingError(
            f"NUMBA_THREADING_LAYER is {asked!r}, of which Numba has no threads here; unset it, or "
            "set it to workqueue, which is everywhere"
        ) from None
    if numba_threads.threading_layer() == "workqueue":
        pool[0] = ONE_AT_A_TIME
    llvm.add_symbol("weightspace_pool", ctypes.addressof(pool))
    llvm.add_symbol("weightspace_pool_for", llvm.address_of_symbol(THEIRS))
    target = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
    engine = llvm.create_mcjit_compiler(llvm.parse_assembly(_LOCK), target)
    engine.finalize_object()
    _engines.append(engine)
    for name in LOCK.values():
        llvm.add_symbol(name, engine.get_function_address(name))
    if hasattr(os, "register_at_fork"):
        os.register_at_fork(after_in_child=_forked)


def _forked() -> None:
    pool[0] = ALONE


def link(module: llvm.ModuleRef) -> None:
    """Give a kernel's module its door: `OURS` in place of `THEIRS`, and all that it calls.

    Numba has compiled the function that calls `THEIRS` on its own before: were the copy here not
    made internal, the linker would take that one, in the process that compiles and in no other.
    """
    names = {function.name for function in module.functions}
    if THEIRS in names:
        for function in module.functions:
            if not function.is_declaration and f"@{THEIRS}(" in str(function):
                function.linkage = "internal"
        module.get_function(THEIRS).name = OURS
    if not names.isdisjoint({THEIRS, OURS, "weightspace_enter"}):
        module.link_in(llvm.parse_assembly(SOURCE))


def wrap(context: Any, module: ir.Module, fndesc: Any, env: Any, helper: Any, gil: bool) -> None:
    """Build what Python calls (CPython's calling convention) into `module`, with the door in it.

    The arguments are those of Numba's `create_cpython_wrapper`.
    """
    kind = context.call_conv.get_function_type(fndesc.restype, fndesc.argtypes)
    kernel = ir.Function(module, kind, fndesc.llvm_func_name)
    wrapper, _ = PyCallWrapper(context, module, kernel, fndesc, env, helper, gil).build()
    word = ir.IntType(64)
    enter = ir.Function(module, ir.FunctionType(word, [word]), "weightspace_enter")
    leave = ir.Function(module, ir.FunctionType(ir.VoidType(), [word]), "weightspace_leave")
    calls = [
        instruction
        for block in wrapper.blocks
        for instruction in block.instructions
        if isinstance(instruction, ir.CallInstr) and instruction.callee is kernel
    ]
    for call in calls:  # one
        builder = ir.IRBuilder(call.parent)
        builder.position_before(call)
        work: Any = ir.Constant(word, 0)
        for size in _sizes(context, fndesc.argtypes, call.args[2:]):
            work = builder.add(work, size)
        before = builder.call(enter, [work])
        builder.position_after(call)
        builder.call(leave, [before])


def _sizes(context: Any, kinds: Any, given: Any) -> Iterator[ir.Value]:
    """How many elements each array among a kernel's arguments has; Numba passes structs flat."""
    at = 0
    for kind in kinds:
        model = context.data_model_manager[kind]
        if isinstance(kind, types.Array):
            yield given[at + model.get_field_position("nitems")]
        at += _leaves(model.get_argument_type())


def _leaves(kind: Any) -> int:
    return sum(map(_leaves, kind)) if isinstance(kind, tuple) else 1
