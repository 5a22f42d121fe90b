"""Speakers of a recording whose channels are transcribed apart: one transcript of all of them.

Input is the mel frames of each channel on which somebody speaks. Output is the segments of all by
start time, numbered in that order, each with the name of its speaker. The text of a channel is the
same as alone in that language. Speakers are told apart by their channels, never by their voices.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TypeVar

from implementations.implementation import Implementation
from maxwhisper_cli.transcription.batched import BatchedRun, BatchScheduler
from maxwhisper_cli.transcription.longform import NO_SPEECH, DecodedPart, TranscriptionRun
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

_SILENCE_LANGUAGE = "en"
"""Language of a transcript without text, if none is given."""

Run = TypeVar("Run", bound=TranscriptionRun)


@dataclass(frozen=True, slots=True)
class SpeakerMels:
    """Mel frames of each speaker of a recording."""

    by_speaker: Mapping[str, MelSpectrogram]
    """Frames by the speaker's name, without the silent ones."""
    seconds: float
    """Length of the recording."""


@dataclass(slots=True)
class _Lane:
    """One speaker's segments, as they are decoded."""

    speaker: str
    parts: Iterator[DecodedPart]
    done_seconds: float = 0.0
    is_done: bool = False
    waiting: deque[Segment] = field(default_factory=deque)
    """Segments that have not been merged yet."""

    def advance(self) -> None:
        """Takes the next part, if there is one."""
        part = next(self.parts, None)
        if part is None:
            self.is_done = True
            return
        self.done_seconds = part.progress.done_seconds
        self.waiting.extend(replace(each, speaker=self.speaker) for each in part.segments)


class SpeakersRun:
    """One recording by its speakers: iterate `parts` once, then read the `transcript`.

    The speakers take turns by time, so that segments come in order while they are decoded.
    """

    def __init__(
        self,
        implementation: Implementation,
        mels: SpeakerMels,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """Starts a run for each speaker, all in one language unless `multilingual` is given.

        Without a given language, it is that of the speaker for whom it is most probable.

        Raises:
            OptionsError: A prompt, prefix or token does not fit this model.
            LanguageError: This model does not support the language.
        """
        self._runs: Mapping[str, TranscriptionRun] = _start_runs(
            TranscriptionRun, implementation, mels, options, stopwatch
        )
        self._start(mels, options)

    def _start(self, mels: SpeakerMels, options: TranscribeOptions) -> None:
        self._seconds = mels.seconds
        self._segments: list[Segment] = []
        transcripts = [run.transcript for run in self._runs.values()]
        surest = _surest(transcripts)
        self._language = surest.language if surest else options.language or _SILENCE_LANGUAGE
        self._probability = surest.language_probability if surest else None

    def parts(self) -> Iterator[DecodedPart]:
        """Decodes window after window; a segment is yielded once no earlier one can come."""
        yield from self._merge({name: run.parts() for name, run in self._runs.items()})

    @property
    def transcript(self) -> Transcript:
        """Segments so far, and their text without names."""
        transcripts = {name: run.transcript for name, run in self._runs.items()}
        warnings = (
            f"{name}: {text}" if text == NO_SPEECH else text
            for name, each in transcripts.items()
            for text in each.warnings
        )
        speech = [each.speech_seconds for each in transcripts.values()]
        return Transcript(
            text="".join(segment.text for segment in self._segments),
            segments=tuple(self._segments),
            language=self._language,
            language_probability=self._probability,
            duration_seconds=self._seconds,
            speech_seconds=None if None in speech else sum(filter(None, speech)),
            warnings=tuple(dict.fromkeys(warnings)),
        )

    def _merge(self, parts: Mapping[str, Iterator[DecodedPart]]) -> Iterator[DecodedPart]:
        lanes = [_Lane(speaker, own) for speaker, own in parts.items()]
        yield DecodedPart((), self._progress_at([lane.done_seconds for lane in lanes]))
        while missing := [lane for lane in lanes if not (lane.waiting or lane.is_done)]:
            min(missing, key=lambda lane: lane.done_seconds).advance()
            segments = tuple(self._release(lanes))
            yield DecodedPart(segments, self._progress_at([lane.done_seconds for lane in lanes]))

    def _release(self, lanes: Sequence[_Lane]) -> Iterator[Segment]:
        """Yields waiting segments by start time, as long as none is missing."""
        while all(lane.waiting or lane.is_done for lane in lanes):
            lane = min(
                (lane for lane in lanes if lane.waiting),
                key=lambda lane: lane.waiting[0].start,
                default=None,
            )
            if lane is None:
                return
            segment = replace(lane.waiting.popleft(), id=len(self._segments))
            self._segments.append(segment)
            yield segment

    def _progress_at(self, done_seconds: Sequence[float]) -> Progress:
        """Returns the progress of all speakers together, in seconds of the recording."""
        mean = sum(done_seconds) / len(done_seconds) if done_seconds else self._seconds
        return Progress(mean, self._seconds, self._language)


class BatchedSpeakersRun(SpeakersRun):
    """One recording by its speakers, whose windows are decoded together."""

    def __init__(
        self,
        implementation: Implementation,
        mels: SpeakerMels,
        options: TranscribeOptions,
        stopwatch: Stopwatch = STOPPED,
    ) -> None:
        """Starts the runs and cuts them into shards; arguments and errors as `SpeakersRun`."""
        self._batched = _start_runs(BatchedRun, implementation, mels, options, stopwatch)
        self._runs = self._batched
        self._start(mels, options)
        self._scheduler = BatchScheduler(implementation, options, stopwatch)

    @property
    def runs(self) -> tuple[BatchedRun, ...]:
        """Runs of the speakers, for a scheduler."""
        return tuple(self._batched.values())

    def parts(self) -> Iterator[DecodedPart]:
        """Yields parts without segments for progress, and all segments at the end, in order."""
        yield DecodedPart((), self.progress)
        for run in self.runs:
            self._scheduler.add(run)
        while self._scheduler.decode():
            yield DecodedPart((), self.progress)
        yield from self.finish()

    def finish(self) -> Iterator[DecodedPart]:
        """Yields the segments; iterate once, when all runs are done."""
        yield from self._merge({name: run.finish() for name, run in self._batched.items()})

    @property
    def progress(self) -> Progress:
        """Progress of all speakers together."""
        return self._progress_at([run.progress.done_seconds for run in self.runs])

    @property
    def is_done(self) -> bool:
        """True once every speaker is transcribed."""
        return all(run.is_done for run in self.runs)


def start_run(
    implementation: Implementation,
    mel: MelSpectrogram | SpeakerMels,
    options: TranscribeOptions,
    stopwatch: Stopwatch = STOPPED,
) -> TranscriptionRun | SpeakersRun:
    """Returns a sequential or batched run, of one speaker or several.

    Raises:
        OptionsError: A prompt, prefix or token does not fit this model.
        LanguageError: This model does not support the language.
    """
    if options.batch_size > 1:
        return start_batched_run(implementation, mel, options, stopwatch)
    if isinstance(mel, SpeakerMels):
        return SpeakersRun(implementation, mel, options, stopwatch)
    return TranscriptionRun(implementation, mel, options, stopwatch)


def start_batched_run(
    implementation: Implementation,
    mel: MelSpectrogram | SpeakerMels,
    options: TranscribeOptions,
    stopwatch: Stopwatch = STOPPED,
) -> BatchedRun | BatchedSpeakersRun:
    """Returns a batched run; arguments and errors as `start_run`."""
    if isinstance(mel, SpeakerMels):
        return BatchedSpeakersRun(implementation, mel, options, stopwatch)
    return BatchedRun(implementation, mel, options, stopwatch)


def _start_runs(
    kind: type[Run],
    implementation: Implementation,
    mels: SpeakerMels,
    options: TranscribeOptions,
    stopwatch: Stopwatch,
) -> dict[str, Run]:
    """Starts a run for each speaker, again in the surest language where it detected another."""
    runs = {
        speaker: kind(implementation, mel, options, stopwatch)
        for speaker, mel in mels.by_speaker.items()
    }
    surest = _surest(run.transcript for run in runs.values())
    if surest is None or surest.language_probability is None or options.multilingual:
        return runs
    given = replace(options, language=surest.language)
    return {
        speaker: run
        if run.transcript.language == surest.language
        else kind(implementation, mels.by_speaker[speaker], given, stopwatch)
        for speaker, run in runs.items()
    }


def _surest(transcripts: Iterable[Transcript]) -> Transcript | None:
    """Returns the transcript whose language is most probable; None if there is none."""
    return max(transcripts, key=lambda each: each.language_probability or 0.0, default=None)
