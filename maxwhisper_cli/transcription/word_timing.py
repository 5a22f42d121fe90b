"""Word timing of windows: what to align, then words, and where the next window begins.

Comes in: decoded windows with their segments. Goes out: the same with words; the next window begins
at the end of the last word, and what may be invented in silence is left out.

Source: the block `if word_timestamps` of whisper/transcribe.py.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Implementation
from implementations.session import Heads
from maxwhisper_cli.transcription.hallucination import (
    WindowSpan,
    first_invented,
    silence_before_anomaly,
)
from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, N_FRAMES
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.transcription.stopwatch import Stopwatch
from maxwhisper_cli.transcription.timestamps import WindowPlace
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from maxwhisper_cli.transcription.words import SpelledText, TimedWord, add_words


@dataclass(frozen=True, slots=True)
class CutWindow:
    """Segments of a decoded window, and where the next window begins."""

    place: WindowPlace
    tokenizer: Tokenizer
    """Tokenizer of the window's language."""
    segments: tuple[Segment, ...]
    n_frames: int
    """Mel frames to advance."""
    may_go_on: bool = False
    """True if speech may go on after the last timestamp."""
    is_dropped: bool = False
    """True if the window counts as silence; its text is as if it had never been decoded."""

    def seek_to(self, seek: int) -> "CutWindow":
        """Returns the window with the next one at mel frame `seek`, if that is after its own."""
        n_frames = seek - self.place.seek
        return replace(self, n_frames=n_frames) if n_frames > 0 else self

    @property
    def last_end(self) -> float | None:
        """End of the last word, else of the last segment, in seconds of the recording."""
        ends = (word.end for s in reversed(self.segments) for word in reversed(s.words or ()))
        return next(ends, self.segments[-1].end if self.segments else None)

    @property
    def span(self) -> WindowSpan:
        """Times of the window."""
        start, end = self.place.start_seconds, (self.place.seek + N_FRAMES) / FRAMES_PER_SECOND
        return WindowSpan(start, start + self.place.seconds, end)


class WordTimer:
    """Timing of the words of one or several recordings on one implementation."""

    def __init__(
        self, implementation: Implementation, options: TranscribeOptions, stopwatch: Stopwatch
    ) -> None:
        """Chooses the heads whose attention follows the audio.

        Raises:
            OptionsError: The model does not have them.
        """
        self._n_text_ctx = implementation.dims.n_text_ctx
        self._options = options
        self._stopwatch = stopwatch
        self._heads = choose_heads(implementation, options)

    @classmethod
    def for_options(
        cls, implementation: Implementation, options: TranscribeOptions, stopwatch: Stopwatch
    ) -> "WordTimer | None":
        """Returns a timer if the options ask for words, else None.

        Raises:
            OptionsError: The model does not have an alignment head.
        """
        return cls(implementation, options, stopwatch) if options.word_timestamps else None

    def request(self, window: CutWindow) -> AlignmentRequest | None:
        """Returns the request to align a window's text; None if it has no text."""
        place, tokenizer, text = window.place, window.tokenizer, self._text(window)
        if not text:
            return None
        return AlignmentRequest(
            sot_sequence=tokenizer.sot_sequence,
            no_timestamps=tokenizer.no_timestamps,
            text=text,
            eot=tokenizer.eot,
            n_positions=max(1, place.n_frames // place.frames_per_position),
            heads=self._heads,
        )

    def words(
        self,
        window: CutWindow,
        request: AlignmentRequest,
        aligned: TokenAlignment,
        spelled: SpelledText,
    ) -> list[TimedWord]:
        """Returns the words of a window, in seconds within it.

        With a single audio position its standard scores are 0 / 0, for which upstream's path comes
        from the left: all words begin and end at the position before the window.
        """
        if request.n_positions == 1:
            aligned = replace(aligned, positions=aligned.positions - 1)
        with self._stopwatch.on("words", 0):
            return spelled.timed(aligned, window.place.positions_per_second)

    def time(
        self,
        window: CutWindow,
        words: Sequence[TimedWord],
        last_speech: float,
        n_content_frames: int,
    ) -> CutWindow:
        """Returns a window with its words, and with the next one where these end.

        Args:
            window: Decoded window.
            words: Its words; they are changed.
            last_speech: End of the last word before it, in seconds of the recording.
            n_content_frames: Mel frames of the recording.
        """
        options = self._options
        punctuations = options.prepend_punctuations, options.append_punctuations
        segments = add_words(
            window.segments, words, punctuations, window.tokenizer.eot, last_speech
        )
        timed = replace(window, segments=tuple(segments))
        last_end = timed.last_end
        has_end = last_end is not None and last_end > window.place.start_seconds
        if has_end and window.may_go_on:
            assert last_end is not None
            timed = timed.seek_to(round(last_end * FRAMES_PER_SECOND))
        if options.hallucination_silence_threshold is None:
            return timed
        return _skip_silence(
            timed, options.hallucination_silence_threshold, last_speech, n_content_frames
        )

    def _text(self, window: CutWindow) -> tuple[int, ...]:
        """Returns the tokens of a window's text, as many as the decoder takes at once."""
        tokenizer = window.tokenizer
        tokens = chain.from_iterable(segment.tokens for segment in window.segments)
        n_around = len(tokenizer.sot_sequence) + 2
        n_most = self._n_text_ctx - n_around
        return tuple(token for token in tokens if token < tokenizer.eot)[:n_most]


def choose_heads(implementation: Implementation, options: TranscribeOptions) -> Heads:
    """Returns the decoder's heads whose attention follows the audio: given, or the model's own.

    Raises:
        OptionsError: The model does not have a head, or none is known.
    """
    dims = implementation.dims
    heads = options.alignment_heads or implementation.alignment_heads
    for layer, head in heads:
        if layer >= dims.n_text_layer or head >= dims.n_text_head:
            raise OptionsError(
                f"alignment_heads has {layer}.{head}; this model's decoder has layers 0 to "
                f"{dims.n_text_layer - 1} with heads 0 to {dims.n_text_head - 1} each"
            )
    if not heads:
        raise OptionsError("no alignment heads are known for this model; give alignment_heads")
    return heads


def word_warnings(options: TranscribeOptions) -> Iterator[str]:
    """Yields a warning for each option whose words cannot be relied on, or that needs words."""
    if options.word_timestamps:
        if options.task == "translate":
            yield "times of words in a translation may be wrong"
        return
    for name in ("hallucination_silence_threshold", "alignment_heads"):
        if getattr(options, name) is not None:
            yield f"{name} has no effect without word_timestamps"


def _skip_silence(
    window: CutWindow, threshold: float, last_speech: float, n_content_frames: int
) -> CutWindow:
    """Returns a window without what the model may have invented, to be decoded after the silence.

    Args:
        window: Window with words.
        threshold: Seconds without words that count as silence.
        last_speech: End of the last word before it, in seconds of the recording.
        n_content_frames: Mel frames of the recording.
    """
    span, place = window.span, window.place
    last_end = window.last_end
    if window.may_go_on and last_end is not None and last_end > span.start:
        is_followed_by_silence = span.end - last_end > threshold
        at = round(last_end * FRAMES_PER_SECOND)
        window = window.seek_to(at if is_followed_by_silence else place.seek + place.n_frames)
    gap = silence_before_anomaly(window.segments, span, threshold)
    if gap is not None:
        after_silence = window.seek_to(place.seek + round(gap * FRAMES_PER_SECOND))
        return replace(after_silence, segments=(), is_dropped=True)
    index = first_invented(window.segments, span, threshold, last_speech)
    if index is None:
        return window
    invented = window.segments[index]
    seek = round(max(span.start + 1, invented.start) * FRAMES_PER_SECOND)
    if n_content_frames / FRAMES_PER_SECOND - invented.end < threshold:
        seek = n_content_frames
    return replace(window.seek_to(seek), segments=window.segments[:index])
