"""Put a checkpoint's weights and the compiled graphs together into models that run."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from max.driver import CPU
from max.engine import InferenceSession, Model, read

from implementations.base import FloatArray, LoadOptions
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.compile import CompileRequest
from implementations.max_graph.parameters import (
    canonical_weights,
    graph_constants,
    graph_weights,
    matrix_dtype,
)
from weights.checkpoint import Array, Checkpoint
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class LoadedGraphs:
    """Graphs that run, by name, and the weights that they read."""

    models: Mapping[str, Model]
    arranged: Mapping[str, Array]
    """Not copied by MAX: they must live as long as the models."""
    dims: ModelDimensions

    def weights(self) -> Iterator[tuple[str, FloatArray]]:
        """The weights by canonical name, as float32 copies."""
        return canonical_weights(self.arranged, self.dims)

    def encoder_states(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        states = self.models["encoder_states"].execute(np.require(mel, np.float32, ["C", "W"]))
        return [state.to_numpy().copy() for state in states]


def load_graphs(
    checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions
) -> LoadedGraphs:
    """The given graphs with the checkpoint's weights, on the CPU.

    Raises:
        ImplementationUnavailableError: not on that device, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    compiled = read(io.BytesIO(compile_graphs(checkpoint, graphs, options)))
    arranged = graph_weights(checkpoint, ("encoder", "decoder")[: 1 + ("decoder" in graphs)])
    constants = graph_constants(options.n_threads)
    models = InferenceSession(devices=[CPU()]).init_all(
        compiled, weights_registry=arranged | constants
    )
    return LoadedGraphs(models, arranged | constants, checkpoint.dims)


def compile_graphs(checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions) -> bytes:
    """The compiled file of the given graphs for models of these sizes, made where it is not kept.

    Raises:
        ImplementationUnavailableError: not on that device, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    _check(options)
    request = CompileRequest(graphs, checkpoint.dims, matrix_dtype(checkpoint))
    return compiled_graphs(request, options.on_compile)


def _check(options: LoadOptions) -> None:
    if options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; drop --device"
        )
    if options.dtype not in {None, "float32"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {options.dtype}; drop --dtype or use float32"
        )
