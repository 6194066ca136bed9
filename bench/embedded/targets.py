"""The machines that exported C is built for and run on: a table of data.

`fma` says whether results are the engine's to the bit. `ticks` is what the target's counter counts
and `per_tick` how many of these a tick is: on Cortex-M the emulator lets an instruction take a
nanosecond, and the counter follows the board's clock.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from ...kernels.errors import check_name

KIB, MIB = 2**10, 2**20
Counts = Literal["instructions", "cycles", "nothing"]


@dataclass(frozen=True)
class Memory:
    """Where code and data lie: (origin, bytes) of flash and of RAM."""

    flash: tuple[int, int]
    ram: tuple[int, int]


@dataclass(frozen=True)
class Target:
    """A machine.

    compiler: the command, of the Debian package `package`; flags: the processor's. board: files of
    board/ that start it and talk for it. script: the linker's, with `memory`. emulator: the
    command, of `emulator_package`, {elf} in the place of the program; empty where that runs here.
    tools: the prefix of size, nm and objdump. text: whether it answers in hex digits.
    """

    name: str
    says: str
    compiler: str
    package: str
    flags: tuple[str, ...]
    board: tuple[str, ...]
    fma: bool
    counts: Counts = "nothing"
    per_tick: float = 1.0
    script: str = ""
    memory: Memory | None = None
    emulator: tuple[str, ...] = ()
    emulator_package: str = ""
    tools: str = ""
    link: tuple[str, ...] = ()
    text: bool = False

    @property
    def bare(self) -> bool:
        """Whether there is no operating system."""
        return bool(self.script) or self.text


# `align` and `sleep` do not matter: nothing waits.
_COUNTED = ("-icount", "shift=0", "-nographic", "-monitor", "none", "-serial", "none",
            "-semihosting-config", "enable=on,target=native", "-kernel", "{elf}")  # fmt: skip
_ARM = "gcc-arm-none-eabi libnewlib-arm-none-eabi"
_RISCV = "gcc-riscv64-unknown-elf picolibc-riscv64-unknown-elf"


def _cortex(
    name: str, says: str, machine: str, flags: Iterable[str], fma: bool, mhz: float,
    flash: tuple[int, int], ram: tuple[int, int],
) -> Target:  # fmt: skip
    return Target(
        name, says, "arm-none-eabi-gcc", _ARM, ("-mthumb", *flags),
        ("cortex_m.c", "semihosting.c"), fma, "instructions", 1e3 / mhz, "cortex_m.ld",
        Memory(flash, ram), ("qemu-system-arm", "-M", machine, *_COUNTED), "qemu-system-arm",
        "arm-none-eabi-",
    )  # fmt: skip


def _riscv(name: str, says: str, march: str, mabi: str, cpu: str, fma: bool) -> Target:
    return Target(
        name, says, "riscv64-unknown-elf-gcc", _RISCV,
        (f"-march={march}", f"-mabi={mabi}", "-mcmodel=medany", "--specs=picolibc.specs"),
        ("riscv.c", "semihosting.c"), fma, "instructions", 1.0, "riscv.ld",
        Memory((0x8000_0000, 16 * MIB), (0x8100_0000, 16 * MIB)),
        ("qemu-system-riscv32", "-M", "virt", "-cpu", cpu, "-bios", "none", *_COUNTED),
        "qemu-system-misc", "riscv64-unknown-elf-",
    )  # fmt: skip


def _hosted(
    name: str, says: str, compiler: str, package: str, flags: Iterable[str],
    emulator: tuple[str, ...] = (), emulator_package: str = "", tools: str = "",
    link: tuple[str, ...] = (),
) -> Target:  # fmt: skip
    return Target(
        name, says, compiler, package, tuple(flags), ("hosted.c",), True, emulator=emulator,
        emulator_package=emulator_package, tools=tools, link=link,
    )  # fmt: skip


_MPS2 = ((0, 4 * MIB), (0x2000_0000, 4 * MIB))
_SOFT, _HARD = "-mfloat-abi=soft", "-mfloat-abi=hard"
# gcc would use Helium, which flushes subnormal numbers to zero
_NO_HELIUM = "-fno-tree-vectorize"

TARGETS = {
    target.name: target
    for target in (
        _hosted("gcc", "this machine, gcc", "gcc", "gcc", ["-mfma"]),
        _hosted("clang", "this machine, clang", "clang", "clang", ["-mfma"]),
        _hosted("m32", "this machine, 32 bits", "gcc", "gcc-12-multilib",
                ["-m32", "-msse2", "-mfpmath=sse", "-mfma"]),
        _hosted("musl", "this machine, musl", "musl-gcc", "musl-tools", ["-mfma"],
                link=("-static",)),
        _hosted("arm64", "arm64 under Linux", "aarch64-linux-gnu-gcc",
                "gcc-aarch64-linux-gnu libc6-dev-arm64-cross", (),
                ("qemu-aarch64", "{elf}"), "qemu-user", "aarch64-linux-gnu-", ("-static",)),
        _cortex("m0", "Cortex-M0, soft float", "microbit", ["-mcpu=cortex-m0", _SOFT], False, 16,
                (0, 256 * KIB), (0x2000_0000, 16 * KIB)),
        _cortex("m3", "Cortex-M3, soft float", "mps2-an385", ["-mcpu=cortex-m3", _SOFT], False, 25,
                *_MPS2),
        _cortex("m4f", "Cortex-M4F", "mps2-an386", ["-mcpu=cortex-m4", _HARD,
                "-mfpu=fpv4-sp-d16"], True, 25, *_MPS2),
        _cortex("m7", "Cortex-M7", "mps2-an500", ["-mcpu=cortex-m7", _HARD, "-mfpu=fpv5-d16"],
                True, 25, *_MPS2),
        _cortex("m55", "Cortex-M55, no Helium", "mps3-an547", ["-mcpu=cortex-m55", _HARD,
                _NO_HELIUM], True, 32, (0, 512 * KIB), (0x2000_0000, 512 * KIB)),
        _riscv("rv32imac", "RV32IMAC, soft float", "rv32imac", "ilp32", "rv32,f=false,d=false",
               False),
        _riscv("rv32imafc", "RV32IMAFC", "rv32imafc", "ilp32f", "rv32,d=false", True),
        Target("atmega", "ATmega1284P", "avr-gcc", "gcc-avr avr-libc", ("-mmcu=atmega1284p",),
               ("atmega.c",), False, "cycles", 1.0, "", Memory((0, 128 * KIB), (0x100, 16 * KIB)),
               ("simavr", "-m", "atmega1284p", "-f", "16000000", "{elf}"), "simavr", "avr-",
               text=True),
    )
}  # fmt: skip


def find(names: Iterable[str] | None) -> list[Target]:
    """The targets of these names, in the table's order; None: all. Raises UnknownNameError."""
    wanted = list(TARGETS if names is None else names)
    for name in wanted:
        check_name("target", name, TARGETS)
    return [target for name, target in TARGETS.items() if name in wanted]
