"""Which tokens may come next: ranges of the vocabulary by a row's state, and a mask for all rows."""
from .pointers import Integers, Memory

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
comptime ENDINGS_LEFT = 7
"""How many more hypotheses of a beam search may end."""

comptime EOT = 0
comptime TIMESTAMP_BEGIN = 1
comptime WITH_TIMESTAMPS = 2
comptime MAX_INITIAL = 3
"""Steps of 20 ms, or -1."""
comptime NO_SPEECH = 4
"""Token, or -1."""

comptime NEVER = UInt8(1)
comptime NOT_FIRST = UInt8(2)


@always_inline
def group_of[is_first: Bool](n_lines: Int, n_rows: Int) -> Tuple[Int32, Int32]:
    """The first line of logits that rows choose from, and how many rows share a line.

    After a prompt there are two lines for each window, those of all <|startoftranscript|> first,
    and all rows of a window share the second. Later each row has a line.
    """
    comptime if is_first:
        var n_windows = n_lines // 2
        return Int32(n_windows), Int32(n_rows // n_windows)
    return Int32(0), Int32(1)


@fieldwise_init
struct Allowed(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Ranges of text and of timestamps, without the tokens that the mask forbids."""

    var begin: Int32
    """The first timestamp."""
    var text_start: Int32
    var text_stop: Int32
    var times_start: Int32
    var times_stop: Int32
    var mask: Memory[DType.uint8]
    var forbidden: UInt8
    """Bits of the mask."""

    @always_inline
    def has(self, token: Int32) -> Bool:
        """Of any number; none beyond the vocabulary may come."""
        var is_text = token < self.begin
        var start = self.text_start if is_text else self.times_start
        var stop = self.text_stop if is_text else self.times_stop
        if token < start or token >= stop:
            return False
        return self.mask[unsafe_offset=Int(token)] & self.forbidden == 0


@always_inline
def allowed_tokens[
    is_first: Bool
](state: Integers, rules: Integers, mask: Memory[DType.uint8], n_vocab: Int32) -> Allowed:
    """What may come next in a row."""
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
    var forbidden = NEVER | NOT_FIRST if is_first else NEVER
    return Allowed(begin, text_start, text_stop, times_start, times_stop, mask, forbidden)
