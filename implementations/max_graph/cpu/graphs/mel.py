"""Log-mel frames as a graph."""

from max.dtype import DType
from max.graph import Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.cpu.graphs.layers import weight
from implementations.max_graph.cpu.graphs.layouts import N_WAVE_COLUMNS
from implementations.max_graph.cpu.graphs.ops import CPU, log_mel
from weights.dims import N_FFT


class LogMel:
    """Samples to log10 of band power, before floor and scale."""

    def __init__(self, n_mels: int) -> None:
        self.n_mels = n_mels

    def input_types(self) -> list[TensorType]:
        """Returns the types of samples [n_samples] and filters [n_mels, 201]."""
        return [
            TensorType(DType.float32, ["n_samples"], CPU),
            TensorType(DType.float32, [self.n_mels, N_FFT // 2 + 1], CPU),
        ]

    def add_graph(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds the graph `log_mel` to a module."""
        types = self.input_types()
        waves = (N_FFT // 2 + 1, N_WAVE_COLUMNS)
        with Graph("log_mel", input_types=types, module=module, kernel_library=kernels) as graph:
            samples, filters = (value.tensor for value in graph.inputs)
            frames = log_mel(
                samples,
                filters,
                weight("log_mel.window", (N_FFT,)),
                weight("log_mel.cosines", waves, DType.float64),
                weight("log_mel.sines", waves, DType.float64),
            )
            graph.output(frames)
