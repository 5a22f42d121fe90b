"""Put a checkpoint's weights and the compiled graphs together into models that run."""

import io

from max.driver import CPU
from max.engine import InferenceSession, Model, read

from implementations.base import LoadOptions
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.compile import CompileRequest
from implementations.max_graph.layouts import PANEL
from implementations.max_graph.parameters import graph_weights, matrix_dtype
from weights.checkpoint import Checkpoint
from weights.dims import ModelDimensions


def load_models(
    checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions
) -> dict[str, Model]:
    """The models of the given graphs, with weights, on the CPU.

    Raises:
        ImplementationUnavailableError: the device, the dtype or the model's sizes do not fit.
        ImplementationFailedError: the graphs could not be compiled.
    """
    _check(checkpoint.dims, options)
    request = CompileRequest(graphs, checkpoint.dims, matrix_dtype(checkpoint))
    compiled = compiled_graphs(request, options.on_compile)
    session = InferenceSession(devices=[CPU()], num_threads=options.n_threads or None)
    return session.init_all(read(io.BytesIO(compiled)), weights_registry=graph_weights(checkpoint))


def _check(dims: ModelDimensions, options: LoadOptions) -> None:
    if options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; drop --device"
        )
    if options.dtype not in {None, "float32"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {options.dtype}; drop --dtype or use float32"
        )
    for n_state, n_head in (
        (dims.n_audio_state, dims.n_audio_head),
        (dims.n_text_state, dims.n_text_head),
    ):
        if n_state // n_head % PANEL:
            raise ImplementationUnavailableError(
                f"the MAX graphs need heads of a multiple of {PANEL} channels (every released "
                f"Whisper has 64), not {n_state // n_head}; use --impl cpu"
            )
