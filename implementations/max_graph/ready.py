"""Whether the graphs of `full-max` are compiled already; asked without importing MAX."""

from dataclasses import replace

from implementations import nvidia
from implementations.base import LoadOptions
from implementations.max_graph.artifacts import is_kept
from implementations.max_graph.compile import ALL_GRAPHS, GPU_GRAPHS, compile_request
from weights.checkpoint import Checkpoint


def is_compiled(checkpoint: Checkpoint, options: LoadOptions) -> bool:
    """Whether `full-max` would load these sizes, on that device in that dtype, uncompiled.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype there.
    """
    device = options.device or "cpu"
    if device == "cpu":
        return is_kept(compile_request(checkpoint, ALL_GRAPHS, options))
    options = replace(options, target=f"cuda:{nvidia.architecture(device)}")
    return is_kept(compile_request(checkpoint, GPU_GRAPHS, options))
