"""MLPerf Tiny's four models: as large as published, and the engine's bits in C."""

from __future__ import annotations

import numpy as np
import pytest
from backends import find
from exported import Device
from weightspace.nnlite import models
from weightspace.nnlite.export.c import export

# Parameters with the running statistics, as the reference models count them.
PUBLISHED = {
    models.resnet8: 78_666,
    models.ds_cnn: 24_908,
    models.mobilenet_quarter: 221_794,
    models.autoencoder: 269_992,
}


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)
def test_they_are_as_large_as_published(make):
    net = make(backend="reference")
    statistics = sum(array.size for array in net.state.values())
    assert net.num_parameters + statistics == PUBLISHED[make]


@pytest.mark.parametrize("make", PUBLISHED, ids=lambda make: make.__name__)
def test_in_c_they_have_the_engines_bits(make):
    find("cpu")
    net, rng = make(backend="cpu", seed=1), np.random.default_rng(0)
    for name in net.state:
        net.state[name] = rng.uniform(0.5, 1.5, net.state[name].shape).astype("f")
    x = rng.normal(size=(2, *net.input_shape)).astype("f")
    assert Device(export(net)).outputs(x, net.num_outputs).tobytes() == net.forward(x).tobytes()
