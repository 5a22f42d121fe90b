"""The encoder's graphs, whatever the device: which there are, their layers, their inputs."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from max.dtype import DType
from max.graph import DeviceRef, Graph, KernelLibrary, Module, TensorType, TensorValue

from weights.dims import ModelDimensions

Conv = TypeVar("Conv")
Block = TypeVar("Block")
Norm = TypeVar("Norm", bound=Callable[[TensorValue], TensorValue])


@dataclass(frozen=True, slots=True)
class LayerTypes(Generic[Conv, Block, Norm]):
    """Constructors of a device's layers."""

    conv: Callable[[str, int, int, DType], Conv]
    """Convolution by name, channels in and out, and dtype of the matrix."""
    block: Callable[[str, int, int, DType], Block]
    """Residual attention block by name, width, heads, and dtype of the matrices."""
    norm: Callable[[str, int], Norm]
    """Layer norm by name and width."""


class EncoderGraphs(ABC, Generic[Conv, Block, Norm]):
    """Log-mel windows to audio features, by a device's layers; names as in whisper/model.py."""

    def __init__(
        self,
        dims: ModelDimensions,
        dtype: DType,
        device: DeviceRef,
        layers: LayerTypes[Conv, Block, Norm],
    ) -> None:
        self.dims, self.dtype, self.device = dims, dtype, device
        n_state = dims.n_audio_state
        self.conv1 = layers.conv("encoder.conv1", dims.n_mels, n_state, dtype)
        self.conv2 = layers.conv("encoder.conv2", n_state, n_state, dtype)
        self.blocks = [
            layers.block(f"encoder.blocks.{i}", n_state, dims.n_audio_head, dtype)
            for i in range(dims.n_audio_layer)
        ]
        self.ln_post = layers.norm("encoder.ln_post", n_state)

    @abstractmethod
    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""

    def __call__(self, mel: TensorValue) -> TensorValue:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> [n_batch, n_audio_ctx, n_audio_state]."""
        return self.ln_post(self.states(mel)[-1])

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
