"""Prefetching of memory: the processor itself looks ahead to the end of a page only."""
from std.memory import Pointer
from std.sys.info import size_of
from std.sys.intrinsics import PrefetchOptions, prefetch

comptime LINE = 64
"""Bytes of a cache line."""


@always_inline
def prefetch_line[dtype: DType](at: Pointer[Scalar[dtype], MutUntrackedOrigin]):
    """Prefetches the line that holds a number; the address need not be one of ours."""
    prefetch[PrefetchOptions().for_read().high_locality().to_data_cache()](at)


@always_inline
def prefetch_part[
    dtype: DType
](start: Pointer[Scalar[dtype], MutUntrackedOrigin], n: Int, part: Int, n_parts: Int):
    """Prefetches one of n_parts of n numbers, so that requests do not pile up.

    They come to the second-level cache, which takes more requests at a time than the first.
    """
    comptime step = LINE // size_of[Scalar[dtype]]()
    var n_lines = n // step
    for line in range(part * n_lines // n_parts, (part + 1) * n_lines // n_parts):
        prefetch[PrefetchOptions().for_read().medium_locality().to_data_cache()](
            start.unsafe_offset(line * step)
        )
