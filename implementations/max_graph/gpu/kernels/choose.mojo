"""Which token comes next under the rules, and what follows from it, for decoding on the device.

At temperature 0 it is the likeliest, above it one is drawn with a random number from the host.

What a row knows of itself is a line of integers, see rules.mojo; `rules` and `mask` are the same
for all rows. The host reads results when it likes; a row that has ended changes no more.
"""
import extensibility
from extensibility import InputTensor, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx
from max.gpu.host import DeviceContext
from std.math import exp
from .candidates import THREADS, load_candidates, no_candidates, weigh
from .draw import DRAWERS, NOBODY, Shares, draw
from .launch import early, let_next_start, wait_for_previous
from .pointers import F32, Floats, Integers, Memory, MutableTensor, memory
from .rules import (
    EOT,
    IS_FINISHED,
    LATEST_TIMESTAMP,
    LIMIT,
    N_FIELDS,
    N_SAMPLED,
    NO_SPEECH,
    OFFSET,
    PENULTIMATE,
    TIMESTAMP_BEGIN,
    TOKEN,
    allowed_tokens,
    group_of,
)

comptime N_PARTS = 32
"""Blocks that look through the vocabulary for each row; a warp brings together what they find."""


def scan_kernel[
    is_first: Bool
](
    parts: Memory[DType.uint32],
    states: Integers,
    logits: Floats,
    rules: Integers,
    mask: Memory[DType.uint8],
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """Blocks: (part of the vocabulary, row). Finds the candidates of its part, text and times."""
    let_next_start()
    wait_for_previous()
    var row = Int(block_idx.y)
    var state = states.unsafe_offset(row * N_FIELDS)
    var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
    var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
    var text = no_candidates()
    var times = no_candidates()
    var first = Int(block_idx.x) * THREADS + Int(thread_idx.x)
    for i in range(first, Int(n_vocab), THREADS * N_PARTS):
        var token = Int32(i)
        if allowed.has(token):
            if token < allowed.begin:
                text.add(line[unsafe_offset=i], token)
            else:
                times.add(line[unsafe_offset=i], token)
    text.join_block()
    times.join_block()
    if thread_idx.x == 0:
        var at = (row * N_PARTS + Int(block_idx.x)) * 2
        text.store(parts, at)
        times.store(parts, at + 1)


def choose_kernel[
    is_first: Bool
](
    states: Integers,
    history: Integers,
    sum_logprobs: Floats,
    parts: Memory[DType.uint32],
    logits: Floats,
    rules: Integers,
    mask: Memory[DType.uint8],
    draws: Floats,
    temperature: Floats,
    n_history: Int32,
    n_vocab: Int32,
    first_line: Int32,
    n_group: Int32,
):
    """A block for each row chooses among the candidates of all parts, or draws from all tokens."""
    let_next_start()
    wait_for_previous()
    var heat = temperature[unsafe_offset=0]
    if heat == 0 and thread_idx.x >= N_PARTS:
        return
    var row = Int(block_idx.x)
    var state = states.unsafe_offset(row * N_FIELDS)
    var at = (row * N_PARTS + Int(lane_id())) * 2
    var text = load_candidates(parts, at)
    var times = load_candidates(parts, at + 1)
    text.join_warp()
    times.join_warp()
    if state[unsafe_offset=IS_FINISHED] != 0:
        return

    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var weighed = weigh(text, times, rules)
    var chosen = text.token
    var logit = text.top
    if weighed.times_win or times.top > text.top:
        chosen = times.token
        logit = times.top
    if heat > 0:
        var line = logits.unsafe_offset((Int(first_line) + row // Int(n_group)) * Int(n_vocab))
        var allowed = allowed_tokens[is_first](state, rules, mask, n_vocab)
        if weighed.times_win:
            allowed.text_stop = 0
        var shares = Shares(line, allowed, logit, heat)
        var random = draws[unsafe_offset=row * Int(n_history) + Int(n_sampled)]
        chosen = draw(shares, n_vocab, random)
        logit = line[unsafe_offset=Int(chosen) if chosen != NOBODY else 0]
    if thread_idx.x > 0:
        return
    if chosen == NOBODY:  # where nothing may come, or nothing is a number, the text ends
        chosen = rules[unsafe_offset=EOT]
    sum_logprobs[unsafe_offset=row] += logit - weighed.log_total
    history[unsafe_offset=row * Int(n_history) + Int(n_sampled)] = chosen
    state[unsafe_offset=N_SAMPLED] = n_sampled + 1
    state[unsafe_offset=PENULTIMATE] = state[unsafe_offset=TOKEN]
    state[unsafe_offset=TOKEN] = chosen
    comptime if not is_first:
        state[unsafe_offset=OFFSET] += 1
    if chosen >= rules[unsafe_offset=TIMESTAMP_BEGIN]:
        state[unsafe_offset=LATEST_TIMESTAMP] = chosen
    if chosen == rules[unsafe_offset=EOT] or n_sampled + 1 >= state[unsafe_offset=LIMIT]:
        state[unsafe_offset=IS_FINISHED] = 1


@extensibility.register("whisper_gpu_choose")
struct Choose:
    @staticmethod
    def execute[
        target: StaticString, is_first: Bool
    ](
        parts: OutputTensor[dtype=DType.uint32, rank=2, ...],
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
        """Of logits [1, n_lines, n_vocab], whose lines are as `group_of` says."""
        var n_rows = states.dim_size(0)
        var first_line, n_group = group_of[is_first](logits.dim_size(1), n_rows)
        ctx.enqueue_function[scan_kernel[is_first]](
            memory(parts),
            memory(states),
            memory(logits),
            memory(rules),
            memory(mask),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=(N_PARTS, n_rows),
            block_dim=THREADS,
            attributes=early(),
        )
        ctx.enqueue_function[choose_kernel[is_first]](
            memory(states),
            memory(history),
            memory(sum_logprobs),
            memory(parts),
            memory(logits),
            memory(rules),
            memory(mask),
            memory(draws),
            memory(temperature),
            Int32(history.dim_size(1)),
            Int32(logits.dim_size(2)),
            first_line,
            n_group,
            grid_dim=n_rows,
            block_dim=DRAWERS,
            attributes=early(),
        )


def probability_kernel(
    into: Floats, logits: Floats, rules: Integers, n_vocab: Int32, n_group: Int32
):
    """A block for each row; not a number where the vocabulary has no such token."""
    var row = Int(block_idx.x)
    var line = logits.unsafe_offset(row // Int(n_group) * Int(n_vocab))
    var all = no_candidates()
    for i in range(Int(thread_idx.x), Int(n_vocab), THREADS):
        all.add(line[unsafe_offset=i], Int32(i))
    all.join_block()
    if thread_idx.x == 0:
        var token = Int(rules[unsafe_offset=NO_SPEECH])
        var nan = (all.top - all.top) / (all.top - all.top)
        into[unsafe_offset=row] = (
            exp(line[unsafe_offset=token] - all.top) / all.total if token >= 0 else nan
        )


@extensibility.register("whisper_gpu_no_speech_probability")
struct NoSpeechProbability:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=1, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """Of logits as `choose` takes them after a prompt."""
        var _, n_group = group_of[True](logits.dim_size(1), output.dim_size(0))
        ctx.enqueue_function[probability_kernel](
            memory(output),
            memory(logits),
            memory(rules),
            Int32(logits.dim_size(2)),
            n_group,
            grid_dim=output.dim_size(0),
            block_dim=THREADS,
        )


def embed_last_kernel[
    w_type: DType
](
    into: Floats,
    offsets: Integers,
    states: Integers,
    embedding: Memory[w_type],
    positional: Floats,
    n_state: Int32,
    n_ctx: Int32,
):
    let_next_start()
    wait_for_previous()
    var row = Int(block_idx.x)
    var token = Int(states[unsafe_offset=row * N_FIELDS + TOKEN])
    var offset = min(states[unsafe_offset=row * N_FIELDS + OFFSET], n_ctx - 1)
    if thread_idx.x == 0:
        offsets[unsafe_offset=row] = offset
    for i in range(Int(thread_idx.x), Int(n_state), 128):
        into[unsafe_offset=row * Int(n_state) + i] = (
            embedding[unsafe_offset=token * Int(n_state) + i].cast[F32]()
            + positional[unsafe_offset=Int(offset) * Int(n_state) + i]
        )


@extensibility.register("whisper_gpu_embed_last")
struct EmbedLast:
    @staticmethod
    def execute[
        target: StaticString
    ](
        output: OutputTensor[dtype=F32, rank=3, ...],
        offsets: OutputTensor[dtype=DType.int32, rank=1, ...],
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        embedding: InputTensor[rank=2, ...],
        positional: InputTensor[dtype=F32, rank=2, ...],
        ctx: DeviceContext,
    ) raises:
        """The token that each row feeds next, and its position."""
        ctx.enqueue_function[embed_last_kernel[embedding.dtype]](
            memory(output),
            memory(offsets),
            memory(states),
            memory(embedding),
            memory(positional),
            Int32(output.dim_size(2)),
            Int32(positional.dim_size(0)),
            grid_dim=states.dim_size(0),
            block_dim=128,
            attributes=early(),
        )
