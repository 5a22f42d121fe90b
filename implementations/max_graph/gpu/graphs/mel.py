"""Log-mel frames as a graph for a GPU."""

import numpy as np
from max.dtype import DType
from max.graph import Graph, KernelLibrary, Module, TensorType

from implementations.log_mel import N_FFT, hann_window
from implementations.max_graph.gpu.graphs.layers import weight
from implementations.max_graph.gpu.graphs.ops import GPU, log_mel
from weights.checkpoint import Array


class LogMel:
    """Samples to log10 of band power, before floor and scale."""

    def __init__(self, n_mels: int) -> None:
        self.n_mels = n_mels

    def add_graph(self, module: Module, kernels: KernelLibrary) -> None:
        """Put the graph `log_mel` into a module: samples [n_samples], filters [n_mels, 201]."""
        types = [
            TensorType(DType.float32, ["n_samples"], GPU),
            TensorType(DType.float32, [self.n_mels, N_FFT // 2 + 1], GPU),
        ]
        with Graph("log_mel", input_types=types, module=module, kernel_library=kernels) as graph:
            samples, filters = (value.tensor for value in graph.inputs)
            window = weight("log_mel.window", (N_FFT,))
            waves = weight("log_mel.waves", (2, N_FFT), DType.float64)
            graph.output(log_mel(samples, filters, window, waves))


def constants() -> dict[str, Array]:
    """What the graph needs besides its inputs: the window, and a wave's cosines and sines."""
    phases = np.arange(N_FFT) * (2 * np.pi / N_FFT)
    return {
        "log_mel.window": hann_window(),
        "log_mel.waves": np.stack([np.cos(phases), np.sin(phases)]),
    }
