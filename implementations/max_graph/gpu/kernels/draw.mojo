"""A token drawn from the softmax of a row's logits, divided by a temperature, under the rules."""
import max.gpu.primitives.warp as warp
from max.gpu import lane_id, warp_id
from max.gpu.sync import barrier
from std.math import ceildiv, exp
from std.memory import unsafe_stack_allocation
from .pointers import Floats
from .rules import Allowed

comptime DRAWERS = 1024
"""Threads that draw together; as many warps as a warp has lanes."""
comptime NOBODY = Int32.MAX


@fieldwise_init
struct Shares(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What each token weighs in the draw."""

    var line: Floats
    var allowed: Allowed
    var top: Float32
    var temperature: Float32

    @always_inline
    def of(self, token: Int32, stop: Int32) -> Float32:
        """Nothing from `stop` on."""
        if token >= stop or not self.allowed.has(token):
            return 0
        return exp((self.line[unsafe_offset=Int(token)] - self.top) / self.temperature)


@always_inline
def first_lane(is_it: Bool) -> Int32:
    """The first lane of the warp where it is so, or NOBODY."""
    var lane = Int32(lane_id()) if is_it else NOBODY
    comptime for i in range(5):
        lane = min(lane, warp.shuffle_xor(lane, UInt32(1 << i)))
    return lane


@always_inline
def last_lane(is_it: Bool) -> Int32:
    """The last lane of the warp where it is so, or -1."""
    var lane = Int32(lane_id()) if is_it else Int32(-1)
    comptime for i in range(5):
        lane = max(lane, warp.shuffle_xor(lane, UInt32(1 << i)))
    return lane


@always_inline
def draw(shares: Shares, n_vocab: Int32, at: Float32) -> Int32:
    """The token whose share a number from 0 to 1 falls into, in the order of the vocabulary.

    All DRAWERS must come here, and all are told. NOBODY where nothing may come.
    """
    var sums = unsafe_stack_allocation[32, Float32, address_space=.SHARED]()
    var found = unsafe_stack_allocation[1, Int32, address_space=.SHARED]()
    var lane = Int32(lane_id())
    var mine = Int32(warp_id())
    var each = ceildiv(n_vocab, 1024) * 32
    var start = mine * each
    var stop = min(start + each, n_vocab)
    var sum = Float32(0)
    for token in range(start + lane, stop, 32):
        sum += shares.of(token, stop)
    sum = warp.shuffle_idx(warp.prefix_sum(sum), 31)
    if lane == 0:
        sums[unsafe_offset=Int(mine)] = sum
        found[unsafe_offset=0] = NOBODY
    barrier()
    var behind = warp.prefix_sum(sums[unsafe_offset=Int(lane)])
    var wanted = at * warp.shuffle_idx(behind, 31)
    if first_lane(behind > wanted) == mine:
        var before = warp.shuffle_idx(behind, UInt32(mine)) - sum
        var last = NOBODY
        for first in range(start, stop, 32):
            var share = shares.of(first + lane, stop)
            var reached = before + warp.prefix_sum(share)
            var hit = first_lane(share > 0 and reached > wanted)
            if hit != NOBODY:
                last = first + hit
                break
            # Sums in another order may just miss it; then it is the last that may come.
            var at_end = last_lane(share > 0)
            if at_end >= 0:
                last = first + at_end
            before = warp.shuffle_idx(reached, 31)
        if lane == 0:
            found[unsafe_offset=0] = last
    barrier()
    return found[unsafe_offset=0]
