"""The memory that feeding a prompt takes: what workers share, and what each has for itself."""
from std.math import ceildiv
from std.sys import size_of
from .flash_attention import FlashAttention
from .packed_kv import PackedKV
from .row_block import RowBlock, Scalars, Workspace, round_up, rows_of
from .thread_team import Integers
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats

comptime SKINNY_ROWS = 6
"""A prompt of so few tokens goes the way of a step; longer ones attend so many rows at a time."""


@fieldwise_init
struct ScoredHeads(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The heads whose scores of cross-attention are requested, and where those go."""

    var scores: Floats
    """[n, n_rows, n_audio_ctx]."""
    var heads: Integers
    """[n, 2]: layer and head of each."""
    var n: Int

    @always_inline
    def layer(self, index: Int) -> Int:
        """Returns the layer of a head."""
        return Int(self.heads.unsafe_load(2 * index))

    @always_inline
    def head(self, index: Int) -> Int:
        """Returns its number in the layer."""
        return Int(self.heads.unsafe_load(2 * index + 1))

    @always_inline
    def store(
        self, source: Floats, at: Int, n_rows: Int, n_keys: Int, stride: Int, scale: Float32
    ):
        """Stores rows of scores, which lie `stride` floats apart, times a scale."""
        var whole = n_keys // WIDTH * WIDTH
        for row in range(n_rows):
            var line = source.unsafe_offset(row * stride)
            var to = self.scores.unsafe_offset(at + row * n_keys)
            for j in range(0, whole, WIDTH):
                to.unsafe_store(j, line.unsafe_load[width=WIDTH](j) * scale)
            for j in range(whole, n_keys):
                to.unsafe_store(j, line.unsafe_load(j) * scale)


@fieldwise_init
struct PrefillSizes[dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """The sizes that decide how much memory is needed."""

    var n_rows: Int
    var n_state: Int
    var n_padded: Int
    """The longer of both contexts, in whole panels."""
    var query_tile: Int
    """Rows that attend to the audio together."""
    var cross_kv: PackedKV[Self.dtype]

    @always_inline
    def n_capacity(self) -> Int:
        """Returns n_rows in whole tiles."""
        return round_up(self.n_rows, rows_of[Self.dtype])


@always_inline
def query_tile_of[dtype: DType](n_rows: Int, n_head: Int, n_threads: Int) -> Int:
    """Returns how many rows attend to the audio together.

    They are all rows of a head, or a part of them where threads are many.
    """
    return round_up(ceildiv(n_rows, ceildiv(2 * n_threads, n_head)), rows_of[dtype])


@fieldwise_init
struct SharedWorkspace[dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Arrays that workers share."""

    var x: Floats
    """[n_rows, n_state], as the next two."""
    var queries: Floats
    var attended: Floats
    var wide: Floats
    """[SKINNY_ROWS, 4 * n_state]."""
    var factors: RowBlock[Self.dtype]
    """Left factor of a matmul of depth n_state: normalised rows, or means of attention."""
    var hidden: RowBlock[Self.dtype]
    """[n_rows, 4 * n_state], the hidden state of the MLP."""

    @staticmethod
    def n_bytes(sizes: PrefillSizes[Self.dtype]) -> Int:
        """Returns the bytes of all arrays."""
        comptime Rows = RowBlock[Self.dtype]
        var n = sizes.n_capacity()
        var n_factors = Rows.size(n, sizes.n_state) + Rows.size(n, 4 * sizes.n_state)
        var n_floats = (3 * sizes.n_rows + 4 * SKINNY_ROWS) * sizes.n_state
        return 4 * n_floats + n_factors * size_of[Self.dtype]()

    @staticmethod
    def within(mut memory: Workspace, sizes: PrefillSizes[Self.dtype]) -> Self:
        """Takes all arrays from a workspace of n_bytes."""
        comptime Rows = RowBlock[Self.dtype]
        var n = sizes.n_capacity()
        var n_floats = sizes.n_rows * sizes.n_state
        return Self(
            x=memory.take[F32](n_floats),
            queries=memory.take[F32](n_floats),
            attended=memory.take[F32](n_floats),
            wide=memory.take[F32](4 * SKINNY_ROWS * sizes.n_state),
            factors=Rows(memory.take[Self.dtype](Rows.size(n, sizes.n_state)), n),
            hidden=Rows(memory.take[Self.dtype](Rows.size(n, 4 * sizes.n_state)), n),
        )


@fieldwise_init
struct WorkerWorkspace[dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """Arrays of one worker."""

    var sums: Floats
    """[n_rows, PANEL]."""
    var transposed: Floats
    """[n_rows, PANEL]."""
    var normed: Floats
    """[SKINNY_ROWS, n_state]."""
    var panel: Scalars[Self.dtype]
    """Workspace of `PackedMatrix.accumulate`."""
    var scores: Floats
    """Scores of ROWS rows of attention to the text, or of SKINNY_ROWS to the audio."""
    var flash: FlashAttention[Self.dtype]

    @staticmethod
    def n_scores(sizes: PrefillSizes[Self.dtype]) -> Int:
        """Returns the floats of `scores`."""
        var n_text = ROWS * (round_up(sizes.n_rows, PANEL) + SPAN)
        return max(n_text, SKINNY_ROWS * sizes.n_padded)

    @staticmethod
    def n_bytes(sizes: PrefillSizes[Self.dtype]) -> Int:
        """Returns the bytes of all arrays."""
        var n_floats = 2 * sizes.n_capacity() * PANEL
        n_floats += SKINNY_ROWS * sizes.n_state + Self.n_scores(sizes)
        return (
            4 * n_floats
            + (4 * sizes.n_state + 2) * PANEL * size_of[Self.dtype]()
            + FlashAttention[Self.dtype].n_bytes(sizes.query_tile, sizes.cross_kv)
        )

    @staticmethod
    def within(mut memory: Workspace, sizes: PrefillSizes[Self.dtype]) -> Self:
        """Takes all arrays from a workspace of n_bytes."""
        return Self(
            sums=memory.take[F32](sizes.n_capacity() * PANEL),
            transposed=memory.take[F32](sizes.n_capacity() * PANEL),
            normed=memory.take[F32](SKINNY_ROWS * sizes.n_state),
            panel=memory.take[Self.dtype]((4 * sizes.n_state + 2) * PANEL),
            scores=memory.take[F32](Self.n_scores(sizes)),
            flash=FlashAttention[Self.dtype].within(memory, sizes.query_tile, sizes.cross_kv),
        )
