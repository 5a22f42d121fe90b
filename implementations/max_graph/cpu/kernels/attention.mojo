"""Softmax, and the attention of a prompt's rows to each other, for one head and a few rows at a time."""
from std.math import ceildiv, exp, sqrt
from .keys_values import KeysValues
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, span


@no_inline
def softmax(row: Floats, n_valid: Int, n_padded: Int, scale: Float32) -> Float32:
    """Turns n_valid products into weights, zeroes the rest; gives one over the weights' sum."""
    var whole = n_valid // WIDTH * WIDTH
    var highest = Vector(-3.4e38)
    for j in range(0, whole, WIDTH):
        highest = max(highest, row.unsafe_load[width=WIDTH](j))
    var top = highest.reduce_max()
    for j in range(whole, n_valid):
        top = max(top, row.unsafe_load(j))
    var sums = Vector(0)
    for j in range(0, whole, WIDTH):
        var weights = exp((row.unsafe_load[width=WIDTH](j) - top) * scale)
        sums += weights
        row.unsafe_store(j, weights)
    var total = sums.reduce_add()
    for j in range(whole, n_valid):
        var weight = exp((row.unsafe_load(j) - top) * scale)
        total += weight
        row.unsafe_store(j, weight)
    for j in range(n_valid, n_padded):
        row.unsafe_store(j, Float32(0))
    return 1 / total


@fieldwise_init
struct CausalAttention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Row i of a prompt attends to the keys and values of rows 0 to i, which are cached."""

    var into: Floats
    var queries: Floats
    """[n_rows, n_state], all heads side by side, as `into`."""
    var kv: KeysValues

    def rows(self, head: Int, first: Int, n_rows: Int, scratch: Floats):
        """Rows from `first` on, up to ROWS.

        scratch has room for ROWS rows of as many floats as the last one has keys, in whole panels,
        and SPAN more.
        """
        var n_channels = self.kv.n_channels
        var n_state = self.kv.n_head * n_channels
        var n_seen = first + n_rows
        var stride = ceildiv(n_seen, PANEL) * PANEL
        var at = first * n_state + head * n_channels
        var queries = self.queries.unsafe_offset(at)
        var keys = self.kv.keys_of(0, head)
        for key in range(0, n_seen, SPAN):
            var panel = keys.unsafe_offset(key // PANEL * PANEL * n_channels + key % PANEL)
            var to = scratch.unsafe_offset(key)
            span[F32](n_rows, to, stride, queries, n_state, panel, PANEL, n_channels)
        var scales = Array[Float32, ROWS](fill=0)
        for i in range(n_rows):
            var row = scratch.unsafe_offset(i * stride)
            scales[i] = softmax(row, first + i + 1, n_seen, 1 / sqrt(Float32(n_channels)))
        var values = self.kv.values_of(0, head)
        var sums = scratch.unsafe_offset(ROWS * stride)
        for column in range(0, n_channels, SPAN):
            var b = values.unsafe_offset(column)
            span[F32](n_rows, sums, SPAN, scratch, stride, b, self.kv.n_columns(), n_seen)
            for i in range(n_rows):
                var to = self.into.unsafe_offset(at + i * n_state + column)
                for j in range(min(SPAN, n_channels - column)):
                    to.unsafe_store(j, sums.unsafe_load(i * SPAN + j) * scales[i])
