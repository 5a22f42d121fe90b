"""`full-max`: Whisper in MAX graphs from the spectrogram to the logits; never imports torch."""

import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import ClassVar

from implementations.implementation import Implementation
from implementations.max_graph.cpu.weights import graph_weights
from implementations.max_graph.load_plan import is_cuda, make_plan
from implementations.max_graph.ready import compile_ahead
from implementations.options import LoadOptions, LoadReport
from weights.checkpoint import Checkpoint


class FullMaxImplementation(Implementation):
    """Chooses between max_graph/cpu and max_graph/gpu; never instantiated itself."""

    name: ClassVar[str] = "full-max"

    @classmethod
    def load(cls, checkpoint: Checkpoint, options: LoadOptions) -> Implementation:
        """Loads graphs and weights, and compiles graphs that are not in the cache.

        Raises:
            ImplementationUnavailableError: The device or dtype is not available here.
            ImplementationFailedError: The graphs could not be compiled.
        """
        start_time = time.perf_counter()
        if is_cuda(options.device):
            from implementations.max_graph.gpu.implementation import GpuFullMax

            import_seconds = time.perf_counter() - start_time
            loaded: Implementation = GpuFullMax.load(checkpoint, options)
        else:
            plan = make_plan(checkpoint, options, has_decoder=True)
            with ThreadPoolExecutor(1, "pack weights") as pool:  # while MAX is imported
                packing = pool.submit(graph_weights, checkpoint, plan.matrices, plan.stacks)
                from implementations.max_graph.cpu.implementation import CpuFullMax

                import_seconds = time.perf_counter() - start_time
                loaded = CpuFullMax.of_plan(checkpoint, plan, packing)
        loaded.load_report = replace(loaded.load_report, import_seconds=import_seconds)
        loaded.alignment_heads = checkpoint.alignment_heads
        return loaded

    @classmethod
    def compile(
        cls, checkpoint: Checkpoint, options: LoadOptions, target: str | None = None
    ) -> LoadReport:
        """Compiles the graphs for models of these sizes that are not in the cache."""
        return compile_ahead(checkpoint, options, target, has_decoder=True)

    @classmethod
    def import_framework(cls) -> None:
        """Imports MAX."""
        import implementations.max_graph.cpu.implementation  # noqa: F401
