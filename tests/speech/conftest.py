"""The network for voice activity, fetched once."""

import pytest

from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.network_file import load_network


@pytest.fixture(scope="session")
def network() -> VoiceNetwork:
    return load_network()
