"""The likeliest of many tokens and the sum of their exponentials, found by all threads of a block.

Text and timestamps are gathered apart, and weighed against each other at the end.
"""
import max.gpu.primitives.warp as warp
from max.gpu import lane_id, warp_id
from max.gpu.sync import barrier
from std.math import exp, log
from std.memory import bitcast, unsafe_stack_allocation
from .pointers import F32, Integers, Memory
from .rules import WITH_TIMESTAMPS

comptime THREADS = 256
"""Of each block that looks for candidates."""
comptime WARPS = THREADS // 32
comptime LOWEST = Float32(-3e38)


@fieldwise_init
struct Candidates(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """The likeliest of some tokens, and the sum of exponentials of all, relative to it."""

    var top: Float32
    var token: Int32
    var total: Float32

    @always_inline
    def add(mut self, logit: Float32, token: Int32):
        if logit > self.top:
            self.total = self.total * exp(self.top - logit) + 1
            self.top = logit
            self.token = token
        else:
            self.total += exp(logit - self.top)

    @always_inline
    def join(mut self, top: Float32, token: Int32, total: Float32):
        """Of equally likely tokens the first is taken."""
        var higher = max(self.top, top)
        self.total = self.total * exp(self.top - higher) + total * exp(top - higher)
        if top > self.top or (top == self.top and token < self.token):
            self.token = token
        self.top = higher

    @always_inline
    def join_warp(mut self):
        comptime for i in range(5):
            var top = warp.shuffle_xor(self.top, UInt32(1 << i))
            var token = warp.shuffle_xor(self.token, UInt32(1 << i))
            var total = warp.shuffle_xor(self.total, UInt32(1 << i))
            self.join(top, token, total)

    @always_inline
    def join_block(mut self):
        """Afterwards the first warp knows; all threads must come here."""
        var tops = unsafe_stack_allocation[WARPS, Float32, address_space=.SHARED]()
        var tokens = unsafe_stack_allocation[WARPS, Int32, address_space=.SHARED]()
        var totals = unsafe_stack_allocation[WARPS, Float32, address_space=.SHARED]()
        self.join_warp()
        if lane_id() == 0:
            tops[unsafe_offset=Int(warp_id())] = self.top
            tokens[unsafe_offset=Int(warp_id())] = self.token
            totals[unsafe_offset=Int(warp_id())] = self.total
        barrier()
        if warp_id() == 0:
            var other = Int(lane_id()) % WARPS
            self.top = tops[unsafe_offset=other]
            self.token = tokens[unsafe_offset=other]
            self.total = totals[unsafe_offset=other] if Int(lane_id()) < WARPS else Float32(0)
            self.join_warp()
        barrier()

    @always_inline
    def store(self, parts: Memory[DType.uint32], at: Int):
        parts[unsafe_offset=3 * at] = bitcast[DType.uint32](self.top)
        parts[unsafe_offset=3 * at + 1] = self.token.cast[DType.uint32]()
        parts[unsafe_offset=3 * at + 2] = bitcast[DType.uint32](self.total)


@always_inline
def load_candidates(parts: Memory[DType.uint32], at: Int) -> Candidates:
    return Candidates(
        bitcast[F32](parts[unsafe_offset=3 * at]),
        parts[unsafe_offset=3 * at + 1].cast[DType.int32](),
        bitcast[F32](parts[unsafe_offset=3 * at + 2]),
    )


@always_inline
def no_candidates() -> Candidates:
    return Candidates(LOWEST, Int32.MAX, Float32(0))


@fieldwise_init
struct Weighed(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """What text and timestamps come to together."""

    var times_win: Bool
    """Whether timestamps together outweigh any text token, so that text is left out."""
    var log_total: Float32
    """What logits exceed log-probabilities by."""


@always_inline
def weigh(text: Candidates, times: Candidates, rules: Integers) -> Weighed:
    var top = max(text.top, times.top)
    var times_total = times.total * exp(times.top - top)
    var times_win = rules[unsafe_offset=WITH_TIMESTAMPS] != 0 and (
        times_total > exp(text.top - top)
    )
    var total = times_total if times_win else times_total + text.total * exp(text.top - top)
    return Weighed(times_win, top + log(total))
