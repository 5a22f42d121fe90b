"""Language of a recording: given, or detected; its tokenizer, and the builder of its requests.

With `multilingual` each window has a language of its own.
"""

from collections.abc import Iterable, Iterator, Sequence

from implementations.implementation import Implementation
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.clips import language_windows
from maxwhisper_cli.transcription.drivers import encode
from maxwhisper_cli.transcription.language_id import DetectedLanguage, detect_language
from maxwhisper_cli.transcription.mel import N_FRAMES, Clip, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import Stopwatch
from maxwhisper_cli.transcription.timestamps import WindowPlace
from maxwhisper_cli.transcription.tokenizer import Tokenizer, get_tokenizer
from maxwhisper_cli.transcription.window_request import RequestBuilder


class RecordingLanguage:
    """Language of one recording on one implementation."""

    def __init__(
        self,
        implementation: Implementation,
        mel: MelSpectrogram,
        options: TranscribeOptions,
        clips: Sequence[Clip],
        stopwatch: Stopwatch,
    ) -> None:
        """Detects the language if none is given, and prepares its tokenizer.

        Args:
            implementation: The model.
            mel: Mel frames of the recording.
            options: Options of the transcription.
            clips: Parts to transcribe, in mel frames.
            stopwatch: Measures detection.

        Raises:
            OptionsError: A prefix or token does not fit this model.
            LanguageError: This model does not support the language.
        """
        self._implementation = implementation
        self._options = options
        self._stopwatch = stopwatch
        dims = implementation.dims
        self.is_multilingual = options.multilingual and dims.is_multilingual
        self._first: tuple[int, AudioFeatures] | None = None
        """First mel frame and features of the window that the language was detected from."""
        self.detected = self._detect(mel, clips)
        self.code = self.detected.code if self.detected else "en"
        if options.language is not None and dims.is_multilingual:
            self.code = options.language
        self.tokenizer = self._tokenizer_for(self.code)
        self._builders = {self.code: RequestBuilder.create(dims, options, self.tokenizer)}

    def builder(self, features: AudioFeatures) -> RequestBuilder:
        """Returns the builder of a window's requests, in its language.

        Args:
            features: Encoder output of the window, a batch of one.

        Raises:
            OptionsError: The prefix is too long in this language.
        """
        language = self.code
        if self.is_multilingual:
            language = self._language_of([features]).code
        if language not in self._builders:
            self._builders[language] = RequestBuilder.create(
                self._implementation.dims, self._options, self._tokenizer_for(language)
            )
        return self._builders[language]

    def pop_features(self, place: WindowPlace) -> AudioFeatures | None:
        """Returns a window's features, once, if the language was detected from the same frames."""
        if self._first is None or (self._first[0], N_FRAMES) != (place.seek, place.n_frames):
            return None
        (_, features), self._first = self._first, None
        return features

    def _detect(self, mel: MelSpectrogram, clips: Sequence[Clip]) -> DetectedLanguage | None:
        """Detects the language from the first 30 s, or the first with speech.

        None if it is given or the only one, or nobody speaks.
        """
        if self._options.language is not None or not self._implementation.dims.is_multilingual:
            return None
        if mel.speech is None:
            clips = [(0, max(1, mel.n_content_frames))]
        starts = language_windows(clips, self._options.language_detection_segments)
        return self._language_of(self._encode(mel, starts)) if starts else None

    def _encode(self, mel: MelSpectrogram, starts: Sequence[int]) -> Iterator[AudioFeatures]:
        """Yields the features of windows of 30 s, and keeps those of the first if it is whole."""
        for start in starts:
            window = mel.window(start, N_FRAMES)[None]
            features = encode(self._implementation, window, self._stopwatch)
            if start == starts[0] and start + N_FRAMES <= mel.n_content_frames:
                self._first = start, features  # in a shorter one, zeros are to follow, not silence
            yield features

    def _language_of(self, windows: Iterable[AudioFeatures]) -> DetectedLanguage:
        """Detects the language of windows, each a batch of one."""
        tokenizer = self._tokenizer_for(None)
        with self._stopwatch.on("language"):
            return detect_language(
                self._implementation, windows, tokenizer, self._options.languages
            )

    def _tokenizer_for(self, language: str | None) -> Tokenizer:
        dims = self._implementation.dims
        with self._stopwatch.on("tokenizer"):
            return get_tokenizer(
                dims.is_multilingual,
                num_languages=dims.n_languages,
                language=language,
                task=self._options.task,
            )
