"""Sequential transcription of a whole recording: window after window, guided by timestamps.

A run yields its segments window by window; the whole transcript is read from it afterwards.

Source: `transcribe` of whisper/transcribe.py; section 3.8 of arXiv:2212.04356.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.clips import clips_of, language_windows
from maxwhisper_cli.transcription.fallback import WindowText, decode_with_fallback
from maxwhisper_cli.transcription.language_id import DetectedLanguage, detect_language
from maxwhisper_cli.transcription.mel import (
    FRAMES_PER_SECOND,
    N_FRAMES,
    Float32,
    MelSpectrogram,
)
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.prompt_history import PromptHistory
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.timestamps import (
    Piece,
    WindowPlace,
    ends_with_single_timestamp,
    split_window,
)
from maxwhisper_cli.transcription.tokenizer import Tokenizer, get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder
from maxwhisper_cli.transcription.word_timing import CutWindow, WordTimer, word_warnings

NO_SPEECH = "no speech was found, so that nothing was decoded"
"""Warning of a recording in which nobody speaks."""


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """Segments that a window added, and the progress after it."""

    segments: tuple[Segment, ...]
    progress: Progress


class TranscriptionRun:
    """One recording on one implementation: iterate `parts` once, then read the `transcript`."""

    def __init__(
        self,
        implementation: Implementation,
        mel: MelSpectrogram,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """Detects the language if none is given, and prepares tokenizer and prompts.

        Raises:
            OptionsError: A prompt, prefix, token or alignment head does not fit this model.
            LanguageError: This model does not support the language.
        """
        self._implementation = implementation
        self._mel = mel
        self._options = options
        self._stopwatch = stopwatch
        dims = implementation.dims
        self._timer = WordTimer.for_options(implementation, options, stopwatch)
        self._last_speech = 0.0
        self._is_multilingual = options.multilingual and dims.is_multilingual
        self._detected = self._detect_language()
        self._language = self._detected.code if self._detected else "en"
        if options.language is not None and dims.is_multilingual:
            self._language = options.language
        self._tokenizer = self._tokenizer_for(self._language)
        self._builders = {self._language: RequestBuilder.create(dims, options, self._tokenizer)}
        self._history = PromptHistory(options, self._tokenizer, dims.n_text_ctx)
        self._segments: list[Segment] = []
        self._start = next((start for start, end in self._clips() if start < end), 0)

    def parts(self) -> Iterator[DecodedPart]:
        """Decodes window after window; the first part has length and language, and no segments."""
        yield DecodedPart((), self._progress(0))
        for clip_start, clip_end in self._clips():
            seek = clip_start
            while seek < clip_end:
                place = self._place(seek, clip_end)
                segments, n_frames = self._decode_window(place)
                seek += n_frames
                yield DecodedPart(tuple(segments), self._progress(min(seek, clip_end)))

    @property
    def transcript(self) -> Transcript:
        """Segments so far and their text."""
        return Transcript(
            text=self._history.text(),
            segments=tuple(self._segments),
            language=self._language,
            language_probability=self._detected.probability if self._detected else None,
            duration_seconds=self._mel.seconds,
            speech_seconds=self._speech_seconds(),
            warnings=(
                *self._own_warnings(),
                *word_warnings(self._options),
                *self._history.warnings,
            ),
        )

    def _decode_window(self, place: WindowPlace) -> tuple[list[Segment], int]:
        """Decodes one window; returns its segments and the number of mel frames to advance."""
        mel = self._mel.padded_window(place.seek, place.n_frames)
        features = encode(self._implementation, mel[None], self._stopwatch)
        builder = self.builder(place, features)
        has_changed = self._segments and self._segments[-1].language != builder.tokenizer.language
        if self._is_multilingual and has_changed:
            self._history.reset()  # text of another language leads to a translation into that
        window = decode_with_fallback(
            self._implementation,
            features,
            builder,
            self._history.prompt(),
            place.seek,
            self._stopwatch,
        )
        cut = self.cut(window, place, builder.tokenizer)
        if self._timer is not None:
            (words,) = self._timer.align(features, [cut])
            cut = self._timer.time(cut, words, self._last_speech, self._mel.n_content_frames)
            self._last_speech = cut.last_end or self._last_speech
        if cut.is_dropped:
            return [], cut.n_frames
        return self._add_segments(cut.segments, window.temperature), cut.n_frames

    def cut(self, window: WindowText, place: WindowPlace, tokenizer: Tokenizer) -> CutWindow:
        """Cuts a decoded window into segments at its timestamps.

        Args:
            window: Its text.
            place: Where it is.
            tokenizer: Tokenizer of its language.
        """
        if window.is_silence(self._options):
            return CutWindow(place, tokenizer, (), place.n_frames, is_dropped=True)
        pieces, n_frames = split_window(window.tokens, place)
        return CutWindow(
            place=place,
            tokenizer=tokenizer,
            segments=tuple(self._segment(piece, window, place.seek) for piece in pieces),
            n_frames=n_frames,
            may_go_on=not ends_with_single_timestamp(window.tokens, place),
        )

    def builder(self, place: WindowPlace, features: AudioFeatures) -> RequestBuilder:
        """Returns the builder of a window's requests: its language, and the prefix if it is first.

        Args:
            place: Where the window is.
            features: Its encoder output, a batch of one.
        """
        language = self._language
        if self._is_multilingual:
            language = self._language_of([features]).code
        if language not in self._builders:
            self._builders[language] = RequestBuilder.create(
                self._implementation.dims, self._options, self._tokenizer_for(language)
            )
        builder = self._builders[language]
        return builder if place.seek == self._start else builder.without_prefix()

    def _add_segments(self, segments: Iterable[Segment], temperature: float) -> list[Segment]:
        """Adds a window's segments to transcript and prompt history, and returns them as added."""
        added = [
            self._finish(segment, id_)
            for id_, segment in enumerate(segments, start=len(self._segments))
        ]
        self._history.add((token for each in added for token in each.tokens), temperature)
        self._segments.extend(added)
        return added

    def _segment(self, piece: Piece, window: WindowText, seek: int) -> Segment:
        """Returns the segment of a piece as it was decoded."""
        tokenizer = self._tokenizer
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

    def _finish(self, segment: Segment, id_: int) -> Segment:
        """Returns a segment with its id; without length or text it has no tokens and words."""
        if segment.start == segment.end or not segment.text.strip():
            no_words = None if segment.words is None else ()
            segment = replace(segment, text="", tokens=(), words=no_words)
        if self._options.clamp_timestamps:
            segment = segment.clamped(self._mel.seconds)
        return replace(segment, id=id_)

    def _clips(self) -> list[tuple[int, int]]:
        """Returns start and end of the clips to transcribe, in mel frames within the recording."""
        return clips_of(self._options.clip_timestamps, self._mel.n_content_frames, self._mel.speech)

    def _place(self, seek: int, clip_end: int) -> WindowPlace:
        return WindowPlace(
            seek=seek,
            n_frames=min(N_FRAMES, clip_end - seek),
            timestamp_begin=self._tokenizer.timestamp_begin,
            n_audio_ctx=self._implementation.dims.n_audio_ctx,
        )

    def _progress(self, seek: int) -> Progress:
        done = min(seek / FRAMES_PER_SECOND, self._mel.seconds)
        return Progress(done, self._mel.seconds, self._language)

    def _detect_language(self) -> DetectedLanguage | None:
        """Detects the language from the first 30 s, or the first with speech.

        None if it is given or the only one, or nobody speaks.
        """
        if self._options.language is not None or not self._implementation.dims.is_multilingual:
            return None
        whole = [(0, max(1, self._mel.n_content_frames))]
        clips = whole if self._mel.speech is None else self._clips()
        starts = language_windows(clips, self._options.language_detection_segments)
        mels = (self._mel.window(start, N_FRAMES)[None] for start in starts)
        features = (encode(self._implementation, mel, self._stopwatch) for mel in mels)
        return self._language_of(features) if starts else None

    def _language_of(self, windows: Iterable[AudioFeatures]) -> DetectedLanguage:
        """Detects the language of windows, each a batch of one."""
        tokenizer = self._tokenizer_for(None)
        with self._stopwatch.on("language"):
            return detect_language(self._implementation, windows, tokenizer)

    def _speech_seconds(self) -> float | None:
        if self._mel.speech is None:
            return None
        return sum(end - start for start, end in self._clips()) / FRAMES_PER_SECOND

    def _own_warnings(self) -> Iterator[str]:
        """Yields a warning if there is no speech, and for options that this model cannot follow."""
        if self._mel.speech is not None and self._mel.n_content_frames and not self._clips():
            yield NO_SPEECH
        if self._implementation.dims.is_multilingual:
            return
        if self._options.language not in {None, "en"}:
            yield f"this model knows only English, not {self._options.language}; using English"
        if self._options.task == "translate":
            yield "this model knows only English and cannot translate; transcribing"
        if self._options.multilingual:
            yield "this model knows only English and detects no language"

    def _tokenizer_for(self, language: str | None) -> Tokenizer:
        dims = self._implementation.dims
        with self._stopwatch.on("tokenizer"):
            return get_tokenizer(
                dims.is_multilingual,
                num_languages=dims.n_languages,
                language=language,
                task=self._options.task,
            )


def encode(implementation: Implementation, mel: Float32, stopwatch: Stopwatch) -> AudioFeatures:
    """[n_batch, n_mels, 3000] -> features of n_batch windows."""
    with stopwatch.on("encoder", len(mel)):
        features = implementation.encode(mel)
        if stopwatch.is_running:
            implementation.wait()
    return features
