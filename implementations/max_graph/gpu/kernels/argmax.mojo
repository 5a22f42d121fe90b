"""Argmax and sum of exponentials of logits in one pass (online softmax), by all threads of a block.

Text and timestamps are reduced apart, and compared with each other at the end.
"""
import max.gpu.primitives.warp as warp
from max.gpu import WARP_SIZE, lane_id, warp_id
from max.gpu.sync import barrier
from std.math import exp, log
from std.memory import bitcast, unsafe_stack_allocation
from .pointers import F32, DevicePointer, IntPointer
from .token_rules import WITH_TIMESTAMPS

comptime THREADS = 256
"""Threads of each block that scans the vocabulary."""
comptime LOG2_WARP_SIZE = 5
comptime WARPS = THREADS // WARP_SIZE
comptime NO_LOGIT = Float32(-3e38)
"""Below every finite logit: the maximum of no tokens; finite, so that no difference is NaN."""


@fieldwise_init
struct ArgmaxSum(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The most likely of some tokens, and the sum of all exponentials relative to it."""

    var max_logit: Float32
    var token: Int32
    var sum_exp: Float32

    @always_inline
    def add(mut self, logit: Float32, token: Int32):
        """Adds a token; of equal logits the one that was added first stays."""
        if logit > self.max_logit:
            self.sum_exp = self.sum_exp * exp(self.max_logit - logit) + 1
            self.max_logit = logit
            self.token = token
        else:
            self.sum_exp += exp(logit - self.max_logit)

    @always_inline
    def join(mut self, max_logit: Float32, token: Int32, sum_exp: Float32):
        """Joins the result over other tokens; of equal logits the lower token is taken."""
        var higher = max(self.max_logit, max_logit)
        var own = self.sum_exp * exp(self.max_logit - higher)
        self.sum_exp = own + sum_exp * exp(max_logit - higher)
        if max_logit > self.max_logit or (max_logit == self.max_logit and token < self.token):
            self.token = token
        self.max_logit = higher

    @always_inline
    def join_warp(mut self):
        """Joins the results of a warp's lanes, for all of them."""
        comptime for i in range(LOG2_WARP_SIZE):
            var max_logit = warp.shuffle_xor(self.max_logit, UInt32(1 << i))
            var token = warp.shuffle_xor(self.token, UInt32(1 << i))
            var sum_exp = warp.shuffle_xor(self.sum_exp, UInt32(1 << i))
            self.join(max_logit, token, sum_exp)

    @always_inline
    def join_block(mut self):
        """Joins the results of a block for its first warp; all threads must call it."""
        var max_logits = unsafe_stack_allocation[WARPS, Float32, address_space=.SHARED]()
        var tokens = unsafe_stack_allocation[WARPS, Int32, address_space=.SHARED]()
        var sums_exp = unsafe_stack_allocation[WARPS, Float32, address_space=.SHARED]()
        self.join_warp()
        if lane_id() == 0:
            max_logits[unsafe_offset=Int(warp_id())] = self.max_logit
            tokens[unsafe_offset=Int(warp_id())] = self.token
            sums_exp[unsafe_offset=Int(warp_id())] = self.sum_exp
        barrier()
        if warp_id() == 0:
            var other = Int(lane_id()) % WARPS
            self.max_logit = max_logits[unsafe_offset=other]
            self.token = tokens[unsafe_offset=other]
            self.sum_exp = sums_exp[unsafe_offset=other] if Int(lane_id()) < WARPS else Float32(0)
            self.join_warp()
        barrier()

    @always_inline
    def store(self, partials: DevicePointer[DType.uint32], at: Int):
        """Stores the result as entry `at` of partial results."""
        partials[unsafe_offset=3 * at] = bitcast[DType.uint32](self.max_logit)
        partials[unsafe_offset=3 * at + 1] = self.token.cast[DType.uint32]()
        partials[unsafe_offset=3 * at + 2] = bitcast[DType.uint32](self.sum_exp)


@always_inline
def load_argmax_sum(partials: DevicePointer[DType.uint32], at: Int) -> ArgmaxSum:
    """Returns entry `at` of partial results."""
    return ArgmaxSum(
        bitcast[F32](partials[unsafe_offset=3 * at]),
        partials[unsafe_offset=3 * at + 1].cast[DType.int32](),
        bitcast[F32](partials[unsafe_offset=3 * at + 2]),
    )


@always_inline
def empty_argmax_sum() -> ArgmaxSum:
    """Returns the result over no tokens."""
    return ArgmaxSum(NO_LOGIT, Int32.MAX, Float32(0))


@fieldwise_init
struct Normalizer(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Log-sum-exp of a row under the rule about timestamps."""

    var timestamps_win: Bool
    """True where timestamps together outweigh any text token, so that text is left out."""
    var logsumexp: Float32
    """Difference of logits and log-probabilities."""


@always_inline
def normalize(text: ArgmaxSum, timestamps: ArgmaxSum, rules: IntPointer) -> Normalizer:
    """Returns the log-sum-exp of text and timestamps, or of timestamps if they outweigh text."""
    var max_logit = max(text.max_logit, timestamps.max_logit)
    var timestamp_sum = timestamps.sum_exp * exp(timestamps.max_logit - max_logit)
    var timestamps_win = rules[unsafe_offset=WITH_TIMESTAMPS] != 0 and (
        timestamp_sum > exp(text.max_logit - max_logit)
    )
    var sum_exp = (
        timestamp_sum if timestamps_win else timestamp_sum
        + text.sum_exp * exp(text.max_logit - max_logit)
    )
    return Normalizer(timestamps_win, max_logit + log(sum_exp))
