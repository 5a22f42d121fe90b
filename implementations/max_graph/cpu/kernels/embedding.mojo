"""The token embedding, which is also the matrix of the logits.

Integers are of 16 bits and lie as two matrices, the high bytes before the low ones, each with a
scale for every row. The high bytes alone tell which tokens may be the likeliest: a step reads all
of them, and of the low ones only what belongs to these few.
"""
from extensibility import ManagedTensorSlice
from std.math import ceildiv, sqrt
from std.memory import Pointer
from .dense import Dense
from .tile import F32, PANEL, WIDTH, Floats, Vector, floats

comptime SURELY = Float32(6 / 3.4641016)
"""Standard deviations of a logit's error to look out for: one in 500 million is larger. That of
rounding is a twelfth of a step's square."""


@fieldwise_init
struct Embedding[type: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """[n_vocab, n_state] in panels."""

    var first: Dense[Self.type]
    """The matrix, or its high bytes."""
    var low: Dense[Self.type]
    """The low bytes, if any."""

    @always_inline
    def n_vocab(self) -> Int:
        return self.first.n_out

    @always_inline
    def rows(self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats):
        """Logits of all rows, [n_rows, n_vocab], for the tokens of some panels."""
        self.first.rows(into, x, n_rows, first, last, sums)
        comptime if Self.type.is_integral():
            self.low.rows(into, x, n_rows, first, last, sums)

    @always_inline
    def complete(self, logits: Floats, x: Floats, panel: Int, sums: Floats):
        """Adds what the low bytes of a panel are to one row's logits of the high bytes."""
        comptime if Self.type.is_integral():
            self.low.rows(logits, x, 1, panel, panel + 1, sums)

    @always_inline
    def doubt(self, x: Floats) -> Float32:
        """How far off a logit of the high bytes may be, for a token whose scale is one."""
        comptime if not Self.type.is_integral():
            return 0
        var total = Float32(0)
        for i in range(self.first.n_in):
            total += x.unsafe_load(i) ** 2
        return SURELY * sqrt(total)

    @always_inline
    def scale(self, token: Int) -> Float32:
        """Of a token's high bytes."""
        comptime if not Self.type.is_integral():
            return 0
        return self.first.scales.unsafe_load(token)

    def largest_scale(self) -> Float32:
        comptime if not Self.type.is_integral():
            return 0
        var largest = Vector(0)
        for i in range(0, ceildiv(self.n_vocab(), PANEL) * PANEL, WIDTH):
            largest = max(largest, self.first.scales.unsafe_load[width=WIDTH](i))
        return largest.reduce_max()

    @no_inline
    def put(self, into: Floats, token: Int, position: Floats):
        """Writes a token's vector plus its position's."""
        var n_state = self.first.n_in
        var at = token // PANEL * PANEL * n_state + token % PANEL
        for j in range(n_state):
            var x = self.first.panels.unsafe_load(at + j * PANEL).cast[F32]()
            comptime if Self.type.is_integral():
                var low = self.low.panels.unsafe_load(at + j * PANEL).cast[F32]()
                x = x * self.first.scales.unsafe_load(token)
                x += low * self.low.scales.unsafe_load(token)
            into.unsafe_store(j, x + position.unsafe_load(j))


@always_inline
def embedding_of(
    panels: ManagedTensorSlice, scales: ManagedTensorSlice[dtype=F32, ...], n_vocab: Int
) -> Embedding[panels.dtype]:
    """The embedding from the two tensors that hold it."""
    comptime type = panels.dtype
    var at = rebind[Pointer[Scalar[type], MutUntrackedOrigin]](panels.unsafe_ptr())
    var n_state = panels.dim_size(1)
    var n_padded = ceildiv(n_vocab, PANEL) * PANEL
    var s = floats(scales)
    var low = at
    var low_scales = s
    comptime if type.is_integral():
        low = at.unsafe_offset(n_padded * n_state)
        low_scales = s.unsafe_offset(n_padded)
    return Embedding[type](
        Dense[type](at, s, s, False, False, False, n_state, n_vocab),
        Dense[type](low, low_scales, s, False, False, True, n_state, n_vocab),
    )
