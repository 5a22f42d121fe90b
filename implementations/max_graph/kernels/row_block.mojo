"""Blocks of rows: what a core holds of a layer's input while panels of weights pass by.

A block lies in chunks of CHUNK columns, each [n_capacity, STRIDE], so that the rows of a tile are a
fixed distance apart. Products are added to sums in memory, [n_capacity, PANEL] for a panel of
columns. It splits no work and knows no layer.
"""
from extensibility import ManagedTensorSlice
from std.math import ceildiv, sqrt
from std.memory import Pointer
from std.sys import size_of
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, floats

comptime CHUNK = 128
"""Columns of a chunk; also the keys that attention takes at a time."""
comptime STRIDE = CHUNK + 16
"""Numbers from a row to the next: not a power of two, which would crowd a few cache sets."""
comptime BLOCK = 96
"""Rows of a block: whole tiles and whole panels of keys on every CPU."""
comptime LINE = 64
"""Bytes of a cache line."""
comptime Numbers[dtype: DType] = Pointer[Scalar[dtype], MutUntrackedOrigin]


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
        return n_capacity * ceildiv(n_columns, CHUNK) * STRIDE

    @always_inline
    def at(self, row: Int, column: Int) -> Numbers[Self.dtype]:
        return self.data.unsafe_offset(
            (column // CHUNK * self.n_capacity + row) * STRIDE + column % CHUNK
        )

    @always_inline
    def put[width: Int](self, x: SIMD[F32, width], row: Int, column: Int):
        """Stores neighbouring columns of one chunk."""
        self.at(row, column).unsafe_store(x.cast[Self.dtype]())

    @no_inline
    def pack(self, x: Floats, stride: Int, n_rows: Int, n_columns: Int, scale: Float32):
        """Takes rows that lie `stride` floats apart, times scale; fills whole tiles with zeros."""
        for row in range(round_up(n_rows, ROWS)):
            var source = x.unsafe_offset(row * stride)
            var factor = scale if row < n_rows else 0
            if row >= n_rows:
                source = x
            var whole = n_columns // WIDTH * WIDTH
            for j in range(0, whole, WIDTH):
                self.put[WIDTH](source.unsafe_load[width=WIDTH](j) * factor, row, j)
            for j in range(whole, n_columns):
                self.put[1](source.unsafe_load(j) * factor, row, j)

    @no_inline
    def normalise(
        self, x: Floats, n_rows: Int, n_columns: Int, weight: Floats, bias: Floats
    ):
        """Takes rows of x after layer norm, epsilon 1e-5 as in torch."""
        for row in range(round_up(n_rows, ROWS)):
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


@no_inline
def multiply[
    dtype: DType
](
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Numbers[dtype],
    a_chunk: Int,
    b: Numbers[dtype],
    b_stride: Int,
    depth: Int,
):
    """Stores start[i, j] and the sums of a[i, k] * b[k, j] over k: ROWS rows and SPAN columns.

    With a start_stride of zero all rows start alike. Sums always start from memory: where they
    start from zeros that the compiler knows, it has been seen to keep them on the stack.
    """
    var sums = Array[Vector, 2 * ROWS](fill=Vector(0))
    comptime for i in range(ROWS):
        sums[2 * i] = start.unsafe_load[width=WIDTH](i * start_stride)
        sums[2 * i + 1] = start.unsafe_load[width=WIDTH](i * start_stride + WIDTH)
    var row = b
    for first in range(0, depth, CHUNK):
        var chunk = a.unsafe_offset(first // CHUNK * a_chunk)
        for k in range(min(CHUNK, depth - first)):
            var low = row.unsafe_load[width=WIDTH](0).cast[F32]()
            var high = row.unsafe_load[width=WIDTH](WIDTH).cast[F32]()
            row = row.unsafe_offset(b_stride)
            comptime for i in range(ROWS):
                var x = Vector(chunk.unsafe_load(i * STRIDE + k).cast[F32]())
                sums[2 * i] = x.fma(low, sums[2 * i])
                sums[2 * i + 1] = x.fma(high, sums[2 * i + 1])
    comptime for i in range(ROWS):
        into.unsafe_store(i * into_stride, sums[2 * i])
        into.unsafe_store(i * into_stride + WIDTH, sums[2 * i + 1])


@always_inline
def weights_of[
    dtype: DType
](
    panels: ManagedTensorSlice,
    scales: ManagedTensorSlice[dtype=F32, ...],
    bias: ManagedTensorSlice[dtype=F32, ...],
) -> Weights[panels.dtype, dtype]:
    """The weights of a layer from the three tensors that hold them."""
    return Weights[panels.dtype, dtype](
        rebind[Numbers[panels.dtype]](panels.unsafe_ptr()),
        floats(scales),
        floats(bias),
        bias.dim_size(0),
        panels.dim_size(1),
    )


@fieldwise_init
struct Weights[w_dtype: DType, dtype: DType](
    Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable
):
    """A matrix in panels [n_panels, depth, PANEL], and its bias."""

    var panels: Numbers[Self.w_dtype]
    var scales: Floats
    """Of integers, one for each column of the panels."""
    var bias: Floats
    var n_out: Int
    var depth: Int

    @always_inline
    def n_panels(self) -> Int:
        return ceildiv(self.n_out, PANEL)

    def add(
        self,
        sums: Floats,
        x: RowBlock[Self.dtype],
        n_rows: Int,
        panel: Int,
        first: Int,
        depth: Int,
        room: Numbers[Self.dtype],
    ):
        """Adds the products of a block, whose columns are those from first on, with a panel.

        The first of them start from the bias. `room` is for (depth + 2) * PANEL numbers.
        """
        var bias = room.unsafe_bitcast[Float32]()
        for j in range(PANEL):
            var column = panel * PANEL + j
            bias.unsafe_store(j, self.bias.unsafe_load(column) if column < self.n_out else 0)
        var source = self.panels.unsafe_offset((panel * self.depth + first) * PANEL)
        var b: Numbers[Self.dtype]
        comptime if Self.w_dtype == Self.dtype:
            b = rebind[Numbers[Self.dtype]](source)
        else:
            b = room.unsafe_offset(2 * PANEL)
            for i in range(0, depth * PANEL, WIDTH):
                var w = source.unsafe_load[width=WIDTH](i).cast[F32]()
                comptime if Self.w_dtype.is_integral():
                    w *= self.scales.unsafe_load[width=WIDTH](panel * PANEL + i % PANEL)
                b.unsafe_store(i, w.cast[Self.dtype]())
        for row in range(0, n_rows, ROWS):
            for column in range(0, PANEL, SPAN):
                var into = sums.unsafe_offset(row * PANEL + column)
                multiply[Self.dtype](
                    into,
                    PANEL,
                    into if first > 0 else bias.unsafe_offset(column),
                    PANEL if first > 0 else 0,
                    x.at(row, 0),
                    x.n_capacity * STRIDE,
                    b.unsafe_offset(column),
                    PANEL,
                    depth,
                )


@always_inline
def store_rows(
    into: Floats, residual: Floats, stride: Int, sums: Floats, n_rows: Int, n_columns: Int
):
    """Stores sums [n_rows, PANEL], n_columns of them, plus the residual's; rows are stride apart."""
    for row in range(n_rows):
        var to = into.unsafe_offset(row * stride)
        var x = residual.unsafe_offset(row * stride)
        var y = sums.unsafe_offset(row * PANEL)
        if n_columns == PANEL:
            comptime for j in range(0, PANEL, WIDTH):
                to.unsafe_store(j, x.unsafe_load[width=WIDTH](j) + y.unsafe_load[width=WIDTH](j))
        else:
            for j in range(n_columns):
                to.unsafe_store(j, x.unsafe_load(j) + y.unsafe_load(j))


@always_inline
def copy_rows(into: Floats, stride: Int, sums: Floats, n_rows: Int, n_columns: Int):
    """Stores sums [n_rows, PANEL], n_columns of them, to rows that lie `stride` floats apart."""
    for row in range(n_rows):
        var to = into.unsafe_offset(row * stride)
        var y = sums.unsafe_offset(row * PANEL)
        if n_columns == PANEL:
            comptime for j in range(0, PANEL, WIDTH):
                to.unsafe_store(j, y.unsafe_load[width=WIDTH](j))
        else:
            for j in range(n_columns):
                to.unsafe_store(j, y.unsafe_load(j))
