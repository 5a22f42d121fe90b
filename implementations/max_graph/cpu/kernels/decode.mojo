"""The operations of decoder steps: logits, the likeliest tokens, and greedy decoding."""
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .choose import N_FIELDS, Hypothesis, Lines, Mask
from .embedding import embedding_of
from .likeliest import N_FOUND
from .note_block import Addresses, MutableTensor
from .steps import Steps
from .team import N_COUNTERS, Integers, Member
from .threads import allowed
from .tile import F32, PANEL, Floats, floats


@always_inline
def integers(tensor: ManagedTensorSlice[dtype=DType.int32, ...]) -> Integers:
    return rebind[Integers](tensor.unsafe_ptr())


@always_inline
def steps_of[
    w_type: DType, audio_type: DType
](
    table: ManagedTensorSlice[dtype=DType.int64, rank=2, ...],
    slots: Integers,
    embedding: ManagedTensorSlice,
    scales: ManagedTensorSlice[dtype=F32, ...],
    positional: ManagedTensorSlice[dtype=F32, rank=2, ...],
    ln_weight: ManagedTensorSlice[dtype=F32, ...],
    ln_bias: ManagedTensorSlice[dtype=F32, ...],
    given: Given,
) -> Steps[w_type, audio_type, embedding.dtype]:
    """The decoder from what every operation over its steps is given."""
    return Steps[w_type, audio_type, embedding.dtype](
        rebind[Addresses](table.unsafe_ptr()),
        slots,
        embedding_of(embedding, scales, given.n_vocab),
        floats(positional),
        floats(ln_weight),
        floats(ln_bias),
        table.dim_size(0),
        given.n_head,
        positional.dim_size(1),
        positional.dim_size(0),
        given.n_audio_ctx,
        given.n_rows,
        given.is_prompt,
    )


@fieldwise_init
struct Given(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What the tensors' shapes do not tell."""

    var n_vocab: Int
    var n_head: Int
    var n_audio_ctx: Int
    var n_rows: Int
    var is_prompt: Bool


@extensibility.register("whisper_step")
struct Step:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType, layer_type: DType
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
        var steps = steps_of[layer_type, audio_type](
            table,
            integers(slots),
            embedding,
            scales,
            positional,
            ln_weight,
            ln_bias,
            Given(logits.dim_size(1), n_head, n_audio_ctx, tokens.dim_size(0), False),
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
            steps.feed(member, at, fed, 1, held, n_past)
            steps.logits(member, at, into)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^


@extensibility.register("whisper_likeliest")
struct Likeliest:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType, layer_type: DType
    ](
        choice: OutputTensor[dtype=F32, rank=3, ...],
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        state: InputTensor[dtype=DType.int32, rank=2, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
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
        """As a step, but gives each row's likeliest tokens and their log-probabilities."""
        var n_vocab = mask.dim_size(0)
        var steps = steps_of[layer_type, audio_type](
            table,
            integers(slots),
            embedding,
            scales,
            positional,
            ln_weight,
            ln_bias,
            Given(n_vocab, n_head, n_audio_ctx, state.dim_size(0), False),
        )
        var n_tasks = allowed(n_threads)
        var n_best = choice.dim_size(2)
        var counters = List[Int32](length=steps.n_steps_of_team() * N_COUNTERS, fill=0)
        var n_judged = steps.n_judged(n_tasks)
        var shared = List[Float32](unsafe_uninit_length=steps.n_shared() + n_judged)
        var counted = rebind[Integers](counters.unsafe_ptr())
        var common = rebind[Floats](shared.unsafe_ptr())
        var held = integers(origins)
        var into = floats(choice)
        var lines = steps.lines(
            integers(state),
            integers(rules),
            rebind[Mask](mask.unsafe_ptr()),
            common.unsafe_offset(steps.n_shared()),
        )

        def task(
            t: Int,
        ) {
            var steps,
            var n_tasks,
            var n_best,
            var counted,
            var common,
            var lines,
            var held,
            var into,
        }:
            var own = List[Float32](unsafe_uninit_length=steps.n_own())
            var at = steps.scratch(common, rebind[Floats](own.unsafe_ptr()))
            var member = Member(counted, n_tasks, 0, 0)
            var n_past = lines.hypothesis(0).n_past
            steps.feed(member, at, lines.state, N_FIELDS, held, n_past)
            steps.likeliest(member, at, lines, into, n_best)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = counters^
        _ = shared^


@extensibility.register("whisper_greedy")
struct Greedy:
    @staticmethod
    def execute[
        target: StaticString, n_head: Int, n_audio_ctx: Int, audio_type: DType, layer_type: DType
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
        var slots = List[Int32](length=ceildiv(positional.dim_size(0), PANEL), fill=0)
        var steps = steps_of[layer_type, audio_type](
            table,
            rebind[Integers](slots.unsafe_ptr()),
            embedding,
            scales,
            positional,
            ln_weight,
            ln_bias,
            Given(mask.dim_size(0), n_head, n_audio_ctx, 1, False),
        )
        var n_tasks = allowed(n_threads)
        var n_tokens = sampled.dim_size(0)
        var n_counters = (n_tokens * steps.n_steps_of_team() + 1) * N_COUNTERS
        var counters = List[Int32](length=n_counters, fill=0)
        var n_judged = steps.n_judged(n_tasks)
        var shared = List[Float32](
            unsafe_uninit_length=steps.n_shared() + n_judged + 2 * n_tokens
        )
        var counted = rebind[Integers](counters.unsafe_ptr())
        var common = rebind[Floats](shared.unsafe_ptr())
        # Each token's choice lies on its own, for members that come late.
        var choices = common.unsafe_offset(steps.n_shared() + n_judged)
        var lines = steps.lines(
            integers(state),
            integers(rules),
            rebind[Mask](mask.unsafe_ptr()),
            common.unsafe_offset(steps.n_shared()),
        )
        var total = floats(sum_logprob)
        var begun = Hypothesis.read(lines.state, lines.rules, total.unsafe_load(0))
        var into = integers(sampled)

        def task(
            t: Int,
        ) {
            var steps,
            var n_tasks,
            var n_tokens,
            var counted,
            var common,
            var choices,
            var lines,
            var total,
            var begun,
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
                    hypothesis.write(lines.state)
                    steps.embed(at.x, 0, hypothesis.token, hypothesis.n_past)
                steps.layers(member, at, hypothesis.n_past)
                var choice = choices.unsafe_offset(2 * i)
                steps.likeliest(member, at, lines, choice, 1)
                hypothesis.advance(Int(choice.unsafe_load(0)), choice.unsafe_load(1))
            while member.claims(1):
                hypothesis.write(lines.state)
                total.unsafe_store(0, hypothesis.sum_logprob)
                var n_new = hypothesis.n_sampled - begun.n_sampled
                for i in range(n_new):
                    into.unsafe_store(i, Int32(choices.unsafe_load(2 * i)))
                if n_new > 0:  # where nothing could come, the text has ended
                    into.unsafe_store(n_new - 1, Int32(hypothesis.token))
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = slots^
        _ = counters^
        _ = shared^
