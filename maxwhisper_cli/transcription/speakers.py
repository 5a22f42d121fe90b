"""Speakers of a recording whose channels are transcribed apart: one transcript of all of them.

Input is the mel frames of each channel on which somebody speaks. Output is the segments of all by
start time, numbered in that order, each with the name of its speaker. The text of a channel is the
same as alone in that language. Speakers are told apart by their channels, never by their voices.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

from implementations.implementation import Implementation
from maxwhisper_cli.transcription.longform import NO_SPEECH, TranscriptionRun
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.steps import DecodedPart, Run, StepSequence, WindowDone
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

_SILENCE_LANGUAGE = "en"
"""Language of a transcript without text, if none is given."""


@dataclass(frozen=True, slots=True)
class SpeakerMels:
    """Mel frames of each speaker of a recording."""

    by_speaker: Mapping[str, MelSpectrogram]
    """Frames by the speaker's name, without the silent ones."""
    seconds: float
    """Length of the recording."""


@dataclass(slots=True)
class _Lane:
    """One speaker's run, and the segments of it that wait for those of others."""

    speaker: str
    run: TranscriptionRun
    waiting: deque[Segment] = field(default_factory=deque)

    @property
    def is_missing(self) -> bool:
        """True if the next segment of all may be one that this speaker has yet to say."""
        return not (self.waiting or self.run.is_done)

    @property
    def done_seconds(self) -> float:
        """Progress of the speaker."""
        return self.run.progress.done_seconds


class SpeakersRun(Run):
    """One recording by its speakers, whose segments come in order of time.

    In turn, the speaker whose next segment is missing is decoded first.
    """

    def __init__(
        self,
        implementation: Implementation,
        mels: SpeakerMels,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
        *,
        is_cut: bool = False,
    ) -> None:
        """Starts a run for each speaker, all in one language unless `multilingual` is given.

        Without a given language, it is that of the speaker for whom it is most probable.

        Raises:
            OptionsError: A prompt, prefix or token does not fit this model.
            LanguageError: This model does not support the language.
        """
        starting = _Starting(implementation, options, stopwatch, is_cut)
        runs = starting.runs(mels)
        self._lanes = [_Lane(speaker, run) for speaker, run in runs.items()]
        self._lane_of: dict[StepSequence, _Lane] = {
            each: lane for lane in self._lanes for each in lane.run.sequences
        }
        self._seconds = mels.seconds
        self._segments: list[Segment] = []
        surest = _surest(run.transcript for run in runs.values())
        self._language = surest.language if surest else options.language or _SILENCE_LANGUAGE
        self._probability = surest.language_probability if surest else None

    @property
    def sequences(self) -> Sequence[StepSequence]:
        """Sequences of all speakers."""
        return tuple(self._lane_of)

    def next_sequence(self) -> StepSequence | None:
        """Returns the next one of the speaker whose segments are missing most."""
        missing = [lane for lane in self._lanes if lane.is_missing]
        if not missing:  # what waits is released as the last window comes
            return None
        return min(missing, key=lambda lane: lane.done_seconds).run.next_sequence()

    def accept(self, sequence: StepSequence, done: WindowDone) -> DecodedPart:
        """Takes a window; returns the segments before which no other can come."""
        lane = self._lane_of[sequence]
        segments = lane.run.accept(sequence, done).segments
        lane.waiting.extend(replace(each, speaker=lane.speaker) for each in segments)
        return DecodedPart(tuple(self._release()), self.progress)

    @property
    def progress(self) -> Progress:
        """Progress of all speakers together, in seconds of the recording."""
        done = [lane.done_seconds for lane in self._lanes]
        mean = sum(done) / len(done) if done else self._seconds
        return Progress(mean, self._seconds, self._language)

    @property
    def transcript(self) -> Transcript:
        """Segments so far, and their text without names."""
        transcripts = {lane.speaker: lane.run.transcript for lane in self._lanes}
        warnings = (
            f"{name}: {text}" if text == NO_SPEECH else text
            for name, each in transcripts.items()
            for text in each.warnings
        )
        speech = [each.speech_seconds for each in transcripts.values()]
        cuts = {at for each in transcripts.values() for at in each.cut_seconds}
        return Transcript(
            text="".join(segment.text for segment in self._segments),
            segments=tuple(self._segments),
            language=self._language,
            language_probability=self._probability,
            duration_seconds=self._seconds,
            speech_seconds=None if None in speech else sum(filter(None, speech)),
            cut_seconds=tuple(sorted(cuts)),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _release(self) -> Iterator[Segment]:
        """Yields waiting segments by start time, as long as none is missing."""
        while not any(lane.is_missing for lane in self._lanes):
            lane = min(
                (lane for lane in self._lanes if lane.waiting),
                key=lambda lane: lane.waiting[0].start,
                default=None,
            )
            if lane is None:
                return
            segment = replace(lane.waiting.popleft(), id=len(self._segments))
            self._segments.append(segment)
            yield segment


def start_run(
    implementation: Implementation,
    mel: MelSpectrogram | SpeakerMels,
    options: TranscribeOptions,
    stopwatch: Stopwatch = STOPPED,
    *,
    is_cut: bool = False,
) -> Run:
    """Returns the run of a recording, of one speaker or several.

    Raises:
        OptionsError: A prompt, prefix or token does not fit this model.
        LanguageError: This model does not support the language.
    """
    if isinstance(mel, SpeakerMels):
        return SpeakersRun(implementation, mel, options, stopwatch, is_cut=is_cut)
    return TranscriptionRun(implementation, mel, options, stopwatch, is_cut=is_cut)


@dataclass(frozen=True, slots=True)
class _Starting:
    """Start of the runs of a recording's speakers."""

    implementation: Implementation
    options: TranscribeOptions
    stopwatch: Stopwatch
    is_cut: bool

    def runs(self, mels: SpeakerMels) -> dict[str, TranscriptionRun]:
        """Starts a run for each speaker, again in the surest language where it is another one."""
        options = self.options
        runs = {speaker: self._run(mel, options) for speaker, mel in mels.by_speaker.items()}
        surest = _surest(run.transcript for run in runs.values())
        if surest is None or surest.language_probability is None or options.multilingual:
            return runs
        given = replace(options, language=surest.language)
        return {
            speaker: run
            if run.transcript.language == surest.language
            else self._run(mels.by_speaker[speaker], given)
            for speaker, run in runs.items()
        }

    def _run(self, mel: MelSpectrogram, options: TranscribeOptions) -> TranscriptionRun:
        return TranscriptionRun(
            self.implementation, mel, options, self.stopwatch, is_cut=self.is_cut
        )


def _surest(transcripts: Iterable[Transcript]) -> Transcript | None:
    """Returns the transcript whose language is most probable; None if there is none."""
    return max(transcripts, key=lambda each: each.language_probability or 0.0, default=None)
