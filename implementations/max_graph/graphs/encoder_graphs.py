"""The encoder's graphs, whatever the device: which there are, and what goes in and out."""

from abc import ABC, abstractmethod

from max.dtype import DType
from max.graph import DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue

from weights.dims import ModelDimensions


class EncoderGraphs(ABC):
    """Log-mel windows to audio features; a device's class says by which operations."""

    def __init__(self, dims: ModelDimensions, device: DeviceRef) -> None:
        self.dims, self.device = dims, device

    @abstractmethod
    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""

    @abstractmethod
    def __call__(self, mel: TensorValue) -> TensorValue:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> [n_batch, n_audio_ctx, n_audio_state]."""

    def add_graphs(self, module: Module, kernels: KernelLibrary) -> None:
        """Put `encoder` and, for finding errors, `encoder_states` into a module."""
        shape: list[str | int] = ["n_batch", self.dims.n_mels, 2 * self.dims.n_audio_ctx]
        types = [TensorType(DType.float32, shape, self.device)]
        with Graph("encoder", input_types=types, module=module, kernel_library=kernels) as graph:
            graph.output(self(graph.inputs[0].tensor))
        with Graph(
            "encoder_states", input_types=types, module=module, kernel_library=kernels
        ) as graph:
            graph.output(*self.states(graph.inputs[0].tensor))
