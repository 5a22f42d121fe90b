"""Loading of compiled graphs and a checkpoint's weights onto a GPU."""

import functools
import io
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Self

import numpy as np
from max.driver import Accelerator, Buffer, Device, accelerator_api, accelerator_count
from max.dtype import DType
from max.engine import InferenceSession, Model, read

from implementations.cuda_driver import gpu_index
from implementations.errors import ImplementationUnavailableError
from implementations.gpu_targets import target_of
from implementations.max_graph.artifacts import all_compiled_graphs, load_report
from implementations.max_graph.gpu.memory_budget import MemoryBudget, limited
from implementations.max_graph.gpu.weights import (
    canonical_weights,
    graph_weights,
    log_mel_constants,
)
from implementations.max_graph.load_plan import make_plan
from implementations.max_graph.runtime import share_gpu_memory
from implementations.nvidia import architecture, no_max_gpu_because
from implementations.options import LoadOptions, LoadReport
from implementations.session import FloatArray
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions

_next_key = itertools.count(1).__next__
"""Returns a key for a captured graph, unique in the process."""


@dataclass(frozen=True, slots=True)
class CapturedGraph:
    """A CUDA graph of a model's execution, with its input and output buffers."""

    model: Model
    key: int
    inputs: tuple[Buffer, ...]
    outputs: list[Buffer]
    """Memory of the captured graph itself, held as long as it may be replayed."""

    @classmethod
    def capture(cls, model: Model, *inputs: Buffer) -> Self:
        """Captures the execution of a model that has been executed before."""
        key = _next_key()
        return cls(model, key, inputs, model.capture(key, *inputs))

    def replay(self) -> None:
        """Executes the graph again on the present contents of its inputs."""
        self.model.replay(self.key, *self.inputs)

    def release(self) -> None:
        """Frees the memory of the graph, which cannot be replayed afterwards."""
        self.outputs.clear()
        self.model.release_captured_graph(self.key)


@dataclass(frozen=True, slots=True)
class GpuGraphs:
    """Graphs on a GPU, by name, and their weights."""

    models: dict[str, Model]
    packed: dict[str, Array | Buffer]
    dims: ModelDimensions
    dtype: str
    device: Device
    budget: MemoryBudget
    """Memory of the GPU for this model."""
    report: LoadReport
    _one_window: list[CapturedGraph] = field(default_factory=list)
    """The encoder captured for a single window, after its first execution."""

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the weights by canonical name, as float32 copies."""
        return canonical_weights(self.packed, self.dims)

    def encode(self, mel: FloatArray | Buffer) -> Buffer:
        """[n_batch, n_mels, 3000] -> [n_batch, n_audio_ctx, n_audio_state] on the GPU.

        The windows are on the host, or in a buffer of the GPU that the caller no longer needs.
        """
        encoder = self.models["encoder"]
        n_windows = int(mel.shape[0])
        if n_windows > 1 or not self._one_window:
            uploaded = mel if isinstance(mel, Buffer) else self.upload(mel)
            (features,) = encoder.execute(uploaded)
            if n_windows == 1:
                self._one_window.append(CapturedGraph.capture(encoder, uploaded))
            return features
        captured = self._one_window[0]
        captured.inputs[0].inplace_copy_from(mel if isinstance(mel, Buffer) else _on_host(mel))
        captured.replay()
        (features,) = captured.outputs
        return features.copy()

    def encoder_states(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        states = self.models["encoder_states"].execute(self.upload(mel))
        return [state.to_numpy().copy() for state in states]

    def close(self) -> None:
        """Frees the weights and the captured graphs."""
        while self._one_window:
            self._one_window.pop().release()
        self.models.clear()
        self.packed.clear()

    def upload(self, array: FloatArray) -> Buffer:
        """Returns a copy of the array on the GPU."""
        return _on_host(array).to(self.device)


def _on_host(array: FloatArray) -> Buffer:
    return Buffer.from_numpy(np.require(array, np.float32, ["C", "W"]))


def load_gpu_graphs(
    checkpoint: Checkpoint, options: LoadOptions, *, has_decoder: bool
) -> GpuGraphs:
    """Loads the graphs with the checkpoint's weights, on the GPU that the options name.

    Raises:
        ImplementationUnavailableError: there is no such GPU here, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    name = options.device or "cuda"
    device, target = _find_gpu(name), target_of(str(architecture(name)))
    plan = make_plan(checkpoint, options, has_decoder=has_decoder, target=target)
    budget = _budget(checkpoint.dims, plan.dtype, device)
    budget.check_model_fits()
    (artifact,) = artifacts = all_compiled_graphs(plan.requests, plan.on_compile)
    packed = graph_weights(checkpoint, DType[plan.dtype], plan.stacks)
    registry = {**packed, **(log_mel_constants() if has_decoder else {})}
    models = InferenceSession(devices=[device]).init_all(
        read(io.BytesIO(artifact.data)), weights_registry=registry
    )
    report = load_report(artifacts)
    return GpuGraphs(models, packed, checkpoint.dims, plan.dtype, device, budget, report)


def _budget(dims: ModelDimensions, dtype: str, device: Device) -> MemoryBudget:
    """Returns the memory of a GPU for a model."""
    available, total = limited(_free_at_first(device.id)), device.stats.get("total_memory")
    return MemoryBudget(dims, dtype, f"cuda:{device.id}", available, total)


@functools.cache
def _free_at_first(index: int) -> int | None:
    """Returns the memory of a GPU that was free when this process first loaded a model there.

    MAX returns none of what it takes; the next model gets it again.
    """
    return Accelerator(index).stats.get("free_memory")


def _find_gpu(name: str) -> Device:
    """The GPU called `cuda` or `cuda:N`."""
    if (reason := no_max_gpu_because(name)) is not None:
        raise ImplementationUnavailableError(f"--device {name} cannot be used: {reason}")
    share_gpu_memory()
    index, n_found = gpu_index(name), accelerator_count()
    if index is None or accelerator_api() != "cuda" or index >= n_found:
        raise ImplementationUnavailableError(
            f"MAX finds {n_found} GPUs, and no {name}, which the driver has; see nvidia-smi, or"
            " use --impl cuda or --device cpu"
        )
    return Accelerator(index)
