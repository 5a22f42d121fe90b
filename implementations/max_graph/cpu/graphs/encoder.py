"""The audio encoder as a graph."""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.blocks import ResidualAttentionBlock
from implementations.max_graph.cpu.graphs.layers import Conv1d, LayerNorm, weight
from implementations.max_graph.cpu.graphs.ops import CPU, conv_stem
from implementations.max_graph.graphs.encoder_graphs import EncoderGraphs, LayerTypes
from weights.dims import ModelDimensions


class AudioEncoder(EncoderGraphs[Conv1d, ResidualAttentionBlock, LayerNorm]):
    """Log-mel windows to audio features."""

    def __init__(self, dims: ModelDimensions, dtype: DType) -> None:
        layers = LayerTypes(Conv1d, ResidualAttentionBlock, LayerNorm)
        super().__init__(dims, dtype, CPU, layers)

    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""
        dims = self.dims
        positional = weight("encoder.positional_embedding", (dims.n_audio_ctx, dims.n_audio_state))
        states = [conv_stem(mel, self.conv1.operands(), self.conv2.operands(), positional)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states
