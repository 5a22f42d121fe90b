"""Trace of dynamic time warping: the steps that sums came by, and the way back along them."""
from std.bit import count_leading_zeros
from std.memory import AddressSpace, Pointer
from .pointers import IntPointer

comptime CHUNK = 16
"""Cells of a word of the trace, two bits each, and of a line between two barriers."""
comptime COLUMNS = 4
"""Cells of a line between two exchanges of sums with the lane above."""
comptime FROM_LEFT = UInt32(0)
comptime FROM_ACROSS = UInt32(1)
comptime FROM_ABOVE = UInt32(2)


@always_inline
def follow[
    space: AddressSpace, //
](
    positions: IntPointer,
    trace: Pointer[UInt32, MutUntrackedOrigin, address_space=space],
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
            var index = column // CHUNK
            var word = trace[unsafe_offset=line * n_words + index]
            word &= UInt32.MAX >> UInt32(2 * (CHUNK - 1 - column % CHUNK))
            if word == 0:
                column = max(0, index * CHUNK - 1)
            else:
                var cell = (31 - Int(count_leading_zeros(word))) // 2
                column = index * CHUNK + cell
                step = word >> UInt32(2 * cell)
        positions[unsafe_offset=line] = Int32(column)
        if step == FROM_ACROSS and column > 0:
            column -= 1
