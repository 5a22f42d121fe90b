"""Ends of a prompt, after its last states: logits of some rows, or probabilities of given tokens.

Each is the end of a team's program, after prefill_layers.mojo.
"""
from std.math import ceildiv
from .decoder import Decoder
from .layer_norm import layer_norm_rows
from .math import LOG2_E, exp2
from .matmul import gemm_tile_f32
from .row_block import RowBlock, stride_of
from .thread_team import Integers, Worker
from .tile import F32, LOWEST, PANEL, ROWS, SPAN, WIDTH, Floats, Vector

comptime PIECES_PER_THREAD = 16
"""Pieces of the vocabulary for each thread, each of which is reduced at its end."""


trait PromptEnd(TrivialRegisterPassable):
    """The work on a prompt's last states."""

    def max_team_steps(self) -> Int:
        """Returns how many steps of a team it has at most."""
        ...

    def run[
        w_dtype: DType, dtype: DType, e_dtype: DType
    ](self, decoder: Decoder[w_dtype, dtype, e_dtype], mut worker: Worker, x: Floats):
        """Goes on from the states of all rows, x [n_rows, n_state]."""
        ...


@fieldwise_init
struct LogitRows(
    Copyable, ImplicitlyCopyable, Movable, PromptEnd, TrivialRegisterPassable
):
    """The rows whose logits are requested, and where those go."""

    var rows: Integers
    """[n_rows], in any order."""
    var n_rows: Int
    var normed: Floats
    """[n_rows, n_state]."""
    var logits: Floats
    """[n_rows, n_vocab]."""

    def max_team_steps(self) -> Int:
        """Returns 2."""
        return 2

    def run[
        w_dtype: DType, dtype: DType, e_dtype: DType
    ](self, decoder: Decoder[w_dtype, dtype, e_dtype], mut worker: Worker, x: Floats):
        """Computes the logits."""
        var n = decoder.n_state
        var sums = List[Float32](unsafe_uninit_length=self.n_rows * SPAN)
        while worker.claim_next(self.n_rows):
            var row = x.unsafe_offset(Int(self.rows.unsafe_load(worker.piece)) * n)
            var normed = self.normed.unsafe_offset(worker.piece * n)
            layer_norm_rows(normed, row, decoder.ln, decoder.ln_bias, start=0, stop=1, n_state=n)
        var high = decoder.embedding.high
        var n_pieces = high.n_pieces(worker.n_threads)
        while worker.claim_next(n_pieces):
            decoder.embedding.rows(
                self.logits,
                self.normed,
                self.n_rows,
                high.first_panel(worker.piece, n_pieces),
                high.first_panel(worker.piece + 1, n_pieces),
                rebind[Floats](sums.unsafe_ptr()),
            )
        _ = sums^


@fieldwise_init
struct TokenProbs(
    Copyable, ImplicitlyCopyable, Movable, PromptEnd, TrivialRegisterPassable
):
    """The tokens whose probabilities are requested, one for each of some neighbouring rows.

    Logits are never stored: a panel of the vocabulary is reduced while it is in the cache.
    """

    var first: Int
    """The first of the rows."""
    var targets: Integers
    """[n_rows]."""
    var n_rows: Int
    var n_classes: Int
    """Tokens from this one on count for no probability."""
    var factors: RowBlock[F32]
    """Left factor of the logits, n_rows in whole tiles."""
    var partials: Floats
    """Maximum and sum of each piece and row, [n_pieces, n_rows, 2]."""
    var probabilities: Floats
    """[n_rows]; the tokens' logits at first."""

    @staticmethod
    def n_pieces(n_classes: Int, n_threads: Int) -> Int:
        """Returns into how many pieces of whole panels the vocabulary is cut."""
        return min(ceildiv(n_classes, PANEL), PIECES_PER_THREAD * n_threads)

    def max_team_steps(self) -> Int:
        """Returns 3."""
        return 3

    def run[
        w_dtype: DType, dtype: DType, e_dtype: DType
    ](self, decoder: Decoder[w_dtype, dtype, e_dtype], mut worker: Worker, x: Floats):
        """Computes the probabilities; logits are in powers of two."""
        var n = decoder.n_state
        while worker.claim_next(ceildiv(self.n_rows, ROWS)):
            var start = worker.piece * ROWS
            RowBlock[F32](self.factors.at(start, 0), self.factors.n_capacity).pack_layer_norm(
                x.unsafe_offset((self.first + start) * n),
                decoder.ln,
                decoder.ln_bias,
                n_rows=min(ROWS, self.n_rows - start),
                n_columns=n,
            )
        var n_pieces = Self.n_pieces(self.n_classes, worker.n_threads)
        var n_panels = ceildiv(self.n_classes, PANEL)
        var n_sums = self.factors.n_capacity * PANEL
        var own = List[Float32](
            unsafe_uninit_length=n_sums + n * PANEL + 2 * WIDTH * self.n_rows + PANEL
        )
        var sums = rebind[Floats](own.unsafe_ptr())
        var columns = sums.unsafe_offset(n_sums)
        var lanes = columns.unsafe_offset(n * PANEL)
        var zeros = lanes.unsafe_offset(2 * WIDTH * self.n_rows)
        for j in range(PANEL):
            zeros.unsafe_store(j, Float32(0))
        while worker.claim_next(n_pieces):
            for row in range(self.n_rows):
                lanes.unsafe_store(row * 2 * WIDTH, Vector(LOWEST))
                lanes.unsafe_store(row * 2 * WIDTH + WIDTH, Vector(0))
            var stop = (worker.piece + 1) * n_panels // n_pieces
            for panel in range(worker.piece * n_panels // n_pieces, stop):
                decoder.embedding.convert_panel(columns, panel)
                self.matmul_panel(sums, columns, zeros, n)
                self.reduce_panel(lanes, sums, panel)
            self.reduce_lanes(lanes, worker.piece)
        while worker.claim_next(self.n_rows):
            self.combine(worker.piece, n_pieces)
        _ = own^

    @no_inline
    def matmul_panel(self, sums: Floats, columns: Floats, zeros: Floats, depth: Int):
        """Computes the logits of a panel, [n_rows in whole tiles, PANEL]."""
        for row in range(0, self.factors.n_capacity, ROWS):
            for column in range(0, PANEL, SPAN):
                gemm_tile_f32(
                    sums.unsafe_offset(row * PANEL + column),
                    PANEL,
                    zeros,
                    0,
                    self.factors.at(row, 0),
                    self.factors.n_capacity * stride_of[F32],
                    columns.unsafe_offset(column),
                    PANEL,
                    depth,
                )

    @no_inline
    def reduce_panel(self, lanes: Floats, sums: Floats, panel: Int):
        """Adds a panel to each row's maxima and sums, which are kept by lanes of vectors."""
        var first = panel * PANEL
        for row in range(self.n_rows):
            var line = sums.unsafe_offset(row * PANEL)
            for j in range(max(0, self.n_classes - first), PANEL):
                line.unsafe_store(j, LOWEST)
            var target = Int(self.targets.unsafe_load(row)) - first
            if 0 <= target < PANEL:
                self.probabilities.unsafe_store(row, line.unsafe_load(target) * LOG2_E)
            var at = lanes.unsafe_offset(row * 2 * WIDTH)
            var highest = at.unsafe_load[width=WIDTH](0)
            var sum = at.unsafe_load[width=WIDTH](WIDTH)
            comptime for j in range(0, PANEL, WIDTH):
                var logit = line.unsafe_load[width=WIDTH](j) * LOG2_E
                if logit.gt(highest).reduce_or():
                    var higher = max(logit, highest)
                    sum *= exp2[F32](highest - higher)
                    highest = higher
                sum += exp2[F32](logit - highest)
            at.unsafe_store(0, highest)
            at.unsafe_store(WIDTH, sum)

    @no_inline
    def reduce_lanes(self, lanes: Floats, piece: Int):
        """Joins the lanes of each row into the piece's partial."""
        for row in range(self.n_rows):
            var at = lanes.unsafe_offset(row * 2 * WIDTH)
            var highest = at.unsafe_load[width=WIDTH](0)
            var top = highest.reduce_max()
            var sum = at.unsafe_load[width=WIDTH](WIDTH) * exp2[F32](highest - top)
            var to = self.partials.unsafe_offset(2 * (piece * self.n_rows + row))
            to.unsafe_store(0, top)
            to.unsafe_store(1, sum.reduce_add())

    @no_inline
    def combine(self, row: Int, n_pieces: Int):
        """Joins the pieces of a row: its token's logit becomes the probability."""
        var top = LOWEST
        for piece in range(n_pieces):
            top = max(top, self.partials.unsafe_load(2 * (piece * self.n_rows + row)))
        var total = Float32(0)
        for piece in range(n_pieces):
            var at = self.partials.unsafe_offset(2 * (piece * self.n_rows + row))
            total += at.unsafe_load(1) * exp2[F32](at.unsafe_load(0) - top)
        var logit = self.probabilities.unsafe_load(row)
        self.probabilities.unsafe_store(row, exp2[F32](logit - top) / total)
