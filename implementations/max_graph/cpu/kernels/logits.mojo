"""The end of a decoder step: from the last states of all rows to logits, or to their top k."""
from .decoder import Decoder
from .layer_norm import layer_norm_rows
from .step_workspace import StepWorkspace
from .thread_team import Integers, Worker
from .tile import PANEL, Floats
from .token_rules import Hypotheses, Mask
from .top_k import N_PARTIALS, RowLogits, TopK, select_top_k


@always_inline
def n_ranking(decoder: Decoder, n_threads: Int) -> Int:
    """Returns the floats in which logits are ranked: logits, and partials of their pieces."""
    var n_partials = decoder.embedding.high.n_pieces(n_threads) * N_PARTIALS
    return decoder.n_rows * (decoder.embedding.n_vocab() + n_partials)


@always_inline
def hypotheses_of(
    decoder: Decoder, *, state: Integers, rules: Integers, mask: Mask, workspace: Floats
) -> Hypotheses:
    """Returns the rows as hypotheses, with a workspace of n_ranking floats."""
    return Hypotheses(
        state=state,
        rules=rules,
        rules_stride=0,
        mask=mask,
        masks=decoder.blocks,
        mask_stride=0,
        logits=workspace,
        partials=workspace.unsafe_offset(decoder.n_rows * decoder.embedding.n_vocab()),
        max_scale=decoder.embedding.max_scale(),
    )


def compute_logits(decoder: Decoder, mut worker: Worker, at: StepWorkspace, into: Floats):
    """Computes the logits of all rows from at.x, [n_rows, n_vocab]."""
    decoder.norm_rows(at, decoder.ln, decoder.ln_bias)
    var n_pieces = decoder.embedding.high.n_pieces(worker.n_threads)
    while worker.claim_next(n_pieces):
        var first = decoder.embedding.high.first_panel(worker.piece, n_pieces)
        var last = decoder.embedding.high.first_panel(worker.piece + 1, n_pieces)
        decoder.embedding.rows(into, at.normed, decoder.n_rows, first, last, at.sums)


def compute_top_k(
    decoder: Decoder,
    mut worker: Worker,
    at: StepWorkspace,
    hypotheses: Hypotheses,
    choice: Floats,
    k: Int,
):
    """Computes each row's k most likely tokens and their log-probabilities, [n_rows, 2, k].

    Logits are reduced while they are in the cache; see top_k.mojo for what follows.
    """
    decoder.norm_rows(at, decoder.ln, decoder.ln_bias)
    var n_vocab = decoder.embedding.n_vocab()
    var n_rows = decoder.n_rows
    var high = decoder.embedding.high
    var n_pieces = high.n_pieces(worker.n_threads)
    while worker.claim_next(n_pieces):
        var first = high.first_panel(worker.piece, n_pieces)
        var last = high.first_panel(worker.piece + 1, n_pieces)
        var partials = hypotheses.partials.unsafe_offset(worker.piece * n_rows * N_PARTIALS)
        high.rows(hypotheses.logits, at.normed, n_rows, first, last, at.sums)
        for row in range(n_rows):
            hypotheses.hypothesis(row).allowed(n_vocab).scan(
                partials.unsafe_offset(row * N_PARTIALS),
                hypotheses.logits.unsafe_offset(row * n_vocab),
                hypotheses.mask,
                first * PANEL,
                min(last * PANEL, n_vocab),
            )
    while worker.claim_next(n_rows):
        var row = worker.piece
        var tokens = choice.unsafe_offset(2 * row * k)
        select_top_k(
            decoder.embedding,
            RowLogits(
                logits=hypotheses.logits.unsafe_offset(row * n_vocab),
                x=at.normed.unsafe_offset(row * decoder.n_state),
                partials=hypotheses.partials.unsafe_offset(row * N_PARTIALS),
                stride=n_rows * N_PARTIALS,
                n_pieces=n_pieces,
            ),
            hypotheses.hypothesis(row),
            max_scale=hypotheses.max_scale,
            into=TopK(tokens, tokens.unsafe_offset(k), k),
            workspace=at.scores,
        )
