"""Options for reading a recording: channel, track, and format of raw samples."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

import typer

from maxwhisper_cli.transcription.options import OptionsError
from weights.whole_number import whole_number

if TYPE_CHECKING:
    from maxwhisper_cli.audio import reader as audio
    from maxwhisper_cli.audio.reader import RawFormat, ReadingOptions

_PANEL = "Input and output"
SPLIT = "split"
"""Value of `--channel` that tells speakers apart."""
_MAX_CHANNELS = 1024  # libsndfile's


def _option(name: str, metavar: str, text: str, default: str | None = None) -> object:
    return typer.Option(
        name, metavar=metavar, help=text, rich_help_panel=_PANEL, show_default=default or True
    )


Channel = Annotated[
    str, _option("--channel", "CHANNEL", "mix, left, right, split or a number from 1 on.")
]
SpeakerNames = Annotated[
    str | None,
    _option("--speaker-names", "NAME,NAME", "Who speaks on each channel, with --channel split."),
]
AudioTrack = Annotated[
    str | None,
    _option("--audio-track", "TRACK", "Track: number from 1 on, or language.", "the default"),
]
RawEncoding = Annotated[
    str | None,
    _option("--raw-format", "FORMAT", "Samples without a header: s16le, f32le, mulaw, ..."),
]
RawRate = Annotated[
    int | None, _option("--raw-rate", "HZ", "Sample rate with --raw-format.", "16000")
]
RawChannels = Annotated[
    int | None, _option("--raw-channels", "N", "Channels with --raw-format.", "1")
]


@dataclass(frozen=True, slots=True)
class GivenReading:
    """Values of these options."""

    channel: str
    audio_track: str | None
    raw_format: str | None
    raw_rate: int | None
    raw_channels: int | None

    def options(self) -> "ReadingOptions":
        """Returns them in the form of the Python API.

        Raises:
            OptionsError: One of them makes no sense, or not with the others.
        """
        options: ReadingOptions = {"channel": self._channel()}
        if self.audio_track is not None:
            options["audio_track"] = self._track(self.audio_track)
        if (raw := self._raw()) is not None:
            options["raw"] = raw
        return options

    def _channel(self) -> "audio.Channel":
        text = self.channel
        if text in {"mix", "left", "right", SPLIT}:
            return text  # type: ignore[return-value]
        if (number := whole_number(text)) is not None and number >= 1:
            return number
        raise OptionsError(
            f"--channel is mix, left, right, {SPLIT} or a number from 1 on, not {text!r}"
        )

    def _track(self, text: str) -> int | str:
        if (number := whole_number(text)) is not None and number >= 1:
            return number
        if text.strip() and not text.lstrip("-").isdecimal():
            return text
        raise OptionsError(f"--audio-track is a number from 1 on or a language, not {text!r}")

    def _raw(self) -> "RawFormat | None":
        if self.raw_format is None:
            for name, value in (
                ("--raw-rate", self.raw_rate),
                ("--raw-channels", self.raw_channels),
            ):
                if value is not None:
                    raise OptionsError(f"{name} needs --raw-format")
            return None
        from maxwhisper_cli.audio.raw import RAW_ENCODINGS, RawFormat

        if self.raw_format not in RAW_ENCODINGS:
            known = ", ".join(RAW_ENCODINGS)
            raise OptionsError(f"--raw-format is one of {known}, not {self.raw_format!r}")
        if self.audio_track is not None:
            raise OptionsError("--raw-format and --audio-track: raw samples have one track")
        rate = 16000 if self.raw_rate is None else self.raw_rate
        n_channels = 1 if self.raw_channels is None else self.raw_channels
        if not 1 <= rate < 2**31:
            raise OptionsError(f"--raw-rate is a number of Hz from 1 on, not {rate}")
        if not 1 <= n_channels <= _MAX_CHANNELS:
            raise OptionsError(f"--raw-channels is from 1 to {_MAX_CHANNELS}, not {n_channels}")
        return RawFormat(self.raw_format, rate, n_channels)


def speaker_names(text: str | None, channel: str) -> tuple[str, ...] | None:
    """Returns the names in `Anna,Ben`; None without any.

    Raises:
        OptionsError: The channels are not split.
    """
    if text is None:
        return None
    if channel != SPLIT:
        raise OptionsError(f"--speaker-names needs --channel {SPLIT}")
    return tuple(name.strip() for name in text.split(","))
