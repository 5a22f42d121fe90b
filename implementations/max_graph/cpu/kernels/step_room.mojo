"""The memory that a decoder step takes beside its logits."""
from .tile import SPAN, Floats


@fieldwise_init
struct Scratch(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What members share (x, wide, attended), and room that is a member's own (the rest)."""

    var x: Floats
    """[n_rows, n_state]."""
    var wide: Floats
    """[n_rows, 4 * n_state]: queries, keys and values, or what is between the MLP's layers."""
    var attended: Floats
    """[n_rows, n_state]."""
    var normed: Floats
    """[n_rows, n_state]."""
    var sums: Floats
    """[n_rows + 1, SPAN]."""
    var scores: Floats
    """[n_rows, the longer of both contexts in whole panels]."""

    @always_inline
    @staticmethod
    def n_shared(n_rows: Int, n_state: Int) -> Int:
        """Floats of what members share."""
        return 6 * n_rows * n_state

    @always_inline
    @staticmethod
    def n_own(n_rows: Int, n_state: Int, n_padded: Int) -> Int:
        """Floats of a member's own room."""
        return n_rows * (n_state + SPAN + n_padded) + SPAN

    @always_inline
    @staticmethod
    def within(shared: Floats, own: Floats, n_rows: Int, n_state: Int) -> Self:
        """In the two pieces of memory."""
        var n = n_rows * n_state
        var sums = own.unsafe_offset(n)
        return Self(
            shared,
            shared.unsafe_offset(n),
            shared.unsafe_offset(5 * n),
            own,
            sums,
            sums.unsafe_offset((n_rows + 1) * SPAN),
        )
