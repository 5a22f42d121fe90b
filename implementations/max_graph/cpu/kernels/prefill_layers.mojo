"""A prompt's way through the decoder: all tokens at once, each panel of weights read once.

It is the program of a team, as in decoder.mojo, whose tables it reads. The prompt begins its
hypothesis: its keys and values are the first of the cache's slot 0.
"""
from std.math import ceildiv, sqrt
from .bind_block import ATTN_LN, CROSS_LN, KEYS, MLP_LN, VALUES, BlockPointers
from .bind_block import CROSS_OUT, CROSS_QUERY, FC1, FC2, OUT, QKV
from .causal_attention import CausalAttention
from .decode_attention import CrossAttention
from .decoder import Decoder
from .math import gelu
from .matmul import PackedMatrix, add_rows, copy_rows
from .packed_kv import PackedKV
from .prefill_workspace import (
    SKINNY_ROWS,
    PrefillSizes,
    ScoredHeads,
    SharedWorkspace,
    WorkerWorkspace,
)
from .row_block import RowBlock, round_up, rows_of
from .step_workspace import StepWorkspace
from .thread_team import Integers, Worker
from .tile import F32, PANEL, ROWS, WIDTH, Floats


@fieldwise_init
struct Prefill[w_dtype: DType, dtype: DType, e_dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for decoder.n_rows tokens of a prompt.

    Parameters:
        w_dtype: Type of the layers' matrices.
        dtype: Type of factors of matmuls, and of cross-attention's keys and values.
        e_dtype: Type of the embedding.
    """

    comptime Shared = SharedWorkspace[Self.dtype]
    comptime Own = WorkerWorkspace[Self.dtype]

    var decoder: Decoder[Self.w_dtype, Self.dtype, Self.e_dtype]
    var scored: ScoredHeads
    var sizes: PrefillSizes[Self.dtype]
    var n_threads: Int

    @always_inline
    def n_groups(self) -> Int:
        """Returns the number of pieces of work that goes row by row."""
        return self.sizes.n_capacity() // rows_of[Self.dtype]

    @always_inline
    def max_team_steps(self) -> Int:
        """Returns how many steps of a team the program has at most."""
        return 13 * self.decoder.n_layer + 1

    def run(self, mut worker: Worker, at: Self.Shared, own: Self.Own, tokens: Integers):
        """Goes from tokens [n_rows] to their last states, at.x.

        A few rows go the way of decoder.mojo, in which workers wait for each other less often.
        """
        var decoder = self.decoder
        while worker.claim_next(decoder.n_rows):
            var row = worker.piece
            decoder.embed(at.x, row, Int(tokens.unsafe_load(row)), row)
        if decoder.n_rows <= SKINNY_ROWS and self.scored.n == 0:
            var few = StepWorkspace(
                x=at.x,
                wide=at.wide,
                attended=at.attended,
                normed=own.normed,
                sums=own.sums,
                scores=own.scores,
            )
            decoder.run_layers(worker, few, 0)
        else:
            self.run_layers(worker, at, own)

    def run_layers(self, mut worker: Worker, at: Self.Shared, own: Self.Own):
        """Runs all blocks over at.x."""
        var n = self.decoder.n_state
        for layer in range(self.decoder.n_layer):
            var block = self.decoder.block(layer)
            var cross_out = self.matrix(block, CROSS_OUT, n_in=n, n_out=n)
            self.norm(worker, at, block, ATTN_LN)
            self.project_qkv(worker, at, own, block, QKV, 3 * n)
            self.self_attention(worker, at, own, layer)
            self.add_linear(worker, at.x, at.factors, own, self.matrix(block, OUT, n_in=n, n_out=n))
            self.norm(worker, at, block, CROSS_LN)
            self.project_qkv(worker, at, own, block, CROSS_QUERY, n)
            if self.scored.n > 0:
                self.store_scores(worker, at, own, layer)
            self.cross_attention(worker, at, own, layer)
            self.add_linear(worker, at.x, at.factors, own, cross_out)
            self.norm(worker, at, block, MLP_LN)
            self.fc1(worker, at, own, self.matrix(block, FC1, n_in=n, n_out=4 * n))
            self.add_linear(
                worker, at.x, at.hidden, own, self.matrix(block, FC2, n_in=4 * n, n_out=n)
            )

    @always_inline
    def matrix(
        self, block: BlockPointers, field: Int, *, n_in: Int, n_out: Int
    ) -> PackedMatrix[Self.w_dtype, Self.dtype]:
        """Returns the dense layer at a field of a block."""
        return PackedMatrix[Self.w_dtype, Self.dtype](
            panels=block.pointer[Self.w_dtype](field),
            scales=block.pointer[F32](field + 1),
            bias=block.pointer[F32](field + 2),
            n_out=n_out,
            depth=n_in,
            ahead=self.n_threads,
        )

    @always_inline
    def matmul_panel(
        self,
        matrix: PackedMatrix[Self.w_dtype, Self.dtype],
        factors: RowBlock[Self.dtype],
        own: Self.Own,
        panel: Int,
    ):
        """Computes a panel of a dense layer of all rows into own.sums."""
        matrix.accumulate(
            own.sums,
            factors,
            own.panel,
            n_rows=self.decoder.n_rows,
            panel=panel,
            depth=matrix.depth,
        )

    @always_inline
    def group(self, rows: RowBlock[Self.dtype], group: Int) -> RowBlock[Self.dtype]:
        """Returns the rows from a group's first on."""
        return RowBlock[Self.dtype](rows.at(group * rows_of[Self.dtype], 0), rows.n_capacity)

    @always_inline
    def n_in_group(self, group: Int) -> Int:
        """Returns the number of rows of a group."""
        comptime n = rows_of[Self.dtype]
        return min(n, self.decoder.n_rows - group * n)

    @no_inline
    def norm(self, mut worker: Worker, at: Self.Shared, block: BlockPointers, field: Int):
        """Normalises at.x into at.factors."""
        var n = self.decoder.n_state
        while worker.claim_next(self.n_groups()):
            var group = worker.piece
            self.group(at.factors, group).pack_layer_norm(
                at.x.unsafe_offset(group * rows_of[Self.dtype] * n),
                block.pointer[F32](field),
                block.pointer[F32](field + 1),
                n_rows=self.n_in_group(group),
                n_columns=n,
            )

    @no_inline
    def project_qkv(
        self,
        mut worker: Worker,
        at: Self.Shared,
        own: Self.Own,
        block: BlockPointers,
        field: Int,
        n_out: Int,
    ):
        """Computes queries into at.queries; with n_out of all three, also fills the cache."""
        var decoder = self.decoder
        var n = decoder.n_state
        var matrix = self.matrix(block, field, n_in=n, n_out=n_out)
        var cache = PackedKV[F32](
            keys=block.pointer[F32](KEYS),
            values=block.pointer[F32](VALUES),
            n_head=decoder.n_head,
            head_dim=n // decoder.n_head,
            n_ctx=decoder.n_text_ctx,
        )
        while worker.claim_next(matrix.n_panels()):
            var first = worker.piece * PANEL
            self.matmul_panel(matrix, at.factors, own, worker.piece)
            var n_columns = min(PANEL, n_out - first)
            var n_queries = min(n_columns, max(0, n - first))
            copy_rows(at.queries.unsafe_offset(first), n, own.sums, decoder.n_rows, n_queries)
            if n_queries < n_columns:
                cache.store(
                    own.sums.unsafe_offset(n_queries),
                    batch=0,
                    start=0,
                    n_rows=decoder.n_rows,
                    column=first + n_queries - n,
                    n=n_columns - n_queries,
                    workspace=own.transposed,
                )

    @no_inline
    def add_linear(
        self,
        mut worker: Worker,
        x: Floats,
        factors: RowBlock[Self.dtype],
        own: Self.Own,
        matrix: PackedMatrix[Self.w_dtype, Self.dtype],
    ):
        """Adds a dense layer's output to x [n_rows, n_state]."""
        var n = self.decoder.n_state
        var n_rows = self.decoder.n_rows
        while worker.claim_next(matrix.n_panels()):
            var first = worker.piece * PANEL
            self.matmul_panel(matrix, factors, own, worker.piece)
            var to = x.unsafe_offset(first)
            add_rows(to, to, n, own.sums, n_rows, min(PANEL, n - first))

    @no_inline
    def fc1(
        self,
        mut worker: Worker,
        at: Self.Shared,
        own: Self.Own,
        matrix: PackedMatrix[Self.w_dtype, Self.dtype],
    ):
        """Computes the MLP's first layer, GELU included, into at.hidden."""
        while worker.claim_next(matrix.n_panels()):
            var p = worker.piece
            self.matmul_panel(matrix, at.factors, own, p)
            for row in range(self.sizes.n_capacity()):
                comptime for j in range(0, PANEL, WIDTH):
                    var wide = own.sums.unsafe_load[width=WIDTH](row * PANEL + j)
                    at.hidden.store[WIDTH](gelu[Self.dtype](wide), row, p * PANEL + j)

    @no_inline
    def self_attention(self, mut worker: Worker, at: Self.Shared, own: Self.Own, layer: Int):
        """Lets each row attend to the rows before it and to itself, into at.factors."""
        var decoder = self.decoder
        var n_rows = decoder.n_rows
        var n = decoder.n_state
        var attention = CausalAttention(at.attended, at.queries, decoder.cache(layer, 0))
        var n_parts = ceildiv(n_rows, ROWS)
        while worker.claim_next(decoder.n_head * n_parts):
            var first = worker.piece % n_parts * ROWS
            attention.rows(worker.piece // n_parts, first, min(ROWS, n_rows - first), own.scores)
        while worker.claim_next(self.n_groups()):
            var source = at.attended.unsafe_offset(worker.piece * rows_of[Self.dtype] * n)
            var n_own = self.n_in_group(worker.piece)
            self.group(at.factors, worker.piece).pack(
                source, stride=n, n_rows=n_own, n_columns=n
            )

    @no_inline
    def cross_attention(self, mut worker: Worker, at: Self.Shared, own: Self.Own, layer: Int):
        """Lets all rows attend to the audio, into at.factors."""
        var kv = self.decoder.cross_kv(layer, 0)
        var query_tile = self.sizes.query_tile
        var n_parts = ceildiv(self.decoder.n_rows, query_tile)
        while worker.claim_next(self.decoder.n_head * n_parts):
            var start = worker.piece % n_parts * query_tile
            own.flash.run(
                kv,
                batch=0,
                head=worker.piece // n_parts,
                q=at.queries.unsafe_offset(start * self.decoder.n_state),
                n_rows=min(query_tile, self.decoder.n_rows - start),
                into=RowBlock[Self.dtype](at.factors.at(start, 0), at.factors.n_capacity),
            )

    @no_inline
    def store_scores(self, mut worker: Worker, at: Self.Shared, own: Self.Own, layer: Int):
        """Fills the scores before softmax of a layer's chosen heads."""
        var decoder = self.decoder
        var kv = decoder.cross_kv(layer, 0)
        var n_keys = decoder.n_audio_ctx
        var stride = round_up(n_keys, PANEL)
        var scale = 1 / sqrt(Float32(kv.head_dim))
        while worker.claim_next(self.scored.n):
            if self.scored.layer(worker.piece) != layer:
                continue
            for start in range(0, decoder.n_rows, SKINNY_ROWS):
                var n = min(SKINNY_ROWS, decoder.n_rows - start)
                CrossAttention[Self.dtype](
                    into=at.attended,
                    queries=at.queries.unsafe_offset(start * decoder.n_state),
                    kv=kv,
                    n_rows=n,
                    scores=own.scores,
                    sums=own.sums,
                ).compute_scores(self.scored.head(worker.piece), stride)
                var to = (worker.piece * decoder.n_rows + start) * n_keys
                self.scored.store(own.scores, to, n, n_keys, stride, scale)
