"""Cross-attention's scores before softmax of chosen heads, from which word timestamps come."""
import extensibility
from extensibility import InputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from std.math import sqrt
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, MutableTensor, pointer

comptime THREADS = 128


def scores_kernel[
    q_type: DType, kv_type: DType
](
    output: FloatPointer,
    q: DevicePointer[q_type],
    audio: DevicePointer[kv_type],
    heads: IntPointer,
    layer: Int32,
    head_dim: Int32,
    n_queries: Int32,
    n_keys: Int32,
    n_state: Int32,
    stride: Int32,
):
    """Computes a query's scores in a head by each block; blocks: (query, index of the head)."""
    var index = Int(block_idx.y)
    if heads[unsafe_offset=2 * index] != layer:
        return
    var dim = Int(head_dim)
    var head = Int(heads[unsafe_offset=2 * index + 1])
    var query = Int(block_idx.x)
    var scale = 1 / sqrt(Float32(dim))
    for key in range(Int(thread_idx.x), Int(n_keys), THREADS):
        var at = key * Int(stride) + 2 * Int(layer) * Int(n_state) + head * dim
        var sum = Float32(0)
        for c in range(dim):
            var query_value = q[unsafe_offset=query * Int(n_state) + head * dim + c].cast[F32]()
            sum = query_value.fma(audio[unsafe_offset=at + c].cast[F32](), sum)
        output[unsafe_offset=(index * Int(n_queries) + query) * Int(n_keys) + key] = sum * scale


@extensibility.register("whisper_gpu_cross_attention_scores")
struct CrossAttentionScores:
    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, layer: Int
    ](
        scores: MutableTensor[dtype=F32, rank=3, ...],
        q: InputTensor[rank=3, ...],
        audio: InputTensor[rank=3, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes the scores of those of the heads that belong to a layer, and leaves the others.

        Parameters:
            target: Device of the graph.
            head_dim: Width of a head.
            layer: The decoder's layer.

        Args:
            scores: [n_heads, n_new, n_audio_ctx], of which this layer's heads are filled.
            q: [1, n_new, n_state].
            audio: Keys and values [1, n_audio_ctx, n_layer * 2 * n_state].
            heads: Layer and head, [n_heads, 2].
            ctx: Stream.
        """
        ctx.enqueue_function[scores_kernel[q.dtype, audio.dtype]](
            pointer(scores),
            pointer(q),
            pointer(audio),
            pointer(heads),
            Int32(layer),
            Int32(head_dim),
            Int32(q.dim_size(1)),
            Int32(audio.dim_size(1)),
            Int32(q.dim_size(2)),
            Int32(audio.dim_size(2)),
            grid_dim=(q.dim_size(1), heads.dim_size(0)),
            block_dim=THREADS,
        )
