"""A dense layer over few rows, in pieces that threads share."""
from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import size_of
from .math import gelu
from .skinny_groups import Bytes, skinny_matmul_groups
from .skinny_matmul import skinny_matmul
from .tile import F32, GROUP, PANEL, SPAN, WIDTH, Floats

comptime PIECE_BYTES = 65536
"""Bytes of weights that are worth being claimed on their own."""


struct SkinnyLinear[w_dtype: DType, has_groups: Bool = False](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """A matrix [n_out, n_in] in panels, with an epilogue: scales, bias, GELU, residual.

    Parameters:
        w_dtype: Type of the matrix.
        has_groups: True where integers have a scale for each GROUP inputs of a row.
    """

    var panels: Pointer[Scalar[Self.w_dtype], MutUntrackedOrigin]
    var scales: Floats
    """One for each row of a matrix of integers, or for each of its groups, [n_panels, n_groups,
    PANEL]; otherwise not read."""
    var bias: Floats
    var has_bias: Bool
    var has_gelu: Bool
    var has_residual: Bool
    """True where the result is added to the output's former numbers."""
    var n_in: Int
    var n_out: Int

    @always_inline
    def __init__(
        out self,
        *,
        panels: Pointer[Scalar[Self.w_dtype], MutUntrackedOrigin],
        scales: Floats,
        n_in: Int,
        n_out: Int,
        has_residual: Bool = False,
    ):
        """A layer without bias."""
        self.panels = panels
        self.scales = scales
        self.bias = scales
        self.has_bias = False
        self.has_gelu = False
        self.has_residual = has_residual
        self.n_in = n_in
        self.n_out = n_out

    @always_inline
    def __init__(
        out self,
        *,
        panels: Pointer[Scalar[Self.w_dtype], MutUntrackedOrigin],
        scales: Floats,
        bias: Floats,
        n_in: Int,
        n_out: Int,
        has_gelu: Bool,
        has_residual: Bool,
    ):
        """A layer with bias, [n_out]."""
        self.panels = panels
        self.scales = scales
        self.bias = bias
        self.has_bias = True
        self.has_gelu = has_gelu
        self.has_residual = has_residual
        self.n_in = n_in
        self.n_out = n_out

    @always_inline
    def n_pieces(self, n_threads: Int) -> Int:
        """Returns into how many pieces of whole panels the work is cut."""
        var n_panels = ceildiv(self.n_out, PANEL)
        var n_bytes = n_panels * PANEL * self.n_in * size_of[Scalar[Self.w_dtype]]()
        return min(n_panels, max(2 * n_threads, n_bytes // PIECE_BYTES))

    @always_inline
    def first_panel(self, piece: Int, n_pieces: Int) -> Int:
        """Returns the first panel of a piece."""
        return piece * ceildiv(self.n_out, PANEL) // n_pieces

    @no_inline
    def rows(self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats):
        """Computes panels first to last: x [n_rows, n_in] -> into [n_rows, n_out].

        `sums` is a workspace of n_rows * SPAN floats.
        """
        for column in range(first * PANEL, min(last * PANEL, self.n_out), SPAN):
            var panel = column // PANEL * PANEL
            var b = self.panels.unsafe_offset(panel * self.n_in + column % PANEL)
            comptime if Self.has_groups:
                var n_groups = ceildiv(self.n_in, GROUP)
                var scales = self.scales.unsafe_offset(panel * n_groups + column % PANEL)
                skinny_matmul_groups(
                    n_rows, sums, SPAN, x, self.n_in, rebind[Bytes](b), scales, self.n_in
                )
            else:
                skinny_matmul[Self.w_dtype](n_rows, sums, SPAN, x, self.n_in, b, PANEL, self.n_in)
            for row in range(n_rows):
                for i in range(0, SPAN, WIDTH):
                    var at = row * self.n_out + column + i
                    var sum = sums.unsafe_offset(row * SPAN + i)
                    if column + i + WIDTH <= self.n_out:
                        self.apply_epilogue[WIDTH](into.unsafe_offset(at), sum, column + i)
                    else:
                        for j in range(self.n_out - column - i):
                            self.apply_epilogue[1](
                                into.unsafe_offset(at + j), sum.unsafe_offset(j), column + i + j
                            )

    @always_inline
    def apply_epilogue[width: Int](self, into: Floats, sums: Floats, column: Int):
        """Finishes `width` neighbouring sums of one row, from a column on, and stores them."""
        var y = sums.unsafe_load[width=width](0)
        comptime if Self.w_dtype.is_integral() and not Self.has_groups:
            y *= self.scales.unsafe_load[width=width](column)
        if self.has_bias:
            y += self.bias.unsafe_load[width=width](column)
        if self.has_gelu:
            y = gelu[F32](y)
        if self.has_residual:
            y += into.unsafe_load[width=width](0)
        into.unsafe_store(0, y)
