"""The audio encoder as a graph."""

from max.dtype import DType
from max.graph import TensorValue

from implementations.max_graph.cpu.graphs.blocks import ResidualAttentionBlock
from implementations.max_graph.cpu.graphs.layers import Conv1d, LayerNorm, weight
from implementations.max_graph.cpu.graphs.ops import CPU, conv_stem
from implementations.max_graph.graphs.encoder_graphs import EncoderGraphs
from weights.dims import ModelDimensions


class AudioEncoder(EncoderGraphs):
    """Log-mel windows to audio features; names as in whisper/model.py."""

    def __init__(self, dims: ModelDimensions, dtype: DType) -> None:
        super().__init__(dims, CPU)
        n_state = dims.n_audio_state
        self.conv1 = Conv1d("encoder.conv1", dims.n_mels, n_state, dtype)
        self.conv2 = Conv1d("encoder.conv2", n_state, n_state, dtype)
        self.blocks = [
            ResidualAttentionBlock(f"encoder.blocks.{i}", n_state, dims.n_audio_head, dtype)
            for i in range(dims.n_audio_layer)
        ]
        self.ln_post = LayerNorm("encoder.ln_post", n_state)

    def __call__(self, mel: TensorValue) -> TensorValue:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> [n_batch, n_audio_ctx, n_audio_state]."""
        return self.ln_post(self.states(mel)[-1])

    def states(self, mel: TensorValue) -> list[TensorValue]:
        """[n_batch, n_mels, 2 * n_audio_ctx] -> n_audio_layer + 1 states before `ln_post`."""
        dims = self.dims
        positional = weight("encoder.positional_embedding", (dims.n_audio_ctx, dims.n_audio_state))
        states = [conv_stem(mel, self.conv1.operands(), self.conv2.operands(), positional)]
        for block in self.blocks:
            states.append(block(states[-1]))
        return states
