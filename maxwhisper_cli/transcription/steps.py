"""Steps of a transcription: what it needs from a model next, and the windows that it has done.

The rules of long recordings are generators of steps and never call the model for a window. Whoever
drives them answers each need: alone, or together with those of other recordings.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

from implementations.alignment import AlignmentRequest, TokenAlignment
from implementations.implementation import Meanwhile, nothing
from implementations.mel_frames import MelWindow
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import Float32, MelSpectrogram
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.timestamps import WindowPlace
from weights.errors import MaxWhisperError

Answer = TypeVar("Answer")


class Need(Generic[Answer]):
    """Need of a window; its generator goes on once the answer is given."""

    _given: Answer | None = None

    def give(self, answer: Answer) -> None:
        """Stores the answer."""
        self._given = answer

    @property
    def answer(self) -> Answer:
        """The answer that was given."""
        assert self._given is not None, "this need was not answered"
        return self._given


@dataclass(eq=False)
class Encoding(Need[AudioFeatures]):
    """Need of the encoder's output for a window, a batch of one."""

    mel: MelSpectrogram
    place: WindowPlace

    def device_window(self) -> MelWindow | None:
        """Returns the window if its frames are on the implementation's device."""
        return self.mel.device_window(self.place.seek, self.place.n_frames)

    def fill(self, window: Float32) -> MaxWhisperError | None:
        """Writes the window's mel frames and the zeros after them into `[n_mels, 3000]`.

        Returns:
            The error of this recording's frames, if they cannot be read.
        """
        try:
            self.mel.fill_padded(window, self.place.seek, self.place.n_frames)
        except MaxWhisperError as error:
            return error
        return None


@dataclass(eq=False)
class Decoding(Need[DecodedWindow]):
    """Need of a window's decoding at one temperature."""

    features: AudioFeatures
    request: DecodeRequest


@dataclass(eq=False)
class Aligning(Need[TokenAlignment]):
    """Need of the times of a window's tokens."""

    features: AudioFeatures
    request: AlignmentRequest
    meanwhile: Meanwhile = nothing
    """Work that does not depend on the answer, for the time that a device takes."""


@dataclass(eq=False)
class Scoring(Need[tuple[float, ...]]):
    """Need of the log-probability of each token of a window's text."""

    features: AudioFeatures
    prompt: tuple[int, ...]
    tokens: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class WindowDone:
    """Segments of a window that is done; their ids count from 0 in each window sequence."""

    segments: tuple[Segment, ...]


Step: TypeAlias = Encoding | Decoding | Aligning | Scoring | WindowDone


@dataclass(frozen=True, slots=True)
class DecodedPart:
    """Segments that a window added, in the order of the recording, and the progress after it."""

    segments: tuple[Segment, ...]
    progress: Progress


class StepSequence(ABC):
    """Windows of which each needs the one before it: its prompt, and where it begins."""

    steps: Iterator[Step]
    """Steps; iterate until `is_done`."""
    is_done = False
    """True once its last window is done."""


class Run(ABC):
    """Transcription of one recording by one or more sequences, as its driver sees it."""

    @property
    @abstractmethod
    def sequences(self) -> Sequence[StepSequence]:
        """Sequences of the recording, in its order; none depends on another."""

    @abstractmethod
    def next_sequence(self) -> StepSequence | None:
        """Returns the sequence whose next window is wanted first; None if all are done."""

    @abstractmethod
    def accept(self, sequence: StepSequence, done: WindowDone) -> DecodedPart:
        """Takes a window of one of the sequences; returns the segments that can be shown now."""

    @property
    @abstractmethod
    def progress(self) -> Progress:
        """Progress of all sequences together."""

    @property
    @abstractmethod
    def transcript(self) -> Transcript:
        """Segments so far and their text."""

    @property
    def is_done(self) -> bool:
        """True once every sequence is done."""
        return all(sequence.is_done for sequence in self.sequences)
