"""A dense layer over few rows, in pieces that threads share."""
from std.math import ceildiv
from std.memory import Pointer
from std.sys.info import size_of
from .few_rows import few_rows
from .functions import gelu
from .tile import F32, PANEL, SPAN, WIDTH, Floats

comptime PIECE_BYTES = 65536
"""Bytes of weights that are worth being claimed on their own."""


@fieldwise_init
struct Dense[w_type: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """A matrix in panels, with what is to be done to its products."""

    var panels: Pointer[Scalar[Self.w_type], MutUntrackedOrigin]
    var scales: Floats
    var bias: Floats
    var has_bias: Bool
    var has_gelu: Bool
    var has_residual: Bool
    """Whether products are added to what is there."""
    var n_in: Int
    var n_out: Int

    @always_inline
    def n_pieces(self, n_threads: Int) -> Int:
        var n_panels = ceildiv(self.n_out, PANEL)
        var n_bytes = n_panels * PANEL * self.n_in * size_of[Scalar[Self.w_type]]()
        return min(n_panels, max(2 * n_threads, n_bytes // PIECE_BYTES))

    @always_inline
    def first_panel(self, piece: Int, n_pieces: Int) -> Int:
        return piece * ceildiv(self.n_out, PANEL) // n_pieces

    @no_inline
    def rows(self, into: Floats, x: Floats, n_rows: Int, first: Int, last: Int, sums: Floats):
        """Panels first to last of all rows; `sums` has room for n_rows * SPAN."""
        for column in range(first * PANEL, min(last * PANEL, self.n_out), SPAN):
            var panel = column // PANEL * PANEL
            var b = self.panels.unsafe_offset(panel * self.n_in + column % PANEL)
            few_rows[Self.w_type](n_rows, sums, SPAN, x, self.n_in, b, PANEL, self.n_in)
            for row in range(n_rows):
                for i in range(0, SPAN, WIDTH):
                    var at = row * self.n_out + column + i
                    var sum = sums.unsafe_offset(row * SPAN + i)
                    if column + i + WIDTH <= self.n_out:
                        self.finish[WIDTH](into.unsafe_offset(at), sum, column + i)
                    else:
                        for j in range(self.n_out - column - i):
                            self.finish[1](
                                into.unsafe_offset(at + j), sum.unsafe_offset(j), column + i + j
                            )

    @always_inline
    def finish[width: Int](self, into: Floats, sums: Floats, column: Int):
        var y = sums.unsafe_load[width=width](0)
        comptime if Self.w_type.is_integral():
            y *= self.scales.unsafe_load[width=width](column)
        if self.has_bias:
            y += self.bias.unsafe_load[width=width](column)
        if self.has_gelu:
            y = gelu[F32](y)
        if self.has_residual:
            y += into.unsafe_load[width=width](0)
        into.unsafe_store(0, y)
