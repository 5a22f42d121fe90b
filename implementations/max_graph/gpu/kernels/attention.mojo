"""Attention in its three uses: within the audio, from text to audio, within the text."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .flash import CHANNELS, flash_attention
from .launch import early
from .pointers import F32, Floats, Integers, MutableTensor, memory
from .spread_attention import CACHED, OWN, THREADS, WINDOWS, attention_kernel, merge_kernel

comptime MANY_QUERIES = 8
"""Queries that share the keys that a block reads, where there are so many."""
comptime MAX_SPLITS = 16
comptime ENOUGH_BLOCKS = 264
"""Two for each multiprocessor of the largest GPUs."""


@extensibility.register("whisper_gpu_attention")
struct Attention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int
    ](
        output: OutputTensor[rank=3, ...],
        qkv: InputTensor[dtype = output.dtype, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """All of a window: queries, keys and values side by side [n_batch, n_ctx, 3 * n_state]."""
        comptime queries = 8
        var n_state = qkv.dim_size(2) // 3
        var n_ctx = qkv.dim_size(1)
        comptime if output.dtype != F32 and channels == CHANNELS:
            flash_attention[output.dtype](
                memory(output), memory(qkv), qkv.dim_size(0), n_ctx, n_state // channels, ctx
            )
            return
        var nothing = rebind[Integers](memory(qkv))
        ctx.enqueue_function[attention_kernel[output.dtype, output.dtype, channels, queries, OWN]](
            memory(output),
            rebind[Floats](memory(qkv)),
            memory(qkv),
            memory(qkv),
            nothing,
            nothing,
            Int32(3 * n_state),
            Int32(n_ctx * 3 * n_state),
            Int32(3 * n_state),
            Int64(n_state),
            Int64(2 * n_state),
            Int32(n_ctx),
            Int32(n_ctx),
            Int32(n_state // channels),
            Int32(1),
            grid_dim=(n_state // channels, ceildiv(n_ctx, queries), qkv.dim_size(0)),
            block_dim=THREADS,
        )


@extensibility.register("whisper_gpu_audio_attention")
struct AudioAttention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        output: OutputTensor[rank=3, ...],
        parts: OutputTensor[dtype=F32, rank=2, ...],
        q: InputTensor[dtype = output.dtype, rank=3, ...],
        audio: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Text to audio, [n_windows, n_audio_ctx, n_layer * 2 * n_state]; parts is for splits."""
        var n_state = q.dim_size(2)
        var n_head = n_state // channels
        var n_keys = audio.dim_size(1)
        var stride = audio.dim_size(2)
        var n_rows = q.dim_size(0)
        var n_queries = q.dim_size(1)

        @__parameter
        def run[queries: Int](n_splits: Int) raises:
            ctx.enqueue_function[
                attention_kernel[q.dtype, audio.dtype, channels, queries, WINDOWS]
            ](
                memory(output),
                memory(parts),
                memory(q),
                memory(audio),
                memory(windows),
                memory(windows),
                Int32(n_state),
                Int32(n_keys * stride),
                Int32(stride),
                Int64(2 * layer * n_state),
                Int64((2 * layer + 1) * n_state),
                Int32(n_queries),
                Int32(n_keys),
                Int32(n_head),
                Int32(n_splits),
                grid_dim=(n_head * n_splits, ceildiv(n_queries, queries), n_rows),
                block_dim=THREADS,
                attributes=early(),
            )

        var n_splits = 1
        if n_queries >= MANY_QUERIES:
            run[MANY_QUERIES](1)
        else:
            var n_blocks = n_rows * n_queries * n_head
            n_splits = max(1, min(MAX_SPLITS, ceildiv(ENOUGH_BLOCKS, n_blocks)))
            run[1](n_splits)
        if n_splits > 1:
            ctx.enqueue_function[merge_kernel[output.dtype, channels]](
                memory(output),
                memory(parts),
                Int32(n_head),
                Int32(n_splits),
                grid_dim=(n_head, n_rows * n_queries),
                block_dim=channels,
                attributes=early(),
            )


@extensibility.register("whisper_gpu_cached_attention")
struct CachedAttention:
    @staticmethod
    def execute[
        target: StaticString, channels: Int, layer: Int
    ](
        output: OutputTensor[rank=3, ...],
        cache: MutableTensor[rank=4, ...],
        slots: MutableTensor[dtype=DType.int32, rank=2, ...],
        qkv: InputTensor[dtype = output.dtype, rank=3, ...],
        offsets: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """The text so far, kept as [n_layer, n_slots, n_text_ctx, 2 * n_state]; appends to it.

        Row i keeps position p in slots[i, p].
        """
        var n_state = qkv.dim_size(2) // 3
        var n_keys = cache.dim_size(2)
        var row_stride = n_keys * 2 * n_state
        var at = layer * cache.dim_size(1) * row_stride
        var n_new = qkv.dim_size(1)

        @__parameter
        def run[queries: Int]() raises:
            ctx.enqueue_function[
                attention_kernel[qkv.dtype, cache.dtype, channels, queries, CACHED]
            ](
                memory(output),
                rebind[Floats](memory(qkv)),
                memory(qkv),
                memory(cache),
                memory(offsets),
                memory(slots),
                Int32(3 * n_state),
                Int32(row_stride),
                Int32(2 * n_state),
                Int64(at),
                Int64(at + n_state),
                Int32(n_new),
                Int32(n_keys),
                Int32(n_state // channels),
                Int32(1),
                grid_dim=(n_state // channels, ceildiv(n_new, queries), qkv.dim_size(0)),
                block_dim=THREADS,
                attributes=early(),
            )

        if n_new >= MANY_QUERIES:
            run[MANY_QUERIES]()
        else:
            run[1]()
