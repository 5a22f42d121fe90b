"""Fields of the array in which kernels read a text that is aligned with a window."""

TEXT_FIELDS = ("n_sot", "n_tokens", "n_positions", "eot")
"""Integers that describe a text, in their order.

They are the tokens before <|notimestamps|>, all tokens, the audio positions that hold sound, and
the end of the text: tokens from it on count for no probability.
"""
N_TEXT_FIELDS = len(TEXT_FIELDS)
