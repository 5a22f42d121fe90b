"""Dynamic time warping: the cheapest monotonic path through a matrix of tokens by positions.

It is implementations/alignment.py's, cell by cell: sums in float64, and where two ways cost the
same the path comes from the left. A lane goes along each line, four cells at a time, and four cells
behind the lane above, from which it gets the sums above its own. A warp goes some chunks behind the
warp above, so that warps wait for each other once a chunk.
"""
import extensibility
import max.gpu.primitives.warp as warp
from extensibility import InputTensor, OutputTensor
from max.gpu import (
    MAX_THREADS_PER_BLOCK_METADATA,
    WARP_SIZE,
    block_dim,
    block_idx,
    lane_id,
    thread_idx,
)
from max.gpu.host import DeviceContext, FuncAttribute
from max.gpu.memory import external_memory
from max.gpu.sync import barrier, syncwarp
from std.math import ceildiv
from std.memory import bitcast
from std.utils.static_tuple import StaticTuple
from .aligned_text import N_POSITIONS, N_SOT, N_TEXT_FIELDS, N_TOKENS, TEXT_FIELDS
from .dtw_costs import TILE_WIDTH, load_costs, share_costs
from .dtw_trace import CHUNK, COLUMNS, FROM_ABOVE, FROM_ACROSS, FROM_LEFT, follow
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, pointer
from .wgmma import LANES, Shared

comptime MAX_LINES = 448
"""Threads of a block, at most; the text decoder takes no more tokens."""
comptime STEPS = CHUNK // COLUMNS
"""Exchanges in a chunk."""
comptime LANE_CHUNKS = Int32(ceildiv(COLUMNS * (WARP_SIZE - 1), CHUNK))
"""Chunks that the last lane of a warp is behind the first."""
comptime BEHIND = LANE_CHUNKS + 1
"""Chunks that a warp is behind the warp above."""
comptime RING = 64
"""Sums of a warp's last line that are kept for the warp below; those of four chunks."""
comptime RING_WORDS = 2 * RING
comptime WARP_WORDS = RING_WORDS + WARP_SIZE * TILE_WIDTH
"""Words of shared memory for each warp: its ring and its tile of costs."""
comptime FAR = Float64(1e300)
"""Sum of a cell outside the matrix: above every other."""
comptime NEVER = Float64(1e301)
"""Sum of a step that is not taken: above FAR."""
comptime LATEST_CELL = UInt32(2 * CHUNK - 2)
"""Bits below the cell of a word that was added last."""


@always_inline
def from_lane_above(sum: Float64) -> Float64:
    """Returns the sum of the lane above; the first lane's own."""
    var halves = bitcast[DType.uint32, 2](sum)
    var low = warp.shuffle_up(halves[0], UInt32(1))
    var high = warp.shuffle_up(halves[1], UInt32(1))
    return bitcast[DType.float64, 1](SIMD[DType.uint32, 2](low, high))


@fieldwise_init
struct LinePath(Copyable, Movable):
    """A lane's progress along its line: the sums beside the next cell, and the steps behind it."""

    var sums: Array[Float64, COLUMNS]
    """Sums of the cells that were computed last."""
    var across: Float64
    """Sum of the cell above the last of them."""
    var word: UInt32
    """Steps of the last CHUNK cells."""

    @always_inline
    def add[j: Int](mut self, left: Float64, above: Float64, cost: Float32):
        """Computes the next cell as the j-th of COLUMNS, given the sums left of it and above it.

        Only the last comparison waits for the sum on the left.
        """
        var is_across = self.across < above
        var is_above = above < self.across
        var other = self.across if is_across else (above if is_above else NEVER)
        var step = FROM_ACROSS if is_across else FROM_ABOVE
        var is_other = other < left
        self.sums[j] = Float64(cost) + (other if is_other else left)
        self.word = (self.word >> 2) | ((step if is_other else FROM_LEFT) << LATEST_CELL)
        self.across = above


@always_inline
def first_path(line: Int32) -> LinePath:
    """Returns a lane's progress before its first cell; the path begins across the first one."""
    var sums = Array[Float64, COLUMNS](fill=FAR)
    return LinePath(sums=sums^, across=FAR if line > 0 else Float64(0), word=0)


@always_inline
def fill_ring(ring: Shared[DType.uint32]):
    """Fills the sums above the first line; all threads must call it."""
    for i in range(Int(thread_idx.x), RING, Int(block_dim.x)):
        ring.unsafe_bitcast[Float64]()[unsafe_offset=i] = FAR
    barrier()


@always_inline
def last_step_of_word(lane: Int32) -> Int32:
    """Returns the step of each chunk at which a lane ends a word of the trace."""
    return (lane + STEPS - 1) % STEPS


@always_inline
def sum_chunk(
    mut path: LinePath,
    costs: Array[Float32, CHUNK],
    first: Int32,
    above_ring: Shared[DType.uint32],
    own_ring: Shared[DType.uint32],
) -> UInt32:
    """Computes CHUNK cells of each line of a warp, and returns the word that a lane ended.

    Args:
        path: Where this lane is.
        costs: Costs of its line.
        first: First column of the warp's first line, a multiple of CHUNK.
        above_ring: Sums of the line above the warp.
        own_ring: Sums of the warp's last line.
    """
    var lane = Int32(lane_id())
    var incoming = above_ring.unsafe_bitcast[Float64]()
    var outgoing = own_ring.unsafe_bitcast[Float64]()
    var ended = UInt32(0)
    comptime for i in range(STEPS):
        var above = Array[Float64, COLUMNS](fill=0)
        comptime for j in range(COLUMNS):
            var own = from_lane_above(path.sums[j])
            var given = incoming[unsafe_offset=Int(first % RING) + i * COLUMNS + j]
            above[j] = given if lane == 0 else own
        var left = path.sums[COLUMNS - 1]
        comptime for j in range(COLUMNS):
            path.add[j](left, above[j], costs[i * COLUMNS + j])
            left = path.sums[j]
        if Int32(i) == last_step_of_word(lane):
            ended = path.word
        # Columns before the first fill places that are filled again before they are read.
        if lane == LANES - 1:
            var column = first + Int32(i * COLUMNS) - COLUMNS * (LANES - 1)
            comptime for j in range(COLUMNS):
                outgoing[unsafe_offset=Int(column & (RING - 1)) + j] = path.sums[j]
    return ended


@__llvm_metadata(MAX_THREADS_PER_BLOCK_METADATA=StaticTuple[Int32, 1](Int32(MAX_LINES)))
def dtw_kernel[
    *, is_shared: Bool
](
    positions: IntPointer,
    long_trace: DevicePointer[DType.uint32],
    matrix: FloatPointer,
    texts: IntPointer,
    n_new: Int32,
    n_keys: Int32,
):
    """Finds the path of a row by each block, with a thread for each of `n_new` lines or more.

    In shared memory are the sums above the first line, WARP_WORDS a warp, then the trace,
    [n_new, n_columns / CHUNK, rounded up].

    Parameters:
        is_shared: False where the trace is in device memory, being longer.

    Args:
        positions: [n_rows, n_new].
        long_trace: [n_rows, n_new, n_keys / CHUNK, rounded up], where it is not in shared memory.
        matrix: [n_rows, n_new, n_keys]; costs are its negative.
        texts: [n_rows, N_TEXT_FIELDS].
        n_new: Lines of a row's matrix, filled or not; at most MAX_LINES.
        n_keys: Columns, filled or not.
    """
    var row = Int(block_idx.x)
    var text = texts.unsafe_offset(row * N_TEXT_FIELDS)
    var n_lines = text[unsafe_offset=N_TOKENS] - text[unsafe_offset=N_SOT] - 1
    var n_columns = text[unsafe_offset=N_POSITIONS]
    var own_matrix = matrix.unsafe_offset(row * Int(n_new) * Int(n_keys))
    var n_words = ceildiv(n_columns, Int32(CHUNK))
    var lane = Int32(lane_id())
    var line = Int32(thread_idx.x)
    var own_warp = line // LANES
    var n_warps = ceildiv(n_lines, LANES)

    var words = external_memory[UInt32, address_space=.SHARED, alignment=16]()
    var trace = words.unsafe_offset(RING_WORDS + Int(block_dim.x) // WARP_SIZE * WARP_WORDS)
    var own_trace = long_trace.unsafe_offset(row * Int(n_new) * ceildiv(Int(n_keys), CHUNK))
    var own_ring = words.unsafe_offset(RING_WORDS + Int(own_warp) * WARP_WORDS)
    var above_ring = words if own_warp == 0 else own_ring.unsafe_offset(-WARP_WORDS)
    var tile = own_ring.unsafe_offset(RING_WORDS).unsafe_bitcast[Float32]()
    fill_ring(words)
    var path = first_path(line)
    var ahead = Array[Float32, CHUNK](fill=0)
    load_costs(own_matrix, own_warp * LANES, 0, n_lines, n_columns, n_keys, ahead)
    for phase in range(n_words + LANE_CHUNKS + BEHIND * (n_warps - 1)):
        var chunk = phase - BEHIND * own_warp
        if own_warp < n_warps and chunk >= 0 and chunk < n_words + LANE_CHUNKS:
            var first = chunk * CHUNK
            var costs = ahead.copy()
            var after = first + CHUNK
            load_costs(own_matrix, own_warp * LANES, after, n_lines, n_columns, n_keys, ahead)
            share_costs(tile, costs)
            var ended = sum_chunk(path, costs, first, above_ring, own_ring)
            var column = first + COLUMNS * (last_step_of_word(lane) - lane)
            if column >= 0 and column // CHUNK < n_words and line < n_lines:
                comptime if is_shared:
                    trace[unsafe_offset=Int(line * n_words + column // CHUNK)] = ended
                else:
                    own_trace[unsafe_offset=Int(line * n_words + column // CHUNK)] = ended
        barrier()
    if thread_idx.x == 0:
        var own = positions.unsafe_offset(row * Int(n_new))
        comptime if is_shared:
            follow(own, trace, Int(n_lines), Int(n_columns), Int(n_words))
        else:
            follow(own, own_trace, Int(n_lines), Int(n_columns), Int(n_words))


@extensibility.register("whisper_gpu_dtw")
struct DynamicTimeWarping:
    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString, chunk: Int, max_shared_bytes: Int
    ](
        positions: OutputTensor[dtype=DType.int32, rank=2, ...],
        trace: OutputTensor[dtype=DType.uint32, rank=3, ...],
        matrix: InputTensor[dtype=F32, rank=3, ...],
        texts: InputTensor[dtype=DType.int32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """Finds the position at which each token of a text begins.

        Parameters:
            target: Device of the graph.
            text_fields: Python's order of a text's fields.
            chunk: Python's CHUNK.
            max_shared_bytes: Shared memory of a block, at most.

        Args:
            positions: [n_rows, n_new]: of <|notimestamps|> and of the text, filled that far.
            trace: Workspace for a trace that is longer, [n_rows, n_new, n_audio_ctx / CHUNK].
            matrix: [n_rows, n_new, n_audio_ctx], as `alignment_matrix` gives it.
            texts: [n_rows, N_TEXT_FIELDS].
            ctx: Stream.
        """
        comptime assert text_fields == TEXT_FIELDS, "Python and Mojo differ in a text's fields"
        comptime assert chunk == CHUNK, "Python and Mojo differ in CHUNK"
        var n_new = matrix.dim_size(1)
        if n_new > MAX_LINES:
            raise Error("the text is too long for one block")
        var n_warps = ceildiv(n_new, WARP_SIZE)

        @__parameter
        def launch[is_shared: Bool](bytes: Int) raises:
            ctx.enqueue_function[dtw_kernel[is_shared=is_shared]](
                pointer(positions),
                pointer(trace),
                pointer(matrix),
                pointer(texts),
                Int32(n_new),
                Int32(matrix.dim_size(2)),
                grid_dim=matrix.dim_size(0),
                block_dim=n_warps * WARP_SIZE,
                shared_mem_bytes=bytes,
                func_attribute=FuncAttribute.MAX_DYNAMIC_SHARED_SIZE_BYTES(UInt32(bytes)),
            )

        var own_bytes = 4 * (RING_WORDS + n_warps * WARP_WORDS)
        var trace_bytes = 4 * n_new * ceildiv(matrix.dim_size(2), CHUNK)
        if own_bytes + trace_bytes <= max_shared_bytes:
            launch[is_shared=True](own_bytes + trace_bytes)
        else:
            launch[is_shared=False](own_bytes)
