"""Linear layers and convolutions over panelled weights: [n_out / PANEL, n_in, PANEL]."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.algorithm import sync_parallelize
from max.gpu.host import DeviceContext
from max.runtime.asyncrt import parallelism_level
from std.math import ceildiv, erf
from std.memory import Pointer
from .tile import F32, PANEL, ROWS, SPAN, WIDTH, Floats, Vector, tile

comptime BLOCK_FLOATS = 160 * 1024
"""Input floats of one row block: small enough to stay in the second-level cache."""
comptime SERIAL_PRODUCTS = 200_000
"""Below this many multiplications a second thread costs more than it brings."""


@always_inline
def gelu(x: SIMD[F32, _]) -> type_of(x):
    return 0.5 * x * (1 + erf(x * 0.7071067811865476))


@fieldwise_init
struct Product[w_type: DType](Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Computes out[i, j] = act(sum_k x[i, k] * w[j, k] + bias[j]) + residual[i, j]."""

    var into: Floats
    var x: Floats
    var w: Pointer[Scalar[Self.w_type], MutUntrackedOrigin]
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
        var y = sums
        if self.has_bias:
            y += self.bias.unsafe_load[width=width](column)
        if self.has_gelu:
            y = gelu(y)
        var at = row * self.n_out + column
        if self.has_residual:
            y += self.residual.unsafe_load[width=width](at)
        self.into.unsafe_store(at, y)

    @always_inline
    def rows[
        rows: Int, b_type: DType
    ](self, row: Int, column: Int, b: Pointer[Scalar[b_type], MutUntrackedOrigin]):
        var sums = tile[rows, b_type](
            self.x.unsafe_offset(row * self.x_stride), self.x_stride, b, PANEL, self.n_in
        )
        comptime for i in range(2 * rows):
            var first = column + (i % 2) * WIDTH
            if first + WIDTH <= self.n_out:
                self.finish(sums[i], row + i // 2, first)
            else:
                comptime for lane in range(WIDTH):
                    if first + lane < self.n_out:
                        self.finish[1](sums[i][lane], row + i // 2, first + lane)

    @always_inline
    def block[
        b_type: DType
    ](self, start: Int, stop: Int, column: Int, b: Pointer[Scalar[b_type], MutUntrackedOrigin]):
        """Rows start to stop of one span of columns."""
        var row = start
        while row + ROWS <= stop:
            self.rows[ROWS](row, column, b)
            row += ROWS
        while row + 4 <= stop:
            self.rows[4](row, column, b)
            row += 4
        while row < stop:
            self.rows[1](row, column, b)
            row += 1

    def panels(self, start: Int, stop: Int, first: Int, last: Int):
        """Rows start to stop of panels first to last."""
        var scratch = List[Float32](unsafe_uninit_length=self.n_in * PANEL)
        var widened = rebind[Floats](scratch.unsafe_ptr())
        for p in range(first, last):
            var panel = self.w.unsafe_offset(p * self.n_in * PANEL)
            comptime if Self.w_type != F32:
                if stop - start > ROWS:
                    for i in range(self.n_in * PANEL // WIDTH):
                        widened.unsafe_store(i * WIDTH, panel.unsafe_load[width=WIDTH](i * WIDTH).cast[F32]())
                    for s in range(PANEL // SPAN):
                        self.block[F32](start, stop, p * PANEL + s * SPAN, rebind[Floats](widened.unsafe_offset(s * SPAN)))
                    continue
            for s in range(PANEL // SPAN):
                self.block[Self.w_type](start, stop, p * PANEL + s * SPAN, panel.unsafe_offset(s * SPAN))
        _ = scratch^

    @no_inline
    def run(self) raises:
        var n_panels = ceildiv(self.n_out, PANEL)
        if self.n_rows * self.n_in * self.n_out < SERIAL_PRODUCTS:
            return self.panels(0, self.n_rows, 0, n_panels)
        var n_threads = parallelism_level(None)
        var block = max(ROWS, min(96, BLOCK_FLOATS // self.n_in) // ROWS * ROWS)
        var n_blocks = ceildiv(self.n_rows, block)
        var n_columns = min(n_panels, ceildiv(4 * n_threads if self.n_rows > ROWS else n_threads, n_blocks))

        def task(t: Int) {var self, var n_panels, var n_columns, var block}:
            var start = (t // n_columns) * block
            var c = t % n_columns
            self.panels(
                start,
                min(self.n_rows, start + block),
                c * n_panels // n_columns,
                (c + 1) * n_panels // n_columns,
            )

        sync_parallelize(task, n_blocks * n_columns)


@extensibility.register("whisper_linear")
struct Linear:
    @staticmethod
    def execute[
        target: StaticString, has_gelu: Bool, has_residual: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """A dense layer; without has_residual the last tensor is not read."""
        Product[w.dtype](
            rebind[Floats](output.unsafe_ptr()),
            rebind[Floats](x.unsafe_ptr()),
            rebind[Pointer[Scalar[w.dtype], MutUntrackedOrigin]](w.unsafe_ptr()),
            rebind[Floats](bias.unsafe_ptr()),
            rebind[Floats](residual.unsafe_ptr()),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            output.dim_size(2),
            x.dim_size(2),
            True,
            has_residual,
            has_gelu,
        ).run()


@extensibility.register("whisper_project")
struct Project:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=3, ...],
        ctx: DeviceContext,
    ) raises:
        """A bare product: the logits."""
        Product[w.dtype](
            rebind[Floats](output.unsafe_ptr()),
            rebind[Floats](x.unsafe_ptr()),
            rebind[Pointer[Scalar[w.dtype], MutUntrackedOrigin]](w.unsafe_ptr()),
            rebind[Floats](x.unsafe_ptr()),
            rebind[Floats](x.unsafe_ptr()),
            x.dim_size(0) * x.dim_size(1),
            x.dim_size(2),
            output.dim_size(2),
            x.dim_size(2),
            False,
            False,
            False,
        ).run()


@extensibility.register("whisper_conv1d")
struct Conv1d:
    @staticmethod
    def execute[
        target: StaticString, stride: Int, n_padding: Int, has_residual: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        x: InputTensor[dtype=F32, rank=3, ...],
        w: InputTensor[rank=3, ...],
        bias: InputTensor[dtype=F32, rank=1, ...],
        residual: InputTensor[dtype=F32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """A kernel of 3 with GELU over zero-padded frames: overlapping rows of x are the patches.

        The output has n_padding zero frames at each end, ready for the next convolution.
        """
        var n_frames = output.dim_size(1)
        var n_out = output.dim_size(2)
        var n_in = x.dim_size(2)
        for batch in range(x.dim_size(0)):
            var into = rebind[Floats](output.unsafe_ptr()).unsafe_offset(batch * n_frames * n_out)
            for j in range(n_padding * n_out):
                into.unsafe_store(j, Float32(0))
                into.unsafe_store((n_frames - n_padding) * n_out + j, Float32(0))
            Product[w.dtype](
                into.unsafe_offset(n_padding * n_out),
                rebind[Floats](x.unsafe_ptr()).unsafe_offset(batch * x.dim_size(1) * n_in),
                rebind[Pointer[Scalar[w.dtype], MutUntrackedOrigin]](w.unsafe_ptr()),
                rebind[Floats](bias.unsafe_ptr()),
                rebind[Floats](residual.unsafe_ptr()),
                n_frames - 2 * n_padding,
                3 * n_in,
                n_out,
                stride * n_in,
                True,
                has_residual,
                True,
            ).run()
