"""MNIST by who wrote it: ten groups of writers, five of employees, then five of students.

A drift that nobody made: the images are as they are, the people change (QMNIST; Yadav & Bottou
2019). 784-256-256-10 with Glorot's weights, Adam 1e-3 never reset, batch 128, one shared head, as
in `permuted-mnist`; a fifth of each writer's images is kept for tests.

    --set stream.num_tasks=2                       NIST's two partitions, one after the other
    --set stream.tests=new --set stream.num_tasks=2    tested on other writers of each
    --set stream.tests=common                      every task is tested on MNIST's test images

The strengths are those of `permuted-mnist`. Methods with a memory keep 256 samples a task.
"""

from dataclasses import replace

from . import compare

PRESET = replace(
    compare.PRESET,
    name="qmnist-writers",
    summary="ten groups of writers, employees then students: a drift that nobody made (QMNIST)",
    stream="writers",
    data="mnist-writers",
    epochs=5,
    steps=None,
)
