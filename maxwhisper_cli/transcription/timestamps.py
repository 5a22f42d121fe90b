"""Splitting of a window's tokens at its timestamps, and the start of the next window.

Source: the middle of `transcribe` in whisper/transcribe.py.
"""

from dataclasses import dataclass

from maxwhisper_cli.transcription.mel import N_FRAMES, SAMPLE_RATE
from weights.dims import HOP_LENGTH


@dataclass(frozen=True, slots=True)
class WindowPlace:
    """Position of a window in the recording, with the scale of its timestamps."""

    seek: int
    """First mel frame."""
    n_frames: int
    """Mel frames of audio in it, at most 3000."""
    timestamp_begin: int
    n_audio_ctx: int

    @property
    def frames_per_position(self) -> int:
        """Mel frames per encoder position, and so per timestamp step: 2."""
        return N_FRAMES // self.n_audio_ctx

    @property
    def positions_per_second(self) -> float:
        """Encoder positions in a second: 50."""
        return SAMPLE_RATE / HOP_LENGTH / self.frames_per_position

    @property
    def start_seconds(self) -> float:
        """Start of the window in the recording, in seconds."""
        return float(self.seek * HOP_LENGTH / SAMPLE_RATE)

    @property
    def seconds(self) -> float:
        """Length of the audio in the window, in seconds."""
        return self.n_frames * HOP_LENGTH / SAMPLE_RATE

    def steps(self, token: int) -> int:
        """Returns the timestamp steps from the window's start to a timestamp token."""
        return token - self.timestamp_begin

    def offset_seconds(self, token: int) -> float:
        """Returns the seconds from the window's start to a timestamp token."""
        return self.steps(token) * (self.frames_per_position * HOP_LENGTH / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens between two timestamps."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    tokens: tuple[int, ...]


def ends_with_single_timestamp(tokens: tuple[int, ...], place: WindowPlace) -> bool:
    """Returns True if a window's tokens end with one timestamp, after which there is no speech."""
    return [token >= place.timestamp_begin for token in tokens[-2:]] == [False, True]


def split_window(tokens: tuple[int, ...], place: WindowPlace) -> tuple[list[Piece], int]:
    """Splits a window's tokens; returns the pieces and the number of mel frames to advance.

    Segments end at two consecutive timestamps. Speech after the last pair is cut off by the
    window's edge, so the next window begins there; a single timestamp at the end means that
    there is none.
    """
    is_timestamp = [token >= place.timestamp_begin for token in tokens]
    ends_with_single = ends_with_single_timestamp(tokens, place)
    cuts = [i for i in range(1, len(tokens)) if is_timestamp[i - 1] and is_timestamp[i]]
    if not cuts:
        return [_whole(tokens, place)], place.n_frames
    if ends_with_single:
        cuts.append(len(tokens))
    pieces = [
        _piece(tokens[begin:end], place) for begin, end in zip([0, *cuts], cuts, strict=False)
    ]
    if ends_with_single:
        return pieces, place.n_frames
    advance = place.steps(tokens[cuts[-1] - 1]) * place.frames_per_position
    # Without timestamp rules a model may repeat <|0.00|>: an advance of 0 would never end.
    return pieces, advance or place.n_frames


def _piece(tokens: tuple[int, ...], place: WindowPlace) -> Piece:
    return Piece(
        start=place.start_seconds + place.offset_seconds(tokens[0]),
        end=place.start_seconds + place.offset_seconds(tokens[-1]),
        tokens=tokens,
    )


def _whole(tokens: tuple[int, ...], place: WindowPlace) -> Piece:
    """Returns one piece for the window, up to its last timestamp if that is not <|0.00|>."""
    timestamps = [token for token in tokens if token >= place.timestamp_begin]
    seconds = place.seconds
    if timestamps and timestamps[-1] != place.timestamp_begin:
        seconds = place.offset_seconds(timestamps[-1])
    return Piece(place.start_seconds, place.start_seconds + seconds, tokens)
