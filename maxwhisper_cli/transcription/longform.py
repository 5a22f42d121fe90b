"""Transcription of a whole recording: one sequence of windows, or a sequence for each part of it.

One sequence is openai-whisper's: each window is prompted with the text before it. Where a recording
is cut, its parts can be decoded side by side; the text before a cut prompts nothing.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace

from implementations.implementation import Implementation
from maxwhisper_cli.transcription.clips import clips_of
from maxwhisper_cli.transcription.cuts import cut_clips
from maxwhisper_cli.transcription.mel import FRAMES_PER_SECOND, Clip, MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.recording_language import RecordingLanguage
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.steps import DecodedPart, Run, StepSequence, WindowDone
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.window_sequence import RecordingContext, WindowSequence
from maxwhisper_cli.transcription.word_timing import WordTimer, word_warnings

NO_SPEECH = "no speech was found, so that nothing was decoded"
"""Warning of a recording in which nobody speaks."""


class TranscriptionRun(Run):
    """One recording: its sequences, and the transcript that they add up to."""

    def __init__(
        self,
        implementation: Implementation,
        mel: MelSpectrogram,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
        *,
        is_cut: bool = False,
    ) -> None:
        """Detects the language if none is given, and prepares tokenizer and prompts.

        Args:
            implementation: The model.
            mel: Mel frames of the recording.
            options: Options of the transcription.
            stopwatch: Measures detection and words.
            is_cut: True if parts of at most 30 s become sequences of their own.

        Raises:
            OptionsError: A prompt, prefix, token or alignment head does not fit this model.
            LanguageError: This model does not support the language.
        """
        self._dims = dims = implementation.dims
        self._mel = mel
        self._options = options
        timer = WordTimer.for_options(implementation, options, stopwatch)
        clips = clips_of(options.clip_timestamps, mel.n_content_frames, mel.speech)
        self._clips = clips
        """Parts to transcribe, in mel frames within the recording."""
        self._language = RecordingLanguage(implementation, mel, options, clips, stopwatch)
        context = RecordingContext(dims, mel, options, self._language, timer)
        parts = [[part] for part in cut_clips(clips, mel.loudness)] if is_cut else [clips]
        ends = [0, *(part[-1][1] for part in parts if part)]
        self._sequences = [
            WindowSequence(
                context, part, is_first=index == 0, last_speech=ends[index] / FRAMES_PER_SECOND
            )
            for index, part in enumerate(parts)
        ]
        self._waiting: dict[StepSequence, deque[Segment]] = {
            sequence: deque() for sequence in self._sequences
        }
        """Segments that come after those of a sequence that is not done."""
        self._segments: list[Segment] = []

    @property
    def sequences(self) -> Sequence[WindowSequence]:
        """Sequences of the recording, in its order."""
        return self._sequences

    def next_sequence(self) -> StepSequence | None:
        """Returns the first sequence that is not done."""
        return next((each for each in self._sequences if not each.is_done), None)

    def accept(self, sequence: StepSequence, done: WindowDone) -> DecodedPart:
        """Takes a window; returns its segments once all before them are there."""
        self._waiting[sequence].extend(done.segments)
        n_before = len(self._segments)
        for each in self._sequences:
            waiting = self._waiting[each]
            while waiting:
                self._segments.append(replace(waiting.popleft(), id=len(self._segments)))
            if not each.is_done:
                break
        return DecodedPart(tuple(self._segments[n_before:]), self.progress)

    @property
    def progress(self) -> Progress:
        """Progress by the frames that are done, as if these were the first ones."""
        n_done = sum(sequence.n_done_frames for sequence in self._sequences)
        seconds = min(_frame_after(self._clips, n_done) / FRAMES_PER_SECOND, self._mel.seconds)
        return Progress(seconds, self._mel.seconds, self._language.code)

    @property
    def transcript(self) -> Transcript:
        """Segments so far and their text."""
        detected = self._language.detected
        tokens = [token for segment in self._segments for token in segment.tokens]
        return Transcript(
            text=self._language.tokenizer.decode(tokens),
            segments=tuple(self._segments),
            language=self._language.code,
            language_probability=detected.probability if detected else None,
            duration_seconds=self._mel.seconds,
            speech_seconds=self._speech_seconds(),
            cut_seconds=tuple(
                sequence.first_frame / FRAMES_PER_SECOND for sequence in self._sequences[1:]
            ),
            warnings=(
                *self._own_warnings(),
                *word_warnings(self._options),
                *(self._sequences[0].warnings if self._sequences else ()),
            ),
        )

    def _speech_seconds(self) -> float | None:
        if self._mel.speech is None:
            return None
        return sum(end - start for start, end in self._clips) / FRAMES_PER_SECOND

    def _own_warnings(self) -> Iterator[str]:
        """Yields a warning if there is no speech, and for options that this model cannot follow."""
        if self._mel.speech is not None and self._mel.n_content_frames and not self._clips:
            yield NO_SPEECH
        if self._dims.is_multilingual:
            return
        if self._options.language not in {None, "en"}:
            yield f"this model knows only English, not {self._options.language}; using English"
        if self._options.task == "translate":
            yield "this model knows only English and cannot translate; transcribing"
        if self._options.multilingual:
            yield "this model knows only English and detects no language"


def _frame_after(clips: Sequence[Clip], n_done: int) -> int:
    """Returns the mel frame behind the first `n_done` frames of clips; 0 if none is done."""
    for start, end in clips:
        if 0 < n_done <= end - start:
            return start + n_done
        n_done -= max(0, end - start)
    return 0
