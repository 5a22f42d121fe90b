"""How the rows of a layer are shared out in blocks among threads."""
from max.algorithm import sync_parallelize
from std.math import ceildiv
from .amx import close_tiles, open_tiles
from .row_block import BLOCK
from .threads import n_workers

comptime BATCH_STATE = 512
"""Up to this width, blocks of several times BLOCK rows and all that belongs to them fit a cache."""


trait BlockWork(TrivialRegisterPassable):
    """A layer's work on some rows of one batch entry, in no more than n_block of them."""

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        ...


@no_inline
def share[
    dtype: DType, Work: BlockWork
](work: Work, n_batch: Int, n_ctx: Int, n_state: Int, n_threads: Int) raises:
    """Does all rows of all batch entries.

    The more rows a block has, the fewer times all weights pass by: that counts most for AMX, which
    is faster than they come. Each thread gets two blocks at least, so that none waits long.
    """
    comptime most = 4 if dtype == DType.bfloat16 else 2
    var n_units = ceildiv(n_ctx, BLOCK)
    var n_fitting = most * BATCH_STATE // max(n_state, BATCH_STATE)
    var n_block = BLOCK * max(1, min(n_fitting, n_units * n_batch // (2 * n_threads)))
    var n_blocks = ceildiv(n_ctx, n_block)
    var n_pieces = n_batch * n_blocks
    var n_tasks = n_workers(n_pieces, n_threads)

    def task(t: Int) {var work, var n_ctx, var n_block, var n_blocks, var n_pieces, var n_tasks}:
        open_tiles[dtype]()
        for piece in range(t, n_pieces, n_tasks):
            var start = piece % n_blocks * n_block
            work.rows(piece // n_blocks, start, min(n_block, n_ctx - start), n_block)
        close_tiles[dtype]()

    sync_parallelize(task, n_tasks)
