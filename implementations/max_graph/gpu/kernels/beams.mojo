"""Which continuations of a window's beams go on and which have ended, as decoding/beam.py has it.

Each step leaves notes from which the host follows a text back: of each new beam its token and the
beam that it continues, and of each old one what it came to where it ended.
"""
import extensibility
from extensibility import InputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.memory import bitcast, unsafe_stack_allocation
from .launch import early, let_next_start, wait_for_previous
from .likeliest import MOST
from .pointers import F32, Floats, Integers, MutableTensor, memory
from .rules import (
    ENDINGS_LEFT,
    EOT,
    IS_FINISHED,
    LATEST_TIMESTAMP,
    LIMIT,
    N_FIELDS,
    N_SAMPLED,
    OFFSET,
    PENULTIMATE,
    TIMESTAMP_BEGIN,
    TOKEN,
)

comptime EXTENDERS = 128
"""Threads of a window; the first decides, and all rewrite where the pasts lie."""
comptime N_NOTES = 3
comptime NEW_TOKEN = 0
comptime SOURCE = 1
comptime ENDED = 2
"""The bits of a sum of log-probabilities, or of GOES_ON."""
comptime GOES_ON = Float32(1)
"""What no sum of log-probabilities comes to."""


def extend_kernel[
    is_first: Bool
](
    slots: Integers,
    states: Integers,
    sum_logprobs: Floats,
    notes: Integers,
    likeliest: Floats,
    rules: Integers,
    n_beams: Int32,
    n_ctx: Int32,
):
    """A block for each window. The beams' likeliest tokens come in falling order."""
    let_next_start()
    wait_for_previous()
    var n_here = Int(n_beams)
    var first_row = Int(block_idx.x) * n_here
    var state = states.unsafe_offset(first_row * N_FIELDS)
    if state[unsafe_offset=IS_FINISHED] != 0:
        return
    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var offset = state[unsafe_offset=OFFSET]
    comptime if not is_first:
        offset += 1
    var sums = sum_logprobs.unsafe_offset(first_row)
    var step = (Int(block_idx.x) * Int(n_ctx) + Int(n_sampled)) * n_here
    var noted = notes.unsafe_offset(step * N_NOTES)

    var taken = unsafe_stack_allocation[MOST, Int32, address_space=.SHARED]()
    var tokens = unsafe_stack_allocation[MOST, Int32, address_space=.SHARED]()
    var sources = unsafe_stack_allocation[MOST, Int32, address_space=.SHARED]()
    var totals = unsafe_stack_allocation[MOST, Float32, address_space=.SHARED]()
    var endings = unsafe_stack_allocation[1, Int32, address_space=.SHARED]()
    if thread_idx.x == 0:
        var endings_left = state[unsafe_offset=ENDINGS_LEFT]
        for beam in range(n_here):
            taken[unsafe_offset=beam] = 0
            noted[unsafe_offset=beam * N_NOTES + ENDED] = bitcast[DType.int32](GOES_ON)
        var n_kept = 0
        while n_kept < n_here:
            var best = -1
            var best_at = 0
            var best_total = Float32(0)
            # At first all beams are the same.
            for beam in range(1 if is_first else n_here):
                if Int(taken[unsafe_offset=beam]) <= n_here:
                    var at = ((first_row + beam) * MOST + Int(taken[unsafe_offset=beam])) * 2
                    var total = sums[unsafe_offset=beam] + likeliest[unsafe_offset=at + 1]
                    if best < 0 or total > best_total:
                        best = beam
                        best_at = at
                        best_total = total
            taken[unsafe_offset=best] += 1
            var token = likeliest[unsafe_offset=best_at].cast[DType.int32]()
            if token != rules[unsafe_offset=EOT]:
                tokens[unsafe_offset=n_kept] = token
                sources[unsafe_offset=n_kept] = Int32(best)
                totals[unsafe_offset=n_kept] = best_total
                n_kept += 1
            elif endings_left > 0:
                noted[unsafe_offset=best * N_NOTES + ENDED] = bitcast[DType.int32](best_total)
                endings_left -= 1
        endings[unsafe_offset=0] = endings_left
    barrier()

    var row = Int(thread_idx.x)
    var before = Int32(0)
    var latest = Int32(0)
    if row < n_here:
        var source = state.unsafe_offset(Int(sources[unsafe_offset=row]) * N_FIELDS)
        before = source[unsafe_offset=TOKEN]
        latest = source[unsafe_offset=LATEST_TIMESTAMP]
    barrier()
    if row < n_here:
        var token = tokens[unsafe_offset=row]
        var left = endings[unsafe_offset=0]
        var mine = state.unsafe_offset(row * N_FIELDS)
        mine[unsafe_offset=TOKEN] = token
        mine[unsafe_offset=OFFSET] = offset
        mine[unsafe_offset=N_SAMPLED] = n_sampled + 1
        mine[unsafe_offset=PENULTIMATE] = before
        var is_time = token >= rules[unsafe_offset=TIMESTAMP_BEGIN]
        mine[unsafe_offset=LATEST_TIMESTAMP] = token if is_time else latest
        mine[unsafe_offset=ENDINGS_LEFT] = left
        if left == 0 or n_sampled + 1 >= mine[unsafe_offset=LIMIT]:
            mine[unsafe_offset=IS_FINISHED] = 1
        sums[unsafe_offset=row] = totals[unsafe_offset=row]
        noted[unsafe_offset=row * N_NOTES + NEW_TOKEN] = token
        noted[unsafe_offset=row * N_NOTES + SOURCE] = sources[unsafe_offset=row]

    for position in range(Int(thread_idx.x), Int(offset), EXTENDERS):
        var past = Array[Int32, MOST](fill=0)
        comptime for beam in range(MOST):
            if beam < n_here:
                var source = first_row + Int(sources[unsafe_offset=beam])
                past[beam] = slots[unsafe_offset=source * Int(n_ctx) + position]
        comptime for beam in range(MOST):
            if beam < n_here:
                slots[unsafe_offset=(first_row + beam) * Int(n_ctx) + position] = past[beam]


@extensibility.register("whisper_gpu_extend")
struct Extend:
    @staticmethod
    def execute[
        target: StaticString, is_first: Bool
    ](
        slots: MutableTensor[dtype=DType.int32, rank=2, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        sum_logprobs: MutableTensor[dtype=F32, rank=1, ...],
        notes: MutableTensor[dtype=DType.int32, rank=4, ...],
        likeliest: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Notes are [n_windows, n_text_ctx, n_beams, N_NOTES]."""
        ctx.enqueue_function[extend_kernel[is_first]](
            memory(slots),
            memory(states),
            memory(sum_logprobs),
            memory(notes),
            memory(likeliest),
            memory(rules),
            Int32(notes.dim_size(2)),
            Int32(slots.dim_size(1)),
            grid_dim=notes.dim_size(0),
            block_dim=EXTENDERS,
            attributes=early(),
        )
