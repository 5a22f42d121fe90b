"""Stages of tiles in shared memory, which one warp fills by TMA and warpgroups use in turn."""
from max.gpu.memory import external_memory
from std.math import ceildiv
from .tma import Mbarrier
from .wgmma import TILE_K, WARPGROUP, Shared


@fieldwise_init
struct PersistentTile(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Part of a result that a block computes at a time, and its pipeline."""

    var groups: Int
    """Warpgroups that multiply, 64 rows each."""
    var columns: Int
    var stages: Int
    """Steps of TILE_K inputs in shared memory at once."""
    var registers: Int
    """Registers of a thread that multiplies."""

    def rows(self) -> Int:
        """Returns the rows of the tile."""
        return 64 * self.groups

    def stage_size(self) -> Int:
        """Returns the values of a stage: a row tile and a matrix tile."""
        return (self.rows() + self.columns) * TILE_K

    def shared_bytes(self) -> Int:
        """Returns the bytes of shared memory: stages and their barriers."""
        return self.stages * (self.stage_size() * 2 + 16)

    def threads(self) -> Int:
        """Returns the threads of a block."""
        return WARPGROUP * (self.groups + 1)

    def n_tiles(self, n_rows: Int, n_out: Int) -> Int:
        """Returns the tiles of a result."""
        return ceildiv(n_rows, self.rows()) * (n_out // self.columns)


struct Ring[dtype: DType, tile: PersistentTile](TrivialRegisterPassable):
    """Stages in shared memory, which are filled and used in turn."""

    var tiles: Shared[Self.dtype]
    var stage: Int32
    """The next one."""
    var parity: Int32
    """Parity of the phase that its barriers are in."""

    @always_inline
    def __init__(out self):
        self.tiles = external_memory[Scalar[Self.dtype], address_space=.SHARED, alignment=1024]()
        self.stage = 0
        self.parity = 0

    @always_inline
    def full(self, stage: Int32) -> Mbarrier:
        """Returns the barrier that opens when a stage is filled."""
        comptime size = Self.tile.stages * Self.tile.stage_size()
        return self.tiles.unsafe_offset(size).unsafe_bitcast[UInt64]().unsafe_offset(Int(stage))

    @always_inline
    def empty(self, stage: Int32) -> Mbarrier:
        """Returns the barrier that opens when all warpgroups have used a stage."""
        return self.full(stage).unsafe_offset(Self.tile.stages)

    @always_inline
    def rows(self) -> Shared[Self.dtype]:
        """Returns the stage's row tile."""
        return self.tiles.unsafe_offset(Int(self.stage * Int32(Self.tile.stage_size())))

    @always_inline
    def matrix(self) -> Shared[Self.dtype]:
        """Returns the stage's matrix tile."""
        return self.rows().unsafe_offset(Self.tile.rows() * TILE_K)

    @always_inline
    def advance(mut self):
        """Goes on to the next stage."""
        self.stage = self.stage + 1 if self.stage + 1 < Int32(Self.tile.stages) else 0
        self.parity ^= Int32(1) if self.stage == 0 else Int32(0)
