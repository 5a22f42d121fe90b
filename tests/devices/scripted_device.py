"""Model of a test's device: scripted rows, and what is to happen to the process that has them."""

import itertools
import os
import signal
import time
import zlib
from dataclasses import dataclass
from pathlib import Path

from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.devices.messages import OnNote
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.scripted import BEGIN, ScriptedFeatures, window
from tests.support.scripted_rows import RowImplementation


@dataclass(frozen=True)
class ScriptedLoad:
    """Loads a model in a device's process."""

    device: str
    log: Path
    """File that gets a line for each window: its device."""
    dies_at: int = -1
    """Number of the window at which the process is killed, from 0."""
    fails: bool = False
    """True if each window fails as a broken device makes it fail."""
    refuses: bool = False
    """True if it cannot be loaded."""
    seconds: float = 0.02
    """Time of a window."""

    def __call__(self, on_note: OnNote) -> Model:
        if self.refuses:
            raise ImplementationUnavailableError(f"{self.device} is out of order")
        on_note("all devices note this")
        return Model(_Implementation(self), name="scripted")


class _Implementation(RowImplementation):
    def __init__(self, load: ScriptedLoad) -> None:
        super().__init__(lambda _: window(()))
        self.device = load.device
        self._load = load
        self._numbers = itertools.count()
        self._tokenizer = get_tokenizer(False)

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        assert isinstance(audio_features, ScriptedFeatures)
        with self._load.log.open("a") as file:
            file.write(f"{self.device}\n")
        is_silent = float(audio_features.mel.std()) == 0  # silence ends each device
        if next(self._numbers) == self._load.dies_at or is_silent:
            os.kill(os.getpid(), signal.SIGKILL)
        time.sleep(self._load.seconds)
        if self._load.fails:
            raise ImplementationFailedError(f"{self.device} has fallen off the bus")
        text = self._tokenizer.encode(f" {zlib.crc32(audio_features.mel.tobytes())}")
        at = BEGIN + 1000
        return window([BEGIN, *text, at, at])
