"""Blocks of rows: the left factor of a matmul, which a core holds while panels of weights pass by.

A block lies in chunks of columns, each [n_capacity, stride], so that the rows of a tile are a fixed
distance apart. Its numbers are float32, or bfloat16: there a chunk is as wide as a tile
of AMX, which so is one piece of memory. Nothing here multiplies.
"""
from std.math import ceildiv
from std.memory import Pointer
from std.sys import size_of
from .amx import HAS_TILES, STEP, TILE
from .layer_norm import RowNorm
from .tile import F32, ROWS, WIDTH, Floats

comptime BLOCK = 96
"""Rows of a block are a multiple of this: whole tiles and whole panels of keys on every CPU."""
comptime LINE = 64
"""Bytes of a cache line."""
comptime Scalars[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]
comptime chunk_of[dtype: DType] = STEP if dtype == DType.bfloat16 else 128
"""Columns of a chunk."""
comptime stride_of[dtype: DType] = STEP if dtype == DType.bfloat16 else chunk_of[F32] + 16
"""Numbers from a row to the next: one line, or nine, since even numbers crowd a few cache sets."""
comptime is_tiled[dtype: DType] = dtype == DType.bfloat16 and HAS_TILES
"""True where matmuls go by the tiles of AMX."""
comptime rows_of[dtype: DType] = 2 * TILE if is_tiled[dtype] else ROWS
"""Rows of a tile."""
comptime depth_of[dtype: DType] = STEP if dtype == DType.bfloat16 else 1
"""The depth of a matmul is a multiple of this; zeros fill it up."""
comptime pair_of[dtype: DType] = 2 if dtype == DType.bfloat16 else 1
"""Rows of a right factor whose numbers lie side by side, column by column."""


@always_inline
def round_up(n: Int, unit: Int) -> Int:
    """Returns the least multiple of a unit that is no less than n."""
    return ceildiv(n, unit) * unit


struct Workspace(Movable):
    """Memory of one task, handed out from one allocation, each part on a cache line."""

    var bytes: List[UInt8]
    var n_used: Int

    def __init__(out self, n_bytes: Int):
        """Allocates n_bytes, besides what a dozen parts lose at their ends."""
        self.bytes = List[UInt8](unsafe_uninit_length=n_bytes + 12 * LINE)
        self.n_used = -Int(self.bytes.unsafe_ptr()) % LINE

    def take[dtype: DType](mut self, n: Int) -> Scalars[dtype]:
        """Hands out a part of n numbers."""
        var start = rebind[Pointer[UInt8, MutUntrackedOrigin]](self.bytes.unsafe_ptr())
        var part = start.unsafe_offset(self.n_used)
        self.n_used += round_up(n * size_of[dtype](), LINE)
        return rebind[Scalars[dtype]](part.unsafe_bitcast[Scalar[dtype]]())


@fieldwise_init
struct RowBlock[dtype: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Up to n_capacity rows, as left factor of matmuls."""

    var data: Scalars[Self.dtype]
    var n_capacity: Int

    @always_inline
    @staticmethod
    def size(n_capacity: Int, n_columns: Int) -> Int:
        """Returns the numbers that a block of so many columns takes."""
        return n_capacity * ceildiv(n_columns, chunk_of[Self.dtype]) * stride_of[Self.dtype]

    @always_inline
    def at(self, row: Int, column: Int) -> Scalars[Self.dtype]:
        """Returns the address of a number."""
        comptime n = chunk_of[Self.dtype]
        return self.data.unsafe_offset(
            (column // n * self.n_capacity + row) * stride_of[Self.dtype] + column % n
        )

    @always_inline
    def store[width: Int](self, x: SIMD[F32, width], row: Int, column: Int):
        """Stores neighbouring columns of one chunk."""
        self.at(row, column).unsafe_store(x.cast[Self.dtype]())

    @always_inline
    def zero_pad(self, row: Int, n_columns: Int):
        """Stores zeros behind a row's last column, up to a whole depth."""
        for j in range(n_columns, round_up(n_columns, depth_of[Self.dtype])):
            self.store[1](Float32(0), row, j)

    @no_inline
    def pack(
        self, x: Floats, *, stride: Int, n_rows: Int, n_columns: Int, scale: Float32 = 1
    ):
        """Packs rows that lie `stride` floats apart, times scale; zeros fill up the last tile."""
        for row in range(round_up(n_rows, rows_of[Self.dtype])):
            var source = x.unsafe_offset(row * stride)
            var factor = scale if row < n_rows else 0
            if row >= n_rows:
                source = x
            var whole = n_columns // WIDTH * WIDTH
            for j in range(0, whole, WIDTH):
                self.store[WIDTH](source.unsafe_load[width=WIDTH](j) * factor, row, j)
            for j in range(whole, n_columns):
                self.store[1](source.unsafe_load(j) * factor, row, j)
            self.zero_pad(row, n_columns)

    @no_inline
    def pack_layer_norm(
        self, x: Floats, weight: Floats, bias: Floats, *, n_rows: Int, n_columns: Int
    ):
        """Packs rows of x [n_rows, n_columns] after layer norm; the last tile repeats the last."""
        for row in range(round_up(n_rows, rows_of[Self.dtype])):
            var source = x.unsafe_offset(min(row, n_rows - 1) * n_columns)
            var norm = RowNorm.of(source, n_columns)
            var whole = n_columns // WIDTH * WIDTH
            for j in range(0, whole, WIDTH):
                var y = norm.apply[WIDTH](
                    source.unsafe_offset(j), weight.unsafe_offset(j), bias.unsafe_offset(j)
                )
                self.store[WIDTH](y, row, j)
            for j in range(whole, n_columns):
                var y = norm.apply[1](
                    source.unsafe_offset(j), weight.unsafe_offset(j), bias.unsafe_offset(j)
                )
                self.store[1](y, row, j)
            self.zero_pad(row, n_columns)
