"""Ask for a model's compiled graphs without importing MAX."""

from implementations.max_graph.artifacts import is_stored
from implementations.max_graph.load_plan import make_plan
from implementations.options import LoadOptions
from weights.checkpoint import Checkpoint


def is_full_max_compiled(checkpoint: Checkpoint, options: LoadOptions) -> bool:
    """Returns True where `full-max` would load the model without compiling.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype there.
    """
    return all(map(is_stored, make_plan(checkpoint, options, has_decoder=True).requests))


def is_hybrid_compiled(checkpoint: Checkpoint, options: LoadOptions) -> bool:
    """Returns True where `hybrid` would load the model without compiling.

    Raises:
        ImplementationUnavailableError: the graphs do not compute in that dtype there.
    """
    return all(map(is_stored, make_plan(checkpoint, options, has_decoder=False).requests))
