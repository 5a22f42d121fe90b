"""Attention as operations: within the audio, from text to audio, and within the text."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .attention_kernel import (
    CACHED_SELF,
    CROSS,
    SELF,
    THREADS,
    attention_kernel,
    combine_splits_kernel,
)
from .flash_attention import HEAD_DIM, flash_attention
from .mma_flash_attention import mma_flash_attention
from .multiprocessors import multiprocessors
from .pdl import pdl_attributes
from .pointers import F32, FloatPointer, IntPointer, MutableTensor, pointer

comptime QUERIES_PER_BLOCK = 8
"""Queries that share the keys that a block reads, where a row has so many."""
comptime FILLING_BLOCKS = 8
"""Blocks of each multiprocessor that read memory at its full speed; with fewer, keys are split."""


def count_splits(n_blocks: Int, most: Int, ctx: DeviceContext) raises -> Int:
    """Returns how many blocks are to share the keys of one, so that the GPU is filled."""
    return max(1, min(most, ceildiv(FILLING_BLOCKS * multiprocessors(ctx), n_blocks)))


@extensibility.register("whisper_gpu_attention")
struct Attention:
    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, portable: Bool
    ](
        output: OutputTensor[rank=3, ...],
        qkv: InputTensor[dtype = output.dtype, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes attention of each window to itself, where all positions see all.

        Parameters:
            target: Device of the graph.
            head_dim: Width of a head.
            portable: True for a kernel that every GPU runs.

        Args:
            output: [n_batch, n_ctx, n_state].
            qkv: Queries, keys and values side by side, [n_batch, n_ctx, 3 * n_state].
            ctx: Stream.
        """
        var n_state = qkv.dim_size(2) // 3
        var n_ctx = qkv.dim_size(1)
        comptime if output.dtype != F32 and head_dim == HEAD_DIM:
            comptime if portable:
                mma_flash_attention(
                    output=pointer(output),
                    qkv=pointer(qkv),
                    n_batch=qkv.dim_size(0),
                    n_ctx=n_ctx,
                    n_head=n_state // head_dim,
                    ctx=ctx,
                )
            else:
                flash_attention(
                    output=pointer(output),
                    qkv=pointer(qkv),
                    n_batch=qkv.dim_size(0),
                    n_ctx=n_ctx,
                    n_head=n_state // head_dim,
                    ctx=ctx,
                )
            return
        var unread = rebind[IntPointer](pointer(qkv))
        ctx.enqueue_function[
            attention_kernel[
                q_type = output.dtype,
                kv_type = output.dtype,
                head_dim=head_dim,
                queries=QUERIES_PER_BLOCK,
                mode=SELF,
            ]
        ](
            pointer(output),
            rebind[FloatPointer](pointer(qkv)),
            pointer(qkv),
            pointer(qkv),
            unread,
            unread,
            Int32(3 * n_state),
            Int32(n_ctx * 3 * n_state),
            Int32(3 * n_state),
            Int64(n_state),
            Int64(2 * n_state),
            Int32(n_ctx),
            Int32(n_ctx),
            Int32(n_state // head_dim),
            Int32(1),
            grid_dim=(n_state // head_dim, ceildiv(n_ctx, QUERIES_PER_BLOCK), qkv.dim_size(0)),
            block_dim=THREADS,
        )


@extensibility.register("whisper_gpu_cross_attention")
struct CrossAttention:
    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, layer: Int, max_splits: Int, shared_splits: Int
    ](
        output: OutputTensor[rank=3, ...],
        partials: OutputTensor[dtype=F32, rank=2, ...],
        q: InputTensor[dtype = output.dtype, rank=3, ...],
        audio: InputTensor[rank=3, ...],
        windows: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes attention of each row's new tokens to a window of audio.

        Parameters:
            target: Device of the graph.
            head_dim: Width of a head.
            layer: The decoder's layer.
            max_splits: Blocks that share the keys of a query, at most.
            shared_splits: The same where blocks have several queries.

        Args:
            output: [n_rows, n_new, n_state].
            partials: Workspace of splits, [n_rows * n_new * n_head, max_splits * (head_dim + 2)].
            q: [n_rows, n_new, n_state].
            audio: Keys and values [n_windows, n_audio_ctx, n_layer * 2 * n_state].
            windows: Each row's window, [n_rows].
            ctx: Stream.
        """
        var n_state = q.dim_size(2)
        var n_head = n_state // head_dim
        var n_keys = audio.dim_size(1)
        var stride = audio.dim_size(2)
        var n_rows = q.dim_size(0)
        var n_queries = q.dim_size(1)

        @__parameter
        def launch[queries: Int, most: Int]() raises -> Int:
            var n_splits = count_splits(n_rows * n_head * ceildiv(n_queries, queries), most, ctx)
            ctx.enqueue_function[
                attention_kernel[
                    q_type = q.dtype,
                    kv_type = audio.dtype,
                    head_dim=head_dim,
                    queries=queries,
                    mode=CROSS,
                ]
            ](
                pointer(output),
                pointer(partials),
                pointer(q),
                pointer(audio),
                pointer(windows),
                pointer(windows),
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
                attributes=pdl_attributes(),
            )
            return n_splits

        var n_splits = (
            launch[queries=QUERIES_PER_BLOCK, most=shared_splits]() if n_queries
            >= QUERIES_PER_BLOCK else launch[queries=1, most=max_splits]()
        )
        if n_splits > 1:
            ctx.enqueue_function[combine_splits_kernel[out_type = output.dtype, head_dim=head_dim]](
                pointer(output),
                pointer(partials),
                Int32(n_head),
                Int32(n_splits),
                grid_dim=(n_head, n_rows * n_queries),
                block_dim=head_dim,
                attributes=pdl_attributes(),
            )


@extensibility.register("whisper_gpu_self_attention_kv_cache")
struct SelfAttentionKVCache:
    @staticmethod
    def execute[
        target: StaticString, head_dim: Int, layer: Int
    ](
        output: OutputTensor[rank=3, ...],
        cache: MutableTensor[rank=4, ...],
        slots: MutableTensor[dtype=DType.int32, rank=2, ...],
        qkv: InputTensor[dtype = output.dtype, rank=3, ...],
        offsets: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Computes causal attention of each row to its text so far, and appends to the KV cache.

        Row i keeps position p in slots[i, p] of the cache; positions beyond the last are dropped.

        Parameters:
            target: Device of the graph.
            head_dim: Width of a head.
            layer: The decoder's layer.

        Args:
            output: [n_rows, n_new, n_state].
            cache: Keys and values [n_layer, n_slots, n_text_ctx, 2 * n_state], written to.
            slots: [n_rows, n_text_ctx], only read.
            qkv: Queries, keys and values of new tokens side by side, [n_rows, n_new, 3 * n_state].
            offsets: Positions that each row has filled, [n_rows].
            ctx: Stream.
        """
        var n_state = qkv.dim_size(2) // 3
        var n_keys = cache.dim_size(2)
        var row_stride = n_keys * 2 * n_state
        var at = layer * cache.dim_size(1) * row_stride
        var n_new = qkv.dim_size(1)

        @__parameter
        def launch[queries: Int]() raises:
            ctx.enqueue_function[
                attention_kernel[
                    q_type = qkv.dtype,
                    kv_type = cache.dtype,
                    head_dim=head_dim,
                    queries=queries,
                    mode=CACHED_SELF,
                ]
            ](
                pointer(output),
                rebind[FloatPointer](pointer(qkv)),
                pointer(qkv),
                pointer(cache),
                pointer(offsets),
                pointer(slots),
                Int32(3 * n_state),
                Int32(row_stride),
                Int32(2 * n_state),
                Int64(at),
                Int64(at + n_state),
                Int32(n_new),
                Int32(n_keys),
                Int32(n_state // head_dim),
                Int32(1),
                grid_dim=(n_state // head_dim, ceildiv(n_new, queries), qkv.dim_size(0)),
                block_dim=THREADS,
                attributes=pdl_attributes(),
            )

        if n_new >= QUERIES_PER_BLOCK:
            launch[queries=QUERIES_PER_BLOCK]()
        else:
            launch[queries=1]()
