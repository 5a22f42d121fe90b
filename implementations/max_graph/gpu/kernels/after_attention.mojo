"""What follows attention in a block of the encoder, as one kernel: projection, MLP, both layer norms.

A group of four warps holds 64 whole rows in registers, from the residual that they begin with to the
sum that the next block begins with, and what it multiplies them by in shared memory; a hidden
layer's columns live only in registers. All matrices stream by, in pieces, for both groups of a block.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, block_idx, thread_idx
from max.gpu.compute.mma import (
    wgmma_commit_group_sync,
    wgmma_fence_aligned,
    wgmma_wait_group_sync,
)
from max.gpu.host.nvidia.tma import TMADescriptor
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.sys import inlined_assembly
from std.utils.static_tuple import StaticTuple
from .bulk import (
    arrive_at,
    expect_bytes,
    fetch_box,
    fetch_line,
    prepare_barrier,
    show_barriers,
    wait_at,
    warm_line,
)
from .launch import let_next_start, wait_for_previous
from .pointers import F32, Floats, Memory, load
from .sums import add_bias, add_line, find_moments, store_line
from .tensor_cores import (
    GROUP,
    ROW,
    chunk_at,
    describe,
    multiply_held,
    multiply_square,
    quick_gelu,
)

comptime WIDTH = 384
"""The only width of a state: a row of sums, 192 registers a thread, leaves just enough for more."""
comptime HIDDEN = 4 * WIDTH
comptime TILES = WIDTH // ROW
comptime GROUPS = 2
comptime ROWS = 64 * GROUPS
"""Of a block."""
comptime SIDE = 3
"""Tiles, 64 by 64, in a piece of a matrix."""
comptime PIECE = SIDE * 64 * ROW
comptime STAGES = 5
"""Pieces in shared memory at once."""
comptime FIRST_PIECES = 2 * TILES
"""Of the projection's matrix, in which a piece is 64 columns of half its rows."""
comptime PIECES = FIRST_PIECES + 4 * HIDDEN // 64
"""Of all matrices. For 64 columns of the hidden layer: two as above, and, first, the two halves of
64 rows."""
comptime VECTORS = HIDDEN + 3 * WIDTH
"""Numbers in shared memory: both biases of the MLP, weight and bias of the last norm."""
comptime BYTES = (ROWS * WIDTH + STAGES * PIECE) * 2 + 16 * STAGES + 16 + VECTORS * 4
comptime AHEAD = 132
"""How many blocks run at once; the rows of those that run next are brought near meanwhile."""


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(GROUP * GROUPS)),
    `nvvm.minctasm`=SIMDLength(1),
)
@__llvm_arg_metadata(rows_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(out_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(widen_map, `nvvm.grid_constant`)
@__llvm_arg_metadata(narrow_map, `nvvm.grid_constant`)
def after_attention_kernel[
    dtype: DType, norm_type: DType, keeps: Bool
](
    into: Floats,
    normed: Memory[norm_type],
    rows_map: TMADescriptor,
    attended: Memory[dtype],
    residual: Floats,
    out_map: TMADescriptor,
    out_bias: Floats,
    norm_weight: Floats,
    norm_bias: Floats,
    widen_map: TMADescriptor,
    widen_bias: Floats,
    narrow_map: TMADescriptor,
    narrow_bias: Floats,
    next_weight: Floats,
    next_bias: Floats,
    n_rows: Int32,
):
    """Blocks: (rows). The second group is half a step behind the first, so that one multiplies
    while the other is at its GELU; its first thread has a stage filled again when both are through.
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
            prepare_barrier(full.unsafe_offset(i), 1)
            prepare_barrier(empty.unsafe_offset(i), 1)
        prepare_barrier(there, 1)
        show_barriers()
    barrier()
    var group = warp.broadcast(thread // GROUP)

    @__parameter
    @always_inline
    def fetch(piece: Int32, at: Int32):
        var tile = ring.unsafe_offset(Int(at * Int32(PIECE)))
        var here = full.unsafe_offset(Int(at))
        var later = piece - Int32(FIRST_PIECES)
        var step = later // 4
        var part = later % 4
        expect_bytes(here, Int32(PIECE * 2))
        if later < 0:
            fetch_box[dtype, 1](tile, out_map, here, 0, piece % 2 * (SIDE * 64), piece // 2, 0)
        elif part < 2:
            fetch_box[dtype, 1](tile, widen_map, here, 0, step * 64, part * SIDE, 0)
        else:
            fetch_box[dtype, 1](tile, narrow_map, here, 0, (part - 2) * (SIDE * 64), step, 0)

    if thread == 0:
        comptime for i in range(STAGES):
            fetch(Int32(i), Int32(i))
        wait_for_previous()
        expect_bytes(there, Int32(ROWS * WIDTH * 2 + VECTORS * 4))
        fetch_line(hidden_bias, widen_bias, there, Int32(HIDDEN * 4))
        fetch_line(last_bias, narrow_bias, there, Int32(WIDTH * 4))
        fetch_line(last_norm, next_weight, there, Int32(WIDTH * 4))
        fetch_line(last_norm.unsafe_offset(WIDTH), next_bias, there, Int32(WIDTH * 4))
        comptime for t in range(TILES):
            fetch_box[dtype, 1](
                rows.unsafe_offset(t * ROWS * ROW), rows_map, there, 0, top, Int32(t), 0
            )
    syncwarp()

    var lane = thread % 32
    var line = thread // 32 * 16 + lane // 4
    var first = lane % 4 * 2
    var is_first = thread % GROUP == 0
    var own = rows.unsafe_offset(Int(group * 64 * ROW))
    var next = Int32(STAGES)
    var stage = Int32(0)
    var parity = Int32(0)
    var sums = Array[SIMD[F32, 32], TILES](uninitialized=True)
    comptime for t in range(TILES):
        comptime for j in range(8):
            var pair = load[2](out_bias.unsafe_offset(Int(first)), t * ROW + j * 8)
            comptime for i in range(4):
                sums[t][j * 4 + i] = pair[i % 2]

    @__parameter
    @always_inline
    def warm[share: Int, with_attended: Bool](begin: Int32):
        if begin + Int32(share) <= n_rows * Int32(WIDTH):
            warm_line(residual.unsafe_offset(Int(begin)), Int32(share * 4))
            comptime if with_attended:
                warm_line(attended.unsafe_offset(Int(begin)), Int32(share * 2))

    @__parameter
    @always_inline
    def let_go():
        """Of the stage that was multiplied."""
        if is_first:
            if group == 0:
                arrive_at(empty.unsafe_offset(Int(stage)), 0)
            elif next < Int32(PIECES):
                wait_at(empty.unsafe_offset(Int(stage)), parity)
                fetch(next, stage)
                var later = next - Int32(FIRST_PIECES)
                if later <= 0 and top < Int32(AHEAD * ROWS):
                    comptime share = ROWS * WIDTH // (FIRST_PIECES - STAGES + 1)
                    warm[share, False](top * Int32(WIDTH) + (next - Int32(STAGES)) * Int32(share))
                if later >= 0:
                    comptime share = ROWS * WIDTH // (PIECES - FIRST_PIECES)
                    var begin = (top + Int32(AHEAD * ROWS)) * Int32(WIDTH)
                    warm[share, True](begin + later * Int32(share))
        syncwarp()
        next += 1
        stage += 1
        if stage == Int32(STAGES):
            stage = 0
            parity ^= 1

    @__parameter
    @always_inline
    def finish():
        wgmma_commit_group_sync()
        wgmma_wait_group_sync()
        let_go()

    @__parameter
    @always_inline
    def wait_for_piece(out tile: type_of(ring)):
        wait_at(full.unsafe_offset(Int(stage)), parity)
        wgmma_fence_aligned()
        tile = ring.unsafe_offset(Int(stage * Int32(PIECE)))

    wait_at(there, 0)
    for k in range(Int32(TILES)):
        var a = describe[dtype](own.unsafe_offset(Int(k * Int32(ROWS * ROW))))
        comptime for part in range(2):
            var tile = wait_for_piece()
            comptime for i in range(SIDE):
                var b = describe[dtype](tile.unsafe_offset(i * 64 * ROW))
                multiply_square(a, b, sums[part * SIDE + i])
            finish()

    wait_for_previous()
    comptime for half in range(2):
        var row = min(top + line + Int32(half * 8), n_rows - 1)
        add_line[half](sums, residual.unsafe_offset(Int(row) * WIDTH + Int(first)))
    var mean = SIMD[F32, 2](0)
    var scale = SIMD[F32, 2](0)
    find_moments(sums, mean, scale)
    comptime for t in range(TILES):
        comptime for j in range(8):
            comptime column = t * ROW + j * 8
            var weights = load[2](norm_weight.unsafe_offset(Int(first)), column)
            var shifts = load[2](norm_bias.unsafe_offset(Int(first)), column)
            comptime for half in range(2):
                comptime at = j * 4 + half * 2
                var pair = SIMD[F32, 2](sums[t][at], sums[t][at + 1])
                var slope = weights * scale[half]
                var to = chunk_at(line + Int32(half * 8), Int32(j)) + first
                rows.unsafe_store[width=2, alignment=4](
                    t * ROWS * ROW + Int(to),
                    pair.fma(slope, shifts - slope * mean[half]).cast[dtype](),
                )
    # The group's rows are all written, and the tensor cores see them.
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
                var a = describe[dtype](own.unsafe_offset((part * SIDE + i) * ROWS * ROW))
                multiply_square(a, describe[dtype](tile.unsafe_offset(i * 64 * ROW)), hidden)
            finish()
        if step == 0 and group == 0:
            inlined_assembly["bar.arrive 3, 256;", NoneType, constraints=""]()
        comptime for i in range(32):
            hidden[i] = quick_gelu(hidden[i])
        var held = hidden.cast[dtype]()
        comptime for part in range(2):
            var tile = wait_for_piece()
            comptime for i in range(SIDE):
                var b = describe[dtype](tile.unsafe_offset(i * 64 * ROW))
                comptime for k in range(ROW // 16):
                    sums[part * SIDE + i] = multiply_held[dtype, False](
                        held.slice[8, offset = k * 8](), b + k * 32, sums[part * SIDE + i]
                    )
            finish()
    let_next_start()

    add_bias(sums, last_bias.unsafe_offset(Int(first)))
    comptime if keeps:
        comptime for half in range(2):
            var row = top + line + Int32(half * 8)
            comptime for t in range(TILES):
                var to = into.unsafe_offset(Int(row) * WIDTH + t * ROW)
                store_line[F32, 32, half](to, sums[t], lane, row < n_rows)
    find_moments(sums, mean, scale)
    comptime for t in range(TILES):
        comptime for j in range(8):
            comptime column = t * ROW + j * 8
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
            var to = normed.unsafe_offset(Int(row) * WIDTH + t * ROW)
            store_line[norm_type, 32, half](to, sums[t], lane, row < n_rows)
