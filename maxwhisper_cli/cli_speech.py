"""Options of voice activity detection; whisper-ctranslate2's names for them are accepted too."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Annotated

import typer

from maxwhisper_cli.transcription.options import OptionsError, VadOptions
from maxwhisper_cli.upstream_style import (
    SWITCH_METAVAR,
    Switch,
    optional_float,
    optional_int,
)

_PANEL = "Speech and silence"


def _number(
    names: tuple[str, ...], parser: Callable[[object], float | None], text: str, default: str
) -> object:
    """Returns an option that is a number or None, in milliseconds if it is an integer."""
    return typer.Option(
        *names,
        parser=parser,
        metavar="MS" if parser is optional_int else "X",
        help=text,
        rich_help_panel=_PANEL,
        show_default=default,
    )


_DEFAULTS = VadOptions()

Vad = Annotated[
    Switch,
    typer.Option(
        "--vad",
        "--vad-filter",
        metavar=SWITCH_METAVAR,
        case_sensitive=False,
        help="Decode only where somebody speaks (Silero VAD).",
        rich_help_panel=_PANEL,
    ),
]
Threshold = Annotated[
    float | None,
    _number(
        ("--vad-threshold",),
        optional_float,
        "Probability at which speech begins.",
        f"{_DEFAULTS.threshold:g}",
    ),
]
NegThreshold = Annotated[
    float | None,
    _number(
        ("--vad-neg-threshold",),
        optional_float,
        "Probability below which it ends.",
        "0.15 below --vad-threshold",
    ),
]
MinSpeech = Annotated[
    int | None,
    _number(
        ("--vad-min-speech-ms", "--vad-min-speech-duration-ms"),
        optional_int,
        "Ignore speech that is not longer.",
        str(_DEFAULTS.min_speech_ms),
    ),
]
MinSilence = Annotated[
    int | None,
    _number(
        ("--vad-min-silence-ms", "--vad-min-silence-duration-ms"),
        optional_int,
        "Decode pauses that are shorter.",
        str(_DEFAULTS.min_silence_ms),
    ),
]
SpeechPad = Annotated[
    int | None,
    _number(
        ("--vad-speech-pad-ms",),
        optional_int,
        "Decode so much before and behind speech.",
        str(_DEFAULTS.speech_pad_ms),
    ),
]
MaxSpeech = Annotated[
    float | None,
    _number(
        ("--vad-max-speech-s", "--vad-max-speech-duration-s"),
        optional_float,
        "Split longer speech at its longest pause.",
        "never",
    ),
]


@dataclass(frozen=True, slots=True)
class GivenSpeech:
    """Values of these options; None leaves a default as it is."""

    is_on: bool
    threshold: float | None
    neg_threshold: float | None
    min_speech_ms: int | None
    min_silence_ms: int | None
    speech_pad_ms: int | None
    max_speech_s: float | None

    def options(self) -> VadOptions | None:
        """Returns them in the form of the Python API; None if detection is off.

        Raises:
            OptionsError: One of them is out of range, or given without `--vad`.
        """
        values = {
            "threshold": self.threshold,
            "neg_threshold": self.neg_threshold,
            "min_speech_ms": self.min_speech_ms,
            "min_silence_ms": self.min_silence_ms,
            "speech_pad_ms": self.speech_pad_ms,
            "max_speech_s": self.max_speech_s,
        }
        given = {name: value for name, value in values.items() if value is not None}
        if self.is_on:
            return VadOptions(**given)  # type: ignore[arg-type]
        for name in given:
            raise OptionsError(f"--vad-{name.replace('_', '-')} needs --vad")
        return None
