"""The operations of one decoder step: logits of all tokens, and the most likely tokens.

Both run all layers, with threads that are started once; see thread_team.mojo and decoder.mojo.
"""
import extensibility
from extensibility import InputTensor, ManagedTensorSlice, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from .amx import check_layout
from .bind_block import N_ADDRESSES, Addresses, MutableTensor
from .decoder import Decoder
from .embedding import embedding_of
from .logits import compute_logits, compute_top_k, hypotheses_of, n_ranking
from .row_table import RowTable
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, Floats, floats
from .token_rules import N_FIELDS, Mask, check_token_state


@always_inline
def integers(tensor: ManagedTensorSlice[dtype=DType.int32, ...]) -> Integers:
    """Returns the address of a tensor's integers."""
    return rebind[Integers](tensor.unsafe_ptr())


@always_inline
def check_decoder[panel: Int, amx_step: Int, n_addresses: Int, n_vocab: Int]():
    """Refuses to compile where Python's sizes differ, or where token numbers do not fit.

    Ranking keeps token numbers in float32, which is exact below 2 ** 24.
    """
    check_layout[panel, amx_step]()
    comptime assert n_addresses == N_ADDRESSES, "ops.N_ADDRESSES differs from bind_block.mojo's"
    comptime assert n_vocab < 1 << 24, "token numbers must be exact in float32"


@always_inline
def decoder_of[
    layer_dtype: DType, kv_dtype: DType
](
    table: ManagedTensorSlice[dtype=DType.int64, rank=2, ...],
    embedding: ManagedTensorSlice,
    scales: ManagedTensorSlice[dtype=F32, ...],
    positional: ManagedTensorSlice[dtype=F32, rank=2, ...],
    ln_weight: ManagedTensorSlice[dtype=F32, ...],
    ln_bias: ManagedTensorSlice[dtype=F32, ...],
    *,
    slots: Integers,
    n_vocab: Int,
    n_head: Int,
    n_audio_ctx: Int,
    n_rows: Int,
    is_prompt: Bool,
) -> Decoder[layer_dtype, kv_dtype, embedding.dtype]:
    """Returns the decoder that an operation's operands hold."""
    return Decoder[layer_dtype, kv_dtype, embedding.dtype](
        blocks=rebind[Addresses](table.unsafe_ptr()),
        slots=slots,
        embedding=embedding_of(embedding, scales, n_vocab),
        positional=floats(positional),
        ln=floats(ln_weight),
        ln_bias=floats(ln_bias),
        n_layer=table.dim_size(0),
        n_head=n_head,
        n_state=positional.dim_size(1),
        n_text_ctx=positional.dim_size(0),
        n_audio_ctx=n_audio_ctx,
        n_rows=n_rows,
        is_prompt=is_prompt,
        rows=RowTable.none(rebind[Addresses](table.unsafe_ptr()), slots),
    )


@extensibility.register("whisper_cpu_decode_step")
struct DecodeStepOp:
    """One token for each hypothesis -> logits."""

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
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],
        offset: InputTensor[dtype=DType.int32, rank=1, ...],
        slots: InputTensor[dtype=DType.int32, rank=2, ...],
        source_slots: InputTensor[dtype=DType.int32, rank=1, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Feeds tokens [n_group] at position offset[0]; gives logits [n_group, n_vocab].

        See kv_cache.py for slots [n_group, n_panels] and source slots [n_group].
        """
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=integers(slots), n_vocab=n_vocab, n_head=n_head, n_audio_ctx=n_audio_ctx,
            n_rows=tokens.dim_size(0), is_prompt=False,
        )
        var n_tasks = max_threads(n_threads)
        var counters = List[Int32](length=decoder.max_team_steps() * N_COUNTERS, fill=0)
        var shared = List[Float32](unsafe_uninit_length=decoder.n_shared())
        var counters_at = rebind[Integers](counters.unsafe_ptr())
        var shared_at = rebind[Floats](shared.unsafe_ptr())
        var new_tokens = integers(tokens)
        var n_past = Int(offset[0])
        var sources = integers(source_slots)
        var into = floats(logits)

        def task(
            t: Int,
        ) {
            var decoder, var n_tasks, var counters_at, var shared_at,
            var new_tokens, var n_past, var sources, var into,
        }:
            var own = List[Float32](unsafe_uninit_length=decoder.n_own())
            var at = decoder.workspace(shared_at, rebind[Floats](own.unsafe_ptr()))
            var worker = Worker(counters_at, n_tasks)
            decoder.run_step(
                worker, at, new_tokens, token_stride=1, source_slots=sources, n_past=n_past
            )
            compute_logits(decoder, worker, at, into)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^


@extensibility.register("whisper_cpu_top_k")
struct TopKOp:
    """One token for each hypothesis -> its most likely next tokens under the rules."""

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
        state_fields: StaticString,
        rule_fields: StaticString,
        never: Int,
    ](
        choice: OutputTensor[dtype=F32, rank=3, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        state: InputTensor[dtype=DType.int32, rank=2, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        slots: InputTensor[dtype=DType.int32, rank=2, ...],
        source_slots: InputTensor[dtype=DType.int32, rank=1, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Feeds the token of each state; gives k tokens and log-probabilities, [n_group, 2, k]."""
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        check_token_state[state_fields, rule_fields, never]()
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=integers(slots), n_vocab=n_vocab, n_head=n_head, n_audio_ctx=n_audio_ctx,
            n_rows=state.dim_size(0), is_prompt=False,
        )
        var n_tasks = max_threads(n_threads)
        var k = choice.dim_size(2)
        var counters = List[Int32](length=decoder.max_team_steps() * N_COUNTERS, fill=0)
        var n_floats = n_ranking(decoder, n_tasks)
        var shared = List[Float32](unsafe_uninit_length=decoder.n_shared() + n_floats)
        var counters_at = rebind[Integers](counters.unsafe_ptr())
        var shared_at = rebind[Floats](shared.unsafe_ptr())
        var sources = integers(source_slots)
        var into = floats(choice)
        var hypotheses = hypotheses_of(
            decoder,
            state=integers(state),
            rules=integers(rules),
            mask=rebind[Mask](mask.unsafe_ptr()),
            workspace=shared_at.unsafe_offset(decoder.n_shared()),
        )

        def task(
            t: Int,
        ) {
            var decoder, var n_tasks, var k, var counters_at, var shared_at,
            var hypotheses, var sources, var into,
        }:
            var own = List[Float32](unsafe_uninit_length=decoder.n_own())
            var at = decoder.workspace(shared_at, rebind[Floats](own.unsafe_ptr()))
            var worker = Worker(counters_at, n_tasks)
            var n_past = hypotheses.hypothesis(0).n_past
            decoder.run_step(
                worker, at, hypotheses.state,
                token_stride=N_FIELDS, source_slots=sources, n_past=n_past,
            )
            compute_top_k(decoder, worker, at, hypotheses, into, k)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^
