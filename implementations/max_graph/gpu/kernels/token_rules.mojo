"""Rules of decoding: the tokens that may come next, by a row's state and a mask for all rows.

Fields of states and rules are numbered here and in graphs/token_state.py. Operations are given
Python's order as a parameter and compare it.
"""
from .pointers import DevicePointer, IntPointer

comptime STATE_FIELDS = StaticString(
    "token offset n_sampled penultimate latest is_finished limit endings_left"
)
"""Fields of a row's state in their order, as Python spells them."""
comptime N_STATE_FIELDS = 8
comptime TOKEN = 0
"""Token to feed next, the last one chosen."""
comptime OFFSET = 1
"""Position of that token."""
comptime N_SAMPLED = 2
comptime PENULTIMATE = 3
comptime LATEST = 4
"""Latest timestamp, or -1."""
comptime IS_FINISHED = 5
comptime LIMIT = 6
"""Number of tokens that may be chosen."""
comptime ENDINGS_LEFT = 7
"""Number of hypotheses of a beam search that may still end."""

comptime RULE_FIELDS = StaticString(
    "eot timestamp_begin with_timestamps max_initial_timestamp no_speech"
)
"""Numbers of the rules in their order, as Python spells them."""
comptime N_RULES = 5
comptime EOT = 0
comptime TIMESTAMP_BEGIN = 1
comptime WITH_TIMESTAMPS = 2
comptime MAX_INITIAL = 3
"""Latest first timestamp in steps of 20 ms, or -1."""
comptime NO_SPEECH = 4
"""Token, or -1."""

comptime NEVER = UInt8(1)
comptime NOT_FIRST = UInt8(2)


@always_inline
def group_of[is_first: Bool](n_lines: Int, n_rows: Int) -> Tuple[Int32, Int32]:
    """Returns the first line of logits that rows choose from, and how many rows share a line.

    After a prompt there are two lines for each window, those of all <|startoftranscript|> first,
    and all rows of a window share the second. Later each row has a line.

    Parameters:
        is_first: True after a prompt.

    Args:
        n_lines: Lines of logits.
        n_rows: Rows.

    Returns:
        The first line, and the rows of a line.
    """
    comptime if is_first:
        var n_windows = n_lines // 2
        return Int32(n_windows), Int32(n_rows // n_windows)
    return Int32(0), Int32(1)


@fieldwise_init
struct AllowedTokens(Copyable, ImplicitlyCopyable, Movable, TrivialRegisterPassable):
    """Ranges of text and of timestamps, without the tokens that the mask forbids."""

    var begin: Int32
    """The first timestamp."""
    var text_start: Int32
    var text_stop: Int32
    var timestamp_start: Int32
    var timestamp_stop: Int32
    var mask: DevicePointer[DType.uint8]
    """NEVER and NOT_FIRST of each token, [n_vocab]."""
    var forbidden: UInt8
    """Bits of the mask."""

    @always_inline
    def has(self, token: Int32) -> Bool:
        """Returns True where a token may come; the number may be beyond the vocabulary."""
        var is_text = token < self.begin
        var start = self.text_start if is_text else self.timestamp_start
        var stop = self.text_stop if is_text else self.timestamp_stop
        if token < start or token >= stop:
            return False
        return self.mask[unsafe_offset=Int(token)] & self.forbidden == 0


@always_inline
def allowed_tokens[
    is_first: Bool
](
    state: IntPointer, rules: IntPointer, mask: DevicePointer[DType.uint8], n_vocab: Int32
) -> AllowedTokens:
    """Returns the tokens that may come next in a row.

    Parameters:
        is_first: True for the first token after a prompt.

    Args:
        state: The row's state, [N_STATE_FIELDS].
        rules: [N_RULES].
        mask: [n_vocab].
        n_vocab: Size of the vocabulary.

    Returns:
        Ranges and mask.
    """
    var begin = rules[unsafe_offset=TIMESTAMP_BEGIN]
    var with_timestamps = rules[unsafe_offset=WITH_TIMESTAMPS] != 0
    var last = state[unsafe_offset=TOKEN]
    var penultimate = state[unsafe_offset=PENULTIMATE]
    var n_sampled = state[unsafe_offset=N_SAMPLED]
    var latest = state[unsafe_offset=LATEST]

    var text_start = Int32(0)
    var text_stop = min(begin, n_vocab)
    var timestamp_start = begin
    var timestamp_stop = n_vocab
    if with_timestamps:
        comptime if is_first:
            text_stop = 0
            if rules[unsafe_offset=MAX_INITIAL] >= 0:
                timestamp_stop = min(n_vocab, begin + rules[unsafe_offset=MAX_INITIAL] + 1)
        else:
            var after_one = last >= begin
            var after_two = after_one and (n_sampled < 2 or penultimate >= begin)
            if after_two:
                timestamp_stop = 0
            elif after_one:
                text_start = rules[unsafe_offset=EOT]
            if latest >= 0:
                # A closing timestamp may come again as the next opening one.
                timestamp_start = latest if after_one and not after_two else latest + 1
    var forbidden = NEVER | NOT_FIRST if is_first else NEVER
    return AllowedTokens(
        begin, text_start, text_stop, timestamp_start, timestamp_stop, mask, forbidden
    )
