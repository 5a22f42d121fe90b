"""A model with a shorter window on PyTorch, which compiles nothing, and recordings played to it."""

from collections.abc import Callable

import numpy as np
import pytest

from implementations.implementation import Implementation
from implementations.options import LoadOptions
from implementations.registry import implementation_class
from maxwhisper_cli.listen.options import ListenOptions
from maxwhisper_cli.listen.transcriber import LiveTranscriber
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.network_file import load_network
from tests.support import loaded
from tests.support.live_clock import Played, play
from weights.audio_context import shorten_audio_context

N_AUDIO_CTX = 500
SECONDS_OF_AN_UPDATE = 0.2
"""Model's time in these tests, on any machine: the events do not depend on it."""

PlayLive = Callable[..., Played]


@pytest.fixture(scope="session")
def network() -> VoiceNetwork:
    return load_network()


@pytest.fixture(scope="session")
def model() -> Implementation:
    """tiny.en for 10 s of audio."""
    checkpoint = shorten_audio_context(loaded.checkpoint("tiny.en"), N_AUDIO_CTX)
    return implementation_class("cpu").load(checkpoint, LoadOptions(dtype="float32"))


@pytest.fixture(scope="session")
def play_live(model: Implementation, network: VoiceNetwork) -> PlayLive:
    """Plays samples in simulated time, with an update of the same length each time."""

    def run(samples: np.ndarray, **options: object) -> Played:
        chosen = ListenOptions(**{"min_chunk_seconds": 1.5, **options})  # type: ignore[arg-type]
        stream = Played(LiveTranscriber(model, chosen, network), samples)
        times = iter(np.arange(0, 1e6, SECONDS_OF_AN_UPDATE).tolist())
        play(model, [stream], lambda: next(times))
        return stream

    return run
