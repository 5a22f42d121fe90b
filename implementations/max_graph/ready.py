"""A model's compiled graphs, asked for and made ahead of time, without importing MAX."""

from implementations.max_graph.artifacts import all_compiled_graphs, is_stored, load_report
from implementations.max_graph.load_plan import make_plan
from implementations.options import LoadOptions, LoadReport
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


def compile_ahead(
    checkpoint: Checkpoint, options: LoadOptions, target: str | None, *, has_decoder: bool
) -> LoadReport:
    """Compiles the graphs for models of these sizes that are not in the cache.

    Args:
        checkpoint: The model.
        options: Device and dtype as a user asks for them.
        target: `host` or `cuda:ARCHITECTURE`; None is the device of the options in this machine.
        has_decoder: False for the encoder alone.

    Raises:
        ImplementationUnavailableError: The graphs do not run on that device, or not in that dtype.
        ImplementationFailedError: They could not be compiled, or not stored.
    """
    plan = make_plan(checkpoint, options, has_decoder=has_decoder, target=target)
    return load_report(all_compiled_graphs(plan.requests, plan.on_compile, must_store=True))
