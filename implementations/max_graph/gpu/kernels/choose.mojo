"""The likeliest token under the rules, and what follows from it, for greedy decoding on the device.

What a row knows of itself is a line of integers, see `TOKEN` and below; `rules` and `mask` are the
same for all rows. The host reads results when it likes; a row that has ended changes no more.
"""
import max.gpu.primitives.warp as warp
import extensibility
from extensibility import IO, InputTensor, IOSpec, ManagedTensorSlice, OutputTensor
from max.gpu import block_idx, lane_id, thread_idx, warp_id
from max.gpu.host import DeviceContext
from max.gpu.sync import barrier
from std.math import exp, log
from std.memory import unsafe_stack_allocation
from .pointers import F32, Floats, Integers, Memory, memory

comptime MutableTensor = ManagedTensorSlice[IOSpec[True, IO.Input](), static_spec=_]
comptime THREADS = 1024
comptime WARPS = THREADS // 32
comptime LOWEST = Float32(-3e38)

comptime N_FIELDS = 8
comptime TOKEN = 0
"""Token to feed next, the last one chosen."""
comptime OFFSET = 1
"""Its position."""
comptime N_SAMPLED = 2
comptime PENULTIMATE = 3
comptime LATEST_TIMESTAMP = 4
comptime IS_FINISHED = 5
comptime LIMIT = 6
"""How many tokens may be chosen."""

comptime EOT = 0
comptime TIMESTAMP_BEGIN = 1
comptime WITH_TIMESTAMPS = 2
comptime MAX_INITIAL = 3
"""Steps of 20 ms, or -1."""
comptime NO_SPEECH = 4
"""Token, or -1."""

comptime NEVER = UInt8(1)
comptime NOT_FIRST = UInt8(2)


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
            self.top = tops[unsafe_offset=Int(lane_id())]
            self.token = tokens[unsafe_offset=Int(lane_id())]
            self.total = totals[unsafe_offset=Int(lane_id())]
            self.join_warp()
        barrier()


@always_inline
def no_candidates() -> Candidates:
    return Candidates(LOWEST, Int32.MAX, Float32(0))


def choose_kernel[
    is_first: Bool
](
    states: Integers,
    history: Integers,
    sum_logprobs: Floats,
    logits: Floats,
    rules: Integers,
    mask: Memory[DType.uint8],
    n_vocab: Int32,
    n_history: Int32,
    first_logits: Int32,
):
    """A block chooses for a row; `first_logits` is the line of logits of row 0."""
    var row = Int(block_idx.x)
    var state = states.unsafe_offset(row * N_FIELDS)
    var begin = rules[unsafe_offset=TIMESTAMP_BEGIN]
    var with_timestamps = rules[unsafe_offset=WITH_TIMESTAMPS] != 0
    var last = state[unsafe_offset=TOKEN]
    var penultimate = state[unsafe_offset=PENULTIMATE]
    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var latest = state[unsafe_offset=LATEST_TIMESTAMP]

    var text_start = Int32(0)
    var text_stop = min(begin, n_vocab)
    var times_start = begin
    var times_stop = n_vocab
    if with_timestamps:
        comptime if is_first:
            text_stop = 0
            if rules[unsafe_offset=MAX_INITIAL] >= 0:
                times_stop = min(n_vocab, begin + rules[unsafe_offset=MAX_INITIAL] + 1)
        else:
            var after_one = last >= begin
            var after_two = after_one and (n_sampled < 2 or penultimate >= begin)
            if after_two:
                times_stop = 0
            elif after_one:
                text_start = rules[unsafe_offset=EOT]
            if latest >= 0:
                # A closing timestamp may come again as the next opening one.
                times_start = latest if after_one and not after_two else latest + 1

    var line = logits.unsafe_offset((Int(first_logits) + row) * Int(n_vocab))
    var text = no_candidates()
    var times = no_candidates()
    for i in range(Int(thread_idx.x), Int(n_vocab), THREADS):
        var token = Int32(i)
        var forbidden = mask[unsafe_offset=i]
        if forbidden & NEVER != 0 or (is_first and forbidden & NOT_FIRST != 0):
            continue
        if token < begin:
            if token >= text_start and token < text_stop:
                text.add(line[unsafe_offset=i], token)
        elif token >= times_start and token < times_stop:
            times.add(line[unsafe_offset=i], token)
    text.join_block()
    times.join_block()
    if thread_idx.x != 0 or state[unsafe_offset=IS_FINISHED] != 0:
        return

    var top = max(text.top, times.top)
    var times_total = times.total * exp(times.top - top)
    var total = times_total + text.total * exp(text.top - top)
    var chosen = text.token
    var logit = text.top
    var times_win = with_timestamps and times_total > exp(text.top - top)
    if times_win:
        total = times_total
    if times_win or times.top > text.top:
        chosen = times.token
        logit = times.top
    sum_logprobs[unsafe_offset=row] += logit - (top + log(total))
    history[unsafe_offset=row * Int(n_history) + Int(n_sampled)] = chosen
    state[unsafe_offset=N_SAMPLED] = n_sampled + 1
    state[unsafe_offset=PENULTIMATE] = last
    state[unsafe_offset=TOKEN] = chosen
    comptime if not is_first:
        state[unsafe_offset=OFFSET] += 1
    if chosen >= begin:
        state[unsafe_offset=LATEST_TIMESTAMP] = chosen
    if chosen == rules[unsafe_offset=EOT] or n_sampled + 1 >= state[unsafe_offset=LIMIT]:
        state[unsafe_offset=IS_FINISHED] = 1


@extensibility.register("whisper_gpu_choose")
struct Choose:
    @staticmethod
    def execute[
        target: StaticString, is_first: Bool
    ](
        states: MutableTensor[dtype=DType.int32, rank=2, ...],
        history: MutableTensor[dtype=DType.int32, rank=2, ...],
        sum_logprobs: MutableTensor[dtype=F32, rank=1, ...],
        logits: InputTensor[dtype=F32, rank=3, ...],
        rules: InputTensor[dtype=DType.int32, rank=1, ...],
        mask: InputTensor[dtype=DType.uint8, rank=1, ...],
        ctx: DeviceContext,
    ) raises:
        """The last lines of logits, [1, n_lines, n_vocab], are those of the rows."""
        var n_rows = states.dim_size(0)
        ctx.enqueue_function[choose_kernel[is_first]](
            memory(states),
            memory(history),
            memory(sum_logprobs),
            memory(logits),
            memory(rules),
            memory(mask),
            Int32(logits.dim_size(2)),
            Int32(history.dim_size(1)),
            Int32(logits.dim_size(1) - n_rows),
            grid_dim=n_rows,
            block_dim=THREADS,
        )


def probability_kernel(into: Floats, logits: Floats, rules: Integers, n_vocab: Int32):
    """A block for each row; not a number where the vocabulary has no such token."""
    var row = Int(block_idx.x)
    var line = logits.unsafe_offset(row * Int(n_vocab))
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
        """The first lines of logits, [1, n_lines, n_vocab], are those of the rows."""
        ctx.enqueue_function[probability_kernel](
            memory(output),
            memory(logits),
            memory(rules),
            Int32(logits.dim_size(2)),
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
        )
