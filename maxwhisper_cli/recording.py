"""Opening of a recording for transcription: its audio read to the end, as mel frames.

Input is any source of audio. Output is the frames of one mono recording, or of each speaker if the
channels are split. It does not run the model.
"""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from maxwhisper_cli.audio.channels import split_channels
from maxwhisper_cli.audio.excerpt import Excerpt
from maxwhisper_cli.audio.reader import (
    Audio,
    AudioError,
    AudioSource,
    ReadingOptions,
    open_audio,
)
from maxwhisper_cli.audio.sixteen_bit import from_16_bit, to_16_bit
from maxwhisper_cli.audio.stream import Float32
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.system_errors import refusals_as_errors
from maxwhisper_cli.throughput.feed import NOTHING_NOW, Feed
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import (
    AUTO_ROWS,
    OptionsError,
    TranscribeOptions,
    VadOptions,
)
from maxwhisper_cli.transcription.speakers import SpeakerMels, start_run
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch

if TYPE_CHECKING:
    from maxwhisper_cli.speech.network import VoiceNetwork
    from maxwhisper_cli.throughput.read_ahead import Admit
    from maxwhisper_cli.throughput.several import Opened


@dataclass(frozen=True, slots=True)
class RecordingRequest:
    """A recording that is found when its turn comes, with what holds for it alone."""

    name: str
    """Name in messages."""
    open: Callable[[], AbstractContextManager[AudioSource | Audio]]
    """Gives the source, or what was opened of it, for as long as it is read."""
    excerpt: Excerpt | None = None
    """Part to transcribe; times are those of the part. None is all of it."""
    language: str | None = None
    """Language spoken in it; None is that of the options."""
    may_stall: bool = False
    """True if it cannot be read ahead."""
    rounds_samples: bool = False
    """True to round samples to 16 bits, as they are sent between machines; one thread reads, since
    parts that several read are joined to within 3e-7, which rounding may show."""


@dataclass(frozen=True, slots=True)
class Recording:
    """An open recording."""

    mel: MelSpectrogram | SpeakerMels
    warnings: list[str]
    """Messages about its audio."""
    language: str | None = None
    """Language spoken in it; None is that of the options."""

    def fit(self, options: TranscribeOptions) -> TranscribeOptions:
        """Returns the options for this recording."""
        return options if self.language is None else replace(options, language=self.language)


@dataclass(frozen=True, slots=True)
class RecordingReader:
    """Reader of recordings for one model."""

    implementation: Implementation
    voices: NetworkLoader
    """Loads the network that finds speech."""
    stopwatch: Stopwatch
    n_threads: int = 0
    """Threads that read a long recording; 0 is as many as can run at a time."""
    admit: "Admit | None" = None
    """Called before samples are kept; None if they need not wait."""

    @contextmanager
    def open(
        self,
        audio: AudioSource | RecordingRequest,
        options: TranscribeOptions,
        reading: ReadingOptions,
    ) -> Iterator[Recording]:
        """Opens a recording and reads all of it; a context manager.

        With `vad` the network of `voices` finds the speech in the same blocks of samples.

        Raises:
            AudioError: The recording cannot be decoded, or its channels do not fit the names.
            OptionsError: There are names of speakers, and the channels are not split.
            MaxWhisperError: The system refuses something.
        """
        if options.speaker_names is not None and reading.get("channel") != "split":
            raise OptionsError("speaker_names need channel 'split'")
        with ExitStack() as resources:
            if isinstance(audio, RecordingRequest):
                with (
                    refusals_as_errors(audio.name),
                    audio.open() as source,
                    _named(source, audio.name),
                ):
                    opened = self._read(source, audio, options, reading, resources)
            else:
                name = str(audio) if isinstance(audio, str | Path) else ""
                request = RecordingRequest(name, lambda: nullcontext(audio))
                opened = self._read(audio, request, options, reading, resources)
            yield opened

    def _read(
        self,
        source: AudioSource | Audio,
        request: RecordingRequest,
        options: TranscribeOptions,
        reading: ReadingOptions,
        resources: ExitStack,
    ) -> Recording:
        with self.stopwatch.on("audio"), refusals_as_errors(request.name):
            opened = source if isinstance(source, Audio) else open_audio(source, **reading)
            resources.enter_context(opened)
        if request.name:
            opened.warnings[:] = [
                each.replace(opened.name, request.name) for each in opened.warnings
            ]
            opened.name = request.name
        opened.n_threads = 1 if request.rounds_samples else self.n_threads
        network = self.voices.network() if options.vad is not None else None
        opener = _Opener(self, opened, options.vad, network, resources, request)
        with refusals_as_errors(opened.name):
            if reading.get("channel") == "split":
                mel: MelSpectrogram | SpeakerMels = opener.speaker_mels(options.speaker_names)
            else:
                mel = opener.mel(opened)
        return Recording(mel, opened.warnings, request.language)


@contextmanager
def _named(source: AudioSource | Audio, name: str) -> Iterator[None]:
    """Gives errors the name of a recording instead of that of its temporary file."""
    try:
        yield
    except AudioError as error:
        if not isinstance(source, str) or source == name:
            raise
        raise AudioError(str(error).replace(source, name)) from error


@contextmanager
def open_several(
    reader: RecordingReader,
    audios: Iterable[AudioSource | RecordingRequest] | Feed[AudioSource | RecordingRequest],
    options: TranscribeOptions,
    reading: ReadingOptions,
) -> Iterator[Iterable[AbstractContextManager[Recording]]]:
    """Opens recordings one after the other; the files of a list, tuple or feed are read ahead.

    Other iterables are left alone: a generator may wait for the result of what it gave. A feed that
    has nothing now gives `NOTHING_NOW`.
    """
    if not isinstance(audios, Feed) and (not isinstance(audios, list | tuple) or len(audios) <= 1):
        yield (reader.open(audio, options, reading) for audio in audios)
        return
    from maxwhisper_cli.throughput.read_ahead import ReadAhead, count_reading_threads

    n_threads = count_reading_threads(reader.implementation.device, reader.n_threads)
    n_at_once = n_threads if isinstance(audios, Feed) else len(audios) - 1
    n_per_recording = max(1, n_threads // max(1, n_at_once))
    ahead = replace(reader, stopwatch=STOPPED, n_threads=n_per_recording)

    def open_one(
        audio: AudioSource | RecordingRequest, admit: "Admit | None"
    ) -> AbstractContextManager[Recording]:
        each = reader if admit is None else replace(ahead, admit=admit)
        return each.open(audio, options, reading)

    with ReadAhead(audios, open_one, n_threads, stopwatch=reader.stopwatch) as recordings:
        yield recordings


def start(
    reader: RecordingReader,
    recording: AbstractContextManager[Recording],
    options: TranscribeOptions,
) -> AbstractContextManager["Opened"]:
    """Opens a recording, and starts its run in rows; `NOTHING_NOW` stays that."""
    return NOTHING_NOW if recording is NOTHING_NOW else _start(reader, recording, options)


@contextmanager
def _start(
    reader: RecordingReader,
    recording: AbstractContextManager[Recording],
    options: TranscribeOptions,
) -> Iterator["Opened"]:
    from maxwhisper_cli.throughput.several import Opened

    implementation, is_cut = reader.implementation, options.batch_size != AUTO_ROWS
    with recording as opened:
        with translate_out_of_memory(implementation.device):
            fitting = opened.fit(options)
            run = start_run(implementation, opened.mel, fitting, reader.stopwatch, is_cut=is_cut)
        yield Opened(run, opened.warnings)


@dataclass(frozen=True, slots=True)
class _Opener:
    """Reader of one recording."""

    reader: RecordingReader
    audio: Audio
    vad: VadOptions | None
    network: "VoiceNetwork | None"
    resources: ExitStack
    request: RecordingRequest

    def mel(self, blocks: Iterable[Float32]) -> MelSpectrogram:
        """Returns the frames of mono samples, with the parts in which somebody speaks."""
        stopwatch, implementation = self.reader.stopwatch, self.reader.implementation
        blocks = stopwatch.each("audio", self._admitted(blocks))
        activity = None
        if self.vad is not None and self.network is not None:
            from maxwhisper_cli.speech.activity import VoiceActivity

            activity = VoiceActivity(self.network, self.vad)
            blocks = activity.watch(blocks, stopwatch)
        with stopwatch.on("mel"):
            spectrogram = MelSpectrogram(
                blocks,
                implementation.dims.n_mels,
                transform=implementation.log_mel,
                frames_at_once=implementation.mel_frames_at_once,
            )
        if activity is not None:
            spectrogram.speech = activity.clips()
        return self.resources.enter_context(spectrogram)

    def speaker_mels(self, names: tuple[str, ...] | None) -> SpeakerMels:
        """Returns the frames of each channel on which there is sound."""
        audio = self.audio
        if names is None:
            names = tuple(f"channel {number}" for number in range(1, audio.n_channels + 1))
        if len(names) != audio.n_channels:
            raise AudioError(
                f"{audio.name} has {audio.n_channels} channels, and the names of speakers are "
                f"{len(names)}: give one for each channel"
            )
        with self.reader.stopwatch.on("audio"):
            blocks = self._admitted(audio)
            channels = split_channels(blocks, audio.n_channels, audio.name, self.resources)
        for number, channel in enumerate(channels, 1):
            if channel.is_silent:
                audio.warnings.append(f"{audio.name}: channel {number} is silent")
        return SpeakerMels(
            {
                name: self.mel(channel)
                for name, channel in zip(names, channels, strict=True)
                if not channel.is_silent
            },
            channels[0].seconds,
        )

    def _admitted(self, blocks: Iterable[Float32]) -> Iterable[Float32]:
        """Returns the blocks to transcribe; each waits for room where they are read ahead."""
        request = self.request
        if request.excerpt is not None and blocks is self.audio:  # channels are parts of it already
            blocks = request.excerpt.of(self.audio)
        if request.rounds_samples:
            blocks = (from_16_bit(to_16_bit(block)) for block in blocks)
        admit = self.reader.admit
        return blocks if admit is None else _waiting_for_room(blocks, admit)


def _waiting_for_room(blocks: Iterable[Float32], admit: "Admit") -> Iterator[Float32]:
    for block in blocks:
        admit(block.nbytes)
        yield block
