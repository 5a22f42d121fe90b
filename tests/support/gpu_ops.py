"""Graphs of one custom operation each: compiled for the GPU once per test file, run on arrays.

Arrays go in and come out as NumPy's; bfloat16, which NumPy lacks, as the float32 of the same value.
Nothing here knows what an operation computes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
from max.driver import CPU, Accelerator, Buffer
from max.dtype import DType
from max.engine import CompiledModel, InferenceSession, Model
from max.graph import (
    BufferType,
    DeviceRef,
    Graph,
    KernelLibrary,
    Module,
    TensorType,
    TensorValue,
    Value,
)

from implementations.gpu_targets import target_of
from implementations.max_graph.gpu.graphs.ops import KERNELS, kernels_for
from implementations.max_graph.request import has_portable_kernels
from implementations.max_graph.runtime import share_gpu_memory

Array = npt.NDArray[Any]
FloatArray = npt.NDArray[np.float32]
F32, F16, BF16, I32 = DType.float32, DType.float16, DType.bfloat16, DType.int32

TOLERANCES = {
    F32: 1e-5,
    F16: 1e-3,
    BF16: 8e-3,
}
"""Norm of a row's error over the norm of the row, by the dtype that an operation computes in.

- float32: sums of up to 5,120 products in another order, which differ by some 1e-6.
- float16: values are rounded to 11 bits, by 2^-12 on average, between two and four times.
- bfloat16: the same with 8 bits, 2^-9 on average.

A single wrong value in a row of 384 is an error of 0.05.
"""


@dataclass(frozen=True, slots=True)
class OneOp:
    """A graph with one operation in it."""

    inputs: tuple[TensorType | BufferType, ...]
    build: Callable[..., TensorValue | Sequence[TensorValue] | None]
    """Takes the graph's inputs, and gives its outputs."""


class GpuOps:
    """The graphs of a test file, by name."""

    def __init__(self, **graphs: OneOp) -> None:
        self._graphs = graphs
        self._models: dict[bool, dict[str, Model]] = {}

    def compile(self, session: InferenceSession, *, is_portable: bool = False) -> CompiledModel:
        """Compile all graphs as one module for the session's device."""
        module, kernels = Module(), KernelLibrary()
        kernels.load_paths([KERNELS])
        for name, one in self._graphs.items():
            with (
                kernels_for(is_portable=is_portable),
                Graph(name, input_types=one.inputs, module=module, kernel_library=kernels) as graph,
            ):
                values = (_typed(value) for value in graph.inputs)
                found = one.build(*values)
                outputs = [found] if isinstance(found, TensorValue) else found or ()
                graph.output(*outputs)
        return session.compile(module, custom_extensions=kernels.library_paths())

    def run(self, name: str, *arrays: Array) -> list[Array]:
        """Outputs of a graph, then what its mutable inputs hold afterwards."""
        types = self._graphs[name].inputs
        buffers = [
            to_buffer(array, kind.dtype).to(self._device)
            for array, kind in zip(arrays, types, strict=True)
        ]
        outputs = self._models_on_device()[name].execute(*buffers)
        changed = [
            buffer
            for buffer, kind in zip(buffers, types, strict=True)
            if isinstance(kind, BufferType)
        ]
        return [from_buffer(buffer) for buffer in (*outputs, *changed)]

    @cached_property
    def _device(self) -> Accelerator:
        share_gpu_memory()
        return Accelerator()

    def _models_on_device(self) -> dict[str, Model]:
        """The graphs with the kernels that the device runs, or that are asked for."""
        is_portable = has_portable_kernels(target_of(self._device.architecture_name))
        if is_portable not in self._models:
            session = InferenceSession(devices=[self._device])
            compiled = self.compile(session, is_portable=is_portable)
            self._models[is_portable] = session.init_all(compiled, weights_registry={})
        return self._models[is_portable]


def _typed(value: Value[Any]) -> Any:
    return value.buffer if isinstance(value.type, BufferType) else value.tensor


def tensor(dtype: DType, *shape: str | int) -> TensorType:
    """An input that an operation reads."""
    return TensorType(dtype, shape, DeviceRef.GPU())


def mutable(dtype: DType, *shape: str | int) -> BufferType:
    """An input that an operation writes to."""
    return BufferType(dtype, shape, DeviceRef.GPU())


def to_buffer(array: Array, dtype: DType) -> Buffer:
    """The array on the host in a dtype, rounded to the nearest."""
    if dtype != BF16:
        return Buffer.from_numpy(np.require(array, dtype.to_numpy(), ["C", "A", "W", "O"]))
    bits = np.ascontiguousarray(array, np.float32).view(np.uint32)
    halves = (bits + 0x7FFF + ((bits >> 16) & 1)) >> 16
    return Buffer.from_numpy(halves.astype(np.uint16)).view(BF16)


def from_buffer(buffer: Buffer) -> Array:
    """A copy of what a buffer holds."""
    on_host = buffer.to(CPU())
    if buffer.dtype != BF16:
        return np.array(on_host.to_numpy())
    bits = on_host.view(DType.uint16).to_numpy().astype(np.uint32) << 16
    return bits.view(np.float32)


def rounded(array: Array, dtype: DType) -> FloatArray:
    """The nearest values of a dtype, as float32."""
    return from_buffer(to_buffer(array, dtype)).astype(np.float32)


def normal(*shape: int, seed: int = 0, scale: float = 1.0) -> FloatArray:
    """Normally distributed numbers, the same for the same seed."""
    return np.random.default_rng(seed).standard_normal(shape, np.float32) * np.float32(scale)


def assert_rows_close(found: Array, expected: Array, dtype: DType) -> None:
    """Compare each row, along the last axis, by the tolerance of a dtype."""
    assert found.shape == expected.shape
    found, expected = found.astype(np.float64), expected.astype(np.float64)
    errors = np.linalg.norm(found - expected, axis=-1) / np.linalg.norm(expected, axis=-1)
    assert np.isfinite(errors).all()
    worst = np.unravel_index(errors.argmax(), errors.shape)
    assert errors[worst] <= TOLERANCES[dtype], f"row {worst} of {errors.shape}: {errors[worst]:.2g}"
