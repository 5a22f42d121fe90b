"""Threads that go through a program together, started once for all of its steps.

Every worker goes through the same steps in the same order. A step is cut into pieces, each of which
the first worker to claim it does; nobody goes on before all of them are done. Since any worker can
do all pieces, none waits for one that has not been started, and one that comes late catches up.
What workers decide for themselves between steps must follow from what earlier steps left behind.
"""
from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.memory import Pointer
from std.sys.info import CompilationTarget
from std.sys import llvm_intrinsic

comptime Integers = Pointer[Int32, MutUntrackedOrigin]
comptime LINE = 16
"""Integers of a cache line: each counter has a line of its own."""
comptime N_COUNTERS = 2 * LINE
"""Integers of one step: pieces claimed, pieces done."""
comptime N_SPINS = 2000
"""Looks at a counter before the processor is offered to others, some 50 us."""


struct Worker(TrivialRegisterPassable):
    """One thread's place in the program; `while worker.claim_next(n)` does its part of a step."""

    var counters: Integers
    """Counters of the next step, zero before any worker is there."""
    var n_threads: Int
    var piece: Int
    """The piece that was claimed last."""
    var n_done: Int

    @always_inline
    def __init__(out self, counters: Integers, n_threads: Int):
        """Begins a program of the given counters, N_COUNTERS zeros for each step."""
        self.counters = counters
        self.n_threads = n_threads
        self.piece = 0
        self.n_done = 0

    @always_inline
    def claim_next(mut self, n_pieces: Int) -> Bool:
        """Claims a piece of this step; returns False once all are done and the next step begins."""
        self.piece = Int(
            Atomic[Int32].fetch_add[ordering=Ordering.RELAXED](self.counters, Int32(1))
        )
        if self.piece < n_pieces:
            self.n_done += 1
            return True
        self.wait_for_all(n_pieces)
        return False

    @no_inline
    def wait_for_all(mut self, n_pieces: Int):
        """Reports this worker's pieces, waits until all are done, and goes on to the next step."""
        var done = self.counters.unsafe_offset(LINE)
        if self.n_done > 0:
            _ = Atomic[Int32].fetch_add[ordering=Ordering.RELEASE](done, Int32(self.n_done))
        var n_looks = 0
        while Int(Atomic[Int32].load[ordering=Ordering.ACQUIRE](done)) < n_pieces:
            n_looks += 1
            if n_looks < N_SPINS:
                spin_pause()
            else:
                _ = external_call["sched_yield", Int32]()
        self.n_done = 0
        self.counters = self.counters.unsafe_offset(N_COUNTERS)


@always_inline
def spin_pause():
    """Tells the processor that this is a loop that waits."""
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
