"""Top k of each row's next tokens under the rules, with their log-probabilities, for beams."""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.memory import bitcast, unsafe_stack_allocation
from .argmax import (
    NO_LOGIT,
    THREADS,
    WARPS,
    ArgmaxSum,
    empty_argmax_sum,
    load_argmax_sum,
    normalize,
)
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, MutableTensor, pointer
from .token_rules import (
    N_STATE_FIELDS,
    RULE_FIELDS,
    STATE_FIELDS,
    TIMESTAMP_BEGIN,
    allowed_tokens,
    group_of,
)

comptime N_LISTS = THREADS
"""Sorted lists of a row, one by each warp that scans the vocabulary; a thread merges each."""
comptime TOKENS_PER_LANE = 8
comptime MAX_VOCAB = N_LISTS * WARP_SIZE * TOKENS_PER_LANE
"""Largest vocabulary, 65,536: each lane holds its tokens in registers."""


def partial_top_k_kernel[
    *, is_first: Bool, top_k: Int
](
    lists: DevicePointer[DType.uint32],
    states: IntPointer,
    logits: FloatPointer,
    rules: IntPointer,
    mask: DevicePointer[DType.uint8],
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """Finds the top k of a part of the vocabulary by each warp; blocks: (part of the lists, row).

    Parameters:
        is_first: True after a prompt.
        top_k: Tokens to find.

    Args:
        lists: Of each list text and timestamps as a whole, then the top k of each,
            [n_rows, N_LISTS, 2 * (top_k + 1), 3].
        states: [n_rows, N_STATE_FIELDS].
        logits: [n_lines, n_vocab].
        rules: [N_RULES].
        mask: [n_vocab].
        n_vocab: Size of the vocabulary.
        first_line: The first line of logits that rows choose from.
        n_group: Rows that share a line.
    """
    launch_dependents()
    wait_on_dependencies()
    var row = Int(block_idx.y)
    var list = Int(block_idx.x) * WARPS + Int(warp_id())
    var state = states.unsafe_offset(row * N_STATE_FIELDS)
    var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
    var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
    var first = Int32(list * WARP_SIZE) + Int32(lane_id())
    var values = Array[Float32, TOKENS_PER_LANE](fill=NO_LOGIT)
    var totals = Array[ArgmaxSum, 2](fill=empty_argmax_sum())
    comptime for i in range(TOKENS_PER_LANE):
        var token = first + Int32(i * N_LISTS * WARP_SIZE)
        if allowed.has(token):
            values[i] = line[unsafe_offset=Int(token)]
            if token < allowed.begin:
                totals[0].add(values[i], token)
            else:
                totals[1].add(values[i], token)
    comptime list_size = 2 * (top_k + 1)
    var at = (row * N_LISTS + list) * list_size
    comptime for kind in range(2):
        totals[kind].join_warp()
        if lane_id() == 0:
            totals[kind].store(lists, at + kind)
        for i in range(top_k):
            var best = empty_argmax_sum()
            comptime for j in range(TOKENS_PER_LANE):
                var token = first + Int32(j * N_LISTS * WARP_SIZE)
                if (token >= allowed.begin) == (kind == 1) and values[j] > best.max_logit:
                    best = ArgmaxSum(values[j], token, Float32(0))
            best.join_warp()
            if lane_id() == 0:
                best.store(lists, at + 2 + kind * top_k + i)
            comptime for j in range(TOKENS_PER_LANE):
                if first + Int32(j * N_LISTS * WARP_SIZE) == best.token:
                    values[j] = NO_LOGIT


def merge_top_k_kernel[
    top_k: Int
](output: FloatPointer, lists: DevicePointer[DType.uint32], rules: IntPointer):
    """Merges the lists of a row by each block; a thread follows its list from the highest on.

    Parameters:
        top_k: Tokens to find.

    Args:
        output: Tokens and log-probabilities, [n_rows, top_k, 2].
        lists: As `partial_top_k_kernel` leaves them.
        rules: [N_RULES].
    """
    comptime list_size = 2 * (top_k + 1)
    launch_dependents()
    wait_on_dependencies()
    var shared = unsafe_stack_allocation[3, Float32, address_space=.SHARED]()
    var row = Int(block_idx.x)
    var at = (row * N_LISTS + Int(thread_idx.x)) * list_size
    var text = load_argmax_sum(lists, at)
    var timestamps = load_argmax_sum(lists, at + 1)
    text.join_block()
    timestamps.join_block()
    if thread_idx.x == 0:
        var normalizer = normalize(text, timestamps, rules)
        shared[unsafe_offset=0] = normalizer.logsumexp
        shared[unsafe_offset=1] = Float32(1 if normalizer.timestamps_win else 0)
    barrier()
    var logsumexp = shared[unsafe_offset=0]
    var has_text = shared[unsafe_offset=1] == 0
    var n_text = 0
    var n_timestamps = 0
    for i in range(top_k):
        var best = empty_argmax_sum()
        if has_text and n_text < top_k:
            best = load_argmax_sum(lists, at + 2 + n_text)
        if n_timestamps < top_k:
            var next = load_argmax_sum(lists, at + 2 + top_k + n_timestamps)
            best.join(next.max_logit, next.token, Float32(0))
        var token = best.token
        best.join_block()
        if thread_idx.x == 0:
            var is_there = best.max_logit > NO_LOGIT
            var to = output.unsafe_offset((row * top_k + i) * 2)
            to[unsafe_offset=0] = best.token.cast[F32]() if is_there else Float32(i)
            to[unsafe_offset=1] = best.max_logit - logsumexp if is_there else -Float32(1e30) * 1e30
            shared[unsafe_offset=2] = bitcast[F32](best.token)
        barrier()
        if token == bitcast[DType.int32](shared[unsafe_offset=2]):
            if token >= rules[unsafe_offset=TIMESTAMP_BEGIN]:
                n_timestamps += 1
            else:
                n_text += 1
        barrier()


@extensibility.register("whisper_gpu_top_k")
struct TopK:
    @staticmethod
    def execute[
        target: StaticString,
        is_first: Bool,
        top_k: Int,
        n_lists: Int,
        n_vocab: Int,
        state_fields: StaticString,
        rule_fields: StaticString,
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        lists: OutputTensor[dtype=DType.uint32, rank=2, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Finds the tokens of each row with the highest logits that the rules allow.

        Parameters:
            target: Device of the graph.
            is_first: True after a prompt.
            top_k: Tokens to find.
            n_lists: Lists that the workspace has room for.
            n_vocab: Size of the vocabulary.
            state_fields: Python's order of a state's fields.
            rule_fields: Python's order of the rules.

        Args:
            output: Tokens and log-probabilities, [n_rows, top_k, 2], highest first; for those that
                are missing minus infinity.
            lists: Workspace, [n_rows, n_lists * 3 * 2 * (top_k + 1)].
            states: [n_rows, N_STATE_FIELDS], only read.
            logits: [1, n_lines, n_vocab]; `group_of` tells the line of a row.
            rules: [N_RULES].
            mask: [n_vocab].
            ctx: Stream.
        """
        comptime assert n_lists == N_LISTS, "Python and Mojo differ in the number of lists"
        comptime assert n_vocab <= MAX_VOCAB, "the vocabulary is larger than lanes can hold"
        comptime assert state_fields == STATE_FIELDS, "Python and Mojo differ in a state's fields"
        comptime assert rule_fields == RULE_FIELDS, "Python and Mojo differ in the rules' order"
        var n_rows = states.dim_size(0)
        var first_line, n_group = group_of[is_first](logits.dim_size(1), n_rows)
        ctx.enqueue_function[partial_top_k_kernel[is_first=is_first, top_k=top_k]](
            pointer(lists),
            pointer(states),
            pointer(logits),
            pointer(rules),
            pointer(mask),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=(N_LISTS // WARPS, n_rows),
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )
        ctx.enqueue_function[merge_top_k_kernel[top_k]](
            pointer(output),
            pointer(lists),
            pointer(rules),
            grid_dim=n_rows,
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )
