"""Put a checkpoint's weights and the compiled graphs together into models that run."""

import io
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from max.driver import CPU, Buffer
from max.engine import InferenceSession, Model, read

from implementations.base import HOST, FloatArray, LoadOptions
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

GPU_DTYPES = ("float16", "float32", "bfloat16")
"""What matrices and caches may be kept in on a GPU, the default first; sums are in float32."""


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

    def encode(self, mel: FloatArray) -> Buffer:
        """[n_batch, n_mels, 3000] -> [n_batch, n_audio_ctx, n_audio_state]."""
        (features,) = self.models["encoder"].execute(np.require(mel, np.float32, ["C", "W"]))
        return features

    def encoder_states(self, mel: FloatArray) -> list[FloatArray]:
        """[n_batch, n_mels, 3000] -> n_audio_layer + 1 states."""
        states = self.models["encoder_states"].execute(np.require(mel, np.float32, ["C", "W"]))
        return [state.to_numpy().copy() for state in states]


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
    dtype = matrix_dtype(checkpoint)
    if options.target != HOST:
        dtype = options.dtype or GPU_DTYPES[0]
    request = CompileRequest(graphs, checkpoint.dims, dtype, options.target)
    return compiled_graphs(request, options.on_compile)


def _check(options: LoadOptions) -> None:
    if options.target == HOST and options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; use --device cpu, cuda or cuda:N"
        )
    allowed = ("float32",) if options.target == HOST else GPU_DTYPES
    if options.dtype is not None and options.dtype not in allowed:
        where = "on the CPU" if options.target == HOST else "on a GPU"
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {options.dtype} {where}; "
            f"drop --dtype or use {' or '.join(allowed)}"
        )
