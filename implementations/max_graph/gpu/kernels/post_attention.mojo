"""All of an encoder block that follows its attention, as one kernel: projection, MLP, layer norms.

A warpgroup holds 64 whole rows in registers, from the residual that they begin with to the sum that
the next block begins with, and the rows that it multiplies in shared memory; a hidden layer's
columns are only ever in registers. Matrices stream by in pieces, for both warpgroups of a block.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import wgmma_commit_group_sync, wgmma_fence_aligned
from max.gpu.compute.mma import wgmma_wait_group_sync
from max.gpu.host import DeviceContext
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.sys import inlined_assembly
from std.utils.static_tuple import StaticTuple
from .accumulators import add_bias, add_row, row_moments, store_row
from .math import gelu_erf_approx
from .pdl import launch_dependents, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, load
from .tma import fence_mbarrier_init, mbarrier_arrive, mbarrier_expect_tx, mbarrier_init
from .tma import mbarrier_wait, prefetch_l2, tma_load, tma_load_1d
from .wgmma import LANES, TILE_K, WARPGROUP, swizzled_offset, wgmma_descriptor, wgmma_from_registers
from .wgmma import wgmma_square_tile

comptime WIDTH = 384
"""Width of a state, no other: its sums take 192 registers of a thread."""
comptime HIDDEN = 4 * WIDTH
comptime TILES = WIDTH // TILE_K
comptime GROUPS = 2
comptime ROWS = 64 * GROUPS
"""Rows of a block."""
comptime SIDE = 3
"""Tiles, 64 by 64, of a piece of a matrix."""
comptime HALF = SIDE * 64
"""Rows of half a matrix of WIDTH rows."""
comptime PIECE = HALF * TILE_K
comptime STAGES = 5
"""Pieces in shared memory at once."""
comptime FIRST_PIECES = 2 * TILES
"""Pieces of the projection's matrix: 64 columns of half its rows each."""
comptime PIECES = FIRST_PIECES + 4 * HIDDEN // 64
"""Pieces of all matrices. For 64 columns of the hidden layer there are the two halves of 64 rows of
the widening matrix, then two pieces of the narrowing one as above."""
comptime VECTORS = HIDDEN + 3 * WIDTH
"""Numbers in shared memory: both biases of the MLP, weight and bias of the last norm."""
comptime BYTES = (ROWS * WIDTH + STAGES * PIECE) * 2 + 16 * STAGES + 16 + VECTORS * 4
comptime N_RUNNING_BLOCKS = DeviceContext.default_device_info.sm_count
"""Blocks that run at once, one on each multiprocessor; they prefetch the rows of the next ones."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(WARPGROUP * GROUPS)),
    `nvvm.minctasm`=SIMDLength(1),
)
@__llvm_arg_metadata(rows_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(out_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(widen_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(narrow_map, `nvvm.grid_constant`)
def post_attention_kernel[
    *, dtype: DType, norm_type: DType, store_output: Bool
](
    output: FloatPointer,
    normed: DevicePointer[norm_type],
    rows_map: TMADescriptor,
    attended: DevicePointer[dtype],
    residual: FloatPointer,
    out_map: TMADescriptor,
    out_bias: FloatPointer,
    norm_weight: FloatPointer,
    norm_bias: FloatPointer,
    widen_map: TMADescriptor,
    widen_bias: FloatPointer,
    narrow_map: TMADescriptor,
    narrow_bias: FloatPointer,
    next_weight: FloatPointer,
    next_bias: FloatPointer,
    n_rows: Int32,
):
    """Computes the next state of ROWS rows by each block.

    The second warpgroup is half a step behind the first, so that one multiplies while the other
    computes GELU; its first thread has a stage filled again when both have read it.

    Parameters:
        dtype: Of what is multiplied.
        norm_type: Of the normalized output.
        store_output: False where only the normalized state is wanted.

    For the arguments see `EncoderPostAttention`: `rows_map` is the map of `attended`, the output of
    the attention, in boxes of ROWS rows, the other maps are those of matrices.
    """
    var thread = Int32(thread_idx.x)
    var rows = external_memory[Scalar[dtype], address_space=.SHARED, alignment=1024]()
    var ring = rows.unsafe_offset(ROWS * WIDTH)
    var full = ring.unsafe_offset(STAGES * PIECE).unsafe_bitcast[UInt64]()
    var empty = full.unsafe_offset(STAGES)
    var there = empty.unsafe_offset(STAGES)
    var hidden_bias = there.unsafe_offset(2).unsafe_bitcast[Float32]()
    var last_bias = hidden_bias.unsafe_offset(HIDDEN)
    var last_norm = last_bias.unsafe_offset(WIDTH)
    var top = Int32(block_idx.x) * Int32(ROWS)
    if thread == 0:
        comptime for i in range(STAGES):
            mbarrier_init(full.unsafe_offset(i), 1)
            mbarrier_init(empty.unsafe_offset(i), 1)
        mbarrier_init(there, 1)
        fence_mbarrier_init()
    barrier()
    var group = warp.broadcast(thread // WARPGROUP)

    @__parameter
    @always_inline
    def load_piece(piece: Int32, at: Int32):
        var tile = ring.unsafe_offset(Int(at * Int32(PIECE)))
        var here = full.unsafe_offset(Int(at))
        var later = piece - Int32(FIRST_PIECES)
        var step = later // 4
        var part = later % 4
        mbarrier_expect_tx(here, Int32(PIECE * 2))
        if later < 0:
            tma_load(tile, out_map, here, column=0, row=piece % 2 * HALF, batch=piece // 2)
        elif part < 2:
            tma_load(tile, widen_map, here, column=0, row=step * 64, batch=part * SIDE)
        else:
            tma_load(tile, narrow_map, here, column=0, row=(part - 2) * HALF, batch=step)

    if thread == 0:
        comptime for i in range(STAGES):
            load_piece(Int32(i), Int32(i))
        wait_on_dependencies()
        mbarrier_expect_tx(there, Int32(ROWS * WIDTH * 2 + VECTORS * 4))
        tma_load_1d(hidden_bias, widen_bias, there, Int32(HIDDEN * 4))
        tma_load_1d(last_bias, narrow_bias, there, Int32(WIDTH * 4))
        tma_load_1d(last_norm, next_weight, there, Int32(WIDTH * 4))
        tma_load_1d(last_norm.unsafe_offset(WIDTH), next_bias, there, Int32(WIDTH * 4))
        comptime for t in range(TILES):
            var tile = rows.unsafe_offset(t * ROWS * TILE_K)
            tma_load(tile, rows_map, there, column=0, row=top, batch=Int32(t))
    syncwarp()

    var lane = thread % LANES
    var line = thread // LANES * 16 + lane // 4
    var first = lane % 4 * 2
    var is_first = thread % WARPGROUP == 0
    var own = rows.unsafe_offset(Int(group * 64 * TILE_K))
    var next = Int32(STAGES)
    var stage = Int32(0)
    var parity = Int32(0)
    var sums = Array[SIMD[F32, 32], TILES](uninitialized=True)
    comptime for t in range(TILES):
        comptime for j in range(8):
            var pair = load[2](out_bias.unsafe_offset(Int(first)), t * TILE_K + j * 8)
            comptime for i in range(4):
                sums[t][j * 4 + i] = pair[i % 2]

    @__parameter
    @always_inline
    def prefetch[share: Int, with_attended: Bool](begin: Int32):
        if begin + Int32(share) <= n_rows * Int32(WIDTH):
            prefetch_l2(residual.unsafe_offset(Int(begin)), Int32(share * 4))
            comptime if with_attended:
                prefetch_l2(attended.unsafe_offset(Int(begin)), Int32(share * 2))

    @__parameter
    @always_inline
    def release_stage():
        """Frees the stage that was multiplied, and has it filled again."""
        if is_first:
            if group == 0:
                mbarrier_arrive(empty.unsafe_offset(Int(stage)), 0)
            elif next < Int32(PIECES):
                mbarrier_wait(empty.unsafe_offset(Int(stage)), parity)
                load_piece(next, stage)
                var later = next - Int32(FIRST_PIECES)
                if later <= 0 and top < Int32(N_RUNNING_BLOCKS * ROWS):
                    comptime share = ROWS * WIDTH // (FIRST_PIECES - STAGES + 1)
                    var begin = top * Int32(WIDTH)
                    prefetch[share, with_attended=False](begin + (next - Int32(STAGES)) * Int32(share))
                if later >= 0:
                    comptime share = ROWS * WIDTH // (PIECES - FIRST_PIECES)
                    var begin = (top + Int32(N_RUNNING_BLOCKS * ROWS)) * Int32(WIDTH)
                    prefetch[share, with_attended=True](begin + later * Int32(share))
        syncwarp()
        next += 1
        stage += 1
        if stage == Int32(STAGES):
            stage = 0
            parity ^= 1

    @__parameter
    @always_inline
    def finish():
        """Waits for the tensor cores and frees the stage."""
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        release_stage()

    @__parameter
    @always_inline
    def wait_for_piece(out tile: type_of(ring)):
        mbarrier_wait(full.unsafe_offset(Int(stage)), parity)
        wgmma_fence_aligned()
        tile = ring.unsafe_offset(Int(stage * Int32(PIECE)))

    mbarrier_wait(there, 0)
    for k in range(Int32(TILES)):
        var a = wgmma_descriptor[dtype](own.unsafe_offset(Int(k * Int32(ROWS * TILE_K))))
        comptime for part in range(2):
            var tile = wait_for_piece()
            comptime for i in range(SIDE):
                var b = wgmma_descriptor[dtype](tile.unsafe_offset(i * 64 * TILE_K))
                wgmma_square_tile(a, b, sums[part * SIDE + i])
            finish()

    wait_on_dependencies()
    comptime for half in range(2):
        var row = min(top + line + Int32(half * 8), n_rows - 1)
        add_row[half](sums, residual.unsafe_offset(Int(row) * WIDTH + Int(first)))
    var mean = SIMD[F32, 2](0)
    var scale = SIMD[F32, 2](0)
    row_moments(sums, mean, scale)
    comptime for t in range(TILES):
        comptime for j in range(8):
            comptime column = t * TILE_K + j * 8
            var weights = load[2](norm_weight.unsafe_offset(Int(first)), column)
            var shifts = load[2](norm_bias.unsafe_offset(Int(first)), column)
            comptime for half in range(2):
                comptime at = j * 4 + half * 2
                var pair = SIMD[F32, 2](sums[t][at], sums[t][at + 1])
                var slope = weights * scale[half]
                var to = swizzled_offset(line + Int32(half * 8), Int32(j)) + first
                rows.unsafe_store[width=2, alignment=4](
                    t * ROWS * TILE_K + Int(to),
                    pair.fma(slope, shifts - slope * mean[half]).cast[dtype](),
                )
    # All rows of the warpgroup are written, and visible to the tensor cores.
    inlined_assembly["fence.proxy.async.shared::cta; bar.sync $0, 128;", NoneType, constraints="r"](
        group + 1
    )
    if group == 1:
        inlined_assembly["bar.sync 3, 256;", NoneType, constraints=""]()
    var bias = hidden_bias.unsafe_offset(Int(first))
    for step in range(Int32(HIDDEN // 64)):
        var hidden = SIMD[F32, 32](0)
        comptime for j in range(8):
            var pair = bias.unsafe_load[width=2, alignment=8](j * 8)
            comptime for i in range(4):
                hidden[j * 4 + i] = pair[i % 2]
        bias = bias.unsafe_offset(64)
        comptime for part in range(2):
            var tile = wait_for_piece()
            comptime for i in range(SIDE):
                comptime place = (part * SIDE + i) * ROWS * TILE_K
                var a = wgmma_descriptor[dtype](own.unsafe_offset(place))
                var b = wgmma_descriptor[dtype](tile.unsafe_offset(i * 64 * TILE_K))
                wgmma_square_tile(a, b, hidden)
            finish()
        if step == 0 and group == 0:
            inlined_assembly["bar.arrive 3, 256;", NoneType, constraints=""]()
        comptime for i in range(32):
            hidden[i] = gelu_erf_approx(hidden[i])
        var held = hidden.cast[dtype]()
        comptime for part in range(2):
            var tile = wait_for_piece()
            comptime for i in range(SIDE):
                var b = wgmma_descriptor[dtype](tile.unsafe_offset(i * 64 * TILE_K))
                comptime for k in range(TILE_K // 16):
                    sums[part * SIDE + i] = wgmma_from_registers[dtype, transposed=False](
                        held.slice[8, offset = k * 8](), b + k * 32, sums[part * SIDE + i]
                    )
            finish()
    launch_dependents()

    add_bias(sums, last_bias.unsafe_offset(Int(first)))
    comptime if store_output:
        comptime for half in range(2):
            var row = top + line + Int32(half * 8)
            comptime for t in range(TILES):
                var to = output.unsafe_offset(Int(row) * WIDTH + t * TILE_K)
                store_row[F32, 32, half](to, sums[t], lane, row < n_rows)
    row_moments(sums, mean, scale)
    comptime for t in range(TILES):
        comptime for j in range(8):
            comptime column = t * TILE_K + j * 8
            var ends = last_norm.unsafe_offset(Int(first))
            var weights = ends.unsafe_load[width=2, alignment=8](column)
            var shifts = ends.unsafe_load[width=2, alignment=8](WIDTH + column)
            comptime for half in range(2):
                var slope = weights * scale[half]
                var shift = shifts - slope * mean[half]
                comptime for i in range(2):
                    comptime at = j * 4 + half * 2 + i
                    sums[t][at] = sums[t][at].fma(slope[i], shift[i])
        comptime for half in range(2):
            var row = top + line + Int32(half * 8)
            var to = normed.unsafe_offset(Int(row) * WIDTH + t * TILE_K)
            store_row[norm_type, 32, half](to, sums[t], lane, row < n_rows)
