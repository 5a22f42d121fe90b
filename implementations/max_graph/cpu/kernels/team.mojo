"""Threads that go through a program together, started once for all of its steps.

Every member goes through the same steps in the same order. A step is cut into pieces, each of which
the first member to claim it does; nobody goes on before all of them are done. Since any member can
do all pieces, none waits for one that has not been started, and one that comes late catches up.
What members decide for themselves between steps must follow from what earlier steps left behind.
"""
from std.atomic import Atomic, Ordering
from std.ffi import external_call
from std.memory import Pointer
from std.sys.info import CompilationTarget
from std.sys import llvm_intrinsic

comptime Integers = Pointer[Int32, MutUntrackedOrigin]
comptime LINE = 16
"""Integers of a cache line: counters lie on lines of their own."""
comptime N_COUNTERS = 2 * LINE
"""Integers of one step: pieces claimed, pieces done."""
comptime N_SPINS = 2000
"""Looks at a counter before the processor is offered to others, some 50 us."""


@fieldwise_init
struct Member(TrivialRegisterPassable):
    """One thread's place in the program; `while member.claims(n)` does its share of a step."""

    var counters: Integers
    """Those of the next step, zero before any member is there."""
    var n_threads: Int
    var piece: Int
    """The one claimed last."""
    var n_done: Int

    @always_inline
    def claims(mut self, n_pieces: Int) -> Bool:
        """Whether a piece of this step was left to do; if not, all are done and the next begins."""
        self.piece = Int(
            Atomic[Int32].fetch_add[ordering=Ordering.RELAXED](self.counters, Int32(1))
        )
        if self.piece < n_pieces:
            self.n_done += 1
            return True
        self.join(n_pieces)
        return False

    @no_inline
    def join(mut self, n_pieces: Int):
        var done = self.counters.unsafe_offset(LINE)
        if self.n_done > 0:
            _ = Atomic[Int32].fetch_add[ordering=Ordering.RELEASE](done, Int32(self.n_done))
        var n_looks = 0
        while Int(Atomic[Int32].load[ordering=Ordering.ACQUIRE](done)) < n_pieces:
            n_looks += 1
            if n_looks < N_SPINS:
                pause()
            else:
                _ = external_call["sched_yield", Int32]()
        self.n_done = 0
        self.counters = self.counters.unsafe_offset(N_COUNTERS)


@always_inline
def pause():
    """Tells the processor that this is a loop that waits."""
    comptime if CompilationTarget.is_x86():
        llvm_intrinsic["llvm.x86.sse2.pause", NoneType]()
