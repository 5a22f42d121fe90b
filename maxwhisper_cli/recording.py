"""Opening of a recording for transcription: its audio read to the end, as mel frames.

Input is any source of audio. Output is the frames of one mono recording, or of each speaker if the
channels are split. It does not run the model.
"""

from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from implementations.implementation import Implementation
from maxwhisper_cli.speech.activity import VoiceActivity
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.network_file import NetworkLoader
from maxwhisper_cli.system_errors import refusals_as_errors
from maxwhisper_cli.transcription.audio import (
    Audio,
    AudioError,
    AudioSource,
    ReadingOptions,
    open_audio,
)
from maxwhisper_cli.transcription.audio_channels import split_channels
from maxwhisper_cli.transcription.audio_stream import Float32
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions, VadOptions
from maxwhisper_cli.transcription.speakers import SpeakerMels
from maxwhisper_cli.transcription.stopwatch import Stopwatch


@dataclass(frozen=True, slots=True)
class Recording:
    """An open recording."""

    mel: MelSpectrogram | SpeakerMels
    warnings: list[str]
    """Messages about its audio."""


@contextmanager
def open_recording(
    implementation: Implementation,
    audio: AudioSource,
    options: TranscribeOptions,
    reading: ReadingOptions,
    voices: NetworkLoader,
    stopwatch: Stopwatch,
) -> Iterator[Recording]:
    """Opens a recording and reads all of it; a context manager.

    With `vad` the network of `voices` finds the speech in the same blocks of samples.

    Raises:
        AudioError: The recording cannot be decoded, or its channels do not fit the names.
        OptionsError: There are names of speakers, and the channels are not split.
        MaxWhisperError: The system refuses something.
    """
    is_split = reading.get("channel") == "split"
    if options.speaker_names is not None and not is_split:
        raise OptionsError("speaker_names need channel 'split'")
    name = str(audio) if isinstance(audio, str | Path) else ""
    with ExitStack() as resources:
        with stopwatch.on("audio"), refusals_as_errors(name):
            opened = resources.enter_context(open_audio(audio, **reading))
        network = voices.network() if options.vad is not None else None
        opener = _Opener(implementation, opened, options.vad, network, stopwatch, resources)
        with refusals_as_errors(opened.name):
            mel = opener.speaker_mels(options.speaker_names) if is_split else opener.mel(opened)
        yield Recording(mel, opened.warnings)


@dataclass(frozen=True, slots=True)
class _Opener:
    """Reader of one recording."""

    implementation: Implementation
    audio: Audio
    vad: VadOptions | None
    network: VoiceNetwork | None
    stopwatch: Stopwatch
    resources: ExitStack

    def mel(self, blocks: Iterable[Float32]) -> MelSpectrogram:
        """Returns the frames of mono samples, with the parts in which somebody speaks."""
        blocks = self.stopwatch.each("audio", blocks)
        activity = None
        if self.vad is not None and self.network is not None:
            activity = VoiceActivity(self.network, self.vad)
            blocks = activity.watch(blocks, self.stopwatch)
        with self.stopwatch.on("mel"):
            spectrogram = MelSpectrogram(
                blocks,
                self.implementation.dims.n_mels,
                transform=self.implementation.log_mel,
                frames_at_once=self.implementation.mel_frames_at_once,
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
        with self.stopwatch.on("audio"):
            channels = split_channels(audio, audio.n_channels, audio.name, self.resources)
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
