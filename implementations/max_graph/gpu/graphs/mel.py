"""Log-mel frames as a graph for a GPU."""

from max.dtype import DType
from max.graph import DeviceRef, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.layers import weight
from implementations.max_graph.gpu.graphs.ops import log_mel
from weights.dims import N_FFT


class LogMel:
    """Samples to log10 of band power, before floor and scale."""

    def __init__(self, n_mels: int, device: DeviceRef) -> None:
        self.n_mels, self.device = n_mels, device

    def add_graph(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds the graph `log_mel` to a module: samples [n_samples], filters [n_mels, 201]."""
        types = [
            TensorType(DType.float32, ["n_samples"], self.device),
            TensorType(DType.float32, [self.n_mels, N_FFT // 2 + 1], self.device),
        ]
        with Graph("log_mel", input_types=types, module=module, kernel_library=kernels) as graph:
            samples, filters = (value.tensor for value in graph.inputs)
            window = weight("log_mel.window", (N_FFT,))
            waves = weight("log_mel.waves", (2, N_FFT), DType.float64)
            graph.output(log_mel(samples, filters, window, waves))
