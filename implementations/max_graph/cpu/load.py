"""Loading of a checkpoint's weights and the compiled graphs into models that run."""

from collections.abc import Iterator, Mapping
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np
from max.driver import Buffer
from max.dtype import DType

from implementations.max_graph.artifacts import all_compiled_graphs, load_report
from implementations.max_graph.cpu.engine import Model, load_models
from implementations.max_graph.cpu.weights import (
    canonical_weights,
    graph_constants,
    graph_weights,
)
from implementations.max_graph.load_plan import LoadPlan
from implementations.max_graph.runtime import coarse_timers
from implementations.options import LoadReport
from implementations.session import FloatArray
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class LoadedGraphs:
    """Graphs that run, by name, and the weights that they read."""

    models: dict[str, Model]
    packed: dict[str, Array]
    """Not copied by MAX: they must live as long as the models."""
    dims: ModelDimensions
    dtype: str
    report: LoadReport

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """Yields the weights by canonical name, as float32 copies."""
        return canonical_weights(self.packed, self.dims)

    def encode(self, mel: FloatArray) -> Buffer:
        """[n_batch, n_mels, 3000] -> [n_batch, n_audio_ctx, n_audio_state]."""
        (features,) = self.models["encoder"].execute(np.require(mel, np.float32, ["C", "W"]))
        return features

    def encoder_states(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        states = self.models["encoder_states"].execute(np.require(mel, np.float32, ["C", "W"]))
        return [state.to_numpy().copy() for state in states]

    def close(self) -> None:
        """Frees the weights."""
        self.models.clear()
        self.packed.clear()


def load_graphs(
    checkpoint: Checkpoint, plan: LoadPlan, packing: Future[dict[str, Array]] | None = None
) -> LoadedGraphs:
    """Loads the graphs of a plan with the checkpoint's weights, on the CPU.

    Args:
        checkpoint: The model.
        plan: Graphs and types.
        packing: The weights, if another thread packs them; else they are packed here.

    Raises:
        ImplementationFailedError: the graphs could not be compiled.
    """
    artifacts = all_compiled_graphs(plan.requests, plan.on_compile)
    if packing is None:
        packed = graph_weights(checkpoint, plan.matrices, plan.stacks)
    else:
        packed = packing.result()
    constants = graph_constants(plan.n_threads)
    registry: dict[str, Array | Buffer] = {**packed, **constants, **_bfloat16_buffers(packed)}
    models = load_models((artifact.data for artifact in artifacts), registry)
    dims = checkpoint.dims
    report = load_report(artifacts)
    loaded = LoadedGraphs(models, packed | constants, dims, plan.dtype, report)
    with coarse_timers():
        loaded.encode(np.empty((0, dims.n_mels, 2 * dims.n_audio_ctx), np.float32))
    return loaded


def _bfloat16_buffers(packed: Mapping[str, Array]) -> dict[str, Buffer]:
    """Returns the arrays that hold bfloat16 by its bits, as buffers of that type."""
    return {
        name: Buffer.from_numpy(array).view(DType.bfloat16, array.shape)
        for name, array in packed.items()
        if array.dtype == np.uint16
    }
