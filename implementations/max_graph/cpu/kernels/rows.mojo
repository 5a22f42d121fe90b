"""Layer norm, row by row."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import sqrt
from .threads import allowed, n_workers
from .tile import F32, WIDTH, Floats, Vector, floats

comptime SERIAL_ROWS = 32


@no_inline
def normalise_rows(
    into: Floats,
    x: Floats,
    weight: Floats,
    bias: Floats,
    start: Int,
    stop: Int,
    n_state: Int,
):
    """Layer norm of some rows, epsilon 1e-5 as in torch."""
    var whole = n_state // WIDTH * WIDTH
    for row in range(start, stop):
        var at = x.unsafe_offset(row * n_state)
        var sums = Vector(0)
        for j in range(0, whole, WIDTH):
            sums += at.unsafe_load[width=WIDTH](j)
        var total = sums.reduce_add()
        for j in range(whole, n_state):
            total += at.unsafe_load(j)
        var mean = total / Float32(n_state)
        var squares = Vector(0)
        for j in range(0, whole, WIDTH):
            var d = at.unsafe_load[width=WIDTH](j) - mean
            squares += d * d
        var spread = squares.reduce_add()
        for j in range(whole, n_state):
            spread += (at.unsafe_load(j) - mean) ** 2
        var scale = 1 / sqrt(spread / Float32(n_state) + 1e-5)
        var y_row = into.unsafe_offset(row * n_state)
        for j in range(0, whole, WIDTH):
            var y = (at.unsafe_load[width=WIDTH](j) - mean) * scale
            y_row.unsafe_store(
                j, y * weight.unsafe_load[width=WIDTH](j) + bias.unsafe_load[width=WIDTH](j)
            )
        for j in range(whole, n_state):
            var y = (at.unsafe_load(j) - mean) * scale
            y_row.unsafe_store(j, y * weight.unsafe_load(j) + bias.unsafe_load(j))


@no_inline
def normalise(
    into: Floats,
    x: Floats,
    weight: Floats,
    bias: Floats,
    n_rows: Int,
    n_state: Int,
    n_threads: Int,
) raises:
    """Layer norm of all rows."""
    if n_rows <= SERIAL_ROWS:
        return normalise_rows(into, x, weight, bias, 0, n_rows, n_state)
    var n_tasks = n_workers(2 * n_threads, n_threads)

    def task(
        t: Int,
    ) {var into, var x, var weight, var bias, var n_rows, var n_state, var n_tasks}:
        var start = t * n_rows // n_tasks
        var stop = (t + 1) * n_rows // n_tasks
        normalise_rows(into, x, weight, bias, start, stop, n_state)

    sync_parallelize(task, n_tasks)


@extensibility.register("whisper_layer_norm")
struct LayerNorm:
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
        normalise(
            floats(output),
            floats(x),
            floats(weight),
            floats(bias),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            allowed(n_threads),
        )
