"""Drivers of one recording: in turn here, in rows by a scheduler; and the calls that both make."""

import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache

import numpy as np

from implementations.implementation import Implementation
from implementations.mel_frames import MelWindow
from implementations.request import DecodedWindow
from implementations.session import AudioFeatures
from maxwhisper_cli.transcription.mel import N_FRAMES, Float32
from maxwhisper_cli.transcription.steps import (
    Aligning,
    DecodedPart,
    Decoding,
    Encoding,
    Run,
    Scoring,
    Step,
    StepSequence,
    WindowDone,
)
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from maxwhisper_cli.transcription.token_scores import score_tokens
from weights.errors import MaxWhisperError

_N_FILL_THREADS = 8
"""Threads that write mel windows, for which a GPU has to wait."""


def decode_in_turn(
    implementation: Implementation, run: Run, stopwatch: Stopwatch = STOPPED
) -> Iterator[DecodedPart]:
    """Decodes a recording window after window; the first part has only length and language."""
    yield DecodedPart((), run.progress)
    while (sequence := run.next_sequence()) is not None:
        yield run.accept(sequence, _next_window(implementation, sequence, stopwatch))


def _next_window(
    implementation: Implementation, sequence: StepSequence, stopwatch: Stopwatch
) -> WindowDone:
    for step in sequence.steps:
        if isinstance(step, WindowDone):
            return step
        answer_alone(implementation, step, stopwatch)
    raise AssertionError("a sequence ends with a window")


def answer_alone(implementation: Implementation, step: Step, stopwatch: Stopwatch) -> None:
    """Answers one need by itself.

    Raises:
        MaxWhisperError: The window cannot be read or decoded.
    """
    if isinstance(step, Encoding):
        (features,) = encode_windows(implementation, [step], stopwatch)
        if isinstance(features, MaxWhisperError):
            raise features
        step.give(features)
    elif isinstance(step, Decoding):
        with stopwatch.on("decoder: all else"):
            decoded = implementation.decode(step.features, step.request)
            count_times(decoded, stopwatch)
        step.give(decoded)
    elif isinstance(step, Aligning):
        align_windows(implementation, [step], stopwatch)
    elif isinstance(step, Scoring):
        with stopwatch.on("token scores"):
            step.give(score_tokens(implementation, step))


def encode_windows(
    implementation: Implementation, needs: Sequence[Encoding], stopwatch: Stopwatch
) -> list[AudioFeatures | MaxWhisperError]:
    """Returns the features of each window, encoded as one batch; an error for an unreadable one."""
    on_device = [window for need in needs if (window := need.device_window()) is not None]
    if len(on_device) == len(needs):
        features = encode(implementation, on_device, stopwatch)
        return [features[i] for i in range(len(needs))]
    mel = np.empty((len(needs), implementation.dims.n_mels, N_FRAMES), np.float32)
    if len(needs) == 1:
        error = needs[0].fill(mel[0])
        return [error or encode(implementation, mel, stopwatch)]
    fillers = _fillers(os.getpid())
    errors = list(fillers.map(lambda need, window: need.fill(window), needs, mel))
    if any(errors):
        readable = [need for need, error in zip(needs, errors, strict=True) if error is None]
        encoded = iter(encode_windows(implementation, readable, stopwatch) if readable else ())
        return [error or next(encoded) for error in errors]
    features = encode(implementation, mel, stopwatch)
    return [features[i] for i in range(len(needs))]


@cache
def _fillers(_process: int) -> ThreadPoolExecutor:
    """Returns the threads that write mel windows; those of its parent do not live in a fork."""
    return ThreadPoolExecutor(_N_FILL_THREADS, thread_name_prefix="mel window")


def align_windows(
    implementation: Implementation, needs: Sequence[Aligning], stopwatch: Stopwatch
) -> None:
    """Answers needs of alignment, all at once where the implementation does that."""

    def meanwhile() -> None:
        for need in needs:
            need.meanwhile()

    windows = [(need.features, need.request) for need in needs]
    with stopwatch.on("words", len(needs)):
        aligned = implementation.align_windows(windows, meanwhile)
    for need, alignment in zip(needs, aligned, strict=True):
        need.give(alignment)


def encode(
    implementation: Implementation, mel: Float32 | Sequence[MelWindow], stopwatch: Stopwatch
) -> AudioFeatures:
    """[n_batch, n_mels, 3000], or as many windows on the device -> features of n_batch windows."""
    with stopwatch.on("encoder", len(mel)):
        if isinstance(mel, np.ndarray):
            features = implementation.encode(mel)
        else:
            features = implementation.encode_frames(mel)
        if stopwatch.is_running:
            implementation.wait()
    return features


def count_times(decoded: DecodedWindow, stopwatch: Stopwatch) -> None:
    """Moves the time of prompt and steps to entries of their own."""
    stopwatch.move("decoder: prompts", decoded.prompt_seconds, 1)
    stopwatch.move("decoder: steps", decoded.steps_seconds, decoded.n_steps)
