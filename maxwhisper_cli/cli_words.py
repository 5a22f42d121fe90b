"""Options of word times, as types: name, spelling, help and panel of each."""

from typing import Annotated

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.upstream_style import Switch, float_option, option, switch, text_option
from weights.whole_number import whole_number

PANEL = "Words"

WordTimestamps = Annotated[
    Switch, switch("--word-timestamps", "Time each word, and segments by their words.", PANEL)
]
PrependPunctuations = Annotated[
    str,
    option("--prepend-punctuations", "Marks joined to the word after them.", PANEL, "MARKS"),
]
AppendPunctuations = Annotated[
    str,
    option("--append-punctuations", "Marks joined to the word before them.", PANEL, "MARKS"),
]
HallucinationSilenceThreshold = Annotated[
    float | None,
    float_option(
        "--hallucination-silence-threshold",
        "Skip silence longer than this, in seconds, beside words that look invented.",
        PANEL,
    ),
]
AlignmentHeads = Annotated[
    str | None,
    text_option(
        "--alignment-heads",
        "Attention heads that time words: layer.head,...; else the model's own.",
        PANEL,
        "HEADS",
    ),
]


def parse_heads(text: str | None) -> tuple[tuple[int, int], ...] | None:
    """Parses `layer.head,layer.head,...`; None for the model's own.

    Raises:
        OptionsError: It is not written like that.
    """
    if text is None:
        return None
    pairs = [part.strip().split(".") for part in text.split(",") if part.strip()]
    if not pairs or any(len(pair) != 2 or not all(map(_is_number, pair)) for pair in pairs):
        raise OptionsError(f"--alignment-heads takes layer.head,layer.head,..., not {text!r}")
    return tuple((int(layer), int(head)) for layer, head in pairs)


def _is_number(text: str) -> bool:
    return whole_number(text) is not None
