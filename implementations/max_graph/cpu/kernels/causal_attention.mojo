"""Softmax, and the attention of a prompt's rows to each other, a head and a few rows at a time."""
from std.math import ceildiv, exp, sqrt
from .kv_cache import KVCache
from .tile import F32, LOWEST, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, matmul_span


@no_inline
def softmax(row: Floats, n_valid: Int, n_padded: Int, scale: Float32) -> Float32:
    """Turns scores into weights of attention, in place; returns one over their sum.

    Args:
        row: Scores, [n_padded].
        n_valid: Scores that count; the weights of the others are zero.
        n_padded: Length of the row.
        scale: Factor of the scores.
    """
    var whole = n_valid // WIDTH * WIDTH
    var lane_max = Vector(LOWEST)
    for j in range(0, whole, WIDTH):
        lane_max = max(lane_max, row.unsafe_load[width=WIDTH](j))
    var row_max = lane_max.reduce_max()
    for j in range(whole, n_valid):
        row_max = max(row_max, row.unsafe_load(j))
    var sums = Vector(0)
    for j in range(0, whole, WIDTH):
        var weights = exp((row.unsafe_load[width=WIDTH](j) - row_max) * scale)
        sums += weights
        row.unsafe_store(j, weights)
    var row_sum = sums.reduce_add()
    for j in range(whole, n_valid):
        var weight = exp((row.unsafe_load(j) - row_max) * scale)
        row_sum += weight
        row.unsafe_store(j, weight)
    for j in range(n_valid, n_padded):
        row.unsafe_store(j, Float32(0))
    return 1 / row_sum


@fieldwise_init
struct CausalAttention(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Attention of a prompt's row i to rows 0 to i, whose keys and values are in the cache."""

    var into: Floats
    """[n_rows, n_state]."""
    var queries: Floats
    """[n_rows, n_state], all heads side by side, as `into`."""
    var kv: KVCache
    """The prompt is in its slot 0."""

    def rows(self, head: Int, first: Int, n_rows: Int, workspace: Floats):
        """Computes rows first to first + n_rows, at most ROWS, of one head.

        `workspace` is ROWS rows of as many floats as the last row has keys, in whole panels, and
        ROWS * SPAN more.
        """
        var head_dim = self.kv.head_dim
        var n_state = self.kv.n_head * head_dim
        var n_seen = first + n_rows
        var stride = ceildiv(n_seen, PANEL) * PANEL
        var at = first * n_state + head * head_dim
        var queries = self.queries.unsafe_offset(at)
        var keys = self.kv.keys_of(0, head)
        for key in range(0, n_seen, SPAN):
            var panel = keys.unsafe_offset(key // PANEL * PANEL * head_dim + key % PANEL)
            var scores = workspace.unsafe_offset(key)
            matmul_span[F32](n_rows, scores, stride, queries, n_state, panel, PANEL, head_dim)
        var shares = Array[Float32, ROWS](fill=0)
        for i in range(n_rows):
            var row = workspace.unsafe_offset(i * stride)
            shares[i] = softmax(row, first + i + 1, n_seen, 1 / sqrt(Float32(head_dim)))
        var values = self.kv.values_of(0, head)
        var sums = workspace.unsafe_offset(ROWS * stride)
        for column in range(0, head_dim, SPAN):
            var b = values.unsafe_offset(column)
            matmul_span[F32](n_rows, sums, SPAN, workspace, stride, b, self.kv.n_columns(), n_seen)
            for i in range(n_rows):
                var to = self.into.unsafe_offset(at + i * n_state + column)
                for j in range(min(SPAN, head_dim - column)):
                    to.unsafe_store(j, sums.unsafe_load(i * SPAN + j) * shares[i])
