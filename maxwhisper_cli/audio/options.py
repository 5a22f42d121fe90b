"""Options of reading, as everything that takes a source has them."""

from typing import TypedDict

from maxwhisper_cli.audio.columns import Channel
from maxwhisper_cli.audio.decode import Track
from maxwhisper_cli.audio.raw import RawFormat


class ReadingOptions(TypedDict, total=False):
    """Keywords of `open_audio`, and of everything else that takes a source."""

    channel: Channel
    """Channel to read, `mix` for the mean of all, or `split` for each by itself."""
    sample_rate: float | None
    """Rate of samples in an array, in Hz; None is 16 kHz."""
    audio_track: Track
    """Number of an audio track, from 1 on, or its language; None is the default track."""
    raw: RawFormat | None
    """Format of a file without a header."""
