"""The decoder's program: one new token for each hypothesis, from its embedding to its last state.

A whole step, or many, is one operation, so that threads are started once and wait for each other
between its parts without the system's help; see thread_team.mojo. Long prompts go the way of
prefill_layers.mojo; logits.mojo goes on from the last state. The weights of the blocks come through
the table of bind_block.mojo.
"""
from std.math import ceildiv
from .bind_block import ATTN_LN, CROSS_LN, MLP_LN, N_ADDRESSES, Addresses, BlockPointers
from .bind_block import CROSS_KEYS, CROSS_OUT, CROSS_QUERY, CROSS_VALUES, KEYS, VALUES
from .bind_block import FC1, FC2, OUT, QKV
from .decode_attention import CachedSelfAttention, CrossAttention
from .embedding import Embedding
from .kv_cache import KVCache
from .layer_norm import layer_norm_rows
from .packed_kv import PackedKV
from .row_table import RowTable
from .skinny_linear import SkinnyLinear
from .step_workspace import StepWorkspace
from .thread_team import Integers, Worker
from .tile import F32, PANEL, Floats


@fieldwise_init
struct Decoder[w_dtype: DType, kv_dtype: DType, e_dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The decoder for n_rows hypotheses.

    Parameters:
        w_dtype: Type of the layers' matrices.
        kv_dtype: Type of cross-attention's keys and values.
        e_dtype: Type of the embedding.
    """

    var blocks: Addresses
    """[n_layer, N_ADDRESSES]."""
    var slots: Integers
    """[n_rows, n_panels]: slot in the caches of each of a row's panels of positions."""
    var embedding: Embedding[Self.e_dtype]
    var positional: Floats
    """[n_text_ctx, n_state]."""
    var ln: Floats
    """Weight of the last layer norm."""
    var ln_bias: Floats
    var n_layer: Int
    var n_head: Int
    var n_state: Int
    var n_text_ctx: Int
    var n_audio_ctx: Int
    var n_rows: Int
    var is_prompt: Bool
    """True where rows are successive tokens of one hypothesis, not next tokens of several."""
    var rows: RowTable
    """Caches, audio and position of each row, where rows are of several windows."""

    @always_inline
    def max_team_steps(self) -> Int:
        """Returns how many steps of a team a step of the decoder has at most."""
        return 8 * self.n_layer + 4

    @always_inline
    def n_shared(self) -> Int:
        """Returns the floats of workspace that workers share."""
        return StepWorkspace.n_shared(self.n_rows, self.n_state)

    @always_inline
    def n_own(self) -> Int:
        """Returns the floats of workspace of one worker."""
        return StepWorkspace.n_own(self.n_rows, self.n_state, self.n_padded())

    @always_inline
    def n_padded(self) -> Int:
        """Returns the longer of both contexts, in whole panels."""
        return ceildiv(max(self.n_text_ctx, self.n_audio_ctx), PANEL) * PANEL

    @always_inline
    def workspace(self, shared: Floats, own: Floats) -> StepWorkspace:
        """Returns the arrays within n_shared and n_own floats."""
        return StepWorkspace.within(shared, own, self.n_rows, self.n_state)

    @always_inline
    def block(self, layer: Int) -> BlockPointers:
        """Returns a layer's row of the table."""
        return BlockPointers(self.blocks.unsafe_offset(layer * N_ADDRESSES))

    @always_inline
    def linear(
        self,
        block: BlockPointers,
        field: Int,
        *,
        n_in: Int,
        n_out: Int,
        has_gelu: Bool = False,
        has_residual: Bool = False,
    ) -> SkinnyLinear[Self.w_dtype, Self.w_dtype.is_integral()]:
        """Returns the dense layer at a field of a block."""
        return SkinnyLinear[Self.w_dtype, Self.w_dtype.is_integral()](
            panels=block.pointer[Self.w_dtype](field),
            scales=block.pointer[F32](field + 1),
            bias=block.pointer[F32](field + 2),
            n_in=n_in,
            n_out=n_out,
            has_gelu=has_gelu,
            has_residual=has_residual,
        )

    def run_step(
        self,
        mut worker: Worker,
        at: StepWorkspace,
        tokens: Integers,
        *,
        token_stride: Int,
        source_slots: Integers,
        n_past: Int,
    ):
        """Runs all blocks over each row's token; tokens are token_stride integers apart."""
        self.make_tail_panels_unique(worker, source_slots, n_past)
        while worker.claim_next(1):
            for row in range(self.n_rows):
                var token = Int(tokens.unsafe_load(row * token_stride))
                self.embed(at.x, row, token, self.position(row, n_past))
        self.run_layers(worker, at, n_past)

    def make_tail_panels_unique(self, mut worker: Worker, source_slots: Integers, n_past: Int):
        """Copies the panel to be appended to where a row's slot differs from its source slot."""
        var is_copied = False
        for row in range(self.n_rows):
            var slot = self.slot(row, self.position(row, n_past))
            is_copied = is_copied or source_slots.unsafe_load(row) != slot
        if not is_copied:
            return
        while worker.claim_next(self.n_layer):
            for row in range(self.n_rows):
                var source = source_slots.unsafe_load(row)
                var position = self.position(row, n_past)
                var slot = self.slot(row, position)
                if source != slot:
                    var cache = self.cache(worker.piece, row)
                    cache.copy_panel(Int(slot), Int(source), position // PANEL)

    @always_inline
    def position(self, row: Int, n_past: Int) -> Int:
        """Returns the position of a row's token; n_past is the first row's where rows share one."""
        if self.rows.n_groups > 0:
            return self.rows.n_past(row)
        return n_past + (row if self.is_prompt else 0)

    @always_inline
    def slot(self, row: Int, position: Int) -> Int32:
        """Returns the slot of the caches in which a row has a position's panel."""
        return self.slots.unsafe_load(row * ceildiv(self.n_text_ctx, PANEL) + position // PANEL)

    @always_inline
    def cache(self, layer: Int, row: Int) -> KVCache:
        """Returns a layer's cache of self-attention, in which a row has its slots."""
        var block = self.block(layer)
        var keys = block.pointer[F32](KEYS)
        var values = block.pointer[F32](VALUES)
        if self.rows.n_groups > 0:
            keys = self.rows.pointer[F32](row, layer, 0)
            values = self.rows.pointer[F32](row, layer, 1)
        return KVCache(
            keys=keys,
            values=values,
            n_head=self.n_head,
            head_dim=self.n_state // self.n_head,
            n_ctx=self.n_text_ctx,
        )

    @always_inline
    def cross_kv(self, layer: Int, row: Int) -> PackedKV[Self.kv_dtype]:
        """Returns a layer's keys and values of a row's audio."""
        var block = self.block(layer)
        var keys = block.pointer[Self.kv_dtype](CROSS_KEYS)
        var values = block.pointer[Self.kv_dtype](CROSS_VALUES)
        if self.rows.n_groups > 0:
            keys = self.rows.pointer[Self.kv_dtype](row, layer, 2)
            values = self.rows.pointer[Self.kv_dtype](row, layer, 3)
        return PackedKV[Self.kv_dtype](
            keys=keys,
            values=values,
            n_head=self.n_head,
            head_dim=self.n_state // self.n_head,
            n_ctx=self.n_audio_ctx,
        )

    @always_inline
    def embed(self, into: Floats, row: Int, token: Int, n_past: Int):
        """Writes a row of [n_rows, n_state]: its token's embedding plus its position's."""
        var position = self.positional.unsafe_offset(n_past * self.n_state)
        self.embedding.store_row(into.unsafe_offset(row * self.n_state), token, position)

    def run_layers(self, mut worker: Worker, at: StepWorkspace, n_past: Int):
        """Runs all blocks over at.x."""
        var n = self.n_state
        for layer in range(self.n_layer):
            var block = self.block(layer)
            var qkv = self.linear(block, QKV, n_in=n, n_out=3 * n)
            var out = self.linear(block, OUT, n_in=n, n_out=n, has_residual=True)
            var query = self.linear(block, CROSS_QUERY, n_in=n, n_out=n)
            var cross_out = self.linear(block, CROSS_OUT, n_in=n, n_out=n, has_residual=True)
            var fc1 = self.linear(block, FC1, n_in=n, n_out=4 * n, has_gelu=True)
            var fc2 = self.linear(block, FC2, n_in=4 * n, n_out=n, has_residual=True)
            self.norm(at, block, ATTN_LN)
            self.run_linear(worker, at, at.wide, at.normed, qkv)
            self.self_attention(worker, at, layer, n_past)
            self.run_linear(worker, at, at.x, at.attended, out)
            self.norm(at, block, CROSS_LN)
            self.run_linear(worker, at, at.wide, at.normed, query)
            self.cross_attention(worker, at, layer)
            self.run_linear(worker, at, at.x, at.attended, cross_out)
            self.norm(at, block, MLP_LN)
            self.run_linear(worker, at, at.wide, at.normed, fc1)
            self.run_linear(worker, at, at.x, at.wide, fc2)

    @always_inline
    def self_attention(
        self, mut worker: Worker, at: StepWorkspace, layer: Int, n_past: Int
    ):
        """Attends to the text, from at.wide to at.attended; a prompt's rows see those before."""
        var n_together = self.n_rows if self.is_prompt else 1
        while worker.claim_next(self.n_rows * self.n_head // n_together):
            for i in range(n_together):
                var row = worker.piece // self.n_head + i
                var attention = CachedSelfAttention(
                    into=at.attended,
                    qkv=at.wide,
                    cache=self.cache(layer, row),
                    slots=self.slots,
                    n_past=self.position(row, n_past),
                    scores=at.scores,
                    sums=at.sums,
                )
                attention.run(row, worker.piece % self.n_head)

    @always_inline
    def cross_attention(self, mut worker: Worker, at: StepWorkspace, layer: Int):
        """Attends to the audio, from at.wide to at.attended; rows of a window do together."""
        while worker.claim_next(max(1, self.rows.n_groups) * self.n_head):
            var first = 0
            var stop = self.n_rows
            if self.rows.n_groups > 0:
                first = self.rows.first(worker.piece // self.n_head)
                stop = self.rows.first(worker.piece // self.n_head + 1)
            var attention = CrossAttention[Self.kv_dtype](
                into=at.attended.unsafe_offset(first * self.n_state),
                queries=at.wide.unsafe_offset(first * self.n_state),
                kv=self.cross_kv(layer, first),
                n_rows=stop - first,
                scores=at.scores,
                sums=at.sums,
            )
            attention.run(worker.piece % self.n_head)

    @always_inline
    def norm(self, at: StepWorkspace, block: BlockPointers, field: Int):
        """Normalises at.x into at.normed; each worker for itself, which saves a wait."""
        self.norm_rows(at, block.pointer[F32](field), block.pointer[F32](field + 1))

    @always_inline
    def norm_rows(self, at: StepWorkspace, weight: Floats, bias: Floats):
        """Normalises at.x into at.normed."""
        layer_norm_rows(
            at.normed, at.x, weight, bias, start=0, stop=self.n_rows, n_state=self.n_state
        )

    @no_inline
    def run_linear(
        self,
        mut worker: Worker,
        at: StepWorkspace,
        into: Floats,
        x: Floats,
        linear: SkinnyLinear[Self.w_dtype, _],
    ):
        """Runs a dense layer from x to `into`, its panels shared among workers."""
        var n_pieces = linear.n_pieces(worker.n_threads)
        while worker.claim_next(n_pieces):
            var first = linear.first_panel(worker.piece, n_pieces)
            var last = linear.first_panel(worker.piece + 1, n_pieces)
            linear.rows(into, x, self.n_rows, first, last, at.sums)
