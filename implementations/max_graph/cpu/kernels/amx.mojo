"""Matmuls of bfloat16 by the tiles of Intel's AMX, summed in float32.

A tile is 16 rows of 64 bytes. The left factor lies row by row; the right one in pairs of rows, each
column's two numbers side by side, which is how the instruction takes them.
"""
from std.memory import Pointer
from std.sys.info import CompilationTarget
from std.sys.intrinsics import llvm_intrinsic
from .tile import PANEL, Floats

comptime TILE = 16
"""Rows of a tile, and its float32 columns."""
comptime STEP = 32
"""Numbers of bfloat16 in a tile's row: the depth of one instruction."""
comptime Halves = Pointer[BFloat16, MutUntrackedOrigin]
comptime HAS_TILES = CompilationTarget.has_intel_amx()
"""True where code is compiled for AMX; matmuls of bfloat16 go by dot_pairs.mojo elsewhere."""


@always_inline
def check_layout[panel: Int, amx_step: Int]():
    """Refuses to compile where Python packs arrays in other sizes than the kernels read."""
    comptime assert panel == PANEL, "layouts.PANEL differs from PANEL in tile.mojo"
    comptime assert amx_step == STEP, "layouts.AMX_STEP differs from STEP in amx.mojo"


@always_inline
def open_tiles[dtype: DType]():
    """Configures eight tiles for this thread where the dtype needs them."""
    comptime if dtype == DType.bfloat16 and HAS_TILES:
        configure_tiles()


@always_inline
def close_tiles[dtype: DType]():
    """Releases the tiles, so that a switch of threads need not save them."""
    comptime if dtype == DType.bfloat16 and HAS_TILES:
        llvm_intrinsic["llvm.x86.tilerelease", NoneType]()


@no_inline
def configure_tiles():
    """Configures eight tiles; without it a tile instruction ends the process."""
    var palette = SIMD[DType.uint8, 64](0)
    palette[0] = 1
    comptime for tile in range(8):
        palette[16 + 2 * tile] = 4 * TILE
        palette[48 + tile] = TILE
    llvm_intrinsic["llvm.x86.ldtilecfg", NoneType](UnsafePointer(to=palette))


@always_inline
def load[tile: Int, dtype: DType](at: Pointer[Scalar[dtype], MutUntrackedOrigin], stride: Int):
    """Loads a tile whose rows lie `stride` bytes apart."""
    llvm_intrinsic["llvm.x86.tileloadd64", NoneType](Int8(tile), at, Int64(stride))


@always_inline
def store[tile: Int](at: Floats, stride: Int):
    """Stores a tile to rows that lie `stride` bytes apart."""
    llvm_intrinsic["llvm.x86.tilestored64", NoneType](Int8(tile), at, Int64(stride))


@always_inline
def add_product[into: Int, a: Int, b: Int]():
    """Adds the matmul of tiles a and b to the tile `into`."""
    llvm_intrinsic["llvm.x86.tdpbf16ps", NoneType](Int8(into), Int8(a), Int8(b))


@no_inline
def gemm_tile_amx(
    into: Floats,
    into_stride: Int,
    start: Floats,
    start_stride: Int,
    a: Halves,
    a_chunk: Int,
    b: Halves,
    b_stride: Int,
    depth: Int,
):
    """Does the work of `gemm_tile_f32` in matmul.mojo for 32 rows and 32 columns in bfloat16.

    Each STEP columns of a are a chunk, [rows, STEP]; depth is a multiple of STEP. For the arguments
    see `gemm_tile_f32`; b_stride is in columns.
    """
    load[0, DType.float32](start, 4 * start_stride)
    load[1, DType.float32](start.unsafe_offset(TILE), 4 * start_stride)
    load[2, DType.float32](start.unsafe_offset(TILE * start_stride), 4 * start_stride)
    load[3, DType.float32](start.unsafe_offset(TILE * start_stride + TILE), 4 * start_stride)
    var left = a
    var right = b
    for _ in range(0, depth, STEP):
        load[4, DType.bfloat16](left, 2 * STEP)
        load[5, DType.bfloat16](left.unsafe_offset(TILE * STEP), 2 * STEP)
        load[6, DType.bfloat16](right, 4 * b_stride)
        load[7, DType.bfloat16](right.unsafe_offset(2 * TILE), 4 * b_stride)
        add_product[0, 4, 6]()
        add_product[1, 4, 7]()
        add_product[2, 5, 6]()
        add_product[3, 5, 7]()
        left = left.unsafe_offset(a_chunk)
        right = right.unsafe_offset(STEP * b_stride)
    store[0](into, 4 * into_stride)
    store[1](into.unsafe_offset(TILE), 4 * into_stride)
    store[2](into.unsafe_offset(TILE * into_stride), 4 * into_stride)
    store[3](into.unsafe_offset(TILE * into_stride + TILE), 4 * into_stride)
