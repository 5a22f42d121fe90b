"""Utterances in live audio: probabilities of a whole recording, and edges as they show."""

from pathlib import Path

import numpy as np
import pytest

from maxwhisper_cli.speech.activity import VoiceActivity
from maxwhisper_cli.speech.network import VoiceNetwork
from maxwhisper_cli.speech.utterances import Edge, UtteranceFinder, add_together
from maxwhisper_cli.transcription.vad_options import VadOptions
from tests.support import loaded
from tests.support.live_clock import SAMPLE_RATE
from tests.support.sound import tone

OPTIONS = VadOptions(threshold=0.4, min_speech_ms=200, min_silence_ms=700, speech_pad_ms=300)


def found(
    network: VoiceNetwork, samples: np.ndarray, n_block: int
) -> tuple[list[tuple[int, Edge]], UtteranceFinder]:
    """Edges, each with the number of samples after which it showed."""
    finder = UtteranceFinder(network, OPTIONS)
    edges = []
    for first in range(0, len(samples), n_block):
        block = samples[first : first + n_block]
        edges += [(first + len(block), edge) for edge in finder.add(block)]
    return edges, finder


@pytest.mark.parametrize("n_block", [160, 512, 5000])
def test_blocks_of_any_length_give_the_same_edges(
    network: VoiceNetwork, jfk: Path, n_block: int
) -> None:
    samples = loaded.samples_of(jfk)
    edges, _ = found(network, samples, n_block)
    whole, _ = found(network, samples, len(samples))
    assert [edge for _, edge in edges] == [edge for _, edge in whole]
    assert len(edges) >= 3


def test_streams_together_show_the_edges_of_each_alone(
    network: VoiceNetwork, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Eleven streams that begin at different places, with blocks of different lengths.

    New memory holds no numbers: nothing of it may be read, which numpy would warn of.
    """
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, np.inf, dtype))
    whole = np.tile(loaded.samples_of(jfk), 2)
    streams = [whole[index * 7000 :] for index in range(11)]
    lengths = [300 * (index + 2) for index in range(11)]
    alone, together = ([UtteranceFinder(network, OPTIONS) for _ in streams] for _ in range(2))
    for number in range(40):
        blocks = [
            samples[number * length : (number + 1) * length]
            for samples, length in zip(streams, lengths, strict=True)
        ]
        edges = [finder.add(block) for finder, block in zip(alone, blocks, strict=True)]
        assert add_together(together, blocks) == edges
    for one, another in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one._state.cell, another._state.cell)
        np.testing.assert_array_equal(one._fresh.hidden, another._fresh.hidden)
    assert any(finder._n_frames > 256 for finder in alone)


def test_the_probabilities_are_those_of_a_whole_recording(
    network: VoiceNetwork, jfk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.tile(loaded.samples_of(jfk), 2)  # longer than the second LSTM lives
    activity = VoiceActivity(network, OPTIONS)
    activity.add(samples)
    taken: list[float] = []
    finder = UtteranceFinder(network, OPTIONS)

    def take(_at: int, probability: float, _level: float) -> list[Edge]:
        taken.append(probability)
        return []

    monkeypatch.setattr(finder, "_take", take)
    for first in range(0, len(samples), 1600):
        finder.add(samples[first : first + 1600])
    np.testing.assert_allclose(taken, activity.probabilities()[: len(taken)], atol=1e-5)


def test_a_hoarse_voice_is_not_cut(network: VoiceNetwork, two_channels: Path) -> None:
    """Its probabilities fall below 0.1 for a second, in the middle of a sentence that is loud."""
    samples = loaded.samples_of(two_channels)[27 * SAMPLE_RATE : 45 * SAMPLE_RATE]
    edges, finder = found(network, samples, 1600)
    assert [edge.is_start for _, edge in edges] == [True]
    assert finder.is_speech


def test_music_ends_an_utterance_later(network: VoiceNetwork, jfk: Path) -> None:
    speech = loaded.samples_of(jfk)[: 2 * SAMPLE_RATE]
    quiet, music = np.zeros(SAMPLE_RATE, np.float32), tone(440, 5, SAMPLE_RATE)
    ends = []
    for background in (0 * music, music):
        samples = np.concatenate([quiet, speech, background]).astype(np.float32)
        edges, _ = found(network, samples, 1600)
        assert [edge.is_start for _, edge in edges] == [True, False]
        ends.append(edges[1][0] / SAMPLE_RATE)
    assert 1.5 <= ends[1] - ends[0] <= 2.2


def test_edges_show_in_time(network: VoiceNetwork, jfk: Path) -> None:
    edges, _ = found(network, loaded.samples_of(jfk), 512)
    for shown, edge in edges:
        late = (shown - edge.at) / SAMPLE_RATE
        pad = OPTIONS.speech_pad_ms / 1000
        least = OPTIONS.min_speech_ms / 1000 if edge.is_start else OPTIONS.min_silence_ms / 1000
        assert late <= least + pad + 0.07  # two frames
    starts = [edge.is_start for _, edge in edges]
    assert starts == [index % 2 == 0 for index in range(len(starts))]


def test_silence_has_no_edges(network: VoiceNetwork) -> None:
    edges, finder = found(network, np.zeros(5 * SAMPLE_RATE, np.float32), 512)
    assert edges == []
    assert finder.end() == []


def test_an_utterance_can_be_ended(network: VoiceNetwork, jfk: Path) -> None:
    samples = loaded.samples_of(jfk)[: 2 * SAMPLE_RATE]
    edges, finder = found(network, samples, 512)
    assert [edge.is_start for _, edge in edges] == [True]
    assert finder.end() == [Edge(len(samples), is_start=False)]
    assert finder.end() == []
