"""Splitting of a layer's rows into blocks, which threads share."""
from max.algorithm import sync_parallelize
from std.math import ceildiv
from .amx import close_tiles, open_tiles
from .row_block import BLOCK
from .thread_count import n_tasks_for

comptime BATCH_STATE = 512
"""Up to this width, blocks of several times BLOCK rows and all that belongs to them fit a cache."""


trait BlockTask(TrivialRegisterPassable):
    """A layer's work on some rows of one batch entry."""

    def rows(self, batch: Int, start: Int, n_rows: Int, n_block: Int):
        """Computes rows start to start + n_rows of a batch entry; n_rows is at most n_block."""
        ...


@no_inline
def run_blocks[
    dtype: DType, Task: BlockTask
](work: Task, *, n_batch: Int, n_ctx: Int, n_state: Int, n_threads: Int) raises:
    """Runs a layer over all rows of all batch entries.

    The more rows a block has, the fewer times all weights pass by: that counts most for AMX, which
    is faster than they come. Each thread gets two blocks at least, so that none waits long.

    Parameters:
        dtype: Type of the factors of matmuls.
        Task: Type of the work.

    Args:
        work: The work on a block.
        n_batch: Batch entries.
        n_ctx: Rows of a batch entry.
        n_state: Width of the rows, which limits a block.
        n_threads: Threads that may be used.
    """
    comptime most = 4 if dtype == DType.bfloat16 else 2
    var n_units = ceildiv(n_ctx, BLOCK)
    var n_fitting = most * BATCH_STATE // max(n_state, BATCH_STATE)
    var n_block = BLOCK * max(1, min(n_fitting, n_units * n_batch // (2 * n_threads)))
    var n_blocks = ceildiv(n_ctx, n_block)
    var n_pieces = n_batch * n_blocks
    var n_tasks = n_tasks_for(n_pieces, n_threads)

    def task(t: Int) {var work, var n_ctx, var n_block, var n_blocks, var n_pieces, var n_tasks}:
        open_tiles[dtype]()
        for piece in range(t, n_pieces, n_tasks):
            var start = piece % n_blocks * n_block
            work.rows(piece // n_blocks, start, min(n_block, n_ctx - start), n_block)
        close_tiles[dtype]()

    sync_parallelize(task, n_tasks)
