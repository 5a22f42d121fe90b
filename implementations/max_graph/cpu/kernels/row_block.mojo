"""Blocks of rows: what a core holds of a layer's input while panels of weights pass by.

A block lies in chunks of columns, each [n_capacity, stride], so that the rows of a tile are a fixed
distance apart. Its numbers are float32, or bfloat16 for AMX: there a chunk is as wide as a tile,
which so is one piece of memory. It multiplies nothing.
"""
from std.math import ceildiv, sqrt
from std.memory import Pointer
from std.sys import size_of
from .amx import STEP, TILE
from .tile import F32, ROWS, WIDTH, Floats, Vector

comptime BLOCK = 96
"""Rows of a block are a multiple of this: whole tiles and whole panels of keys on every CPU."""
comptime LINE = 64
"""Bytes of a cache line."""
comptime Numbers[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]
comptime chunk_of[dtype: DType] = STEP if dtype == DType.bfloat16 else 128
"""Columns of a chunk."""
comptime stride_of[dtype: DType] = STEP if dtype == DType.bfloat16 else chunk_of[F32] + 16
"""Numbers from a row to the next: one line, or nine, since even numbers crowd a few cache sets."""
comptime rows_of[dtype: DType] = 2 * TILE if dtype == DType.bfloat16 else ROWS
"""Rows of a tile."""
comptime depth_of[dtype: DType] = STEP if dtype == DType.bfloat16 else 1
"""The depth of a product is a multiple of this; zeros fill it up."""
comptime pair_of[dtype: DType] = 2 if dtype == DType.bfloat16 else 1
"""Rows of a right factor whose numbers lie side by side, column by column."""


@always_inline
def round_up(n: Int, unit: Int) -> Int:
    return ceildiv(n, unit) * unit


struct Scratch(Movable):
    """Memory of one task, handed out from one piece, each part on a cache line."""

    var bytes: List[UInt8]
    var n_used: Int

    def __init__(out self, n_bytes: Int):
        """Room for n_bytes, besides what a dozen parts lose at their ends."""
        self.bytes = List[UInt8](unsafe_uninit_length=n_bytes + 12 * LINE)
        self.n_used = -Int(self.bytes.unsafe_ptr()) % LINE

    def take[dtype: DType](mut self, n: Int) -> Numbers[dtype]:
        """Room for n numbers."""
        var start = rebind[Pointer[UInt8, MutUntrackedOrigin]](self.bytes.unsafe_ptr())
        var part = start.unsafe_offset(self.n_used)
        self.n_used += round_up(n * size_of[dtype](), LINE)
        return rebind[Numbers[dtype]](part.unsafe_bitcast[Scalar[dtype]]())


@fieldwise_init
struct RowBlock[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Up to n_capacity rows, as factors of products."""

    var data: Numbers[Self.dtype]
    var n_capacity: Int

    @always_inline
    @staticmethod
    def size(n_capacity: Int, n_columns: Int) -> Int:
        """Numbers that a block of so many columns takes."""
        return n_capacity * ceildiv(n_columns, chunk_of[Self.dtype]) * stride_of[Self.dtype]

    @always_inline
    def at(self, row: Int, column: Int) -> Numbers[Self.dtype]:
        comptime n = chunk_of[Self.dtype]
        return self.data.unsafe_offset(
            (column // n * self.n_capacity + row) * stride_of[Self.dtype] + column % n
        )

    @always_inline
    def put[width: Int](self, x: SIMD[F32, width], row: Int, column: Int):
        """Stores neighbouring columns of one chunk."""
        self.at(row, column).unsafe_store(x.cast[Self.dtype]())

    @always_inline
    def fill(self, row: Int, n_columns: Int):
        """Zeros behind a row's last column."""
        for j in range(n_columns, round_up(n_columns, depth_of[Self.dtype])):
            self.put[1](Float32(0), row, j)

    @no_inline
    def pack(self, x: Floats, stride: Int, n_rows: Int, n_columns: Int, scale: Float32):
        """Takes rows that lie `stride` floats apart, times scale; fills whole tiles with zeros."""
        for row in range(round_up(n_rows, rows_of[Self.dtype])):
            var source = x.unsafe_offset(row * stride)
            var factor = scale if row < n_rows else 0
            if row >= n_rows:
                source = x
            var whole = n_columns // WIDTH * WIDTH
            for j in range(0, whole, WIDTH):
                self.put[WIDTH](source.unsafe_load[width=WIDTH](j) * factor, row, j)
            for j in range(whole, n_columns):
                self.put[1](source.unsafe_load(j) * factor, row, j)
            self.fill(row, n_columns)

    @no_inline
    def normalise(self, x: Floats, n_rows: Int, n_columns: Int, weight: Floats, bias: Floats):
        """Takes rows of x after layer norm, epsilon 1e-5 as in torch."""
        for row in range(round_up(n_rows, rows_of[Self.dtype])):
            var source = x.unsafe_offset(min(row, n_rows - 1) * n_columns)
            var whole = n_columns // WIDTH * WIDTH
            var sums = Vector(0)
            for j in range(0, whole, WIDTH):
                sums += source.unsafe_load[width=WIDTH](j)
            var total = sums.reduce_add()
            for j in range(whole, n_columns):
                total += source.unsafe_load(j)
            var mean = total / Float32(n_columns)
            var squares = Vector(0)
            for j in range(0, whole, WIDTH):
                var d = source.unsafe_load[width=WIDTH](j) - mean
                squares = d.fma(d, squares)
            var spread = squares.reduce_add()
            for j in range(whole, n_columns):
                spread += (source.unsafe_load(j) - mean) ** 2
            var scale = 1 / sqrt(spread / Float32(n_columns) + 1e-5)
            for j in range(0, whole, WIDTH):
                var y = (source.unsafe_load[width=WIDTH](j) - mean) * scale
                var w = weight.unsafe_load[width=WIDTH](j)
                self.put[WIDTH](y.fma(w, bias.unsafe_load[width=WIDTH](j)), row, j)
            for j in range(whole, n_columns):
                var y = (source.unsafe_load(j) - mean) * scale
                self.put[1](y.fma(weight.unsafe_load(j), bias.unsafe_load(j)), row, j)
            self.fill(row, n_columns)
