"""The operations of decoder steps: noting a block's weights, a step, and greedy decoding."""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from std.memory import Pointer
from .choose import N_FOUND, Hypothesis, Mask
from .dense import Dense
from .steps import N_ADDRESSES, Addresses, Steps
from .team import N_COUNTERS, Integers, Member
from .threads import allowed
from .tile import F32, PANEL, Floats, floats

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]


@extensibility.register("whisper_note_block")
struct NoteBlock:
    @staticmethod
    def execute[
        target: StaticString, layer: Int
    ](
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        keys: MutableTensor[dtype=F32, rank=5, ...],
        values: MutableTensor[dtype=F32, rank=4, ...],
        attn_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        attn_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        query_key_value: InputTensor[rank=3, ...],
        query_key_value_scales: InputTensor[dtype=F32, rank=1, ...],
        query_key_value_bias: InputTensor[dtype=F32, rank=1, ...],
        attn_out: InputTensor[rank=3, ...],
        attn_out_scales: InputTensor[dtype=F32, rank=1, ...],
        attn_out_bias: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        query: InputTensor[rank=3, ...],
        query_scales: InputTensor[dtype=F32, rank=1, ...],
        query_bias: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_out: InputTensor[rank=3, ...],
        cross_attn_out_scales: InputTensor[dtype=F32, rank=1, ...],
        cross_attn_out_bias: InputTensor[dtype=F32, rank=1, ...],
        mlp_ln_weight: InputTensor[dtype=F32, rank=1, ...],
        mlp_ln_bias: InputTensor[dtype=F32, rank=1, ...],
        widen: InputTensor[rank=3, ...],
        widen_scales: InputTensor[dtype=F32, rank=1, ...],
        widen_bias: InputTensor[dtype=F32, rank=1, ...],
        narrow: InputTensor[rank=3, ...],
        narrow_scales: InputTensor[dtype=F32, rank=1, ...],
        narrow_bias: InputTensor[dtype=F32, rank=1, ...],
        audio_keys: InputTensor[rank=5, ...],
        audio_values: InputTensor[rank=4, ...],
        ctx: DeviceContext,
    ) raises:
        """Writes where a block's weights, cache and audio lie, as steps.mojo reads it."""
        var line = rebind[Addresses](table.unsafe_ptr()).unsafe_offset(layer * N_ADDRESSES)
        var addresses = [
            Int(attn_ln_weight.unsafe_ptr()),
            Int(attn_ln_bias.unsafe_ptr()),
            Int(query_key_value.unsafe_ptr()),
            Int(query_key_value_scales.unsafe_ptr()),
            Int(query_key_value_bias.unsafe_ptr()),
            Int(attn_out.unsafe_ptr()),
            Int(attn_out_scales.unsafe_ptr()),
            Int(attn_out_bias.unsafe_ptr()),
            Int(cross_attn_ln_weight.unsafe_ptr()),
            Int(cross_attn_ln_bias.unsafe_ptr()),
            Int(query.unsafe_ptr()),
            Int(query_scales.unsafe_ptr()),
            Int(query_bias.unsafe_ptr()),
            Int(cross_attn_out.unsafe_ptr()),
            Int(cross_attn_out_scales.unsafe_ptr()),
            Int(cross_attn_out_bias.unsafe_ptr()),
            Int(mlp_ln_weight.unsafe_ptr()),
            Int(mlp_ln_bias.unsafe_ptr()),
            Int(widen.unsafe_ptr()),
            Int(widen_scales.unsafe_ptr()),
            Int(widen_bias.unsafe_ptr()),
            Int(narrow.unsafe_ptr()),
            Int(narrow_scales.unsafe_ptr()),
            Int(narrow_bias.unsafe_ptr()),
            Int(keys.unsafe_ptr()),
            Int(values.unsafe_ptr()),
            Int(audio_keys.unsafe_ptr()),
            Int(audio_values.unsafe_ptr()),
        ]
        for i in range(N_ADDRESSES):
            line.unsafe_store(i, Int64(addresses[i]))


@always_inline
def integers(tensor: ManagedTensorSlice[dtype=DType.int32, ...]) -> Integers:
    return rebind[Integers](tensor.unsafe_ptr())


@extensibility.register("whisper_step")
struct Step:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType
    ](
        logits: OutputTensor[dtype=F32, rank=2, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        tokens: InputTensor[dtype=DType.int32, rank=1, ...],
        offset: InputTensor[dtype=DType.int32, rank=1, ...],
        slots: InputTensor[dtype=DType.int32, rank=2, ...],
        origins: InputTensor[dtype=DType.int32, rank=1, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """One token for each hypothesis; see kv_cache.py for slots and origins."""
        comptime w_type = embedding.dtype
        var steps = Steps[w_type, audio_type](
            rebind[Addresses](table.unsafe_ptr()),
            integers(slots),
            Dense[w_type](
                rebind[Pointer[Scalar[w_type], MutUntrackedOrigin]](embedding.unsafe_ptr()),
                floats(scales),
                floats(scales),
                False,
                False,
                False,
                embedding.dim_size(1),
                logits.dim_size(1),
            ),
            floats(positional),
            floats(ln_weight),
            floats(ln_bias),
            table.dim_size(0),
            n_head,
            positional.dim_size(1),
            positional.dim_size(0),
            n_audio_ctx,
            tokens.dim_size(0),
        )
        var n_tasks = allowed(n_threads)
        var counters = List[Int32](length=steps.n_steps_of_team() * N_COUNTERS, fill=0)
        var shared = List[Float32](unsafe_uninit_length=steps.n_shared())
        var counted = rebind[Integers](counters.unsafe_ptr())
        var common = rebind[Floats](shared.unsafe_ptr())
        var fed = integers(tokens)
        var n_past = Int(offset[0])
        var held = integers(origins)
        var into = floats(logits)

        def task(
            t: Int,
        ) {
            var steps,
            var n_tasks,
            var counted,
            var common,
            var fed,
            var n_past,
            var held,
            var into,
        }:
            var own = List[Float32](unsafe_uninit_length=steps.n_own())
            var at = steps.scratch(common, rebind[Floats](own.unsafe_ptr()))
            var member = Member(counted, n_tasks, 0, 0)
            steps.settle(member, held, n_past)
            while member.claims(1):
                for row in range(steps.n_rows):
                    steps.embed(at.x, row, Int(fed.unsafe_load(row)), n_past)
            steps.layers(member, at, n_past)
            steps.logits(member, at, into)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^


@extensibility.register("whisper_greedy")
struct Greedy:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType
    ](
        sampled: OutputTensor[dtype=DType.int32, rank=1, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        state: MutableTensor[dtype=DType.int32, rank=1, ...],
        sum_logprob: MutableTensor[dtype=F32, rank=1, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        embedding: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ln_weight: InputTensor[dtype=F32, rank=1, ...],
        ln_bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """As many tokens as `sampled` has room for, unless the text ends before."""
        comptime w_type = embedding.dtype
        var n_vocab = mask.dim_size(0)
        var slots = List[Int32](length=ceildiv(positional.dim_size(0), PANEL), fill=0)
        var steps = Steps[w_type, audio_type](
            rebind[Addresses](table.unsafe_ptr()),
            rebind[Integers](slots.unsafe_ptr()),
            Dense[w_type](
                rebind[Pointer[Scalar[w_type], MutUntrackedOrigin]](embedding.unsafe_ptr()),
                floats(scales),
                floats(scales),
                False,
                False,
                False,
                embedding.dim_size(1),
                n_vocab,
            ),
            floats(positional),
            floats(ln_weight),
            floats(ln_bias),
            table.dim_size(0),
            n_head,
            positional.dim_size(1),
            positional.dim_size(0),
            n_audio_ctx,
            1,
        )
        var n_tasks = allowed(n_threads)
        var n_tokens = sampled.dim_size(0)
        var n_found = steps.embedding.n_pieces(n_tasks) * N_FOUND
        var n_counters = (n_tokens * steps.n_steps_of_team() + 1) * N_COUNTERS
        var counters = List[Int32](length=n_counters, fill=0)
        var shared = List[Float32](
            unsafe_uninit_length=steps.n_shared() + n_vocab + n_tokens * n_found
        )
        var counted = rebind[Integers](counters.unsafe_ptr())
        var common = rebind[Floats](shared.unsafe_ptr())
        var logits = common.unsafe_offset(steps.n_shared())
        var found = logits.unsafe_offset(n_vocab)
        var kept = integers(state)
        var total = floats(sum_logprob)
        var begun = Hypothesis.read(kept, integers(rules), total.unsafe_load(0))
        var forbidden = rebind[Mask](mask.unsafe_ptr())
        var into = integers(sampled)

        def task(
            t: Int,
        ) {
            var steps,
            var n_tasks,
            var n_tokens,
            var n_found,
            var counted,
            var common,
            var logits,
            var found,
            var kept,
            var total,
            var begun,
            var forbidden,
            var into,
        }:
            var own = List[Float32](unsafe_uninit_length=steps.n_own())
            var at = steps.scratch(common, rebind[Floats](own.unsafe_ptr()))
            var member = Member(counted, n_tasks, 0, 0)
            var hypothesis = begun
            for i in range(n_tokens):
                if hypothesis.is_finished:
                    break
                while member.claims(1):
                    steps.embed(at.x, 0, hypothesis.token, hypothesis.n_past)
                steps.layers(member, at, hypothesis.n_past)
                # Each token's findings lie on their own, for members that come late.
                var mine = found.unsafe_offset(i * n_found)
                steps.chosen(member, at, logits, forbidden, mine, hypothesis)
            while member.claims(1):
                hypothesis.write(kept)
                total.unsafe_store(0, hypothesis.sum_logprob)
                # The tokens of this run can be told again from what was found.
                var told = begun
                for i in range(hypothesis.n_sampled - begun.n_sampled):
                    told.advance(found.unsafe_offset(i * n_found), n_found // N_FOUND)
                    into.unsafe_store(i, Int32(told.token))
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = slots^
        _ = counters^
        _ = shared^
