"""The likeliest next tokens of each row under the rules, with their log-probabilities, for beams."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.memory import bitcast, unsafe_stack_allocation
from .candidates import LOWEST, THREADS, WARPS, Candidates, load_candidates, no_candidates, weigh
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Integers, Memory, MutableTensor, memory
from .rules import N_FIELDS, TIMESTAMP_BEGIN, allowed_tokens, group_of

comptime MOST = 8
"""Tokens that are found of each row; as in gpu/kernel_ops.py."""
comptime LISTS = THREADS
"""Warps that look through the vocabulary for each row; a thread follows what each of them found."""
comptime EACH = 8
"""Tokens of a lane at most: vocabularies of up to 65,536."""
comptime LIST_SIZE = 2 * (MOST + 1)
"""Candidates of a list: text and timestamps, each as a whole, then the likeliest of each."""


def lists_kernel[
    is_first: Bool
](
    lists: Memory[DType.uint32],
    states: Integers,
    logits: Floats,
    rules: Integers,
    mask: Memory[DType.uint8],
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """Blocks: (part of the lists, row). A warp sorts out the likeliest of its tokens."""
    let_next_start()
    wait_for_previous()
    var row = Int(block_idx.y)
    var list = Int(block_idx.x) * WARPS + Int(warp_id())
    var state = states.unsafe_offset(row * N_FIELDS)
    var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
    var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
    var first = Int32(list * 32) + Int32(lane_id())
    var values = Array[Float32, EACH](fill=LOWEST)
    var wholes = Array[Candidates, 2](fill=no_candidates())
    comptime for i in range(EACH):
        var token = first + Int32(i * LISTS * 32)
        if allowed.has(token):
            values[i] = line[unsafe_offset=Int(token)]
            if token < allowed.begin:
                wholes[0].add(values[i], token)
            else:
                wholes[1].add(values[i], token)
    var at = (row * LISTS + list) * LIST_SIZE
    comptime for kind in range(2):
        wholes[kind].join_warp()
        if lane_id() == 0:
            wholes[kind].store(lists, at + kind)
        for i in range(MOST):
            var best = no_candidates()
            comptime for j in range(EACH):
                var token = first + Int32(j * LISTS * 32)
                if (token >= allowed.begin) == (kind == 1) and values[j] > best.top:
                    best = Candidates(values[j], token, Float32(0))
            best.join_warp()
            if lane_id() == 0:
                best.store(lists, at + 2 + kind * MOST + i)
            comptime for j in range(EACH):
                if first + Int32(j * LISTS * 32) == best.token:
                    values[j] = LOWEST


def merge_kernel(into: Floats, lists: Memory[DType.uint32], rules: Integers):
    """A block for each row; each thread follows its list, the likeliest first."""
    let_next_start()
    wait_for_previous()
    var shared = unsafe_stack_allocation[3, Float32, address_space=.SHARED]()
    var row = Int(block_idx.x)
    var at = (row * LISTS + Int(thread_idx.x)) * LIST_SIZE
    var text = load_candidates(lists, at)
    var times = load_candidates(lists, at + 1)
    text.join_block()
    times.join_block()
    if thread_idx.x == 0:
        var weighed = weigh(text, times, rules)
        shared[unsafe_offset=0] = weighed.log_total
        shared[unsafe_offset=1] = Float32(1 if weighed.times_win else 0)
    barrier()
    var log_total = shared[unsafe_offset=0]
    var has_text = shared[unsafe_offset=1] == 0
    var n_text = 0
    var n_times = 0
    for i in range(MOST):
        var best = no_candidates()
        if has_text and n_text < MOST:
            best = load_candidates(lists, at + 2 + n_text)
        if n_times < MOST:
            var next = load_candidates(lists, at + 2 + MOST + n_times)
            best.join(next.top, next.token, Float32(0))
        var token = best.token
        best.join_block()
        if thread_idx.x == 0:
            var is_there = best.top > LOWEST
            var to = into.unsafe_offset((row * MOST + i) * 2)
            to[unsafe_offset=0] = best.token.cast[F32]() if is_there else Float32(i)
            to[unsafe_offset=1] = best.top - log_total if is_there else -Float32(1e30) * 1e30
            shared[unsafe_offset=2] = bitcast[F32](best.token)
        barrier()
        if token == bitcast[DType.int32](shared[unsafe_offset=2]):
            if token >= rules[unsafe_offset=TIMESTAMP_BEGIN]:
                n_times += 1
            else:
                n_text += 1
        barrier()


@extensibility.register("whisper_gpu_likeliest")
struct Likeliest:
    @staticmethod
    def execute[
        target: StaticString, is_first: Bool
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        lists: OutputTensor[dtype=DType.uint32, rank=2, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Token and log-probability, [n_rows, MOST, 2].

        Of logits [1, n_lines, n_vocab], whose lines are as `group_of` says.
        """
        var n_rows = states.dim_size(0)
        var first_line, n_group = group_of[is_first](logits.dim_size(1), n_rows)
        ctx.enqueue_function[lists_kernel[is_first]](
            memory(lists),
            memory(states),
            memory(logits),
            memory(rules),
            memory(mask),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=(LISTS // WARPS, n_rows),
            block_dim=THREADS,
            attributes=early(),
        )
        ctx.enqueue_function[merge_kernel](
            memory(output),
            memory(lists),
            memory(rules),
            grid_dim=n_rows,
            block_dim=THREADS,
            attributes=early(),
        )
