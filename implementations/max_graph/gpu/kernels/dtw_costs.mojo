"""Costs of dynamic time warping, from the matrix to the lanes of a warp."""
from max.gpu import lane_id
from max.gpu.sync import syncwarp
from .dtw_trace import CHUNK, COLUMNS
from .pointers import F32, FloatPointer
from .wgmma import Shared

comptime TILE_WIDTH = CHUNK + 1
"""Costs of a lane in a tile, one more than a chunk, so that lanes read from different banks."""


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
        var column = first_column + Int32(lane_id()) % CHUNK - COLUMNS * line
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
