"""How many threads an operation may use, and how it shares pieces of work among them."""
from extensibility import InputTensor
from max.runtime.asyncrt import parallelism_level


@always_inline
def allowed(n_threads: InputTensor[dtype=DType.int32, rank=1, ...]) -> Int:
    """The number that the user asked for; all that the runtime has where that is zero."""
    var wanted = Int(n_threads[0])
    return wanted if wanted > 0 else parallelism_level(None)


@always_inline
def n_workers(n_pieces: Int, n_threads: Int) -> Int:
    """How many tasks to start; task i takes pieces i, i + n_workers, and so on.

    One for each piece lets an idle thread take what a slow one has not begun; the runtime's pool
    cannot be made smaller, so fewer threads mean fewer tasks.
    """
    return n_pieces if n_threads >= parallelism_level(None) else min(n_pieces, n_threads)
