"""Linear layers and convolutions over panelled weights: [n_out / PANEL, n_in, PANEL]."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from std.math import ceildiv, erf
from std.memory import Pointer
from .threads import allowed, n_workers
from .tile import F32, PANEL, ROWS, SERIAL_PRODUCTS, SPAN, WIDTH, Floats, floats, span

comptime BLOCK_FLOATS = 160 * 1024
"""Input floats of one row block: small enough to stay in the second-level cache."""


@always_inline
def gelu(x: SIMD[F32, _]) -> type_of(x):
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


@fieldwise_init
struct Product[w_type: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Computes out[i, j] = act(sum_k x[i, k] * w[j, k] + bias[j]) + residual[i, j].

    Integer weights are widened and times the scale of their output column before they are used.
    """

    var into: Floats
    var x: Floats
    var w: Pointer[Scalar[Self.w_type], MutUntrackedOrigin]
    var scales: Floats
    """Of integer weights, one for each column of the panels."""
    var bias: Floats
    var residual: Floats
    var n_rows: Int
    var n_in: Int
    var n_out: Int
    var x_stride: Int
    var has_bias: Bool
    var has_residual: Bool
    var has_gelu: Bool

    @always_inline
    def finish[width: Int](self, sums: SIMD[F32, width], row: Int, column: Int):
        """Bias, GELU, residual and store of `width` neighbouring columns."""
        var y = sums
        if self.has_bias:
            y += self.bias.unsafe_load[width=width](column)
        if self.has_gelu:
            y = gelu(y)
        var at = row * self.n_out + column
        if self.has_residual:
            y += self.residual.unsafe_load[width=width](at)
        self.into.unsafe_store(at, y)

    @no_inline
    def finish_rows(self, sums: Floats, start: Int, stop: Int, column: Int):
        """Finishes sums [stop - start, SPAN] of one span of columns."""
        for row in range(start, stop):
            var source = sums.unsafe_offset((row - start) * SPAN)
            for i in range(0, SPAN, WIDTH):
                if column + i + WIDTH <= self.n_out:
                    self.finish(source.unsafe_load[width=WIDTH](i), row, column + i)
                else:
                    for j in range(i, min(i + WIDTH, self.n_out - column)):
                        self.finish[1](source.unsafe_load(j), row, column + j)

    @always_inline
    def columns[
        b_type: DType
    ](
        self,
        start: Int,
        stop: Int,
        column: Int,
        panel: Pointer[Scalar[b_type], MutUntrackedOrigin],
        sums: Floats,
    ):
        """Rows start to stop of one panel."""
        for s in range(0, PANEL, SPAN):
            for row in range(start, stop, ROWS):
                var end = min(row + ROWS, stop)
                var x = self.x.unsafe_offset(row * self.x_stride)
                var b = panel.unsafe_offset(s)
                span[b_type](end - row, sums, SPAN, x, self.x_stride, b, PANEL, self.n_in)
                self.finish_rows(sums, row, end, column + s)

    @always_inline
    def widen(
        self, into: Floats, panel: Pointer[Scalar[Self.w_type], MutUntrackedOrigin], column: Int
    ):
        """The panel of the columns from `column` on, in float32."""
        for i in range(0, self.n_in * PANEL, WIDTH):
            var w = panel.unsafe_load[width=WIDTH](i).cast[F32]()
            comptime if Self.w_type.is_integral():
                w *= self.scales.unsafe_load[width=WIDTH](column + i % PANEL)
            into.unsafe_store(i, w)

    def panels(self, start: Int, stop: Int, first: Int, last: Int):
        """Rows start to stop of panels first to last."""
        var n_panel = self.n_in * PANEL
        var scratch = List[Float32](unsafe_uninit_length=ROWS * SPAN + n_panel)
        var sums = rebind[Floats](scratch.unsafe_ptr())
        var widened = sums.unsafe_offset(ROWS * SPAN)
        for p in range(first, last):
            var panel = self.w.unsafe_offset(p * n_panel)
            comptime if Self.w_type != F32:
                if Self.w_type.is_integral() or stop - start > ROWS:
                    self.widen(widened, panel, p * PANEL)
                    self.columns[F32](start, stop, p * PANEL, widened, sums)
                    continue
            self.columns[Self.w_type](start, stop, p * PANEL, panel, sums)
        _ = scratch^

    @no_inline
    def run(self, n_threads: Int) raises:
        var n_panels = ceildiv(self.n_out, PANEL)
        if self.n_rows * self.n_in * self.n_out < SERIAL_PRODUCTS:
            return self.panels(0, self.n_rows, 0, n_panels)
        var block = max(ROWS, min(96, BLOCK_FLOATS // self.n_in) // ROWS * ROWS)
        var n_blocks = ceildiv(self.n_rows, block)
        var n_wanted = 4 * n_threads if self.n_rows > ROWS else n_threads
        var n_columns = min(n_panels, ceildiv(n_wanted, n_blocks))

        var n_pieces = n_blocks * n_columns
        var n_tasks = n_workers(n_pieces, n_threads)

        def task(
            t: Int,
        ) {var self, var n_panels, var n_columns, var block, var n_pieces, var n_tasks}:
            for piece in range(t, n_pieces, n_tasks):
                var start = piece // n_columns * block
                var c = piece % n_columns
                self.panels(
                    start,
                    min(self.n_rows, start + block),
                    c * n_panels // n_columns,
                    (c + 1) * n_panels // n_columns,
                )

        sync_parallelize(task, n_tasks)


@extensibility.register("whisper_linear")
struct Linear:
    @staticmethod
    def execute[
        target: StaticString, has_gelu: Bool, has_residual: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, rank=3, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """A dense layer; `scales` and `residual` are read only where there are such."""
        Product[w.dtype](
            floats(output),
            floats(x),
            rebind[Pointer[Scalar[w.dtype], MutUntrackedOrigin]](w.unsafe_ptr()),
            floats(scales),
            floats(bias),
            floats(residual),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            output.dim_size(2),
            x.dim_size(2),
            True,
            has_residual,
            has_gelu,
        ).run(allowed(n_threads))


@extensibility.register("whisper_project")
struct Project:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=3, ...],
        scales: InputTensor[dtype=F32, rank=1, ...],
        n_threads: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """A bare product: the logits."""
        Product[w.dtype](
            floats(output),
            floats(x),
            rebind[Pointer[Scalar[w.dtype], MutUntrackedOrigin]](w.unsafe_ptr()),
            floats(scales),
            floats(x),
            floats(x),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            output.dim_size(2),
            x.dim_size(2),
            False,
            False,
            False,
        ).run(allowed(n_threads))
