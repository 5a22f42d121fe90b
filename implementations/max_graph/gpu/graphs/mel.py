"""Log-mel frames, and windows of them, as graphs for a GPU."""

from max.dtype import DType
from max.graph import DeviceRef, Graph, KernelLibrary, Module, TensorType

from implementations.max_graph.gpu.graphs.layers import weight
from implementations.max_graph.gpu.graphs.mel_ops import log_mel, mel_loudness, mel_windows
from weights.dims import N_FFT


class MelGraphs:
    """Samples to log10 of band power; from these the encoder's windows, and the loudness."""

    def __init__(self, n_mels: int, n_frames: int, device: DeviceRef) -> None:
        """Stores the sizes.

        Args:
            n_mels: Bands.
            n_frames: Frames of a window.
            device: The GPU.
        """
        self.n_mels, self.n_frames, self.device = n_mels, n_frames, device

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Adds the graphs `log_mel`, `mel_windows` and `mel_loudness` to a module."""
        self._add_log_mel(module, kernels)
        self._add_windows(module, kernels)
        self._add_loudness(module, kernels)

    def _add_log_mel(self, module: Module, kernels: KernelLibrary) -> None:
        types = [
            TensorType(DType.float32, ["n_samples"], self.device),
            TensorType(DType.float32, [self.n_mels, N_FFT // 2 + 1], self.device),
        ]
        with Graph("log_mel", input_types=types, module=module, kernel_library=kernels) as graph:
            samples, filters = (value.tensor for value in graph.inputs)
            window = weight("log_mel.window", (N_FFT,))
            waves = weight("log_mel.waves", (2, N_FFT), DType.float64)
            graph.output(*log_mel(samples, filters, window, waves))

    def _add_windows(self, module: Module, kernels: KernelLibrary) -> None:
        types = [
            TensorType(DType.float32, ["n_rows", self.n_mels], self.device),
            TensorType(DType.float32, ["n_windows"], self.device),
            TensorType(DType.int32, ["n_windows", 2], self.device),
        ]
        name = "mel_windows"
        with Graph(name, input_types=types, module=module, kernel_library=kernels) as graph:
            frames, floors, counts = (value.tensor for value in graph.inputs)
            graph.output(mel_windows(frames, floors, counts, self.n_frames))

    def _add_loudness(self, module: Module, kernels: KernelLibrary) -> None:
        types = [
            TensorType(DType.float32, ["n_frames", self.n_mels], self.device),
            TensorType(DType.float32, [1], self.device),
        ]
        name = "mel_loudness"
        with Graph(name, input_types=types, module=module, kernel_library=kernels) as graph:
            frames, floor = (value.tensor for value in graph.inputs)
            graph.output(mel_loudness(frames, floor))
