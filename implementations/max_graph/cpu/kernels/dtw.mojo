"""Dynamic time warping: the cheapest monotonic path through a matrix of tokens by positions.

It is implementations/alignment.py's, cell by cell: sums in float64, and where two ways cost the
same the path comes from the left, even if that costs more. What does not depend on the cell to the
left is computed for a vector of cells at once; the chain that remains is a minimum and a sum.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu.host import DeviceContext
from .aligned_text import N_POSITIONS, check_text_fields, field
from .decode import integers
from std.memory import Pointer
from .row_block import round_up
from .thread_team import Integers
from .tile import F32, Floats, floats
from .tile import WIDTH as FLOATS

comptime WIDTH = FLOATS // 2
"""Doubles of a vector."""
comptime Doubles = Pointer[Float64, MutUntrackedOrigin]
comptime FAR = Float64(1e300)
"""Sum of a cell outside the matrix: above every other."""


@fieldwise_init
struct PathSums(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Costs of the cheapest paths to all cells, with a border above and to the left."""

    var sums: Doubles
    """[n_lines + 1, stride]."""
    var stride: Int
    var n_lines: Int
    var n_columns: Int

    @staticmethod
    def stride_of(n_columns: Int) -> Int:
        """Returns the doubles of a line: whole vectors behind the border."""
        return round_up(n_columns, WIDTH) + 1

    def fill(self, matrix: Floats, n_keys: Int, nearest: Doubles):
        """Sums all costs, which are the negative of the matrix.

        Args:
            matrix: Lines that are n_keys floats apart.
            n_keys: See `matrix`.
            nearest: Workspace of whole vectors of a line.
        """
        var far = SIMD[DType.float64, WIDTH](FAR)
        for j in range(self.stride):
            self.sums.unsafe_store(j, FAR)
        self.sums.unsafe_store(0, Float64(0))
        for i in range(self.n_lines):
            var before = self.sums.unsafe_offset(i * self.stride)
            var own = before.unsafe_offset(self.stride)
            for j in range(0, self.n_columns, WIDTH):
                var across = before.unsafe_load[width=WIDTH](j)
                var above = before.unsafe_load[width=WIDTH](j + 1)
                var lower = across.lt(above).select(across, above)
                nearest.unsafe_store(j, across.eq(above).select(far, lower))
            var line = matrix.unsafe_offset(i * n_keys)
            var left = FAR
            own.unsafe_store(0, FAR)
            for j in range(self.n_columns):
                var cheapest = nearest.unsafe_load(j)
                left = (cheapest if cheapest < left else left) - Float64(line.unsafe_load(j))
                own.unsafe_store(j + 1, left)
            for j in range(self.n_columns + 1, self.stride):
                own.unsafe_store(j, FAR)

    def follow(self, into: Integers):
        """Stores the column at which the path enters each line, from the last cell back."""
        var line = self.n_lines
        var column = self.n_columns
        while line > 0:
            into.unsafe_store(line - 1, Int32(column - 1))
            if column == 1:
                line -= 1
                continue
            var at = self.sums.unsafe_offset(line * self.stride + column)
            var left = at.unsafe_load(-1)
            var above = at.unsafe_load(-self.stride)
            var across = at.unsafe_load(-self.stride - 1)
            if across < above and across < left:
                line -= 1
                column -= 1
            elif above < across and above < left:
                line -= 1
            else:
                column -= 1


@extensibility.register("whisper_cpu_dtw")
struct DynamicTimeWarpingOp:
    """Matrix of a text -> position at which each of its tokens begins."""

    @staticmethod
    def execute[
        target: StaticString, text_fields: StaticString
    ](
        positions: OutputTensor[dtype=DType.int32, rank=1, ...],
        matrix: InputTensor[dtype=F32, rank=2, ...],
        text: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Aligns lines [n_lines, n_audio_ctx], of which the text's positions are read."""
        check_text_fields[text_fields]()
        var n_columns = field(text, N_POSITIONS)
        var stride = PathSums.stride_of(n_columns)
        var n_lines = matrix.dim_size(0)
        var sums = List[Float64](unsafe_uninit_length=(n_lines + 1) * stride)
        var nearest = List[Float64](unsafe_uninit_length=stride)
        var paths = PathSums(rebind[Doubles](sums.unsafe_ptr()), stride, n_lines, n_columns)
        paths.fill(floats(matrix), matrix.dim_size(1), rebind[Doubles](nearest.unsafe_ptr()))
        paths.follow(integers(positions))
        _ = sums^
        _ = nearest^
