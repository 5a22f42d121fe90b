"""Fields of a text that is aligned with a window, as the kernels of word timing read them."""

comptime TEXT_FIELDS = StaticString("n_sot n_tokens n_positions eot")
"""Fields in their order, as Python spells them."""
comptime N_TEXT_FIELDS = 4
comptime N_SOT = 0
"""Tokens before <|notimestamps|>, which are not aligned."""
comptime N_TOKENS = 1
"""All tokens that were fed; the last one, the end of the text, is not aligned."""
comptime N_POSITIONS = 2
"""Audio positions that hold sound."""
comptime EOT = 3
"""End of text: tokens from it on count for no probability."""
