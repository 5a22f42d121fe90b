"""The operation of one step of rows of several windows, each with rules and a choice of its own.

Rows that are ranked come first, then rows that are drawn. All rows share each read of the weights;
a row's sums are made in the same order whatever the number of rows, so that it is the same alone.
"""
import extensibility
from extensibility import InputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.memory import Pointer
from .bind_block import Addresses, MutableTensor
from .decode import check_decoder, decoder_of, integers
from .decoder import Decoder
from .logits import hypotheses_of, n_ranking
from .row_table import N_ROW_ADDRESSES, RowTable
from .sample import SamplingRow
from .step_workspace import StepWorkspace
from .thread_count import max_threads
from .thread_team import N_COUNTERS, Integers, Worker
from .tile import F32, PANEL, Floats, floats
from .token_rules import N_FIELDS, Hypotheses, Mask, check_token_state
from .top_k import N_PARTIALS, RowLogits, TopK, select_top_k


@fieldwise_init
struct RowChoices(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Choice of each row's next tokens, ranked or drawn, and the place for them."""

    var into: Floats
    """[n_rows, 2, k_max]: tokens, then their log-probabilities."""
    var k_max: Int
    var ranks: Integers
    """[n_rows]: number of tokens wanted; 0 for a token that is drawn."""
    var n_ranked: Int
    """Rows that are ranked; the others follow them."""
    var temperatures: Floats
    """[n_rows], above 0 where a token is drawn."""
    var draws: Pointer[Float64, MutUntrackedOrigin]
    """[n_rows], from 0 to 1."""

    @always_inline
    def tokens(self, row: Int) -> Floats:
        """Returns where a row's tokens go."""
        return self.into.unsafe_offset(2 * row * self.k_max)

    def draw(self, hypotheses: Hypotheses, row: Int, n_vocab: Int, workspace: Floats):
        """Draws a row's token; `workspace` is n_vocab + 2 floats."""
        var found = workspace.unsafe_offset(n_vocab)
        SamplingRow(
            hypothesis=hypotheses.hypothesis(row),
            logits=hypotheses.logits.unsafe_offset(row * n_vocab),
            mask=hypotheses.mask_of(row),
            n_vocab=n_vocab,
        ).sample(
            found,
            workspace,
            self.draws.unsafe_load(row),
            self.temperatures.unsafe_load(row),
        )
        self.tokens(row).unsafe_store(0, found.unsafe_load(0))
        self.tokens(row).unsafe_store(self.k_max, found.unsafe_load(1))


def choose_tokens(
    decoder: Decoder,
    mut worker: Worker,
    at: StepWorkspace,
    hypotheses: Hypotheses,
    choices: RowChoices,
    workspace: Floats,
):
    """Computes logits from at.x and chooses each row's tokens.

    Ranked rows get the low bytes of their candidates alone, drawn ones those of all tokens.
    `workspace` is n_vocab + 2 floats of this worker.
    """
    decoder.norm_rows(at, decoder.ln, decoder.ln_bias)
    var n_vocab = decoder.embedding.n_vocab()
    var n_ranked = choices.n_ranked
    var high = decoder.embedding.high
    var n_pieces = high.n_pieces(worker.n_threads)
    while worker.claim_next(n_pieces):
        var first = high.first_panel(worker.piece, n_pieces)
        var last = high.first_panel(worker.piece + 1, n_pieces)
        var partials = hypotheses.partials.unsafe_offset(worker.piece * n_ranked * N_PARTIALS)
        high.rows(hypotheses.logits, at.normed, decoder.n_rows, first, last, at.sums)
        for row in range(n_ranked):
            hypotheses.hypothesis(row).allowed(n_vocab).scan(
                partials.unsafe_offset(row * N_PARTIALS),
                hypotheses.logits.unsafe_offset(row * n_vocab),
                hypotheses.mask_of(row),
                first * PANEL,
                min(last * PANEL, n_vocab),
            )
        decoder.embedding.add_low_rows(
            hypotheses.logits.unsafe_offset(n_ranked * n_vocab),
            at.normed.unsafe_offset(n_ranked * decoder.n_state),
            decoder.n_rows - n_ranked,
            first,
            last,
            at.sums,
        )
    while worker.claim_next(decoder.n_rows):
        var row = worker.piece
        if row >= n_ranked:
            choices.draw(hypotheses, row, n_vocab, workspace)
            continue
        var k = Int(choices.ranks.unsafe_load(row))
        var tokens = choices.tokens(row)
        select_top_k(
            decoder.embedding,
            RowLogits(
                logits=hypotheses.logits.unsafe_offset(row * n_vocab),
                x=at.normed.unsafe_offset(row * decoder.n_state),
                partials=hypotheses.partials.unsafe_offset(row * N_PARTIALS),
                stride=n_ranked * N_PARTIALS,
                n_pieces=n_pieces,
            ),
            hypotheses.hypothesis(row),
            max_scale=hypotheses.max_scale,
            into=TopK(tokens, tokens.unsafe_offset(choices.k_max), k),
            workspace=at.scores,
        )


def run_rows(
    decoder: Decoder,
    choices: RowChoices,
    rules: Integers,
    *,
    rules_stride: Int,
    sources: Integers,
    n_tasks: Int,
) raises:
    """Runs a step of all rows by a team.

    Args:
        decoder: The decoder, with its table of rows.
        choices: Choice of each row.
        rules: Rules of each row.
        rules_stride: Integers from one row's rules to the next's.
        sources: Source slots of the rows.
        n_tasks: Threads.
    """
    var counters = List[Int32](length=decoder.max_team_steps() * N_COUNTERS, fill=0)
    var n_shared = decoder.n_shared()
    var shared = List[Float32](unsafe_uninit_length=n_shared + n_ranking(decoder, n_tasks))
    var counters_at = rebind[Integers](counters.unsafe_ptr())
    var shared_at = rebind[Floats](shared.unsafe_ptr())
    var hypotheses = hypotheses_of(
        decoder,
        state=decoder.rows.state,
        rules=rules,
        mask=Mask(unsafe_from_address=Int(decoder.rows.masks().unsafe_load(0))),
        workspace=shared_at.unsafe_offset(n_shared),
    )
    hypotheses.rules_stride = rules_stride
    hypotheses.masks = decoder.rows.masks()
    hypotheses.mask_stride = decoder.rows.stride()

    def task(
        t: Int,
    ) {
        var decoder, var n_tasks, var counters_at, var shared_at,
        var hypotheses, var sources, var choices,
    }:
        var n_own = decoder.n_own()
        var own = List[Float32](
            unsafe_uninit_length=n_own + decoder.embedding.n_vocab() + 2
        )
        var own_at = rebind[Floats](own.unsafe_ptr())
        var at = decoder.workspace(shared_at, own_at)
        var worker = Worker(counters_at, n_tasks)
        decoder.run_step(
            worker, at, hypotheses.state,
            token_stride=N_FIELDS, source_slots=sources, n_past=0,
        )
        choose_tokens(decoder, worker, at, hypotheses, choices, own_at.unsafe_offset(n_own))
        _ = own^

    sync_parallelize(task, n_tasks)
    _ = counters^
    _ = shared^


@extensibility.register("whisper_cpu_decode_rows")
struct DecodeRowsOp:
    """One token for each row -> its next token, or the most likely ones."""

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
        n_row_addresses: Int,
    ](
        table: MutableTensor[dtype=DType.int64, rank=2, ...],
        choice: MutableTensor[dtype=F32, rank=3, ...],
        state: InputTensor[dtype=DType.int32, rank=2, ...],
        rules: InputTensor[dtype=DType.int32, rank=2, ...],
        ranks: InputTensor[dtype=DType.int32, rank=1, ...],
        temperatures: InputTensor[dtype=F32, rank=1, ...],
        draws: InputTensor[dtype=DType.float64, rank=1, ...],
        addresses: InputTensor[dtype=DType.int64, rank=2, ...],
        groups: InputTensor[dtype=DType.int32, rank=1, ...],
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
        """Feeds the token of each state at its position; fills choice [n_rows, 2, k_max].

        Ranked rows get their first ranks[row] tokens and log-probabilities, drawn ones the first.
        See row_table.mojo for addresses and groups, kv_cache.py for slots and source slots.
        """
        check_decoder[panel, amx_step, n_addresses, n_vocab]()
        check_token_state[state_fields, rule_fields, never]()
        comptime assert n_row_addresses == N_ROW_ADDRESSES, "ops.N_ROW_ADDRESSES differs"
        var decoder = decoder_of[layer_dtype, cross_kv_dtype](
            table, embedding, scales, positional, ln_weight, ln_bias,
            slots=integers(slots), n_vocab=n_vocab, n_head=n_head, n_audio_ctx=n_audio_ctx,
            n_rows=state.dim_size(0), is_prompt=False,
        )
        decoder.rows = RowTable(
            addresses=rebind[Addresses](addresses.unsafe_ptr()),
            state=integers(state),
            groups=integers(groups),
            n_groups=groups.dim_size(0) - 1,
            n_layer=table.dim_size(0),
        )
        var n_ranked = 0
        for row in range(decoder.n_rows):
            if ranks[row] > 0:
                n_ranked += 1
        var choices = RowChoices(
            into=floats(choice),
            k_max=choice.dim_size(2),
            ranks=integers(ranks),
            n_ranked=n_ranked,
            temperatures=floats(temperatures),
            draws=rebind[Pointer[Float64, MutUntrackedOrigin]](draws.unsafe_ptr()),
        )
        run_rows(
            decoder,
            choices,
            integers(rules),
            rules_stride=rules.dim_size(1),
            sources=integers(source_slots),
            n_tasks=max_threads(n_threads),
        )
