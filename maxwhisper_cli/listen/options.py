"""Options of a live transcription, with their checks."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, Literal, get_args

from maxwhisper_cli.transcription.languages import parse_language
from maxwhisper_cli.transcription.option_types import OptionsError, flag, real, text
from maxwhisper_cli.transcription.options import AUTO_LANGUAGE, Task, VadOptions

PolicyName = Literal["auto", "align-att", "local-agreement"]
LIVE_VAD: Final = VadOptions(threshold=0.4, min_speech_ms=200, min_silence_ms=700)
"""Voice activity for live speech: an utterance ends after a short pause."""


@dataclass(frozen=True, slots=True)
class ListenOptions:
    """Checked options of a live transcription; README.md has the measurements behind them."""

    policy: PolicyName = "auto"
    """Rule by which words become final; `auto` is the better one for the model."""
    min_chunk_seconds: float = 0.5
    """Least new audio between two updates of the text."""
    guard_seconds: float = 1.0
    """With `align-att`, words that end so near to the end of the audio are not final yet."""
    task: Task = "transcribe"
    language: str | None = None
    """Code, tag or name of the language; None, or `auto`, detects it in the first speech."""
    initial_prompt: str | None = None
    """Text before the first word: names, spelling, style."""
    condition_on_previous_text: bool = True
    """True if the text before an utterance prompts it."""
    vad: VadOptions | None = LIVE_VAD
    """Voice activity, by whose pauses utterances end; None leaves that to the caller."""

    def __post_init__(self) -> None:
        """Checks the options, and stores them in their own types.

        Raises:
            OptionsError: An option is not understood or out of range.
        """
        for name, check in _CHECKS.items():
            object.__setattr__(self, name, check(name, getattr(self, name)))
        for name, kind in (("policy", PolicyName), ("task", Task)):
            if getattr(self, name) not in get_args(kind):
                known = ", ".join(get_args(kind))
                raise OptionsError(f"{name} is one of {known}, not {getattr(self, name)!r}")
        if self.initial_prompt is not None:
            object.__setattr__(self, "initial_prompt", text("initial_prompt", self.initial_prompt))
        if self.language is not None:
            language = text("language", self.language)
            code = None if language == AUTO_LANGUAGE else parse_language(language)
            object.__setattr__(self, "language", code)


_CHECKS: Mapping[str, Callable[[str, object], Any]] = {
    "min_chunk_seconds": partial(real, minimum=0.1, maximum=10),
    "guard_seconds": partial(real, minimum=0, maximum=5),
    "condition_on_previous_text": flag,
}
"""The check of each option by itself."""
