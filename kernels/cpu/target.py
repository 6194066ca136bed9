"""The processor that kernels are compiled for: what its vectors are, and whether it is enough.

It is the one that compiles, or the one that $NUMBA_CPU_NAME names: then with that one's
instructions alone, where Numba by itself would go on using all that this machine has besides.
Results are the same bits on all of them (docs/order.md); how fast, depends on it.
"""

from __future__ import annotations

import re
from typing import Any

import llvmlite.binding as llvm
from numba.core import config
from numba.core.codegen import initialize_llvm
from numba.core.registry import cpu_target

from ..errors import DeviceError, SettingError

# Floats and whole numbers of 64 bytes; what they are compiled to, shows what there is.
_PROBE = """
declare <16 x float> @llvm.fma.v16f32(<16 x float>, <16 x float>, <16 x float>)
define <16 x float> @probe(<16 x float> %a, <16 x float> %b) {
  %sum = call <16 x float> @llvm.fma.v16f32(<16 x float> %a, <16 x float> %b, <16 x float> %b)
  ret <16 x float> %sum
}
define <16 x i32> @whole(<16 x i32> %a, <16 x i32> %b) {
  %sum = add <16 x i32> %a, %b
  ret <16 x i32> %sum
}
"""
_TRIPLE = llvm.get_process_triple()
X86 = _TRIPLE.startswith(("x86", "amd64"))
_LEAST = re.compile(r".*vfmadd.*ymm"), re.compile(r".*vpadd.*ymm")  # on two lines of it


def assembly(cpu: str, features: str) -> str:
    """The probe as machine code for a CPU, with LLVM's names for that and for its features."""
    if X86:  # of a name that it does not know LLVM believes not even this, and ends the process
        features = f"+64bit,{features}".rstrip(",")
    machine = llvm.Target.from_triple(_TRIPLE).create_target_machine(cpu=cpu, features=features)
    return machine.emit_assembly(llvm.parse_assembly(_PROBE))


def vector_bytes(cpu: str, features: str) -> int:
    """Bytes of a vector that kernels use on a CPU: 64 with AVX-512, else 32.

    (On arm64 a vector is two registers.) Raises SettingError or DeviceError for x86 without AVX2
    and FMA: it would compute fused products by calls, a hundred times slower.
    """
    code = assembly(cpu, features)
    if "zmm" in code:
        return 64
    fused, whole = (any(map(name.match, code.splitlines())) for name in _LEAST)
    if X86 and not (fused and whole):
        asked = config.CPU_NAME or config.CPU_FEATURES  # type: ignore[attr-defined]
        told = f"the backend 'cpu' is compiled for the CPU '{cpu}', which has no AVX2 and FMA"
        if asked:
            raise SettingError(
                f"{told}, by $NUMBA_CPU_NAME or $NUMBA_CPU_FEATURES; the least is NUMBA_CPU_NAME="
                "haswell. Unset them, or use backend='reference', which is plain NumPy"
            )
        raise DeviceError(f"{told}: use backend='reference', which is plain NumPy")
    return 32


def _take_at_its_word() -> int:
    """`vector_bytes` of the CPU that Numba compiles for; if one is named, of what that one has.

    Numba is told so where that is enough: of a name that LLVM does not know it would end us.
    """
    initialize_llvm()
    if config.CPU_NAME and config.CPU_FEATURES is None:  # type: ignore[attr-defined]
        vector_bytes(config.CPU_NAME, "")  # type: ignore[attr-defined]
        config.CPU_FEATURES = ""  # type: ignore[attr-defined]
    context: Any = cpu_target.target_context
    return vector_bytes(*context.codegen().magic_tuple()[1:])


BYTES = _take_at_its_word()
