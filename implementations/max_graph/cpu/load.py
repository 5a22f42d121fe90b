"""Put a checkpoint's weights and the compiled graphs together into models that run."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from max.driver import CPU, Buffer
from max.dtype import DType
from max.engine import InferenceSession, Model, read

from implementations.base import HOST, FloatArray, LoadOptions
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.compile import compile_request
from implementations.max_graph.cpu.weights import (
    canonical_weights,
    graph_constants,
    graph_weights,
)
from implementations.max_graph.dtypes import choose_dtype, matrix_types
from implementations.max_graph.runtime import coarse_timers
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class LoadedGraphs:
    """Graphs that run, by name, and the weights that they read."""

    models: dict[str, Model]
    arranged: dict[str, Array]
    """Not copied by MAX: they must live as long as the models."""
    dims: ModelDimensions
    dtype: str

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights by canonical name, as float32 copies."""
        return canonical_weights(self.arranged, self.dims)

    def encode(self, mel: FloatArray) -> Buffer:
        """[n_batch, n_mels, 3000] -> [n_batch, n_audio_ctx, n_audio_state]."""
        (features,) = self.models["encoder"].execute(np.require(mel, np.float32, ["C", "W"]))
        return features

    def encoder_states(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        states = self.models["encoder_states"].execute(np.require(mel, np.float32, ["C", "W"]))
        return [state.to_numpy().copy() for state in states]

    def close(self) -> None:
        """Free the weights."""
        self.models.clear()
        self.arranged.clear()


def is_cuda(device: str | None) -> bool:
    """Whether a device's name is that of an NVIDIA GPU."""
    return device is not None and device.partition(":")[0] == "cuda"


def load_graphs(
    checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions
) -> LoadedGraphs:
    """The given graphs with the checkpoint's weights, on the CPU.

    Raises:
        ImplementationUnavailableError: not on that device, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    compiled = read(io.BytesIO(compile_graphs(checkpoint, graphs, options)))
    has_decoder = "decoder" in graphs
    dtype = choose_dtype(options, checkpoint.dims, has_decoder=has_decoder)
    arranged = graph_weights(
        checkpoint,
        matrix_types(checkpoint, dtype, HOST),
        ("encoder", "decoder")[: 1 + has_decoder],
    )
    constants = graph_constants(options.n_threads)
    models = InferenceSession(devices=[CPU()]).init_all(
        compiled, weights_registry={**arranged, **constants, **_halves(arranged)}
    )
    dims = checkpoint.dims
    loaded = LoadedGraphs(models, arranged | constants, dims, dtype)
    with coarse_timers():
        loaded.encode(np.empty((0, dims.n_mels, 2 * dims.n_audio_ctx), np.float32))
    return loaded


def _halves(arranged: Mapping[str, Array]) -> dict[str, Buffer]:
    """The arrays that hold bfloat16 by its bits, called by its name."""
    return {
        name: Buffer.from_numpy(array).view(DType.bfloat16, array.shape)
        for name, array in arranged.items()
        if array.dtype == np.uint16
    }


def compile_graphs(checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions) -> bytes:
    """The compiled file of the given graphs for models of these sizes, made where it is not kept.

    Raises:
        ImplementationUnavailableError: not on that device, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    if options.target == HOST and options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; use --device cpu, cuda or cuda:N"
        )
    return compiled_graphs(compile_request(checkpoint, graphs, options), options.on_compile)
