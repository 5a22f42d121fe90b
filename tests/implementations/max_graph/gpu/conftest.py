"""Fixture of tests of kernels that exist twice: Hopper's own, and those of every GPU."""

from collections.abc import Iterator

import pytest

from implementations import nvidia
from implementations.gpu_targets import KERNELS_SWITCH
from implementations.max_graph.request import HOPPER


@pytest.fixture(scope="module", params=["own", "portable"])
def gpu_kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of kernels; a GPU that is no Hopper has the portable ones alone."""
    if request.param == "portable" and nvidia.architecture("cuda") != HOPPER:
        pytest.skip("its own kernels are the portable ones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KERNELS_SWITCH, request.param)
        yield request.param
