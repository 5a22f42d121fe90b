"""Kernels that exist twice, Hopper's own and those of every GPU; files that are left out."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from implementations import nvidia
from implementations.gpu_targets import KERNELS_SWITCH
from implementations.max_graph.request import HOPPER

NEEDS_A_GPU = "\npytestmark = [pytest.mark.gpu"
"""Line of a file, all of whose tests need one."""


def pytest_ignore_collect(collection_path: Path) -> bool | None:
    """Leaves out files that need a GPU where there is none: each of 6,500 tests takes a while."""
    if nvidia.no_gpu_because() is None or not collection_path.name.startswith("test_"):
        return None
    return NEEDS_A_GPU in collection_path.read_text("utf-8") or None


@pytest.fixture(scope="module", params=["own", "portable"])
def gpu_kernels(request: pytest.FixtureRequest) -> Iterator[str]:
    """Each kind of kernels; a GPU that is no Hopper has the portable ones alone."""
    if request.param == "portable" and nvidia.architecture("cuda") != HOPPER:
        pytest.skip("its own kernels are the portable ones")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(KERNELS_SWITCH, request.param)
        yield request.param
