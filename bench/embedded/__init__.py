"""The wing of small machines: exported C built, run and measured on emulated targets.

`targets` is the table of machines, as data; `board/` has what each needs to start and to talk (C,
linker scripts) and the harness that runs a network as it is told. `toolchain` builds a program and
`emulator` runs it; `session` sends commands and reads answers; `memory` weighs flash and static
memory, `stack` the stack. `models` is what is measured, `measure` measures it, `peers` are other
makers of C; `run` does it all, and `report` shows it: `weightspace bench embedded`. A new machine
is a line in `targets`, a new kind of machine a file in `board/`, another maker a line in `peers`
and a program in `makers`. It depends on speed's records, data and show; the command line on it.
"""
