"""The memory that a decoder step takes beside its logits."""
from .tile import SPAN, Floats


@fieldwise_init
struct StepWorkspace(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Arrays that workers share (x, wide, attended), and arrays of each worker (the rest)."""

    var x: Floats
    """[n_rows, n_state]."""
    var wide: Floats
    """[n_rows, 4 * n_state]: queries, keys and values, or the hidden state of the MLP."""
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
        """Returns the floats that workers share."""
        return 6 * n_rows * n_state

    @always_inline
    @staticmethod
    def n_own(n_rows: Int, n_state: Int, n_padded: Int) -> Int:
        """Returns the floats of one worker; n_padded is the longer context in whole panels."""
        return n_rows * (n_state + SPAN + n_padded) + SPAN

    @always_inline
    @staticmethod
    def within(shared: Floats, own: Floats, n_rows: Int, n_state: Int) -> Self:
        """Returns the arrays within two pieces of memory."""
        var n = n_rows * n_state
        var sums = own.unsafe_offset(n)
        return Self(
            x=shared,
            wide=shared.unsafe_offset(n),
            attended=shared.unsafe_offset(5 * n),
            normed=own,
            sums=sums,
            scores=sums.unsafe_offset((n_rows + 1) * SPAN),
        )
