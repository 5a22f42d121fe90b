"""Sampling of a token from the softmax of a row's logits at a temperature, under the rules."""
import max.gpu.primitives.warp as warp
from max.gpu import WARP_SIZE, lane_id, warp_id
from max.gpu.sync import barrier
from std.math import ceildiv, exp
from std.memory import unsafe_stack_allocation
from .argmax import LOG2_WARP_SIZE
from .pointers import FloatPointer
from .token_rules import AllowedTokens

comptime DRAW_THREADS = WARP_SIZE * WARP_SIZE
"""Threads that draw together: as many warps as a warp has lanes."""
comptime NO_TOKEN = Int32.MAX
comptime LANES = Int32(WARP_SIZE)
comptime LAST_LANE = UInt32(WARP_SIZE - 1)


@fieldwise_init
struct TokenWeights(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Unnormalized probabilities of tokens."""

    var line: FloatPointer
    var allowed: AllowedTokens
    var max_logit: Float32
    var temperature: Float32

    @always_inline
    def of(self, token: Int32, stop: Int32) -> Float32:
        """Returns the weight of a token, zero from `stop` on and where it may not come."""
        if token >= stop or not self.allowed.has(token):
            return 0
        return exp((self.line[unsafe_offset=Int(token)] - self.max_logit) / self.temperature)


@always_inline
def first_lane(is_it: Bool) -> Int32:
    """Returns the first lane of the warp with a True, or NO_TOKEN."""
    var lane = Int32(lane_id()) if is_it else NO_TOKEN
    comptime for i in range(LOG2_WARP_SIZE):
        lane = min(lane, warp.shuffle_xor(lane, UInt32(1 << i)))
    return lane


@always_inline
def last_lane(is_it: Bool) -> Int32:
    """Returns the last lane of the warp with a True, or -1."""
    var lane = Int32(lane_id()) if is_it else Int32(-1)
    comptime for i in range(LOG2_WARP_SIZE):
        lane = max(lane, warp.shuffle_xor(lane, UInt32(1 << i)))
    return lane


@always_inline
def draw(weights: TokenWeights, n_vocab: Int32, at: Float32) -> Int32:
    """Returns the token whose probability interval, in the vocabulary's order, holds a number.

    Each warp sums a range of the vocabulary; the warp whose range holds the number searches it. All
    DRAW_THREADS threads must call it.

    Args:
        weights: Weights of tokens.
        n_vocab: Size of the vocabulary.
        at: A number from 0 to 1.

    Returns:
        The token, to all threads; NO_TOKEN where no token may come.
    """
    var sums = unsafe_stack_allocation[WARP_SIZE, Float32, address_space=.SHARED]()
    var found = unsafe_stack_allocation[1, Int32, address_space=.SHARED]()
    var lane = Int32(lane_id())
    var mine = Int32(warp_id())
    var each = ceildiv(n_vocab, Int32(DRAW_THREADS)) * LANES
    var start = mine * each
    var stop = min(start + each, n_vocab)
    var sum = Float32(0)
    for token in range(start + lane, stop, LANES):
        sum += weights.of(token, stop)
    sum = warp.shuffle_idx(warp.prefix_sum(sum), LAST_LANE)
    if lane == 0:
        sums[unsafe_offset=Int(mine)] = sum
        found[unsafe_offset=0] = NO_TOKEN
    barrier()
    var cumulative = warp.prefix_sum(sums[unsafe_offset=Int(lane)])
    var wanted = at * warp.shuffle_idx(cumulative, LAST_LANE)
    if first_lane(cumulative > wanted) == mine:
        var before = warp.shuffle_idx(cumulative, UInt32(mine)) - sum
        var last = NO_TOKEN
        for first in range(start, stop, LANES):
            var weight = weights.of(first + lane, stop)
            var reached = before + warp.prefix_sum(weight)
            var hit = first_lane(weight > 0 and reached > wanted)
            if hit != NO_TOKEN:
                last = first + hit
                break
            # A sum in another order may just miss the number; then the last allowed token is drawn.
            var at_end = last_lane(weight > 0)
            if at_end >= 0:
                last = first + at_end
            before = warp.shuffle_idx(reached, LAST_LANE)
        if lane == 0:
            found[unsafe_offset=0] = last
    barrier()
    return found[unsafe_offset=0]
