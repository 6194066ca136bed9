"""What to do with the first minutes on a GPU: `make gpu-check`, in two parts of eight minutes.

Each step is a process with a time limit of its own, the cheapest first, and what it came to is
written as it ends: a wrong kernel is named, a crash or a hang costs its step alone, the rest goes
on. Part 1 is about right answers, part 2 about speed; fixes from the first can be tried in the
second. It needs what a machine without a package index may have: CUDA, CuPy, NumPy, pytest; torch
and JAX for comparisons, Numba for the same bits; what is absent is skipped and said.

    runner   runs steps, keeps their records and what they printed, and makes the table
    steps    the steps of both parts
    inside   what a step does that is no command of its own: the device, kernels, bits, copies

`--backend cuda-host` rehearses it without a GPU.
"""
