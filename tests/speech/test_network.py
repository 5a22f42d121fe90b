"""The network in numpy: equal to onnxruntime on the same file, in blocks of any length."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnxruntime
import pytest

from maxwhisper_cli.speech.activity import VoiceActivity
from maxwhisper_cli.speech.network import (
    CONTEXT_SAMPLES,
    FRAME_SAMPLES,
    FRAMES_MULTIPLE,
    LstmState,
    VoiceNetwork,
)
from maxwhisper_cli.speech.network_file import network_file
from maxwhisper_cli.transcription.vad_options import VadOptions
from tests.support.loaded import samples_of
from tests.support.speechless import applause, white_noise
from weights.errors import WeightsError
from weights.onnx import read_initializers

MAX_DIFFERENCE = 1e-4
"""Bound on probabilities; 4e-6 was the most on 660 s of speech, with and without AVX-512."""


def by_onnxruntime(samples: np.ndarray) -> np.ndarray:
    """Returns the probabilities of the graph in the file, frame after frame."""
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(network_file(), settings)
    n_frames = -(-len(samples) // FRAME_SAMPLES)
    padded = np.zeros(CONTEXT_SAMPLES + n_frames * FRAME_SAMPLES, np.float32)
    padded[CONTEXT_SAMPLES : CONTEXT_SAMPLES + len(samples)] = samples
    state, rate = np.zeros((2, 1, 128), np.float32), np.array(16000)
    probabilities = []
    for start in range(0, n_frames * FRAME_SAMPLES, FRAME_SAMPLES):
        frame = padded[None, start : start + CONTEXT_SAMPLES + FRAME_SAMPLES]
        probability, state = session.run(None, {"input": frame, "state": state, "sr": rate})
        probabilities.append(probability[0, 0])
    return np.array(probabilities)


def in_blocks(samples: np.ndarray, size: int) -> Iterator[np.ndarray]:
    for start in range(0, len(samples), size):
        yield samples[start : start + size]


def probabilities(network: VoiceNetwork, samples: np.ndarray, size: int = 65536) -> np.ndarray:
    activity = VoiceActivity(network, VadOptions())
    for block in in_blocks(samples, size):
        activity.add(block)
    return activity.probabilities()


def carried(network: VoiceNetwork, samples: np.ndarray) -> np.ndarray:
    """Returns the probabilities with a state that goes through all blocks of 512 frames."""
    n_frames = -(-len(samples) // FRAME_SAMPLES)
    n_computed = -(-n_frames // FRAMES_MULTIPLE) * FRAMES_MULTIPLE
    padded = np.zeros(CONTEXT_SAMPLES + n_computed * FRAME_SAMPLES, np.float32)
    padded[CONTEXT_SAMPLES : CONTEXT_SAMPLES + len(samples)] = samples
    state, found = LstmState(), []
    for first in range(0, n_computed, 512):
        end = CONTEXT_SAMPLES + min(first + 512, n_computed) * FRAME_SAMPLES
        inputs = network.gate_inputs(padded[first * FRAME_SAMPLES : end])
        found.append(network.probabilities(inputs, state))
    return np.concatenate(found)[:n_frames]


@pytest.mark.parametrize("name", ["jfk", "sonnet", "loud", "applause"])
def test_equal_to_onnxruntime(
    network: VoiceNetwork, request: pytest.FixtureRequest, name: str
) -> None:
    if name == "loud":  # far beyond full scale, as float files may be
        samples = 100 * white_noise(5, -6)
    elif name == "applause":
        samples = applause(5)
    else:
        samples = samples_of(request.getfixturevalue(name))
    expected, actual = by_onnxruntime(samples), carried(network, samples)
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() < MAX_DIFFERENCE
    if name in {"jfk", "sonnet"}:  # the comparison is of both kinds of frames
        assert expected.min() < 0.05
        assert expected.max() > 0.95


@pytest.mark.full
def test_every_recording_is_equal_to_onnxruntime(
    network: VoiceNetwork, shared_audio_file: Path
) -> None:
    samples = samples_of(shared_audio_file)
    difference = np.abs(carried(network, samples) - by_onnxruntime(samples))
    assert difference.max() < MAX_DIFFERENCE


def test_a_fresh_state_finds_more(network: VoiceNetwork, two_channels: Path) -> None:
    """Soft speech behind a loud voice is more probable."""
    samples = samples_of(two_channels)
    both, one = probabilities(network, samples), carried(network, samples)
    assert np.array_equal(both[:256], one[:256])
    assert (both >= one).all()
    soft = slice(30 * 16000 // FRAME_SAMPLES, 33 * 16000 // FRAME_SAMPLES)
    assert (both[soft] >= 0.5).mean() > 2 * (one[soft] >= 0.5).mean()


@pytest.mark.parametrize("size", [1, 511, 512, 7777])
def test_blocks_do_not_matter(network: VoiceNetwork, sonnet: Path, size: int) -> None:
    samples = samples_of(sonnet)[: 20 * 16000 if size > 1 else 20000]
    whole = probabilities(network, samples, len(samples))
    assert np.array_equal(probabilities(network, samples, size), whole)


@pytest.mark.parametrize("n_samples", [0, 1, 511, 512, 513, 512 * 512, 512 * 512 + 1])
def test_every_sample_is_in_a_frame(network: VoiceNetwork, n_samples: int) -> None:
    found = probabilities(network, white_noise(17, -20)[:n_samples])
    assert len(found) == -(-n_samples // FRAME_SAMPLES)
    assert ((found >= 0) & (found <= 1)).all()


def test_recordings_do_not_share_a_state(network: VoiceNetwork, jfk: Path) -> None:
    samples = samples_of(jfk)
    alone = probabilities(network, samples)
    probabilities(network, applause(3))
    assert np.array_equal(probabilities(network, samples), alone)


def test_absurd_samples_are_no_error(network: VoiceNetwork) -> None:
    found = probabilities(network, np.full(16000, 1e12, np.float32))
    assert np.isfinite(found).all()


def test_other_networks_are_refused() -> None:
    tensors = read_initializers(network_file())
    first = next(iter(tensors))
    without = {name: tensor for name, tensor in tensors.items() if name != first}
    with pytest.raises(WeightsError, match=r"not silero-vad's of version 6\.2: .* is missing"):
        VoiceNetwork(without)
    with pytest.raises(WeightsError, match=r"has shape \[258, 1, 255\]"):
        VoiceNetwork(tensors | {first: tensors[first][:, :, :255]})
