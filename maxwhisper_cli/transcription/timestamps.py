"""Cut a window's tokens into segments at its timestamps, and find where the next window begins.

Source: the middle of `transcribe` in whisper/transcribe.py.
"""

from dataclasses import dataclass

from maxwhisper_cli.transcription.mel import N_FRAMES, SAMPLE_RATE
from weights.dims import HOP_LENGTH


@dataclass(frozen=True, slots=True)
class WindowPlace:
    """Where a window lies in the recording, and how its timestamps count."""

    seek: int
    """First mel frame."""
    n_frames: int
    """Mel frames of audio in it, at most 3000."""
    timestamp_begin: int
    n_audio_ctx: int

    @property
    def frames_per_position(self) -> int:
        """Mel frames to one encoder position, and so to one timestamp step: 2."""
        return N_FRAMES // self.n_audio_ctx

    @property
    def start_seconds(self) -> float:
        """Where the window begins."""
        return float(self.seek * HOP_LENGTH / SAMPLE_RATE)

    @property
    def seconds(self) -> float:
        """Audio in the window."""
        return self.n_frames * HOP_LENGTH / SAMPLE_RATE

    def steps(self, token: int) -> int:
        """Timestamp steps from the window's beginning to a timestamp token."""
        return token - self.timestamp_begin

    def offset_seconds(self, token: int) -> float:
        """Seconds from the window's beginning to a timestamp token."""
        return self.steps(token) * (self.frames_per_position * HOP_LENGTH / SAMPLE_RATE)


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens between two timestamps."""

    start: float
    """Seconds from the beginning of the recording."""
    end: float
    tokens: tuple[int, ...]


def split_window(tokens: tuple[int, ...], place: WindowPlace) -> tuple[list[Piece], int]:
    """Cut a window's tokens; return the pieces and by how many mel frames to go on.

    Segments end where two timestamps meet. Speech after the last pair is cut short by the window's
    edge, so the next window begins there; a single timestamp at the end says that none was left.
    """
    is_timestamp = [token >= place.timestamp_begin for token in tokens]
    ends_with_single = is_timestamp[-2:] == [False, True]
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
    # Without timestamp rules a model may repeat <|0.00|>: going on by nothing would never end.
    return pieces, advance or place.n_frames


def _piece(tokens: tuple[int, ...], place: WindowPlace) -> Piece:
    return Piece(
        start=place.start_seconds + place.offset_seconds(tokens[0]),
        end=place.start_seconds + place.offset_seconds(tokens[-1]),
        tokens=tokens,
    )


def _whole(tokens: tuple[int, ...], place: WindowPlace) -> Piece:
    """One piece for the window, up to its last timestamp where that says anything."""
    timestamps = [token for token in tokens if token >= place.timestamp_begin]
    seconds = place.seconds
    if timestamps and timestamps[-1] != place.timestamp_begin:
        seconds = place.offset_seconds(timestamps[-1])
    return Piece(place.start_seconds, place.start_seconds + seconds, tokens)
