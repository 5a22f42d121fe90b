"""The operations that feed a prompt: logits of some rows, or probabilities of given tokens.

Both fill the first slot of the caches, and give cross-attention scores of requested heads.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .aligned_text import EOT, N_SOT, check_text_fields, field
from .amx import close_tiles, open_tiles
from .bind_block import MutableTensor
from .decode import check_decoder, decoder_of, integers
from .decoder import Decoder
from .prefill_layers import Prefill
from .prefill_workspace import (
    PrefillSizes,
    ScoredHeads,
    SharedWorkspace,
    WorkerWorkspace,
    query_tile_of,
)
from .prompt_end import LogitRows, PromptEnd, TokenProbs
from .row_block import RowBlock, Workspace, round_up
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, PANEL, ROWS, Floats, floats


@always_inline
def feed[
    w_dtype: DType, dtype: DType, e_dtype: DType, End: PromptEnd
](
    var decoder: Decoder[w_dtype, dtype, e_dtype],
    tokens: Integers,
    scored: ScoredHeads,
    end: End,
    n_tasks: Int,
) raises:
    """Feeds decoder.n_rows tokens from position 0 on.

    Args:
        decoder: The decoder; its slots are not read.
        tokens: [n_rows].
        scored: Heads whose scores are requested.
        end: What follows the last states.
        n_tasks: Threads.
    """
    var n_panels = ceildiv(decoder.n_text_ctx, PANEL)
    var slots = List[Int32](length=decoder.n_rows * n_panels, fill=0)
    decoder.slots = rebind[Integers](slots.unsafe_ptr())
    var sizes = PrefillSizes[dtype](
        n_rows=decoder.n_rows,
        n_state=decoder.n_state,
        n_padded=decoder.n_padded(),
        query_tile=query_tile_of[dtype](decoder.n_rows, decoder.n_head, n_tasks),
        cross_kv=decoder.cross_kv(0, 0),
    )
    var prefill = Prefill[w_dtype, dtype, e_dtype](
        decoder=decoder, scored=scored, sizes=sizes, n_threads=n_tasks
    )
    var n_steps = prefill.max_team_steps() + end.max_team_steps()
    var counters = List[Int32](length=n_steps * N_COUNTERS, fill=0)
    var memory = Workspace(SharedWorkspace[dtype].n_bytes(sizes))
    var shared = SharedWorkspace[dtype].within(memory, sizes)
    var counters_at = rebind[Integers](counters.unsafe_ptr())

    def task(t: Int) {var prefill, var shared, var end, var n_tasks, var counters_at, var tokens}:
        open_tiles[dtype]()
        var memory = Workspace(WorkerWorkspace[dtype].n_bytes(prefill.sizes))
        var own = WorkerWorkspace[dtype].within(memory, prefill.sizes)
        var worker = Worker(counters_at, n_tasks)
        prefill.run(worker, shared, own, tokens)
        end.run(prefill.decoder, worker, shared.x)
        close_tiles[dtype]()
        _ = memory^

    sync_parallelize(task, n_tasks)
    _ = slots^
    _ = counters^
    _ = memory^


@extensibility.register("whisper_cpu_prefill")
struct PrefillOp:
    """A prompt's tokens -> logits after some of them."""

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
        var n_rows = rows.dim_size(0)
        var normed = List[Float32](unsafe_uninit_length=n_rows * positional.dim_size(1))
        feed(
            decoder_of[layer_dtype, cross_kv_dtype](
                table, embedding, scales, positional, ln_weight, ln_bias,
                slots=integers(tokens), n_vocab=n_vocab, n_head=n_head, n_audio_ctx=n_audio_ctx,
                n_rows=tokens.dim_size(0), is_prompt=True,
            ),
            integers(tokens),
            ScoredHeads(floats(scores), integers(heads), heads.dim_size(0)),
            LogitRows(
                integers(rows), n_rows, rebind[Floats](normed.unsafe_ptr()), floats(logits)
            ),
            max_threads(n_threads),
        )
        _ = normed^


@extensibility.register("whisper_cpu_prefill_probs")
struct PrefillProbsOp:
    """A text's tokens -> the probability of each after those before it."""

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
        text_fields: StaticString,
    ](
        probabilities: OutputTensor[dtype=F32, rank=1, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        scores: MutableTensor[dtype=F32, rank=3, ...],
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],
        targets: InputTensor[dtype=DType.int32, rank=1, ...],
        heads: InputTensor[dtype=DType.int32, rank=2, ...],
        text: InputTensor[dtype=DType.int32, rank=1, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Feeds tokens [n_new] as `whisper_cpu_prefill` does, with the same scores.

        Gives the probability of targets [n_text] after <|notimestamps|> and those before them.
        """
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        check_text_fields[text_fields]()
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=integers(tokens), n_vocab=n_vocab, n_head=n_head, n_audio_ctx=n_audio_ctx,
            n_rows=tokens.dim_size(0), is_prompt=True,
        )
        var scored = ScoredHeads(floats(scores), integers(heads), heads.dim_size(0))
        var n_tasks = max_threads(n_threads)
        feed_for_probs(
            decoder, integers(tokens), scored, targets, probabilities, text, n_tasks
        )


@always_inline
def feed_for_probs(
    decoder: Decoder,
    tokens: Integers,
    scored: ScoredHeads,
    targets: InputTensor[dtype=DType.int32, rank=1, ...],
    probabilities: OutputTensor[dtype=F32, rank=1, ...],
    text: InputTensor[dtype=DType.int32, rank=1, ...],
    n_tasks: Int,
) raises:
    """Feeds tokens and computes the probabilities of targets; see `PrefillProbsOp`."""
    var n_rows = targets.dim_size(0)
    var n_capacity = round_up(n_rows, ROWS)
    var n_classes = field(text, EOT)
    var n_factors = RowBlock[F32].size(n_capacity, decoder.n_state)
    var n_partials = 2 * n_rows * TokenProbs.n_pieces(n_classes, n_tasks)
    var memory = Workspace(4 * (n_factors + n_partials))
    var end = TokenProbs(
        first=field(text, N_SOT),
        targets=integers(targets),
        n_rows=n_rows,
        n_classes=n_classes,
        factors=RowBlock[F32](memory.take[F32](n_factors), n_capacity),
        partials=memory.take[F32](n_partials),
        probabilities=floats(probabilities),
    )
    feed(decoder, tokens, scored, end, n_tasks)
    _ = memory^
