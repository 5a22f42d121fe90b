"""The number of threads of an operation, and of the tasks that share its work."""
from extensibility import InputTensor
from max.runtime.asyncrt import parallelism_level


@always_inline
def max_threads(n_threads: InputTensor[dtype=DType.int32, rank=1, ...]) -> Int:
    """Returns the number that the user requested for; where that is zero, all of the runtime's."""
    var requested = Int(n_threads[0])
    return requested if requested > 0 else parallelism_level(None)


@always_inline
def n_tasks_for(n_pieces: Int, n_threads: Int) -> Int:
    """Returns the number of tasks to start; task i does pieces i, i + n_tasks, and so on.

    One for each piece lets an idle thread take what a slow one has not begun; the runtime's pool
    cannot be made smaller, so fewer threads mean fewer tasks.
    """
    return n_pieces if n_threads >= parallelism_level(None) else min(n_pieces, n_threads)
