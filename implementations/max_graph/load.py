"""Put a checkpoint's weights and the compiled graphs together into models that run."""

import io

from max.driver import CPU
from max.engine import InferenceSession, Model, read

from implementations.base import LoadOptions
from implementations.errors import ImplementationUnavailableError
from implementations.max_graph.artifacts import compiled_graphs
from implementations.max_graph.compile import CompileRequest
from implementations.max_graph.parameters import graph_weights, matrix_dtype
from weights.checkpoint import Checkpoint


def load_models(
    checkpoint: Checkpoint, graphs: tuple[str, ...], options: LoadOptions
) -> dict[str, Model]:
    """The models of the given graphs, with weights, on the CPU.

    Raises:
        ImplementationUnavailableError: not on that device, or not in that dtype.
        ImplementationFailedError: the graphs could not be compiled.
    """
    _check(options)
    request = CompileRequest(graphs, checkpoint.dims, matrix_dtype(checkpoint))
    compiled = compiled_graphs(request, options.on_compile)
    session = InferenceSession(devices=[CPU()], num_threads=options.n_threads or None)
    return session.init_all(read(io.BytesIO(compiled)), weights_registry=graph_weights(checkpoint))


def _check(options: LoadOptions) -> None:
    if options.device not in {None, "cpu"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not run on {options.device}; drop --device"
        )
    if options.dtype not in {None, "float32"}:
        raise ImplementationUnavailableError(
            f"the MAX graphs do not compute in {options.dtype}; drop --dtype or use float32"
        )
