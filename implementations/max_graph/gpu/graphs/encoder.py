"""The audio encoder as a graph for a GPU, exact in float32."""

from max.dtype import DType
from max.graph import DeviceRef, TensorValue

from implementations.max_graph.gpu.graphs.blocks import ResidualAttentionBlock
from implementations.max_graph.gpu.graphs.layers import Conv1d, LayerNorm, weight
from implementations.max_graph.graphs.encoder_graphs import EncoderGraphs, LayerTypes
from weights.dims import ModelDimensions


class AudioEncoder(EncoderGraphs[Conv1d, ResidualAttentionBlock, LayerNorm]):
    """Log-mel windows to audio features."""

    def __init__(self, dims: ModelDimensions, dtype: DType, device: DeviceRef) -> None:
        layers = LayerTypes(Conv1d, ResidualAttentionBlock, LayerNorm)
        super().__init__(dims, dtype, device, layers)

    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""
        dims = self.dims
        positional = weight("encoder.positional_embedding", (dims.n_audio_ctx, dims.n_audio_state))
        x = self.conv1(mel, stride=1, channels_first=True)
        states = [self.conv2(x, positional, stride=2)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states
