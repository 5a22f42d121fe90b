"""The token embedding, which is also the matrix of the logits.

Integers are of 16 bits and lie as two matrices, the high bytes before the low ones, each with a
scale for every row. The high bytes alone tell which tokens may be among the most likely: a step
reads all of them, and of the low ones only those of the candidates.
"""
from extensibility import ManagedTensorSlice
from std.math import ceildiv, sqrt
from std.memory import Pointer
from .skinny_linear import SkinnyLinear
from .tile import F32, PANEL, WIDTH, Floats, Vector, floats

comptime N_SIGMA = Float32(6 / 3.4641016)
"""Six standard deviations of a logit's rounding error, which one in 500 million exceeds.

The variance of rounding is a twelfth of a step's square, hence the square root of 12.
"""


@fieldwise_init
struct Embedding[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """[n_vocab, n_state] in panels."""

    var high: SkinnyLinear[Self.dtype]
    """The matrix, or its high bytes."""
    var low: SkinnyLinear[Self.dtype]
    """The low bytes, if any."""

    @always_inline
    def n_vocab(self) -> Int:
        """Returns the number of tokens."""
        return self.high.n_out

    @always_inline
    def rows(self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats):
        """Computes the logits of panels first to last: x [n_rows, n_state] -> [n_rows, n_vocab].

        `sums` is a workspace of n_rows * SPAN floats.
        """
        self.high.rows(into, x, n_rows, first, last, sums)
        self.add_low_rows(into, x, n_rows, first, last, sums)

    @always_inline
    def add_low_rows(
        self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats
    ):
        """Completes the logits of panels first to last, which are of the high bytes alone."""
        comptime if Self.dtype.is_integral():
            self.low.rows(into, x, n_rows, first, last, sums)

    @always_inline
    def add_low_bytes(self, logits: Floats, x: Floats, panel: Int, sums: Floats):
        """Completes one row's logits of a panel, which are of the high bytes alone."""
        comptime if Self.dtype.is_integral():
            self.low.rows(logits, x, 1, panel, panel + 1, sums)

    @always_inline
    def error_bound(self, x: Floats) -> Float32:
        """Returns how far off a logit of the high bytes may be, for a token whose scale is one."""
        comptime if not Self.dtype.is_integral():
            return 0
        var total = Float32(0)
        for i in range(self.high.n_in):
            total += x.unsafe_load(i) ** 2
        return N_SIGMA * sqrt(total)

    @always_inline
    def scale(self, token: Int) -> Float32:
        """Returns the scale of a token's high bytes; zero without such."""
        comptime if not Self.dtype.is_integral():
            return 0
        return self.high.scales.unsafe_load(token)

    def max_scale(self) -> Float32:
        """Returns the largest scale of the high bytes; zero without such."""
        comptime if not Self.dtype.is_integral():
            return 0
        var largest = Vector(0)
        for i in range(0, ceildiv(self.n_vocab(), PANEL) * PANEL, WIDTH):
            largest = max(largest, self.high.scales.unsafe_load[width=WIDTH](i))
        return largest.reduce_max()

    @no_inline
    def convert_panel(self, into: Floats, panel: Int):
        """Stores a panel in float32, [n_state, PANEL]."""
        var start = panel * PANEL * self.high.n_in
        for at in range(0, self.high.n_in * PANEL, WIDTH):
            var x = self.high.panels.unsafe_load[width=WIDTH](start + at).cast[F32]()
            comptime if Self.dtype.is_integral():
                var token = panel * PANEL + at % PANEL
                var low = self.low.panels.unsafe_load[width=WIDTH](start + at).cast[F32]()
                x *= self.high.scales.unsafe_load[width=WIDTH](token)
                x += low * self.low.scales.unsafe_load[width=WIDTH](token)
            into.unsafe_store(at, x)

    @no_inline
    def store_row(self, into: Floats, token: Int, position: Floats):
        """Writes a token's vector plus its position's, [n_state]."""
        var n_state = self.high.n_in
        var at = token // PANEL * PANEL * n_state + token % PANEL
        for j in range(n_state):
            var x = self.high.panels.unsafe_load(at + j * PANEL).cast[F32]()
            comptime if Self.dtype.is_integral():
                var low = self.low.panels.unsafe_load(at + j * PANEL).cast[F32]()
                x = x * self.high.scales.unsafe_load(token)
                x += low * self.low.scales.unsafe_load(token)
            into.unsafe_store(j, x + position.unsafe_load(j))


@always_inline
def embedding_of(
    panels: ManagedTensorSlice, scales: ManagedTensorSlice[dtype=F32, ...], n_vocab: Int
) -> Embedding[panels.dtype]:
    """Returns the embedding that two tensors hold.

    Args:
        panels: [n_panels, n_state, PANEL]; of integers twice as many, high bytes first.
        scales: [n_panels * PANEL] of integers, likewise twice; otherwise not read.
        n_vocab: Number of tokens.
    """
    comptime dtype = panels.dtype
    var at = rebind[Pointer[Scalar[dtype], MutUntrackedOrigin]](panels.unsafe_ptr())
    var n_state = panels.dim_size(1)
    var n_padded = ceildiv(n_vocab, PANEL) * PANEL
    var high_scales = floats(scales)
    var low = at
    var low_scales = high_scales
    comptime if dtype.is_integral():
        low = at.unsafe_offset(n_padded * n_state)
        low_scales = high_scales.unsafe_offset(n_padded)
    return Embedding[dtype](
        high=SkinnyLinear[dtype](panels=at, scales=high_scales, n_in=n_state, n_out=n_vocab),
        low=SkinnyLinear[dtype](
            panels=low, scales=low_scales, n_in=n_state, n_out=n_vocab, has_residual=True
        ),
    )
