"""Dynamic time warping: the cheapest monotonic path through a matrix of tokens by positions.

It is implementations/alignment.py's, cell by cell: sums in float64, and where two ways cost the
same the path comes from the left. A thread goes along each line, one cell behind the thread above.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.bit import count_leading_zeros
from std.math import ceildiv
from std.memory import unsafe_stack_allocation
from .aligned_text import N_POSITIONS, N_SOT, N_TEXT_FIELDS, N_TOKENS, TEXT_FIELDS
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, pointer

comptime MAX_LINES = 1024
"""Threads of a block, at most."""
comptime CHUNK = 8
"""Cells of a line that are loaded at once, while the chunk before them is summed."""
comptime FAR = Float64(1e300)
"""Sum of a cell outside the matrix: above every other."""
comptime CELLS = 16
"""Cells of a word of the trace, two bits each."""
comptime FROM_LEFT = UInt32(0)
comptime FROM_ACROSS = UInt32(1)
comptime FROM_ABOVE = UInt32(2)


@always_inline
def load_costs(
    line: FloatPointer, column: Int, n_columns: Int, mut costs: Array[Float32, CHUNK]
):
    """Loads the costs of CHUNK cells from a column on; those outside the line mean nothing."""
    comptime for i in range(CHUNK):
        costs[i] = -line[unsafe_offset=max(0, min(column + i, n_columns - 1))]


@always_inline
def choose_step(left: Float64, across: Float64, above: Float64) -> Tuple[Float64, UInt32]:
    """Returns the sum of the cell that the path comes from, and which one that is."""
    if across < above and across < left:
        return across, FROM_ACROSS
    if above < across and above < left:
        return above, FROM_ABOVE
    return left, FROM_LEFT


def dtw_kernel(
    positions: IntPointer,
    trace: DevicePointer[DType.uint32],
    matrix: FloatPointer,
    texts: IntPointer,
    n_new: Int32,
    n_keys: Int32,
):
    """Finds the path of a row by each block.

    Args:
        positions: [n_rows, n_new].
        trace: Workspace, [n_rows, n_new, n_keys / CELLS, rounded up].
        matrix: [n_rows, n_new, n_keys]; costs are its negative.
        texts: [n_rows, N_TEXT_FIELDS].
        n_new: Lines of a row's matrix, filled or not; at most MAX_LINES.
        n_keys: Columns, filled or not.
    """
    var row = Int(block_idx.x)
    var text = texts.unsafe_offset(row * N_TEXT_FIELDS)
    var n_lines = Int(text[unsafe_offset=N_TOKENS]) - Int(text[unsafe_offset=N_SOT]) - 1
    var n_columns = Int(text[unsafe_offset=N_POSITIONS])
    var n_words = ceildiv(Int(n_keys), CELLS)
    var line = Int(thread_idx.x)
    var own = row * Int(n_new) + min(line, n_lines - 1)
    var own_line = matrix.unsafe_offset(own * Int(n_keys))
    var own_trace = trace.unsafe_offset(own * n_words)
    # The sum that each line computed last, and the one before.
    var sums = unsafe_stack_allocation[2 * MAX_LINES, Float64, address_space=.SHARED]()
    var left = FAR
    var across = FAR if line > 0 else Float64(0)
    var word = UInt32(0)
    var ahead = Array[Float32, CHUNK](fill=0)
    load_costs(own_line, -line, n_columns, ahead)
    for first in range(0, n_lines + n_columns - 1, CHUNK):
        var costs = ahead.copy()
        load_costs(own_line, first + CHUNK - line, n_columns, ahead)
        comptime for i in range(CHUNK):
            var column = first + i - line
            if line < n_lines and column >= 0 and column < n_columns:
                var above = FAR
                if line > 0:
                    above = sums[unsafe_offset=(first + i + 1) % 2 * MAX_LINES + line - 1]
                var cheapest, step = choose_step(left, across, above)
                left = Float64(costs[i]) + cheapest
                across = above
                sums[unsafe_offset=(first + i) % 2 * MAX_LINES + line] = left
                word |= step << UInt32(2 * (column % CELLS))
                if column % CELLS == CELLS - 1 or column == n_columns - 1:
                    own_trace[unsafe_offset=column // CELLS] = word
                    word = 0
            barrier()
    if thread_idx.x == 0:
        follow(
            positions.unsafe_offset(row * Int(n_new)),
            trace.unsafe_offset(row * Int(n_new) * n_words),
            n_lines,
            n_columns,
            n_words,
        )


@always_inline
def follow(
    positions: IntPointer,
    trace: DevicePointer[DType.uint32],
    n_lines: Int,
    n_columns: Int,
    n_words: Int,
):
    """Stores the column at which the path enters each line, from the last cell back to the first.

    Words without a step to another line are passed at once.
    """
    var column = n_columns - 1
    for i in range(n_lines):
        var line = n_lines - 1 - i
        var step = FROM_LEFT
        while column > 0 and step == FROM_LEFT:
            var index = column // CELLS
            var word = trace[unsafe_offset=line * n_words + index]
            word &= UInt32.MAX >> UInt32(2 * (CELLS - 1 - column % CELLS))
            if word == 0:
                column = max(0, index * CELLS - 1)
            else:
                var cell = (31 - Int(count_leading_zeros(word))) // 2
                column = index * CELLS + cell
                step = word >> UInt32(2 * cell)
        positions[unsafe_offset=line] = Int32(column)
        if step == FROM_ACROSS and column > 0:
            column -= 1


@extensibility.register("whisper_gpu_dtw")
struct DynamicTimeWarping:
    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString, cells: Int
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
            cells: Cells of a word of the trace.

        Args:
            positions: [n_rows, n_new]: of <|notimestamps|> and of the text, filled that far.
            trace: Workspace, [n_rows, n_new, n_audio_ctx / CELLS, rounded up].
            matrix: [n_rows, n_new, n_audio_ctx], as `alignment_matrix` gives it.
            texts: [n_rows, N_TEXT_FIELDS].
            ctx: Stream.
        """
        comptime assert text_fields == TEXT_FIELDS, "Python and Mojo differ in a text's fields"
        comptime assert cells == CELLS, "Python and Mojo differ in the trace's words"
        var n_new = matrix.dim_size(1)
        ctx.enqueue_function[dtw_kernel](
            pointer(positions),
            pointer(trace),
            pointer(matrix),
            pointer(texts),
            Int32(n_new),
            Int32(matrix.dim_size(2)),
            grid_dim=matrix.dim_size(0),
            block_dim=ceildiv(n_new, 32) * 32,
        )
