"""Dynamic time warping: the cheapest monotonic path through a matrix of tokens by positions.

It is implementations/alignment.py's, cell by cell: sums in float64, and where two ways cost the
same the path comes from the left. A lane goes along each line, one cell behind the lane above, from
which it gets the sum above its own; a warp goes some chunks behind the warp above, so that warps
wait for each other once a chunk.
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
from .dtw_trace import CHUNK, FROM_ABOVE, FROM_ACROSS, FROM_LEFT, follow
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, pointer
from .wgmma import LANES, Shared

comptime MAX_LINES = 448
"""Threads of a block, at most; the text decoder takes no more tokens."""
comptime BEHIND = 3
"""Chunks that a warp is behind the warp above: its last lane is 31 cells behind its first."""
comptime RING = 64
"""Sums of a warp's last line that are kept for the warp below; those of four chunks."""
comptime TILE_WIDTH = CHUNK + 1
"""Costs of a lane in a tile, one more than a chunk, so that lanes read from different banks."""
comptime WARP_WORDS = 2 * RING + WARP_SIZE * TILE_WIDTH
"""Words of shared memory for each warp: its ring and its tile of costs."""
comptime FAR = Float64(1e300)
"""Sum of a cell outside the matrix: above every other."""
comptime LATEST_CELL = UInt32(2 * CHUNK - 2)
"""Bits below the cell of a word that was added last."""


@always_inline
def load_costs(
    matrix: FloatPointer,
    first_line: Int32,
    first_column: Int32,
    n_lines: Int32,
    n_columns: Int32,
    n_keys: Int32,
    mut costs: Array[Float32, CHUNK],
):
    """Loads a warp's costs of a chunk: half a warp reads the neighbours of a line.

    Those beyond the last line or column mean nothing; those before the first column are nought, so
    that sums stay FAR.
    """
    comptime for i in range(CHUNK):
        var line = Int32(2 * i) + Int32(lane_id()) // CHUNK
        var column = first_column + Int32(lane_id()) % CHUNK - line
        var place = min(first_line + line, n_lines - 1) * n_keys
        place += max(Int32(0), min(column, n_columns - 1))
        var cost = -matrix[unsafe_offset=Int(place)]
        costs[i] = cost if column >= 0 else Float32(0)


@always_inline
def share_costs(tile: Shared[F32], mut costs: Array[Float32, CHUNK]):
    """Gives each lane the costs of its own line, by a warp's tile in shared memory."""
    syncwarp()
    comptime for i in range(CHUNK):
        var line = 2 * i + Int(lane_id()) // CHUNK
        tile[unsafe_offset=line * TILE_WIDTH + Int(lane_id()) % CHUNK] = costs[i]
    syncwarp()
    comptime for i in range(CHUNK):
        costs[i] = tile[unsafe_offset=Int(lane_id()) * TILE_WIDTH + i]


@always_inline
def from_lane_above(sum: Float64) -> Float64:
    """Returns the sum of the lane above; the first lane's own."""
    var halves = bitcast[DType.uint32, 2](sum)
    var low = warp.shuffle_up(halves[0], UInt32(1))
    var high = warp.shuffle_up(halves[1], UInt32(1))
    return bitcast[DType.float64, 1](SIMD[DType.uint32, 2](low, high))


@always_inline
def choose_step(left: Float64, across: Float64, above: Float64) -> Tuple[Float64, UInt32]:
    """Returns the sum of the cell that the path comes from, and which one that is."""
    var is_across = (across < above) & (across < left)
    var is_above = (above < across) & (above < left)
    var cheapest = across if is_across else (above if is_above else left)
    return cheapest, FROM_ACROSS if is_across else (FROM_ABOVE if is_above else FROM_LEFT)


@fieldwise_init
struct LinePath(Copyable, Movable):
    """A lane's progress along its line: the sums beside the next cell, and the steps behind it."""

    var left: Float64
    """Sum of the cell that was computed last."""
    var across: Float64
    """Sum of the cell above that one."""
    var word: UInt32
    """Steps of the last CHUNK cells."""

    @always_inline
    def add(mut self, above: Float64, cost: Float32):
        """Computes the next cell, given the sum of the one above it."""
        var cheapest, step = choose_step(self.left, self.across, above)
        self.left = Float64(cost) + cheapest
        self.across = above
        self.word = (self.word >> 2) | (step << LATEST_CELL)


@always_inline
def last_step_of_word(lane: Int32) -> Int32:
    """Returns the step of each chunk at which a lane ends a word of the trace."""
    return (lane + CHUNK - 1) % CHUNK


@always_inline
def sum_chunk(
    mut path: LinePath,
    costs: Array[Float32, CHUNK],
    first: Int32,
    own_warp: Int32,
    own_ring: Shared[DType.uint32],
) -> UInt32:
    """Computes CHUNK cells of each line of a warp, and returns the word that a lane ended.

    Args:
        path: Where this lane is.
        costs: Costs of its line.
        first: Step of the first cell, a multiple of CHUNK.
        own_warp: Number of the warp.
        own_ring: Sums of the warp's last line; those of the warp above are WARP_WORDS before.
    """
    var lane = Int32(lane_id())
    var ring = own_ring.unsafe_bitcast[Float64]()
    var ended = UInt32(0)
    comptime for i in range(CHUNK):
        var above = from_lane_above(path.left)
        if lane == 0:
            above = FAR
            if own_warp > 0:
                var at = Int(first % RING) + i - WARP_WORDS // 2
                above = ring[unsafe_offset=at]
        path.add(above, costs[i])
        if Int32(i) == last_step_of_word(lane):
            ended = path.word
        # Columns before the first fill places that are filled again before they are read.
        if lane == LANES - 1:
            var column = first + Int32(i) - (LANES - 1)
            ring[unsafe_offset=Int(column & (RING - 1))] = path.left
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

    In shared memory are WARP_WORDS a warp, then the trace, [n_new, n_columns / CHUNK, rounded up].

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
    # A warp's last lane ends its last word 31 steps after the first lane.
    var n_chunks = n_words + 2
    var lane = Int32(lane_id())
    var line = Int32(thread_idx.x)
    var own_warp = line // LANES
    var n_warps = ceildiv(n_lines, LANES)

    var words = external_memory[UInt32, address_space=.SHARED, alignment=16]()
    var trace = words.unsafe_offset(Int(block_dim.x) // WARP_SIZE * WARP_WORDS)
    var own_trace = long_trace.unsafe_offset(row * Int(n_new) * ceildiv(Int(n_keys), CHUNK))
    var own_ring = words.unsafe_offset(Int(own_warp) * WARP_WORDS)
    var tile = own_ring.unsafe_offset(2 * RING).unsafe_bitcast[Float32]()

    var path = LinePath(left=FAR, across=FAR if line > 0 else Float64(0), word=0)
    var ahead = Array[Float32, CHUNK](fill=0)
    load_costs(own_matrix, own_warp * LANES, 0, n_lines, n_columns, n_keys, ahead)
    for phase in range(n_chunks + BEHIND * (n_warps - 1)):
        var chunk = phase - BEHIND * own_warp
        if own_warp < n_warps and chunk >= 0 and chunk < n_chunks:
            var first = chunk * CHUNK
            var costs = ahead.copy()
            var after = first + CHUNK
            load_costs(own_matrix, own_warp * LANES, after, n_lines, n_columns, n_keys, ahead)
            share_costs(tile, costs)
            var ended = sum_chunk(path, costs, first, own_warp, own_ring)
            var column = first + last_step_of_word(lane) - lane
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

        var own_bytes = 4 * n_warps * WARP_WORDS
        var trace_bytes = 4 * n_new * ceildiv(matrix.dim_size(2), CHUNK)
        if own_bytes + trace_bytes <= max_shared_bytes:
            launch[is_shared=True](own_bytes + trace_bytes)
        else:
            launch[is_shared=False](own_bytes)
