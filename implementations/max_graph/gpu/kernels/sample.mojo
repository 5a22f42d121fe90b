"""Choice of each row's next token under the rules, and the row's new state, for the device's loop.

At temperature 0 it is the most likely one, above it one is drawn with a random number of the host.
Rules and mask are the same for all rows. The host reads results when it likes; the state of a row
that has ended changes no more.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import WARP_SIZE, block_idx, lane_id, thread_idx
from max.gpu.host import DeviceContext
from .argmax import THREADS, empty_argmax_sum, load_argmax_sum, normalize
from .categorical import DRAW_THREADS, NO_TOKEN, TokenWeights, draw
from .pdl import launch_dependents, pdl_attributes, wait_on_dependencies
from .pointers import F32, DevicePointer, FloatPointer, IntPointer, MutableTensor, pointer
from .token_rules import (
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
    allowed_tokens,
    group_of,
)


def partial_argmax_kernel[
    *, is_first: Bool, n_parts: Int
](
    partials: DevicePointer[DType.uint32],
    states: IntPointer,
    logits: FloatPointer,
    rules: IntPointer,
    mask: DevicePointer[DType.uint8],
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """Reduces a part of the vocabulary, text and timestamps apart; blocks: (part, row).

    Parameters:
        is_first: True after a prompt.
        n_parts: Parts of the vocabulary.

    Args:
        partials: Results, [n_rows, n_parts, 2, 3].
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
    var state = states.unsafe_offset(row * N_STATE_FIELDS)
    var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
    var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
    var text = empty_argmax_sum()
    var timestamps = empty_argmax_sum()
    var first = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    for i in range(first, Int(n_vocab), THREADS * n_parts):
        var token = Int32(i)
        if allowed.has(token):
            if token < allowed.begin:
                text.add(line[unsafe_offset=i], token)
            else:
                timestamps.add(line[unsafe_offset=i], token)
    text.join_block()
    timestamps.join_block()
    if thread_idx.x == 0:
        var at = (row * n_parts + Int(block_idx.x)) * 2
        text.store(partials, at)
        timestamps.store(partials, at + 1)


def sample_kernel[
    *, is_first: Bool, n_parts: Int
](
    states: IntPointer,
    history: IntPointer,
    sum_logprobs: FloatPointer,
    partials: DevicePointer[DType.uint32],
    logits: FloatPointer,
    rules: IntPointer,
    mask: DevicePointer[DType.uint8],
    draws: FloatPointer,
    temperature_at: FloatPointer,
    n_history: Int32,
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """Chooses a token by each block, from the parts' results, or by a draw from all tokens.

    Parameters:
        is_first: True after a prompt.
        n_parts: Parts of the vocabulary, one for each lane of a warp.

    Args:
        states: [n_rows, N_STATE_FIELDS].
        history: Tokens of each row, [n_rows, n_history].
        sum_logprobs: [n_rows].
        partials: As `partial_argmax_kernel` leaves them.
        logits: [n_lines, n_vocab].
        rules: [N_RULES].
        mask: [n_vocab].
        draws: Random numbers from 0 to 1, [n_rows, n_history].
        temperature_at: [1].
        n_history: Tokens of a row at most.
        n_vocab: Size of the vocabulary.
        first_line: The first line of logits that rows choose from.
        n_group: Rows that share a line.
    """
    launch_dependents()
    wait_on_dependencies()
    var temperature = temperature_at[unsafe_offset=0]
    if temperature == 0 and thread_idx.x >= n_parts:
        return
    var row = Int(block_idx.x)
    var state = states.unsafe_offset(row * N_STATE_FIELDS)
    var at = (row * n_parts + Int(lane_id())) * 2
    var text = load_argmax_sum(partials, at)
    var timestamps = load_argmax_sum(partials, at + 1)
    text.join_warp()
    timestamps.join_warp()
    if state[unsafe_offset=IS_FINISHED] != 0:
        return

    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var normalizer = normalize(text, timestamps, rules)
    var chosen = text.token
    var logit = text.max_logit
    if normalizer.timestamps_win or timestamps.max_logit > text.max_logit:
        chosen = timestamps.token
        logit = timestamps.max_logit
    if temperature > 0:
        var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
        var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
        if normalizer.timestamps_win:
            allowed.text_stop = 0
        var shares = TokenWeights(line, allowed, logit, temperature)
        var random = draws[unsafe_offset=row * Int(n_history) + Int(n_sampled)]
        chosen = draw(shares, n_vocab, random)
        logit = line[unsafe_offset=Int(chosen) if chosen != NO_TOKEN else 0]
    if thread_idx.x > 0:
        return
    if chosen == NO_TOKEN:  # no token may come, or all logits are NaN: the text ends
        chosen = rules[unsafe_offset=EOT]
    sum_logprobs[unsafe_offset=row] += logit - normalizer.logsumexp
    history[unsafe_offset=row * Int(n_history) + Int(n_sampled)] = chosen
    state[unsafe_offset=N_SAMPLED] = n_sampled + 1
    state[unsafe_offset=PENULTIMATE] = state[unsafe_offset=TOKEN]
    state[unsafe_offset=TOKEN] = chosen
    comptime if not is_first:
        state[unsafe_offset=OFFSET] += 1
    if chosen >= rules[unsafe_offset=TIMESTAMP_BEGIN]:
        state[unsafe_offset=LATEST] = chosen
    if chosen == rules[unsafe_offset=EOT] or n_sampled + 1 >= state[unsafe_offset=LIMIT]:
        state[unsafe_offset=IS_FINISHED] = 1


@extensibility.register("whisper_gpu_sample")
struct Sample:
    @staticmethod
    def execute[
        target: StaticString,
        is_first: Bool,
        n_parts: Int,
        state_fields: StaticString,
        rule_fields: StaticString,
    ](
        partials: OutputTensor[dtype=DType.uint32, rank=2, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        history: MutableTensor[dtype=DType.int32, rank=2, ...],
        sum_logprobs: MutableTensor[dtype=F32, rank=1, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        draws: InputTensor[dtype=F32, rank=2, ...],
        temperature: InputTensor[dtype=F32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Chooses the next token of each row that has not ended, and updates its state.

        Parameters:
            target: Device of the graph.
            is_first: True after a prompt.
            n_parts: Parts of the vocabulary that are reduced side by side.
            state_fields: Python's order of a state's fields.
            rule_fields: Python's order of the rules.

        Args:
            partials: Workspace, [n_rows, n_parts * 6].
            states: [n_rows, N_STATE_FIELDS], written to.
            history: Chosen tokens, [n_rows, n_text_ctx], written to.
            sum_logprobs: [n_rows], written to.
            logits: [1, n_lines, n_vocab]; `group_of` tells the line of a row.
            rules: [N_RULES].
            mask: [n_vocab].
            draws: Random numbers from 0 to 1, [n_rows, n_text_ctx].
            temperature: [1].
            ctx: Stream.
        """
        comptime assert n_parts == WARP_SIZE, "a warp combines the parts"
        comptime assert state_fields == STATE_FIELDS, "Python and Mojo differ in a state's fields"
        comptime assert rule_fields == RULE_FIELDS, "Python and Mojo differ in the rules' order"
        var n_rows = states.dim_size(0)
        var first_line, n_group = group_of[is_first](logits.dim_size(1), n_rows)
        ctx.enqueue_function[partial_argmax_kernel[is_first=is_first, n_parts=n_parts]](
            pointer(partials),
            pointer(states),
            pointer(logits),
            pointer(rules),
            pointer(mask),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=(n_parts, n_rows),
            block_dim=THREADS,
            attributes=pdl_attributes(),
        )
        ctx.enqueue_function[sample_kernel[is_first=is_first, n_parts=n_parts]](
            pointer(states),
            pointer(history),
            pointer(sum_logprobs),
            pointer(partials),
            pointer(logits),
            pointer(rules),
            pointer(mask),
            pointer(draws),
            pointer(temperature),
            Int32(history.dim_size(1)),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=n_rows,
            block_dim=DRAW_THREADS,
            attributes=pdl_attributes(),
        )
