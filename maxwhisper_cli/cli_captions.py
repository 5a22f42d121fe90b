"""Options of captions: lines, highlighted words, and styles."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.upstream_style import Switch, int_option, optional_count, switch

if TYPE_CHECKING:
    from maxwhisper_cli.captions.captions import CaptionOptions

_PANEL = "Captions (srt, vtt, lrc, ass, ttml)"
_WITH_WORDS = "; needs --word-timestamps."

CaptionStyle = Annotated[
    str,
    typer.Option(
        "--caption-style",
        metavar="STYLE",
        help="none, netflix, bbc or FILE.toml; a style asks for word times itself.",
        rich_help_panel=_PANEL,
    ),
]
HighlightWords = Annotated[
    Switch, switch("--highlight-words", f"Underline each word in srt and vtt{_WITH_WORDS}", _PANEL)
]
MaxLineWidth = Annotated[
    int | None,
    int_option("--max-line-width", f"Characters in a line{_WITH_WORDS}", _PANEL, optional_count),
]
MaxLineCount = Annotated[
    int | None,
    int_option("--max-line-count", "Lines in a cue, with a width.", _PANEL, optional_count),
]
MaxWordsPerLine = Annotated[
    int | None,
    int_option("--max-words-per-line", "Words in a line, without a width.", _PANEL, optional_count),
]


@dataclass(frozen=True, slots=True)
class GivenCaptions:
    """Values of these options."""

    caption_style: str
    highlight_words: Switch
    max_line_width: int | None
    max_line_count: int | None
    max_words_per_line: int | None

    def options(self, *, has_word_times: bool) -> "CaptionOptions":
        """Returns them in the form of the Python API.

        Args:
            has_word_times: True if word times were asked for.

        Raises:
            OptionsError: One of them makes no sense, not with the others or not without word times.
        """
        from maxwhisper_cli.captions.captions import CaptionOptions

        options = CaptionOptions(
            highlight_words=bool(self.highlight_words),
            max_line_width=self.max_line_width,
            max_line_count=self.max_line_count,
            max_words_per_line=self.max_words_per_line,
            style=self.caption_style,
        )
        needing = options.needs_words
        if needing is not None and options.style is None and not has_word_times:
            raise OptionsError(f"--{needing} requires --word_timestamps True")
        return options
