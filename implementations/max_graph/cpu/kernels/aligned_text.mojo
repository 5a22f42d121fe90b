"""Fields of a text that is aligned with a window, as the operations of word timing read them."""
from extensibility import InputTensor

comptime TEXT_FIELDS = StaticString("n_sot n_tokens n_positions eot")
"""Fields in their order, as Python spells them."""
comptime N_SOT = 0
"""Tokens before <|notimestamps|>, which are not aligned."""
comptime N_POSITIONS = 2
"""Audio positions that hold sound."""
comptime EOT = 3
"""End of text: tokens from it on count for no probability."""


@always_inline
def check_text_fields[text_fields: StaticString]():
    """Refuses to compile where Python's order of fields differs."""
    comptime assert text_fields == TEXT_FIELDS, "Python and Mojo differ in a text's fields"


@always_inline
def field(text: InputTensor[dtype=DType.int32, rank=1, ...], index: Int) -> Int:
    """Returns a field of a text."""
    return Int(text[index])
