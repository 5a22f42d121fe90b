"""Flash attention of a window to itself in half precision by `mma.sync` and `cp.async`.

It has the form of FlashAttention-2 (Dao, 2023): each warp holds queries of its own in registers,
from scores to sums of values, and all warps of a block share the keys and values that stream
through shared memory. Weights are rounded before they are multiplied with values.
"""
import max.gpu.primitives.warp as warp
from max.gpu import MAX_THREADS_PER_BLOCK_METADATA, WARP_SIZE, block_idx, thread_idx
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.memory import async_copy_commit_group, async_copy_wait_group, external_memory
from max.gpu.sync import barrier
from std.math import ceildiv
from std.memory import bitcast
from std.utils.static_tuple import StaticTuple
from .flash_attention import HEAD_DIM, LOG2_SCALE
from .math import LOWEST_SCORE, exp2, rcp
from .mma import MAX_SHARED_BYTES, Fragment, copy_chunk, load_fragment, mma
from .mma import shared_address, swizzle
from .multiprocessors import multiprocessors
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer
from .wgmma import CHUNK, LANES

comptime KEYS = 64
"""Keys of a step."""
comptime LINE_BYTES = 2 * HEAD_DIM
comptime TILE_BYTES = KEYS * LINE_BYTES
comptime PARTS = HEAD_DIM // 16
comptime KEY_PARTS = KEYS // 16


@fieldwise_init
struct FlashTile(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Queries that a block takes, and its pipeline."""

    var tiles: Int
    """Tiles of 16 queries that a warp holds."""
    var warps: Int
    var stages: Int
    """Steps of keys and values in shared memory at once."""
    var blocks: Int
    """Blocks that a multiprocessor runs at once, which limits the registers of a thread."""

    def queries(self) -> Int:
        """Returns the queries of a block."""
        return 16 * self.tiles * self.warps

    def threads(self) -> Int:
        """Returns the threads of a block."""
        return WARP_SIZE * self.warps

    def shared_bytes(self) -> Int:
        """Returns the bytes of shared memory, at most 96 KB."""
        return self.stages * 2 * TILE_BYTES


comptime LARGE_TILE = FlashTile(tiles=2, warps=4, stages=2, blocks=2)
comptime SMALL_TILE = FlashTile(tiles=1, warps=4, stages=3, blocks=2)


@__llvm_metadata(
    MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(tile.threads())),
    `nvvm.minctasm`=SIMDLength(tile.blocks),
)
def mma_flash_attention_kernel[
    dtype: DType, tile: FlashTile
](output: DevicePointer[dtype], qkv: DevicePointer[dtype], n_ctx: Int32, n_head: Int32):
    """Computes attention of a block's queries; blocks: (queries, head, row of the batch).

    Parameters:
        dtype: Of queries, keys, values and output.
        tile: Queries of a block.

    Args:
        output: [n_batch, n_ctx, n_head * HEAD_DIM].
        qkv: [n_batch, n_ctx, 3 * n_head * HEAD_DIM].
        n_ctx: Positions.
        n_head: Heads.
    """
    comptime chunks = HEAD_DIM // CHUNK
    comptime at_once = tile.threads() // chunks
    comptime tiles = tile.tiles
    comptime stages = tile.stages
    var n_state = n_head * HEAD_DIM
    var stride = Int(3 * n_state)
    var thread = Int32(thread_idx.x)
    var lane = thread % LANES
    var start = Int(block_idx.z) * Int(n_ctx)
    var head = Int32(block_idx.y) * HEAD_DIM
    var own = qkv.unsafe_offset(start * stride + Int(head))
    var shared = shared_address(
        external_memory[Scalar[dtype], address_space=.SHARED, alignment=128]()
    )
    var n_steps = ceildiv(n_ctx, Int32(KEYS))
    var line = thread // Int32(chunks)
    var source = own.unsafe_offset(Int(n_state) + Int(thread % Int32(chunks)) * CHUNK)
    var to = line * Int32(LINE_BYTES) + (thread % Int32(chunks) ^ swizzle[HEAD_DIM](line)) * 16
    var loaded = Int32(0)

    @__parameter
    @always_inline
    def load_stage():
        """Starts the copies of the next step's keys and values, if there is one."""
        if loaded < n_steps:
            var place = shared + loaded % Int32(stages) * Int32(2 * TILE_BYTES) + to
            comptime for part in range(2):
                comptime for i in range(KEYS // at_once):
                    var key = loaded * Int32(KEYS) + line + Int32(i * at_once)
                    copy_chunk(
                        place + Int32(part * TILE_BYTES + i * at_once * LINE_BYTES),
                        source.unsafe_offset(part * Int(n_state)),
                        Int(key) * stride,
                        key < n_ctx,
                    )
        loaded += 1
        async_copy_commit_group()

    wait_on_dependencies()
    comptime for _ in range(stages - 1):
        load_stage()
    var first = Int32(block_idx.x) * Int32(tile.queries())
    first += thread // LANES * Int32(16 * tiles) + lane // 4
    var queries = Array[Fragment, tiles * PARTS](fill=Fragment(0))
    comptime for t in range(tiles):
        comptime for k in range(PARTS):
            comptime for part in range(4):
                var row = min(first + Int32(t * 16 + part % 2 * 8), n_ctx - 1)
                var pair = own.unsafe_load[width=2, alignment=4](
                    Int(row) * stride + Int(lane % 4 * 2) + k * 16 + part // 2 * 8
                )
                queries[t * PARTS + k][part] = bitcast[DType.uint32, 1](pair)

    # A lane's line of keys, and of values, in a tile; `load_fragment` wants one of each lane.
    var key_line = (lane // 16 * 8 + lane % 8) * Int32(LINE_BYTES)
    var key_chunk = (lane // 8 % 2 ^ lane % 8) * 16
    var value_line = Int32(TILE_BYTES) + lane % 16 * Int32(LINE_BYTES)
    var value_chunk = (lane // 16 ^ lane % 8) * 16
    var row_max = Array[SIMD[F32, 2], tiles](fill=SIMD[F32, 2](LOWEST_SCORE))
    var row_sum = Array[SIMD[F32, 2], tiles](fill=SIMD[F32, 2](0))
    var acc = Array[SIMD[F32, 4], tiles * HEAD_DIM // 8](fill=SIMD[F32, 4](0))

    @__parameter
    @always_inline
    def add_step[is_last: Bool](step: Int32):
        """Takes a step of the online softmax, and adds weighted values."""
        async_copy_wait_group(Int32(stages - 2))
        barrier()
        load_stage()
        var place = shared + step % Int32(stages) * Int32(2 * TILE_BYTES)
        var scores = Array[SIMD[F32, 4], tiles * KEYS // 8](fill=SIMD[F32, 4](0))
        comptime for k in range(PARTS):
            comptime for j in range(KEY_PARTS):
                var keys = load_fragment(
                    place + key_line + (key_chunk ^ Int32(32 * k)) + Int32(j * 16 * LINE_BYTES)
                )
                comptime for t in range(tiles):
                    comptime for n in range(2):
                        comptime at = t * KEYS // 8 + 2 * j + n
                        scores[at] = mma[dtype](
                            queries[t * PARTS + k], keys[2 * n], keys[2 * n + 1], scores[at]
                        )
        comptime if is_last:
            comptime for j in range(KEYS // 8):
                comptime for i in range(2):
                    var key = step * Int32(KEYS) + Int32(j * 8 + i) + lane % 4 * 2
                    if key >= n_ctx:
                        comptime for t in range(tiles):
                            scores[t * KEYS // 8 + j][i] = LOWEST_SCORE
                            scores[t * KEYS // 8 + j][i + 2] = LOWEST_SCORE
        comptime for t in range(tiles):
            comptime for row in range(2):
                var top = row_max[t][row]
                comptime for j in range(KEYS // 8):
                    top = max(top, scores[t * KEYS // 8 + j][2 * row])
                    top = max(top, scores[t * KEYS // 8 + j][2 * row + 1])
                top = max(top, warp.shuffle_xor(top, 1))
                top = max(top, warp.shuffle_xor(top, 2))
                var correction = exp2((row_max[t][row] - top) * LOG2_SCALE)
                var base = top * LOG2_SCALE
                row_max[t][row] = top
                var sum = row_sum[t][row] * correction
                comptime for j in range(KEYS // 8):
                    comptime for i in range(2 * row, 2 * row + 2):
                        comptime at = t * KEYS // 8 + j
                        scores[at][i] = exp2(scores[at][i].fma(LOG2_SCALE, -base))
                        sum += scores[at][i]
                row_sum[t][row] = sum
                comptime for j in range(HEAD_DIM // 8):
                    acc[t * HEAD_DIM // 8 + j][2 * row] *= correction
                    acc[t * HEAD_DIM // 8 + j][2 * row + 1] *= correction
        comptime for k in range(KEY_PARTS):
            var weights = Array[Fragment, tiles](fill=Fragment(0))
            comptime for t in range(tiles):
                comptime at = t * KEYS // 8 + 2 * k
                weights[t] = bitcast[DType.uint32, 4](
                    scores[at].join(scores[at + 1]).cast[dtype]()
                )
            comptime for j in range(PARTS):
                var values = load_fragment[transposed=True](
                    place + value_line + (value_chunk ^ Int32(32 * j)) + Int32(k * 16 * LINE_BYTES)
                )
                comptime for t in range(tiles):
                    comptime for n in range(2):
                        comptime at = t * HEAD_DIM // 8 + 2 * j + n
                        acc[at] = mma[dtype](
                            weights[t], values[2 * n], values[2 * n + 1], acc[at]
                        )

    for step in range(n_steps - 1):
        add_step[is_last=False](step)
    add_step[is_last=True](n_steps - 1)
    launch_dependents()

    comptime for t in range(tiles):
        comptime for row in range(2):
            var sum = row_sum[t][row]
            sum += warp.shuffle_xor(sum, 1)
            sum += warp.shuffle_xor(sum, 2)
            var query = first + Int32(t * 16 + row * 8)
            if query < n_ctx:
                var inverse = rcp(sum)
                var at = (start + Int(query)) * Int(n_state) + Int(head + lane % 4 * 2)
                comptime for j in range(HEAD_DIM // 8):
                    comptime from_ = t * HEAD_DIM // 8 + j
                    var pair = SIMD[F32, 2](acc[from_][2 * row], acc[from_][2 * row + 1])
                    output.unsafe_store[width=2, alignment=4](
                        at + j * 8, (pair * inverse).cast[dtype]()
                    )


def mma_flash_attention[
    dtype: DType, //
](
    output: DevicePointer[dtype],
    qkv: DevicePointer[dtype],
    n_batch: Int,
    n_ctx: Int,
    n_head: Int,
    ctx: DeviceContext,
) raises:
    """Launches attention of each window to itself.

    Parameters:
        dtype: Either float16 or bfloat16.

    Args:
        output: [n_batch, n_ctx, n_head * HEAD_DIM].
        qkv: Queries, keys and values side by side, [n_batch, n_ctx, 3 * n_head * HEAD_DIM].
        n_batch: Windows.
        n_ctx: Positions of a window.
        n_head: Heads.
        ctx: Stream.
    """

    @__parameter
    def launch[tile: FlashTile]() raises:
        comptime bytes = tile.shared_bytes()
        comptime assert bytes <= MAX_SHARED_BYTES, "a block gets no more on every GPU"
        ctx.enqueue_function[mma_flash_attention_kernel[dtype, tile]](
            output,
            qkv,
            Int32(n_ctx),
            Int32(n_head),
            grid_dim=(ceildiv(n_ctx, tile.queries()), n_head, n_batch),
            block_dim=tile.threads(),
            shared_mem_bytes=bytes,
            func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            attributes=pdl_attributes(),
        )

    var n_large = ceildiv(n_ctx, LARGE_TILE.queries()) * n_head * n_batch
    if n_large >= LARGE_TILE.blocks * multiprocessors(ctx):
        launch[tile=LARGE_TILE]()
    else:
        launch[tile=SMALL_TILE]()
