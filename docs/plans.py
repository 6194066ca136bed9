"""Bytes of a training step by model, for docs/programs.md: `python docs/plans.py`."""

from __future__ import annotations

from weightspace.nnlite import models

BATCH = 64
MODELS = ("lenet_300_100", "lenet5", "fip_cnn", "zenke_cnn", "resnet20", "resnet18", "vgg16_cifar")

for name in MODELS:
    net = getattr(models, name)()
    print(f"| {name.replace('_', '-')} | {net.plan(BATCH) / 2**20:.1f} |")
