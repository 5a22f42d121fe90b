"""Captions of a transcript: its cues by the options of a user, and a line of report on them."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from maxwhisper_cli.captions import NO_STYLE
from maxwhisper_cli.captions.cues import Cue, highlight_words
from maxwhisper_cli.captions.upstream_layout import LineLimits, lay_out
from maxwhisper_cli.transcription.option_types import OptionsError, flag, whole
from maxwhisper_cli.transcription.segments import Transcript

if TYPE_CHECKING:
    from maxwhisper_cli.captions.style import CaptionStyle

_COUNTS = ("max_line_width", "max_line_count", "max_words_per_line")
_count = partial(whole, minimum=0, maximum=10_000)


@dataclass(frozen=True, slots=True)
class CaptionOptions:
    """Checked options of captions: openai-whisper's, with its defaults, or a style."""

    highlight_words: bool = False
    """True if srt and vtt underline each word in turn."""
    max_line_width: int | None = None
    """Characters in a line; 0 counts as None."""
    max_line_count: int | None = None
    """Lines in a cue; it has no effect without `max_line_width`."""
    max_words_per_line: int | None = None
    """Words in a line; it has no effect with `max_line_width`."""
    style: "CaptionStyle | str | Path | None" = None
    """Style, its name, or the path of its TOML file; None, or `none`, is openai-whisper's own."""

    def __post_init__(self) -> None:
        """Checks the options, and loads the style.

        Raises:
            OptionsError: An option is not understood, the style cannot be read, or it is given
                together with a limit that it sets itself.
        """
        flag("highlight_words", self.highlight_words)
        for name in _COUNTS:
            value = getattr(self, name)
            object.__setattr__(self, name, None if value is None else _count(name, value) or None)
        if isinstance(self.style, str | Path) and str(self.style).lower() == NO_STYLE:
            object.__setattr__(self, "style", None)
        elif isinstance(self.style, str | Path):
            from maxwhisper_cli.captions.style import load_style

            object.__setattr__(self, "style", load_style(self.style))
        given = next((name for name in _COUNTS if getattr(self, name) is not None), None)
        if self.style is not None and given is not None:
            raise OptionsError(f"{given} does not go with a caption style, which has its own")

    @property
    def needs_words(self) -> str | None:
        """Name of the option that needs word times; None if none does."""
        names = ("highlight_words", *_COUNTS, "style")
        return next((name for name in names if getattr(self, name)), None)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Messages on options without effect, as openai-whisper has them."""
        found = []
        if self.max_line_count and not self.max_line_width:
            found.append("--max_line_count has no effect without --max_line_width")
        if self.max_words_per_line and self.max_line_width:
            found.append("--max_words_per_line has no effect with --max_line_width")
        return tuple(found)


@dataclass(frozen=True, slots=True)
class Captions:
    """Cues of a transcript."""

    cues: tuple[Cue, ...]
    highlights_words: bool = False
    style_name: str | None = None
    broken: Mapping[str, int] = field(default_factory=dict)
    """Number of cues by the rule of the style that they break."""

    def shown(self, escape: Callable[[str], str] | None = None) -> Iterator[Cue]:
        """Yields the cues as srt and vtt have them, with the words highlighted if they are.

        Args:
            escape: Escapes text for the format, but not the marks of a highlighted word.
        """
        for cue in self.cues if escape is None else (each.mapped(escape) for each in self.cues):
            if self.highlights_words:
                yield from highlight_words(cue)
            else:
                yield cue

    @property
    def report(self) -> str | None:
        """A line on the cues and on broken rules; None without a style."""
        if self.style_name is None:
            return None
        n_cues = len(self.cues)
        cues = f"captions ({self.style_name}): {n_cues} {'cue' if n_cues == 1 else 'cues'}"
        parts = [f"{n} {rule}" for rule, n in self.broken.items()]
        return f"{cues}, {', '.join(parts)}" if parts else f"{cues}, no rule broken"


_DEFAULTS = CaptionOptions()


def make_captions(
    transcript: Transcript, options: CaptionOptions = _DEFAULTS, *, task: str | None = None
) -> Captions:
    """Returns a transcript's captions.

    Args:
        transcript: A transcript; with word times for any option but the defaults.
        options: Options of the captions.
        task: `translate` if the text is a translation into English.

    Raises:
        OptionsError: An option needs word times, which the transcript does not have.
    """
    segments = transcript.segments
    if options.needs_words and any(segment.words is None for segment in segments):
        raise OptionsError(
            f"{options.needs_words} needs word times: transcribe with word_timestamps=True"
        )
    style = options.style
    if style is None:
        limits = LineLimits(
            options.max_line_width, options.max_line_count, options.max_words_per_line
        )
        return Captions(tuple(lay_out(segments, limits)), options.highlight_words)
    from maxwhisper_cli.captions.styled_layout import lay_out_in_style

    assert not isinstance(style, str | Path), "a name has been loaded"
    language = "en" if task == "translate" else transcript.language
    styled = lay_out_in_style(segments, style, language, transcript.duration_seconds)
    return Captions(styled.cues, options.highlight_words, style.name, styled.broken)
