"""Rules and texts that reach every branch of the rules, and what the host makes of logits."""

import numpy as np
import numpy.typing as npt

from implementations.decoding.rules import RuleBook
from implementations.request import TokenRules

EOT, TIMESTAMP_BEGIN = 700, 710
_SUPPRESSED = (1, 50, 703, 704, 706, 709)

RULES = [
    TokenRules(EOT, TIMESTAMP_BEGIN, 705, _SUPPRESSED, (220, EOT)),
    TokenRules(EOT, TIMESTAMP_BEGIN, None, _SUPPRESSED, (220, EOT), with_timestamps=False),
    TokenRules(EOT, TIMESTAMP_BEGIN, 705, (), (), max_initial_timestamp=0),
    TokenRules(EOT, TIMESTAMP_BEGIN, 705, _SUPPRESSED, (220,), max_initial_timestamp=9),
]
"""With timestamps and without; with nothing suppressed, and with a first timestamp's limit."""

TEXTS = [
    [5],
    [715],
    [715, 5, 8],
    [715, 5, 720],
    [715, 5, 720, 720],
    [715, 5, 720, 720, 9],
    [710],
    [710, 6, 732],
    [715, 715],
    [715, 5, 720, 725, 9, 4],
    [5, 6, 7],
]
"""Sampled so far, ending with text, with one timestamp and with two, and with the last one."""


def masked_logits(
    rules: TokenRules, logits: npt.NDArray[np.float32], texts: list[list[int]]
) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    """Logits without what the rules forbid, and their log-sum-exp, by the host's rules."""
    book, masked = RuleBook(rules), logits.copy()
    logsumexps = [book.apply(row[None], [text])[0] for row, text in zip(masked, texts, strict=True)]
    return masked, np.array(logsumexps)
