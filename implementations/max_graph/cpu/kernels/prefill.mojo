"""The operation that feeds a prompt, and gives cross-attention scores of requested heads."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .amx import close_tiles, open_tiles
from .bind_block import MutableTensor
from .decode import check_decoder, decoder_of, integers
from .prefill_layers import Prefill
from .prefill_workspace import (
    LogitRows,
    PrefillSizes,
    SharedWorkspace,
    WorkerWorkspace,
    query_tile_of,
)
from .row_block import Workspace
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, PANEL, Floats, floats


@extensibility.register("whisper_cpu_prefill")
struct PrefillOp:
    """A prompt's tokens -> logits after some of them; the first slot of the caches is filled."""

    @staticmethod
    def execute[
        target: StaticString,
        panel: Int,
        amx_step: Int,
        n_addresses: Int,
        n_head: Int,
        n_audio_ctx: Int,
        n_vocab: Int,
        cross_kv_dtype: DType,
        layer_dtype: DType,
    ](
        logits: OutputTensor[dtype=F32, rank=2, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        scores: MutableTensor[dtype=F32, rank=3, ...],
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],
        rows: InputTensor[dtype=DType.int32, rank=1, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Feeds tokens [n_new] from position 0 on.

        Gives the logits of rows [n_rows] of them, [n_rows, n_vocab], and fills the scores of
        (layer, head) pairs [n_scores, 2], [n_scores, n_new, n_audio_ctx].
        """
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        var n_rows = tokens.dim_size(0)
        var n_tasks = max_threads(n_threads)
        var slots = List[Int32](length=n_rows * ceildiv(positional.dim_size(0), PANEL), fill=0)
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=rebind[Integers](slots.unsafe_ptr()), n_vocab=n_vocab, n_head=n_head,
            n_audio_ctx=n_audio_ctx, n_rows=n_rows, is_prompt=True,
        )
        var normed = List[Float32](unsafe_uninit_length=rows.dim_size(0) * decoder.n_state)
        var sizes = PrefillSizes[cross_kv_dtype](
            n_rows=n_rows,
            n_logit_rows=rows.dim_size(0),
            n_state=decoder.n_state,
            n_padded=decoder.n_padded(),
            query_tile=query_tile_of[cross_kv_dtype](n_rows, n_head, n_tasks),
            cross_kv=decoder.cross_kv(decoder.block(0)),
        )
        var prefill = Prefill[layer_dtype, cross_kv_dtype, embedding.dtype](
            decoder=decoder,
            scores=floats(scores),
            score_heads=integers(heads),
            n_scores=heads.dim_size(0),
            logit_rows=LogitRows(
                rows=integers(rows),
                n_rows=rows.dim_size(0),
                normed=rebind[Floats](normed.unsafe_ptr()),
                logits=floats(logits),
            ),
            sizes=sizes,
            n_threads=n_tasks,
        )
        var counters = List[Int32](length=prefill.max_team_steps() * N_COUNTERS, fill=0)
        var memory = Workspace(SharedWorkspace[cross_kv_dtype].n_bytes(sizes))
        var shared = SharedWorkspace[cross_kv_dtype].within(memory, sizes)
        var counters_at = rebind[Integers](counters.unsafe_ptr())
        var new_tokens = integers(tokens)

        def task(t: Int) {var prefill, var shared, var n_tasks, var counters_at, var new_tokens}:
            open_tiles[cross_kv_dtype]()
            var memory = Workspace(WorkerWorkspace[cross_kv_dtype].n_bytes(prefill.sizes))
            var own = WorkerWorkspace[cross_kv_dtype].within(memory, prefill.sizes)
            var worker = Worker(counters_at, n_tasks)
            prefill.run(worker, shared, own, new_tokens)
            close_tiles[cross_kv_dtype]()
            _ = memory^

        sync_parallelize(task, n_tasks)
        _ = slots^
        _ = counters^
        _ = memory^
        _ = normed^
