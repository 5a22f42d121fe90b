"""`full-max`: Whisper in MAX graphs from the spectrogram to the logits; never imports torch."""

import time
from dataclasses import replace
from typing import ClassVar

from implementations.implementation import Implementation
from implementations.max_graph.load_plan import is_cuda
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
        chosen = _for_device(options.device)
        import_seconds = time.perf_counter() - start_time
        loaded = chosen.load(checkpoint, options)
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
        _for_device("cpu")


def _for_device(device: str | None) -> type[Implementation]:
    """Returns the class for a device; imports MAX."""
    if is_cuda(device):
        from implementations.max_graph.gpu.implementation import GpuFullMax

        return GpuFullMax
    from implementations.max_graph.cpu.implementation import CpuFullMax

    return CpuFullMax
