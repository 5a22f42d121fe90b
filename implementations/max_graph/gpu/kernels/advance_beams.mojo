"""Step of beam search: the best continuations of a window's beams, as decoding/beam.py has it.

Each step leaves back pointers from which the host traces a text: of each new beam its token and
the beam that it continues, and of each old one its score where it ended.
"""
import extensibility
from extensibility import InputTensor
from max.gpu import block_idx, thread_idx
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.memory import bitcast, unsafe_stack_allocation
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, FloatPointer, IntPointer, MutableTensor, pointer
from .token_rules import (
    ENDINGS_LEFT,
    EOT,
    IS_FINISHED,
    LATEST,
    LIMIT,
    N_SAMPLED,
    N_STATE_FIELDS,
    OFFSET,
    PENULTIMATE,
    RULE_FIELDS,
    STATE_FIELDS,
    TIMESTAMP_BEGIN,
    TOKEN,
)
from .wgmma import Shared

comptime THREADS = 128
"""Threads of a window; the first one chooses, and all rewrite the table of slots."""
comptime BACK_POINTER_FIELDS = StaticString("token source score")
"""Fields of a back pointer in their order, as Python spells them."""
comptime N_BACK_POINTER_FIELDS = 3
comptime NEW_TOKEN = 0
comptime SOURCE = 1
comptime ENDED = 2
"""Bits of a sum of log-probabilities, or of GOES_ON."""
comptime GOES_ON = Float32(1)
"""Score of a beam that did not end: above every sum of log-probabilities."""


@fieldwise_init
struct SharedBeams(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Chosen continuations of a window's beams in shared memory, [top_k] each."""

    var n_taken: Shared[DType.int32]
    """Tokens that were considered, of each beam."""
    var tokens: Shared[DType.int32]
    var sources: Shared[DType.int32]
    """Beams that are continued."""
    var totals: Shared[F32]
    """Sums of log-probabilities."""


def advance_beams_kernel[
    *, is_first: Bool, top_k: Int
](
    slots: IntPointer,
    states: IntPointer,
    sum_logprobs: FloatPointer,
    back_pointers: IntPointer,
    top_tokens: FloatPointer,
    rules: IntPointer,
    n_beams: Int32,
    n_ctx: Int32,
):
    """Advances the beams of a window by each block.

    Parameters:
        is_first: True after a prompt, when all beams of a window are the same.
        top_k: Tokens of each beam, highest first; more than beams.

    Args:
        slots: [n_rows, n_ctx].
        states: [n_rows, N_STATE_FIELDS].
        sum_logprobs: [n_rows].
        back_pointers: [n_windows, n_ctx, n_beams, N_BACK_POINTER_FIELDS].
        top_tokens: Tokens and log-probabilities, [n_rows, top_k, 2].
        rules: [N_RULES].
        n_beams: Beams of a window.
        n_ctx: Positions of the text.
    """
    launch_dependents()
    wait_on_dependencies()
    var beam_count = Int(n_beams)
    var first_row = Int(block_idx.x) * beam_count
    var state = states.unsafe_offset(first_row * N_STATE_FIELDS)
    if state[unsafe_offset=IS_FINISHED] != 0:
        return
    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var offset = state[unsafe_offset=OFFSET]
    comptime if not is_first:
        offset += 1
    var sums = sum_logprobs.unsafe_offset(first_row)
    var step = (Int(block_idx.x) * Int(n_ctx) + Int(n_sampled)) * beam_count
    var step_pointers = back_pointers.unsafe_offset(step * N_BACK_POINTER_FIELDS)

    var shared = SharedBeams(
        n_taken=unsafe_stack_allocation[top_k, Int32, address_space=.SHARED](),
        tokens=unsafe_stack_allocation[top_k, Int32, address_space=.SHARED](),
        sources=unsafe_stack_allocation[top_k, Int32, address_space=.SHARED](),
        totals=unsafe_stack_allocation[top_k, Float32, address_space=.SHARED](),
    )
    var endings = unsafe_stack_allocation[1, Int32, address_space=.SHARED]()
    if thread_idx.x == 0:
        endings[unsafe_offset=0] = choose_continuations[is_first=is_first, top_k=top_k](
            shared,
            step_pointers,
            sums,
            top_tokens,
            rules,
            state[unsafe_offset=ENDINGS_LEFT],
            first_row,
            beam_count,
        )
    barrier()

    var row = Int(thread_idx.x)
    var before = Int32(0)
    var latest = Int32(0)
    if row < beam_count:
        var source = state.unsafe_offset(Int(shared.sources[unsafe_offset=row]) * N_STATE_FIELDS)
        before = source[unsafe_offset=TOKEN]
        latest = source[unsafe_offset=LATEST]
    barrier()
    if row < beam_count:
        var token = shared.tokens[unsafe_offset=row]
        var left = endings[unsafe_offset=0]
        var mine = state.unsafe_offset(row * N_STATE_FIELDS)
        mine[unsafe_offset=TOKEN] = token
        mine[unsafe_offset=OFFSET] = offset
        mine[unsafe_offset=N_SAMPLED] = n_sampled + 1
        mine[unsafe_offset=PENULTIMATE] = before
        var is_time = token >= rules[unsafe_offset=TIMESTAMP_BEGIN]
        mine[unsafe_offset=LATEST] = token if is_time else latest
        mine[unsafe_offset=ENDINGS_LEFT] = left
        if left == 0 or n_sampled + 1 >= mine[unsafe_offset=LIMIT]:
            mine[unsafe_offset=IS_FINISHED] = 1
        sums[unsafe_offset=row] = shared.totals[unsafe_offset=row]
        var pointers = step_pointers.unsafe_offset(row * N_BACK_POINTER_FIELDS)
        pointers[unsafe_offset=NEW_TOKEN] = token
        pointers[unsafe_offset=SOURCE] = shared.sources[unsafe_offset=row]

    for position in range(Int(thread_idx.x), Int(offset), THREADS):
        var past = Array[Int32, top_k](fill=0)
        comptime for beam in range(top_k):
            if beam < beam_count:
                var source = first_row + Int(shared.sources[unsafe_offset=beam])
                past[beam] = slots[unsafe_offset=source * Int(n_ctx) + position]
        comptime for beam in range(top_k):
            if beam < beam_count:
                slots[unsafe_offset=(first_row + beam) * Int(n_ctx) + position] = past[beam]


@always_inline
def choose_continuations[
    *, is_first: Bool, top_k: Int
](
    chosen: SharedBeams,
    step_pointers: IntPointer,
    sums: FloatPointer,
    top_tokens: FloatPointer,
    rules: IntPointer,
    endings_left: Int32,
    first_row: Int,
    beam_count: Int,
) -> Int32:
    """Chooses the best continuations of a window's beams, and notes the scores of those that end.

    Parameters:
        is_first: True after a prompt.
        top_k: Tokens of each beam, highest first.

    Args:
        chosen: Filled with the chosen continuations.
        step_pointers: The step's back pointers, whose scores are filled.
        sums: Sums of log-probabilities of the beams.
        top_tokens: Tokens and log-probabilities of all rows.
        rules: [N_RULES].
        endings_left: Number of hypotheses that may still end.
        first_row: Row of the first beam.
        beam_count: Beams of the window.

    Returns:
        The number of hypotheses that may end after this step.
    """
    var left = endings_left
    for beam in range(beam_count):
        chosen.n_taken[unsafe_offset=beam] = 0
        step_pointers[unsafe_offset=beam * N_BACK_POINTER_FIELDS + ENDED] = bitcast[DType.int32](
            GOES_ON
        )
    var n_kept = 0
    while n_kept < beam_count:
        var best = -1
        var best_at = 0
        var best_total = Float32(0)
        # After a prompt all beams are the same.
        for beam in range(1 if is_first else beam_count):
            var taken = Int(chosen.n_taken[unsafe_offset=beam])
            if taken <= beam_count:
                var at = ((first_row + beam) * top_k + taken) * 2
                var total = sums[unsafe_offset=beam] + top_tokens[unsafe_offset=at + 1]
                if best < 0 or total > best_total:
                    best = beam
                    best_at = at
                    best_total = total
        chosen.n_taken[unsafe_offset=best] += 1
        var token = top_tokens[unsafe_offset=best_at].cast[DType.int32]()
        if token != rules[unsafe_offset=EOT]:
            chosen.tokens[unsafe_offset=n_kept] = token
            chosen.sources[unsafe_offset=n_kept] = Int32(best)
            chosen.totals[unsafe_offset=n_kept] = best_total
            n_kept += 1
        elif left > 0:
            step_pointers[unsafe_offset=best * N_BACK_POINTER_FIELDS + ENDED] = bitcast[
                DType.int32
            ](best_total)
            left -= 1
    return left


@extensibility.register("whisper_gpu_advance_beams")
struct AdvanceBeams:
    @staticmethod
    def execute[
        target: StaticString,
        is_first: Bool,
        top_k: Int,
        state_fields: StaticString,
        rule_fields: StaticString,
        back_pointer_fields: StaticString,
    ](
        slots: MutableTensor[dtype=DType.int32, rank=2, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        sum_logprobs: MutableTensor[dtype=F32, rank=1, ...],
        back_pointers: MutableTensor[dtype=DType.int32, rank=4, ...],
        top_tokens: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Lets the best continuations of each window's beams go on, unless its search has ended.

        Parameters:
            target: Device of the graph.
            is_first: True after a prompt.
            top_k: Tokens of each beam.
            state_fields: Python's order of a state's fields.
            rule_fields: Python's order of the rules.
            back_pointer_fields: Python's order of a back pointer's fields.

        Args:
            slots: [n_rows, n_text_ctx], rewritten to the slots of the beams that are continued.
            states: [n_rows, N_STATE_FIELDS], written to.
            sum_logprobs: [n_rows], written to.
            back_pointers: [n_windows, n_text_ctx, n_beams, N_BACK_POINTER_FIELDS]; the step's are
                written.
            top_tokens: Tokens and log-probabilities of each beam, [n_rows, top_k, 2].
            rules: [N_RULES].
            ctx: Stream.
        """
        comptime assert state_fields == STATE_FIELDS, "Python and Mojo differ in a state's fields"
        comptime assert rule_fields == RULE_FIELDS, "Python and Mojo differ in the rules' order"
        comptime assert back_pointer_fields == BACK_POINTER_FIELDS, "they differ in back pointers"
        ctx.enqueue_function[advance_beams_kernel[is_first=is_first, top_k=top_k]](
            pointer(slots),
            pointer(states),
            pointer(sum_logprobs),
            pointer(back_pointers),
            pointer(top_tokens),
            pointer(rules),
            Int32(back_pointers.dim_size(2)),
            Int32(slots.dim_size(1)),
            grid_dim=back_pointers.dim_size(0),
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )
