"""Matmul of many rows with a matrix [n_out, n_in] in half precision, by `mma.sync` and `cp.async`.

The tensor cores of every NVIDIA GPU since Ampere do it; on Hopper gemm.mojo and gemm_tma.mojo are
faster. The rows may be frames of a convolution, read with their neighbours from where they are.
"""
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, WARP_SIZE, block_idx, thread_idx
from max.gpu.memory import async_copy_commit_group, async_copy_wait_group, external_memory
from max.gpu.sync import barrier
from std.math import ceildiv
from std.utils.static_tuple import StaticTuple
from .accumulators import store_row
from .epilogue import Epilogue, apply_epilogue
from .math import gelu_erf_approx
from .mma import Fragment, copy_chunk, load_fragment, mma, shared_address, swizzle
from .pdl import launch_dependents, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer
from .wgmma import CHUNK, LANES


@fieldwise_init
struct MmaTile(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Part of a result that a block computes, and its pipeline."""

    var rows: Int
    var columns: Int
    var depth: Int
    """Inputs of a step, 32 or 64."""
    var stages: Int
    """Steps in shared memory at once."""
    var warp_rows: Int
    """Rows that a warp computes, a multiple of 16."""
    var warp_columns: Int
    """Columns that a warp computes, a multiple of 16 and a power of two."""
    var blocks: Int
    """Blocks that a multiprocessor runs at once, which limits the registers of a thread."""

    def threads(self) -> Int:
        """Returns the threads of a block."""
        return WARP_SIZE * (self.rows // self.warp_rows) * (self.columns // self.warp_columns)

    def stage_size(self) -> Int:
        """Returns the values of a stage: a row tile and a matrix tile."""
        return (self.rows + self.columns) * self.depth

    def shared_bytes(self) -> Int:
        """Returns the bytes of shared memory, at most 96 KB."""
        return self.stages * self.stage_size() * 2


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(tile.threads())),
    `nvvm.minctasm`=SIMDLength(tile.blocks),
)
def mma_gemm_kernel[
    *,
    dtype: DType,
    out_type: DType,
    epilogue: Epilogue,
    whole: Bool,
    tile: MmaTile,
    n_taps: Int,
    stride: Int,
](
    output: DevicePointer[out_type],
    x: DevicePointer[dtype],
    w: DevicePointer[dtype],
    bias: FloatPointer,
    residual: FloatPointer,
    n_rows: Int32,
    n_in: Int32,
    n_out: Int32,
    n_residual_rows: Int32,
):
    """Computes a tile of act(x w^T + bias) + residual; blocks: (columns, rows, batch).

    Fragments of the next 16 inputs are loaded while those before are multiplied.

    Parameters:
        dtype: Of rows and matrix.
        out_type: Of the output.
        epilogue: Work on the sums; of `residual_norm` the residual alone.
        whole: True where columns fill whole tiles.
        tile: Rows and columns of a block.
        n_taps: Frames of a row: 3 for a convolution, otherwise 1.
        stride: Frames from row to row.

    Args:
        output: [n_batch, n_rows, n_out].
        x: Frames [n_batch, n_rows * stride, n_in].
        w: [n_out, n_taps * n_in].
        bias: [n_out].
        residual: [n_residual_rows, n_out], repeated where it has fewer rows.
        n_rows: Rows of each item of the batch.
        n_in: Inputs of a frame, a multiple of 8.
        n_out: Outputs.
        n_residual_rows: Rows of the residual.
    """
    comptime rows = tile.rows
    comptime columns = tile.columns
    comptime depth = tile.depth
    comptime stages = tile.stages
    comptime stage_bytes = 2 * tile.stage_size()
    comptime line_bytes = 2 * depth
    comptime chunks = depth // CHUNK
    comptime at_once = tile.threads() // chunks
    comptime across = tile.warp_rows // 16
    comptime along = tile.warp_columns // 16
    comptime parts = depth // 16
    comptime assert rows % at_once == 0 and columns % at_once == 0, "threads copy whole lines"
    comptime assert parts % 2 == 0, "fragments have two places"
    comptime assert at_once % 8 == 0, "lines of a thread are swizzled alike"
    var thread = Int32(thread_idx.x)
    var lane = thread % LANES
    var warp = thread // LANES
    var left = Int32(block_idx.x) * Int32(columns)
    var top = Int32(block_idx.y) * Int32(rows)
    var batch = Int(block_idx.z)
    var shared = shared_address(
        external_memory[Scalar[dtype], address_space=.SHARED, alignment=128]()
    )
    var frames = x.unsafe_offset(batch * Int(n_rows) * stride * Int(n_in))
    var n_frames = n_rows * Int32(stride)
    var width = Int(n_in) * n_taps
    var n_steps = ceildiv(n_in, Int32(depth)) * Int32(n_taps)

    # Each thread copies the same chunk of several lines.
    var shift = thread % Int32(chunks) * CHUNK
    var line = thread // Int32(chunks)
    var to = line * Int32(line_bytes) + (thread % Int32(chunks) ^ swizzle[depth](line)) * 16
    var loaded_tap = Int32(0)
    var loaded_k = Int32(0)
    var loaded = Int32(0)

    @__parameter
    @always_inline
    def load_stage():
        """Starts the copies of the next step, if there is one."""
        var place = shared + loaded % Int32(stages) * Int32(stage_bytes) + to
        if loaded < n_steps:
            var k = loaded_k + shift
            var is_in = k < n_in
            comptime for i in range(rows // at_once):
                var frame = (top + line + Int32(i * at_once)) * Int32(stride)
                frame += loaded_tap - Int32(n_taps // 2)
                copy_chunk(
                    place + Int32(i * at_once * line_bytes),
                    frames,
                    Int(frame) * Int(n_in) + Int(k),
                    is_in and frame >= 0 and frame < n_frames,
                )
            comptime for i in range(columns // at_once):
                var column = left + line + Int32(i * at_once)
                copy_chunk(
                    place + Int32((rows + i * at_once) * line_bytes),
                    w,
                    Int(column) * width + Int(loaded_tap * n_in + k),
                    is_in and (whole or column < n_out),
                )
            loaded_k += Int32(depth)
            if loaded_k >= n_in:
                loaded_k = 0
                loaded_tap += 1
        loaded += 1
        async_copy_commit_group()

    var row_at = warp // Int32(columns // tile.warp_columns) * Int32(tile.warp_rows)
    var column_at = warp % Int32(columns // tile.warp_columns) * Int32(tile.warp_columns)
    var row_line = row_at + lane % 16
    var column_line = column_at + lane // 16 * 8 + lane % 8
    var row_chunk = (lane // 16 ^ swizzle[depth](row_line)) * 16
    var column_chunk = (lane // 8 % 2 ^ swizzle[depth](column_line)) * 16
    var a = Array[Fragment, 2 * across](fill=Fragment(0))
    var b = Array[Fragment, 2 * along](fill=Fragment(0))

    @__parameter
    @always_inline
    def load_fragments[part: Int](stage: Int32):
        """Loads 16 inputs of a stage."""
        var row_place = shared + stage * Int32(stage_bytes) + row_line * Int32(line_bytes)
        row_place += row_chunk ^ Int32(32 * part)
        var place = shared + stage * Int32(stage_bytes) + (column_line + Int32(rows)) * Int32(
            line_bytes
        )
        place += column_chunk ^ Int32(32 * part)
        comptime for i in range(across):
            a[part % 2 * across + i] = load_fragment(row_place + Int32(i * 16 * line_bytes))
        comptime for j in range(along):
            b[part % 2 * along + j] = load_fragment(place + Int32(j * 16 * line_bytes))

    var sums = Array[SIMD[F32, 4], across * along * 2](fill=SIMD[F32, 4](0))
    wait_on_dependencies()
    comptime for _ in range(stages - 1):
        load_stage()
    async_copy_wait_group(Int32(stages - 2))
    barrier()
    load_fragments[0](0)
    var stage = Int32(0)
    for _ in range(n_steps):
        var next = stage + 1 if stage + 1 < Int32(stages) else Int32(0)
        comptime for part in range(parts):
            comptime if part == parts - 1:
                async_copy_wait_group(Int32(stages - 2))
                barrier()
                load_fragments[0](next)
            else:
                load_fragments[part + 1](stage)
            comptime if part == 0:
                load_stage()
            comptime for i in range(across):
                comptime for j in range(2 * along):
                    sums[i * 2 * along + j] = mma[dtype](
                        a[part % 2 * across + i],
                        b[part % 2 * along + j // 2][j % 2 * 2],
                        b[part % 2 * along + j // 2][j % 2 * 2 + 1],
                        sums[i * 2 * along + j],
                    )
        stage = next
    launch_dependents()

    var first = left + column_at + lane % 4 * 2
    comptime for i in range(across):
        var held = SIMD[F32, 8 * along](0)
        comptime for j in range(2 * along):
            comptime for c in range(4):
                held[j * 4 + c] = sums[i * 2 * along + j][c]
        comptime for half in range(2):
            var row = top + row_at + Int32(i * 16 + half * 8) + lane // 4
            var place = (Int32(batch) * n_rows + min(row, n_rows - 1)) % n_residual_rows
            var begin = (batch * Int(n_rows) + Int(row)) * Int(n_out)
            var added = residual.unsafe_offset(Int(place) * Int(n_out))
            comptime if whole:
                apply_epilogue[epilogue=epilogue, half=half](
                    held,
                    bias.unsafe_offset(Int(first)),
                    added.unsafe_offset(Int(first)),
                )
                var line = output.unsafe_offset(begin + Int(left + column_at))
                store_row[out_type, 8 * along, half](line, held, lane, row < n_rows)
            else:
                if row < n_rows:
                    comptime for j in range(2 * along):
                        store_pair[out_type, epilogue](
                            output.unsafe_offset(begin),
                            SIMD[F32, 2](held[j * 4 + half * 2], held[j * 4 + half * 2 + 1]),
                            bias,
                            added,
                            Int(first) + j * 8,
                            Int(n_out),
                        )


@always_inline
def store_pair[
    out_type: DType, epilogue: Epilogue
](
    output: DevicePointer[out_type],
    sums: SIMD[F32, 2],
    bias: FloatPointer,
    residual: FloatPointer,
    column: Int,
    n_out: Int,
):
    """Applies the epilogue to two neighbours of a row and stores those that are within it.

    Parameters:
        out_type: Of the output.
        epilogue: Work on the sums.

    Args:
        output: The row.
        sums: Two sums.
        bias: [n_out].
        residual: The row's residual.
        column: First of the two, even.
        n_out: Width of the row; the two are stored at once where it is even.
    """
    var y = sums
    comptime for i in range(2):
        var at = min(column + i, n_out - 1)
        y[i] += bias[unsafe_offset=at]
        comptime if epilogue.gelu:
            y[i] = gelu_erf_approx(y[i])
        comptime if epilogue.residual_norm:
            y[i] += residual[unsafe_offset=at]
    if n_out % 2 == 0:
        if column < n_out:
            comptime alignment = 8 if out_type == F32 else 4
            output.unsafe_store[width=2, alignment=alignment](column, y.cast[out_type]())
        return
    comptime for i in range(2):
        if column + i < n_out:
            output[unsafe_offset=column + i] = y[i].cast[out_type]()
