"""Compiles for every target without a GPU, and reads what the kernels need out of the files.

Of all graphs of a model with tiny.en's width and a layer each, which has all kernels of tiny.en.
"""

import pytest

pytest.importorskip("max", reason="MAX is not installed: pip install 'maxwhisper[max]'")

from implementations.gpu_targets import ARCHITECTURES, TARGETS
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.request import GPU_GRAPHS, CompileRequest, MatrixTypes
from tests.support.cubins import kernel_needs
from weights.dims import ModelDimensions

pytestmark = [pytest.mark.full, pytest.mark.max]

DIMS = ModelDimensions(80, 1500, 384, 6, 1, 51864, 448, 384, 6, 1)
DTYPES = ("float16", "float32", "bfloat16")
MAX_REGISTERS = 255
MAX_STATIC_BYTES = 48 * 1024
"""Shared memory that every architecture gives to a block without being asked."""
MAX_STACK_BYTES = 32
"""Bytes of a thread's stack, to which registers are spilled.

Flash attention by `mma.sync` has 255 registers and 8 to 32 bytes, by architecture.
"""
MAX_STACK_BYTES_90 = 96
"""The same where kernels that both paths share are compiled for sm_90a: one of 128 registers has
72 bytes there. Hopper's own kernels have up to 96."""


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("target", TARGETS)
def test_kernels_keep_to_the_limits_of_the_architecture(target: str, dtype: str) -> None:
    request = CompileRequest(GPU_GRAPHS, DIMS, MatrixTypes(dtype, dtype, dtype), target)
    needs = kernel_needs(compiled_graphs(request, print).data)
    assert len(needs) > 30
    number = "".join(c for c in request.architecture if c.isdigit())
    assert request.architecture in ARCHITECTURES
    assert {each.architecture for each in needs} == {int(number)}
    most_stack = MAX_STACK_BYTES_90 if number == "90" else MAX_STACK_BYTES
    for each in needs:
        assert 0 < each.registers <= MAX_REGISTERS, each
        assert each.shared_bytes <= MAX_STATIC_BYTES, each
        assert each.stack_bytes <= most_stack, each
