"""The fixture `gpu` for tests that need a GPU: they skip where there is none, and say why.

$WEIGHTSPACE_REQUIRE_CUDA=1, which `make test-cuda` sets, turns that skip into a failure: a run that
was meant to test a GPU cannot pass without one. $WEIGHTSPACE_TEST_CUDA=cuda-host runs the same
tests on the host launcher, slowly, to try out the tests themselves.
"""

from __future__ import annotations

import os

import pytest
from weightspace.kernels import get_backend
from weightspace.kernels.errors import DeviceError, MissingExtraError

REQUIRED = os.environ.get("WEIGHTSPACE_REQUIRE_CUDA") == "1"
NAME = os.environ.get("WEIGHTSPACE_TEST_CUDA", "cuda")


@pytest.fixture(scope="session")
def gpu() -> str:
    """The name of the backend that stands for the GPU."""
    try:
        get_backend(NAME)
        return NAME
    except (DeviceError, MissingExtraError) as wrong:
        why = str(wrong)
    if REQUIRED:
        pytest.fail(f"WEIGHTSPACE_REQUIRE_CUDA is 1, and there is no GPU: {why}", pytrace=False)
    pytest.skip(f"needs a GPU: {why}")
