"""The memory that feeding a prompt takes: what members share, and what each has for itself."""
from std.math import ceildiv
from std.sys import size_of
from .few_rows import MOST_ROWS
from .head_rows import HeadRows
from .kept import Kept
from .row_block import Numbers, RowBlock, Scratch, round_up, rows_of
from .team import Integers
from .tile import F32, PANEL, ROWS, SPAN, Floats


@fieldwise_init
struct Wanted(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The rows whose logits are wanted, and where those go."""

    var rows: Integers
    var n_rows: Int
    var normed: Floats
    """[n_rows, n_state]."""
    var logits: Floats
    """[n_rows, n_vocab]."""


@fieldwise_init
struct Sizes[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What decides how much is needed."""

    var n_rows: Int
    var n_wanted: Int
    var n_state: Int
    var n_padded: Int
    """The longer of both contexts, in whole panels."""
    var n_together: Int
    """Rows that attend to the audio together."""
    var audio: Kept[Self.dtype]

    @always_inline
    def n_capacity(self) -> Int:
        return round_up(self.n_rows, rows_of[Self.dtype])


@always_inline
def n_together_of[dtype: DType](n_rows: Int, n_head: Int, n_threads: Int) -> Int:
    """How many rows attend to the audio together: a head's, in parts where threads are many."""
    return round_up(ceildiv(n_rows, ceildiv(2 * n_threads, n_head)), rows_of[dtype])


@fieldwise_init
struct Shared[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What members work on together."""

    var x: Floats
    """[n_rows, n_state], as the next two."""
    var queries: Floats
    var attended: Floats
    var wide: Floats
    """[MOST_ROWS, 4 * n_state]."""
    var factors: RowBlock[Self.dtype]
    """What a product of n_state columns reads: normalised rows, or means of attention."""
    var hidden: RowBlock[Self.dtype]
    """[n_rows, 4 * n_state]: what is between the MLP's layers."""

    @staticmethod
    def n_bytes(sizes: Sizes[Self.dtype]) -> Int:
        comptime Rows = RowBlock[Self.dtype]
        var n = sizes.n_capacity()
        var n_factors = Rows.size(n, sizes.n_state) + Rows.size(n, 4 * sizes.n_state)
        var n_floats = (3 * sizes.n_rows + 4 * MOST_ROWS) * sizes.n_state
        return 4 * n_floats + n_factors * size_of[Self.dtype]()

    @staticmethod
    def within(mut scratch: Scratch, sizes: Sizes[Self.dtype]) -> Self:
        """In memory that has room for it."""
        comptime Rows = RowBlock[Self.dtype]
        var n = sizes.n_capacity()
        var n_floats = sizes.n_rows * sizes.n_state
        return Self(
            scratch.take[F32](n_floats),
            scratch.take[F32](n_floats),
            scratch.take[F32](n_floats),
            scratch.take[F32](4 * MOST_ROWS * sizes.n_state),
            Rows(scratch.take[Self.dtype](Rows.size(n, sizes.n_state)), n),
            Rows(scratch.take[Self.dtype](Rows.size(n, 4 * sizes.n_state)), n),
        )


@fieldwise_init
struct Own[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A member's own room."""

    var sums: Floats
    """[n_rows, PANEL], or as many as are wanted."""
    var turned: Floats
    """[n_rows, PANEL]."""
    var normed: Floats
    """[MOST_ROWS, n_state]."""
    var panel: Numbers[Self.dtype]
    """For `Weights.add`."""
    var scores: Floats
    """For ROWS rows of attention to the text, or MOST_ROWS to the audio."""
    var head_rows: HeadRows[Self.dtype]

    @staticmethod
    def n_sums(sizes: Sizes[Self.dtype]) -> Int:
        return max(sizes.n_capacity(), sizes.n_wanted) * PANEL

    @staticmethod
    def n_scores(sizes: Sizes[Self.dtype]) -> Int:
        var n_text = ROWS * (round_up(sizes.n_rows, PANEL) + SPAN)
        return max(n_text, MOST_ROWS * sizes.n_padded)

    @staticmethod
    def n_bytes(sizes: Sizes[Self.dtype]) -> Int:
        var n_floats = Self.n_sums(sizes) + sizes.n_capacity() * PANEL
        n_floats += MOST_ROWS * sizes.n_state + Self.n_scores(sizes)
        return (
            4 * n_floats
            + (4 * sizes.n_state + 2) * PANEL * size_of[Self.dtype]()
            + HeadRows[Self.dtype].n_bytes(sizes.n_together, sizes.audio)
        )

    @staticmethod
    def within(mut scratch: Scratch, sizes: Sizes[Self.dtype]) -> Self:
        """In memory that has room for it."""
        return Self(
            scratch.take[F32](Self.n_sums(sizes)),
            scratch.take[F32](sizes.n_capacity() * PANEL),
            scratch.take[F32](MOST_ROWS * sizes.n_state),
            scratch.take[Self.dtype]((4 * sizes.n_state + 2) * PANEL),
            scratch.take[F32](Self.n_scores(sizes)),
            HeadRows[Self.dtype].within(scratch, sizes.n_together, sizes.audio),
        )
