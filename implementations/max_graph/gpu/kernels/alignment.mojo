"""Cross-attention's scores of chosen heads, for finding when a token was said."""
import extensibility
from extensibility import InputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from std.math import sqrt
from .pointers import F32, Floats, Integers, Memory, MutableTensor, memory

comptime THREADS = 128


def scores_kernel[
    q_type: DType, kv_type: DType
](
    into: Floats,
    q: Memory[q_type],
    audio: Memory[kv_type],
    heads: Integers,
    layer: Int32,
    n_channels: Int32,
    n_queries: Int32,
    n_keys: Int32,
    n_state: Int32,
    stride: Int32,
):
    """Blocks: (query, chosen head). Each thread scores its own keys."""
    var chosen = Int(block_idx.y)
    if heads[unsafe_offset=2 * chosen] != layer:
        return
    var channels = Int(n_channels)
    var head = Int(heads[unsafe_offset=2 * chosen + 1])
    var query = Int(block_idx.x)
    var scale = 1 / sqrt(Float32(channels))
    for key in range(Int(thread_idx.x), Int(n_keys), THREADS):
        var at = key * Int(stride) + 2 * Int(layer) * Int(n_state) + head * channels
        var sum = Float32(0)
        for c in range(channels):
            var asked = q[unsafe_offset=query * Int(n_state) + head * channels + c].cast[F32]()
            sum = asked.fma(audio[unsafe_offset=at + c].cast[F32](), sum)
        into[unsafe_offset=(chosen * Int(n_queries) + query) * Int(n_keys) + key] = sum * scale


@extensibility.register("whisper_gpu_attention_scores")
struct AttentionScores:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        scores: MutableTensor[dtype=F32, rank=3, ...],
        q: InputTensor[rank=3, ...],
        audio: InputTensor[rank=3, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Fills scores[i] [n_new, n_audio_ctx] where row i of heads, (layer, head), names layer."""
        ctx.enqueue_function[scores_kernel[q.dtype, audio.dtype]](
            memory(scores),
            memory(q),
            memory(audio),
            memory(heads),
            Int32(layer),
            Int32(channels),
            Int32(q.dim_size(1)),
            Int32(audio.dim_size(1)),
            Int32(q.dim_size(2)),
            Int32(audio.dim_size(2)),
            grid_dim=(q.dim_size(1), heads.dim_size(0)),
            block_dim=THREADS,
        )
