"""Layer norm, row by row: the statistics of a row, and the operation over all rows."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import sqrt
from .thread_count import max_threads, n_tasks_for
from .tile import F32, WIDTH, Floats, Vector, floats

comptime EPSILON = Float32(1e-5)
"""Added to the variance, as in torch."""
comptime SERIAL_ROWS = 32
"""Rows that are not worth several threads."""


@fieldwise_init
struct RowNorm(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Mean of a row, and one over its standard deviation."""

    var mean: Float32
    var scale: Float32

    @always_inline
    @staticmethod
    def of(x: Floats, n: Int) -> Self:
        """Returns the statistics of n numbers."""
        var whole = n // WIDTH * WIDTH
        var sums = Vector(0)
        for j in range(0, whole, WIDTH):
            sums += x.unsafe_load[width=WIDTH](j)
        var total = sums.reduce_add()
        for j in range(whole, n):
            total += x.unsafe_load(j)
        var mean = total / Float32(n)
        var squares = Vector(0)
        for j in range(0, whole, WIDTH):
            var d = x.unsafe_load[width=WIDTH](j) - mean
            squares = d.fma(d, squares)
        var spread = squares.reduce_add()
        for j in range(whole, n):
            spread += (x.unsafe_load(j) - mean) ** 2
        return Self(mean, 1 / sqrt(spread / Float32(n) + EPSILON))

    @always_inline
    def apply[width: Int](self, x: Floats, weight: Floats, bias: Floats) -> SIMD[F32, width]:
        """Returns neighbouring numbers of the row, normalised, times weight plus bias."""
        var y = (x.unsafe_load[width=width](0) - self.mean) * self.scale
        return y.fma(weight.unsafe_load[width=width](0), bias.unsafe_load[width=width](0))


@no_inline
def layer_norm_rows(
    into: Floats, x: Floats, weight: Floats, bias: Floats, *, start: Int, stop: Int, n_state: Int
):
    """Normalises rows start to stop of [n_rows, n_state]."""
    var whole = n_state // WIDTH * WIDTH
    for row in range(start, stop):
        var source = x.unsafe_offset(row * n_state)
        var to = into.unsafe_offset(row * n_state)
        var norm = RowNorm.of(source, n_state)
        for j in range(0, whole, WIDTH):
            to.unsafe_store(
                j,
                norm.apply[WIDTH](
                    source.unsafe_offset(j), weight.unsafe_offset(j), bias.unsafe_offset(j)
                ),
            )
        for j in range(whole, n_state):
            to.unsafe_store(
                j,
                norm.apply[1](
                    source.unsafe_offset(j), weight.unsafe_offset(j), bias.unsafe_offset(j)
                ),
            )


@no_inline
def layer_norm(
    into: Floats,
    x: Floats,
    weight: Floats,
    bias: Floats,
    *,
    n_rows: Int,
    n_state: Int,
    n_threads: Int,
) raises:
    """Normalises all rows of [n_rows, n_state], shared among threads where they are many."""
    if n_rows <= SERIAL_ROWS:
        layer_norm_rows(into, x, weight, bias, start=0, stop=n_rows, n_state=n_state)
        return
    var n_tasks = n_tasks_for(2 * n_threads, n_threads)

    def task(
        t: Int,
    ) {var into, var x, var weight, var bias, var n_rows, var n_state, var n_tasks}:
        var start = t * n_rows // n_tasks
        var stop = (t + 1) * n_rows // n_tasks
        layer_norm_rows(into, x, weight, bias, start=start, stop=stop, n_state=n_state)

    sync_parallelize(task, n_tasks)


@extensibility.register("whisper_cpu_layer_norm")
struct LayerNormOp:
    """Layer norm over the last axis."""

    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        weight: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Normalises x [n_batch, n_ctx, n_state]."""
        layer_norm(
            floats(output),
            floats(x),
            floats(weight),
            floats(bias),
            n_rows=x.dim_size(0) * x.dim_size(1),
            n_state=x.dim_size(2),
            n_threads=max_threads(n_threads),
        )
