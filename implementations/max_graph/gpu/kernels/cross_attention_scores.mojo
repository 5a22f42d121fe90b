"""Cross-attention's scores before softmax of chosen heads, from which word timestamps come."""
import extensibility
from extensibility import InputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import ceildiv, sqrt
from std.memory import unsafe_stack_allocation
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, MutableTensor, load, pointer

comptime THREADS = 128
comptime QUERIES = 8
"""Queries of a row that share the keys that a block reads."""
comptime STEP = 4
"""Channels that a thread multiplies at once."""


def scores_kernel[
    q_type: DType, kv_type: DType, head_dim: Int
](
    output: FloatPointer,
    q: DevicePointer[q_type],
    audio: DevicePointer[kv_type],
    windows: IntPointer,
    heads: IntPointer,
    layer: Int32,
    n_queries: Int32,
    n_keys: Int32,
    n_heads: Int32,
    n_state: Int32,
    stride: Int32,
):
    """Computes the scores of QUERIES queries in a head at THREADS positions by each block.

    Blocks: (queries and positions, index of the head, row), where blocks that follow each other
    share the queries. For the arguments see `CrossAttentionScores`.
    """
    var index = Int(block_idx.y)
    if heads[unsafe_offset=2 * index] != layer:
        return
    var row = Int(block_idx.z)
    var channel = Int(heads[unsafe_offset=2 * index + 1]) * head_dim
    var n_parts = ceildiv(Int(n_keys), THREADS)
    var first = Int(block_idx.x) // n_parts * QUERIES
    var key = Int(block_idx.x) % n_parts * THREADS + Int(thread_idx.x)
    var queries = unsafe_stack_allocation[
        QUERIES * head_dim, Float32, alignment=16, address_space=.SHARED
    ]()
    for i in range(Int(thread_idx.x), QUERIES * head_dim, THREADS):
        var query = row * Int(n_queries) + min(first + i // head_dim, Int(n_queries) - 1)
        var at = query * Int(n_state) + channel + i % head_dim
        queries[unsafe_offset=i] = q[unsafe_offset=at].cast[F32]()
    barrier()
    if key >= Int(n_keys):
        return
    var window = Int(windows[unsafe_offset=row]) * Int(n_keys)
    var at = (window + key) * Int(stride) + 2 * Int(layer) * Int(n_state) + channel
    var sums = Array[Float32, QUERIES](fill=0)
    comptime for step in range(head_dim // STEP):
        var k = load[STEP](audio, at + step * STEP)
        comptime for i in range(QUERIES):
            comptime place = i * head_dim + step * STEP
            var x = queries.unsafe_load[width=STEP, alignment=16](place)
            comptime for j in range(STEP):
                sums[i] = x[j].fma(k[j], sums[i])
    var scale = 1 / sqrt(Float32(head_dim))
    var line = (row * Int(n_heads) + index) * Int(n_queries) + first
    comptime for i in range(QUERIES):
        if first + i < Int(n_queries):
            output[unsafe_offset=(line + i) * Int(n_keys) + key] = sums[i] * scale


@extensibility.register("whisper_gpu_cross_attention_scores")
struct CrossAttentionScores:
    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, layer: Int
    ](
        scores: MutableTensor[dtype=F32, rank=4, ...],
        q: InputTensor[rank=3, ...],
        audio: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes the scores of those of the heads that belong to a layer, and leaves the others.

        Parameters:
            target: Device of the graph.
            head_dim: Width of a head.
            layer: The decoder's layer.

        Args:
            scores: [n_rows, n_heads, n_new, n_audio_ctx], of which this layer's heads are filled.
            q: [n_rows, n_new, n_state].
            audio: Keys and values [n_windows, n_audio_ctx, n_layer * 2 * n_state].
            windows: Each row's window, [n_rows].
            heads: Layer and head, [n_heads, 2].
            ctx: Stream.
        """
        comptime assert head_dim % STEP == 0, "a head is a whole number of steps"
        var n_blocks = ceildiv(q.dim_size(1), QUERIES) * ceildiv(audio.dim_size(1), THREADS)
        ctx.enqueue_function[scores_kernel[q.dtype, audio.dtype, head_dim]](
            pointer(scores),
            pointer(q),
            pointer(audio),
            pointer(windows),
            pointer(heads),
            Int32(layer),
            Int32(q.dim_size(1)),
            Int32(audio.dim_size(1)),
            Int32(heads.dim_size(0)),
            Int32(q.dim_size(2)),
            Int32(audio.dim_size(2)),
            grid_dim=(n_blocks, heads.dim_size(0), q.dim_size(0)),
            block_dim=THREADS,
        )
