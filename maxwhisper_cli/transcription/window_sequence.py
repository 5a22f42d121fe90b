"""Openai-whisper's loop over the windows of a recording, guided by timestamps, as steps.

Comes in: clips of one recording, and the answers to each need. Goes out: the segments of each
window. All rules of long recordings are here, whoever drives them and whatever runs beside.

Source: `transcribe` of whisper/transcribe.py; section 3.8 of arXiv:2212.04356.
"""

import itertools
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass, replace

from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.fallback import WindowText, decode_with_fallback
from maxwhisper_cli.transcription.mel import (
    FRAMES_PER_SECOND,
    N_FRAMES,
    Clip,
    MelSpectrogram,
)
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.prompt_history import PromptHistory
from maxwhisper_cli.transcription.recording_language import RecordingLanguage
from maxwhisper_cli.transcription.segments import Segment
from maxwhisper_cli.transcription.steps import (
    Aligning,
    Encoding,
    Scoring,
    Step,
    StepSequence,
    WindowDone,
)
from maxwhisper_cli.transcription.timestamps import (
    Piece,
    WindowPlace,
    ends_with_single_timestamp,
    split_window,
)
from maxwhisper_cli.transcription.tokenizer import Tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from maxwhisper_cli.transcription.word_timing import CutWindow, WordTimer
from maxwhisper_cli.transcription.words import SpelledText, TimedWord
from weights.dims import ModelDimensions


@dataclass(frozen=True, slots=True)
class RecordingContext:
    """Facts that all windows of a recording share."""

    dims: ModelDimensions
    mel: MelSpectrogram
    options: TranscribeOptions
    language: RecordingLanguage
    timer: WordTimer | None
    """Timer of words; None if these get no times."""


class WindowSequence(StepSequence):
    """Windows of some clips of a recording, each prompted with the text before it."""

    def __init__(
        self,
        context: RecordingContext,
        clips: Sequence[Clip],
        *,
        is_first: bool = True,
        last_speech: float = 0.0,
    ) -> None:
        """Prepares the loop; nothing is decoded before `steps` is iterated.

        Args:
            context: The recording.
            clips: Clips in order, in mel frames.
            is_first: True if the recording begins with it, and so with the prefix.
            last_speech: End of the speech before it, in seconds.

        Raises:
            OptionsError: The initial prompt contains a special token.
        """
        self._context = context
        self._clips = [(start, end) for start, end in clips if start < end]
        self._is_first = is_first
        self._last_speech = last_speech
        tokenizer = context.language.tokenizer
        self._history = PromptHistory(context.options, tokenizer, context.dims.n_text_ctx)
        self._last_language: str | None = None
        self.n_done_frames = 0
        """Mel frames of its clips that are done."""
        self.is_done = not self._clips
        self.steps = self._steps()

    @property
    def first_frame(self) -> int:
        """First mel frame to transcribe; 0 if there is none."""
        return self._clips[0][0] if self._clips else 0

    @property
    def warnings(self) -> Sequence[str]:
        """Messages about the prompt."""
        return self._history.warnings

    def _steps(self) -> Iterator[Step]:
        for index, (start, end) in enumerate(self._clips):
            seek = start
            while seek < end:
                cut, temperature = yield from self._decode_window(self._place(seek, end))
                segments = () if cut.is_dropped else self._add(cut.segments, temperature, end)
                n_frames = min(cut.n_frames, end - seek)
                self.n_done_frames += n_frames
                seek += cut.n_frames
                self.is_done = seek >= end and index == len(self._clips) - 1
                yield WindowDone(segments)

    def _decode_window(self, place: WindowPlace) -> Generator[Step, None, tuple[CutWindow, float]]:
        """Decodes one window; returns it with its segments and the temperature of its text."""
        features = self._context.language.pop_features(place)
        if features is None:
            encoding = Encoding(self._context.mel, place)
            yield encoding
            features = encoding.answer
        builder = self._context.language.builder(features)
        if not (self._is_first and place.seek == self.first_frame):
            builder = builder.without_prefix()
        language, last = builder.tokenizer.language, self._last_language
        if self._context.language.is_multilingual and last not in {None, language}:
            self._history.reset()  # text of another language leads to a translation into that
        window = yield from decode_with_fallback(
            features, builder, self._history.prompt(), place.seek
        )
        scores = yield from self._score(window, features, builder)
        cut = self._cut(window, place, builder.tokenizer, scores)
        if self._context.timer is not None and not cut.is_dropped:
            cut = yield from self._time_words(self._context.timer, cut, features)
        return cut, window.temperature

    def _score(
        self, window: WindowText, features: AudioFeatures, builder: RequestBuilder
    ) -> Generator[Step, None, tuple[float, ...] | None]:
        """Returns the log-probability of each token, if that is wanted."""
        if not self._context.options.token_logprobs:
            return None
        prompt = builder.without_prefix().build(self._history.prompt(), 0.0, ()).prompt
        scoring = Scoring(features, prompt, window.tokens)
        yield scoring
        return scoring.answer

    def _time_words(
        self, timer: WordTimer, cut: CutWindow, features: AudioFeatures
    ) -> Generator[Step, None, CutWindow]:
        """Returns a window with its words, and with the next one where these end."""
        words: list[TimedWord] = []
        request = timer.request(cut)
        if request is not None:
            spelled = SpelledText(request.text, cut.tokenizer)
            aligning = Aligning(features, request, spelled.split)
            yield aligning
            words = timer.words(cut, request, aligning.answer, spelled)
        timed = timer.time(cut, words, self._last_speech, self._context.mel.n_content_frames)
        self._last_speech = timed.last_end or self._last_speech
        return timed

    def _cut(
        self,
        window: WindowText,
        place: WindowPlace,
        tokenizer: Tokenizer,
        scores: tuple[float, ...] | None,
    ) -> CutWindow:
        """Cuts a decoded window into segments at its timestamps."""
        if window.is_silence(self._context.options):
            return CutWindow(place, tokenizer, (), place.n_frames, is_dropped=True)
        pieces, n_frames = split_window(window.tokens, place)
        segments = [self._segment(piece, window, place.seek) for piece in pieces]
        if scores is not None:
            ends = itertools.accumulate(len(piece.tokens) for piece in pieces)
            segments = [
                replace(each, token_logprobs=scores[end - len(each.tokens) : end])
                for each, end in zip(segments, ends, strict=True)
            ]
        return CutWindow(
            place=place,
            tokenizer=tokenizer,
            segments=tuple(segments),
            n_frames=n_frames,
            may_go_on=not ends_with_single_timestamp(window.tokens, place),
        )

    def _segment(self, piece: Piece, window: WindowText, seek: int) -> Segment:
        """Returns the segment of a piece as it was decoded."""
        tokenizer = self._context.language.tokenizer
        return Segment(
            id=0,
            seek=seek,
            start=piece.start,
            end=piece.end,
            text=tokenizer.decode([token for token in piece.tokens if token < tokenizer.eot]),
            tokens=piece.tokens,
            temperature=window.temperature,
            avg_logprob=window.avg_logprob,
            compression_ratio=window.compression_ratio,
            no_speech_prob=window.no_speech_prob,
            language=window.language,
        )

    def _add(
        self, segments: Sequence[Segment], temperature: float, clip_end: int
    ) -> tuple[Segment, ...]:
        """Adds a window's segments to the prompt history, and returns them as they are shown."""
        added = tuple(self._finish(segment, clip_end) for segment in segments)
        self._history.add((token for each in added for token in each.tokens), temperature)
        if added:
            self._last_language = added[-1].language
        return added

    def _finish(self, segment: Segment, clip_end: int) -> Segment:
        """Returns a segment that, without length or text, has no tokens and words.

        With voice activity none ends after the speech, behind which the model hears silence.
        """
        if segment.start == segment.end or not segment.text.strip():
            no_words = None if segment.words is None else ()
            no_scores = None if segment.token_logprobs is None else ()
            segment = replace(segment, text="", tokens=(), words=no_words, token_logprobs=no_scores)
        mel = self._context.mel
        if mel.speech is not None and clip_end < mel.n_content_frames:
            segment = segment.clamped(clip_end / FRAMES_PER_SECOND)
        return segment.clamped(mel.seconds) if self._context.options.clamp_timestamps else segment

    def _place(self, seek: int, clip_end: int) -> WindowPlace:
        return WindowPlace(
            seek=seek,
            n_frames=min(N_FRAMES, clip_end - seek),
            timestamp_begin=self._context.language.tokenizer.timestamp_begin,
            n_audio_ctx=self._context.dims.n_audio_ctx,
        )
