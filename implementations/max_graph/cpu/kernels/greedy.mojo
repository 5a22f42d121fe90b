"""The operation of greedy decoding: many steps, each of which feeds the most likely token."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv
from .bind_block import MutableTensor
from .decode import check_decoder, decoder_of, integers
from .decoder import Decoder
from .logits import compute_top_k, hypotheses_of, n_ranking
from .step_workspace import StepWorkspace
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, PANEL, Floats, floats
from .token_rules import Hypotheses, Hypothesis, Mask, check_token_state


@fieldwise_init
struct GreedyLoop[layer_dtype: DType, kv_dtype: DType, e_dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The program of a team that decodes up to n_tokens tokens of one hypothesis."""

    var decoder: Decoder[Self.layer_dtype, Self.kv_dtype, Self.e_dtype]
    var hypotheses: Hypotheses
    var start: Hypothesis
    """The hypothesis as it begins; every worker follows it by itself."""
    var choices: Floats
    """[n_tokens, 2]: token and log-probability. Each token's lie on their own, for workers that
    come late."""
    var sum_logprob: Floats
    var sampled: Integers
    """[n_tokens], the tokens that are given."""
    var n_tokens: Int

    def run(self, mut worker: Worker, at: StepWorkspace):
        """Decodes until n_tokens or the end of the text; then writes tokens and state back."""
        var state = self.hypotheses.state
        var hypothesis = self.start
        for i in range(self.n_tokens):
            if hypothesis.is_finished:
                break
            while worker.claim_next(1):
                hypothesis.write(state)
                self.decoder.embed(at.x, 0, hypothesis.token, hypothesis.n_past)
            self.decoder.run_layers(worker, at, hypothesis.n_past)
            var choice = self.choices.unsafe_offset(2 * i)
            compute_top_k(self.decoder, worker, at, self.hypotheses, choice, 1)
            hypothesis.advance(Int(choice.unsafe_load(0)), choice.unsafe_load(1))
        while worker.claim_next(1):
            hypothesis.write(state)
            self.sum_logprob.unsafe_store(0, hypothesis.sum_logprob)
            var n_new = hypothesis.n_sampled - self.start.n_sampled
            for i in range(n_new):
                self.sampled.unsafe_store(i, Int32(self.choices.unsafe_load(2 * i)))
            if n_new > 0:  # where no token was allowed, the text has ended
                self.sampled.unsafe_store(n_new - 1, Int32(hypothesis.token))


@extensibility.register("whisper_cpu_greedy")
struct GreedyOp:
    """Up to as many greedy steps as the output has places -> tokens."""

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
        """Gives [n_tokens], fewer where the text ends; brings state and sum_logprob [1] along."""
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        check_token_state[state_fields, rule_fields, never]()
        var slots = List[Int32](length=ceildiv(positional.dim_size(0), PANEL), fill=0)
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=rebind[Integers](slots.unsafe_ptr()), n_vocab=n_vocab, n_head=n_head,
            n_audio_ctx=n_audio_ctx, n_rows=1, is_prompt=False,
        )
        var n_tasks = max_threads(n_threads)
        var n_tokens = sampled.dim_size(0)
        var n_counters = (n_tokens * decoder.max_team_steps() + 1) * N_COUNTERS
        var counters = List[Int32](length=n_counters, fill=0)
        var n_floats = n_ranking(decoder, n_tasks)
        var n_shared = decoder.n_shared()
        var shared = List[Float32](unsafe_uninit_length=n_shared + n_floats + 2 * n_tokens)
        var counters_at = rebind[Integers](counters.unsafe_ptr())
        var shared_at = rebind[Floats](shared.unsafe_ptr())
        var hypotheses = hypotheses_of(
            decoder,
            state=integers(state),
            rules=integers(rules),
            mask=rebind[Mask](mask.unsafe_ptr()),
            workspace=shared_at.unsafe_offset(n_shared),
        )
        var total = floats(sum_logprob)
        var loop = GreedyLoop(
            decoder=decoder,
            hypotheses=hypotheses,
            start=Hypothesis.read(hypotheses.state, hypotheses.rules, total.unsafe_load(0)),
            choices=shared_at.unsafe_offset(n_shared + n_floats),
            sum_logprob=total,
            sampled=integers(sampled),
            n_tokens=n_tokens,
        )

        def task(t: Int) {var loop, var n_tasks, var counters_at, var shared_at}:
            var own = List[Float32](unsafe_uninit_length=loop.decoder.n_own())
            var at = loop.decoder.workspace(shared_at, rebind[Floats](own.unsafe_ptr()))
            var worker = Worker(counters_at, n_tasks)
            loop.run(worker, at)
            _ = own^

        sync_parallelize(task, n_tasks)
        _ = slots^
        _ = counters^
        _ = shared^
