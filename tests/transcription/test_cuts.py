"""Recordings that are cut: where, what each part is shown, and how its parts are decoded."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.cuts import cut_clips
from maxwhisper_cli.transcription.mel import Clip, MelSpectrogram
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Segment, Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.stopwatch import STOPPED, RunningStopwatch, Spent, Stopwatch
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support import loaded
from tests.support.driving import parts
from tests.support.scripted import BEGIN, window
from tests.support.scripted_rows import RowImplementation

TOKENIZER = get_tokenizer(False)
OPTIONS = TranscribeOptions(temperatures=(0.0, 1.0))


def say(text: str) -> DecodedWindow:
    """A segment of 20 s, which leads to the next window."""
    at = BEGIN + 1000
    return window([BEGIN, *TOKENIZER.encode(text), at, at])


def noise_with_quiet_moment(seconds: int, quiet_at: float) -> np.ndarray:
    samples = np.random.default_rng(0).normal(0, 0.1, seconds * 16000).astype(np.float32)
    at = round(quiet_at * 16000)
    samples[at : at + 8000] = 0
    return samples


def run(
    script: Callable[[DecodeRequest], DecodedWindow],
    options: TranscribeOptions = OPTIONS,
    n_rows: int = 2,
    stopwatch: Stopwatch = STOPPED,
) -> tuple[Transcript, RowImplementation]:
    """Transcribes 50 s in two parts of two windows; it is quiet at 28 s."""
    implementation = RowImplementation(script)
    with MelSpectrogram([noise_with_quiet_moment(50, 28)], 80) as mel:
        transcription = start_run(implementation, mel, options, stopwatch, is_cut=True)
        for _ in parts(implementation, transcription, n_rows, stopwatch):
            pass
        return transcription.transcript, implementation


def loudness(quiet: set[int]) -> Callable[[int, int], np.ndarray]:
    """Mel frames that are quiet around some places."""

    def read(start: int, n_frames: int) -> np.ndarray:
        frames = np.ones(n_frames)
        for at in quiet:
            frames[max(0, at - 15 - start) : max(0, at + 16 - start)] = 0
        return frames

    return read


@pytest.mark.parametrize(
    ("clips", "expected"),
    [
        ([], []),
        ([(0, 3000)], [(0, 3000)]),  # a full window
        ([(0, 5000)], [(0, 2100), (2100, 5000)]),  # the quietest moment from 20 s on
        ([(0, 6000)], [(0, 2100), (2100, 4400), (4400, 6000)]),
        ([(0, 3001)], [(0, 2100), (2100, 3001)]),
        ([(600, 3650)], [(600, 2615), (2615, 3650)]),  # nothing is quiet
        ([(0, 1000), (1000, 1000), (1100, 4000)], [(0, 1000), (1100, 4000)]),  # the pause
    ],
)
def test_places_of_cuts(clips: list[Clip], expected: list[Clip]) -> None:
    assert cut_clips(clips, loudness({1000, 2100, 4400})) == expected


def test_parts_hold_all_of_the_clips() -> None:
    rng = np.random.default_rng(0)
    for _ in range(60):
        points = np.unique(rng.integers(0, 400_000, rng.integers(1, 60) * 2))
        clips = [(int(a), int(b)) for a, b in zip(points[::2], points[1::2], strict=False)]
        found = cut_clips(clips, loudness(set()))
        frames = [frame for part in found for frame in part]
        assert frames == sorted(frames)
        covered = [frame for start, end in found for frame in range(start, end)]
        assert covered == [frame for start, end in clips for frame in range(start, end)]
        assert all(0 < end - start <= 3000 for start, end in found)
        rests = [end - start for start, end in found if end not in {end for _, end in clips}]
        assert min(rests, default=3000) >= 2000
        longer = {end for start, end in clips if end - start > 3000}
        assert all(end - start >= 500 for start, end in found if end in longer)


def test_parts_are_sequences_of_their_own() -> None:
    transcript, implementation = run(lambda _request: say(" So."))
    (cut,) = transcript.cut_seconds
    assert 28 < cut < 28.5
    starts = [segment.start for segment in transcript.segments]
    assert starts == pytest.approx([0, 20, cut, cut + 20])
    assert [segment.id for segment in transcript.segments] == list(range(4))
    assert transcript.text == " So." * 4
    assert implementation.widths == [2] * 2
    prompts = [request.prompt for request in implementation.requests]
    assert prompts.count(TOKENIZER.sot_sequence) == 2  # the first window of each part
    assert sum(prompt[0] == TOKENIZER.sot_prev for prompt in prompts) == 2


def test_the_initial_prompt_is_shown_to_each_part_and_the_prefix_to_the_first() -> None:
    options = replace(OPTIONS, initial_prompt="Names.", prefix="Well")
    _, implementation = run(lambda _request: say(" So."), options)
    names = tuple(TOKENIZER.encode(" Names."))
    first = [r for r in implementation.requests if r.prompt[: r.sot_index][1:] == names]
    assert [request.n_given > 0 for request in first] == [True, False]
    assert sum(request.n_given > 0 for request in implementation.requests) == 1


@pytest.mark.parametrize("n_rows", [1, 3, 64])
def test_the_text_does_not_depend_on_the_number_of_rows(n_rows: int) -> None:
    def script(request: DecodeRequest) -> DecodedWindow:
        decoded = say(f" {request.search.seed[1]} {len(request.prompt)}.")
        return replace(decoded, n_steps=1 + request.search.seed[1] % 7)

    assert run(script, n_rows=n_rows)[0] == run(script)[0]


def test_a_window_that_fails_waits_for_a_row_by_itself() -> None:
    seen: list[float] = []

    def script(request: DecodeRequest) -> DecodedWindow:
        seen.append(request.search.temperature)
        is_bad = len(seen) == 2  # the second part's first window
        return replace(say(" So."), sum_logprob=-100.0) if is_bad else say(" So.")

    transcript, implementation = run(script)
    assert sorted(seen) == [*[0.0] * 4, 1.0]
    assert [s.temperature for s in transcript.segments] == [0, 0, 1, 0]
    assert implementation.widths == [2] * 2 + [1]


def test_silence_is_left_out() -> None:
    silent = window([BEGIN, 40], avg_logprob=-2.0, no_speech_prob=0.9)
    transcript, _ = run(lambda _request: silent)
    assert transcript.segments == ()


def test_segments_come_as_the_earliest_window_is_done() -> None:
    """The first part's come at once, those of the second once that part is done."""
    samples = noise_with_quiet_moment(50, 28)
    model = Model(RowImplementation(lambda _request: say(" So.")))
    options = replace(OPTIONS, batch_size=2)
    n_shown: list[int] = []
    segments: list[Segment] = []
    progress: list[Progress] = []

    def on_progress(each: Progress) -> None:
        progress.append(each)
        n_shown.append(len(segments))

    transcript = model.transcribe(
        samples, options, on_segment=segments.append, on_progress=on_progress
    )
    assert tuple(segments) == transcript.segments
    assert n_shown == [0, 1, 1, 3, 4]
    done = [each.done_seconds for each in progress]
    assert done == sorted(done)
    assert (done[0], done[-1]) == (0.0, 50.0)
    assert list(model.stream(samples, options)) == segments


def test_times_within_the_decoder_are_added_up_over_the_windows() -> None:
    watch = RunningStopwatch()
    timed = replace(say(" So."), prompt_seconds=3.0, steps_seconds=20.0, n_steps=10)
    run(lambda _request: timed, stopwatch=watch)
    assert watch.spent["decoder: prompts"] == Spent(3.0 * 4, 4)
    assert watch.spent["decoder: steps"] == Spent(20.0 * 4, 10 * 4)
    assert watch.spent["decoder: all else"].n_times == 2


def test_an_uncut_recording_equals_the_sequential_run(sonnet: Path, quick_model: Model) -> None:
    options = TranscribeOptions(beam_size=None, temperatures=(0.0,))
    one_part = loaded.samples_of(sonnet, 30)
    alone = quick_model.transcribe(one_part, options)
    assert quick_model.transcribe(one_part, replace(options, batch_size=8)) == alone


@pytest.mark.parametrize("batch_size", [0, 1025, "many", None])
def test_sizes_that_make_no_sense_are_refused(batch_size: int) -> None:
    with pytest.raises(OptionsError, match="batch_size must be"):
        TranscribeOptions(batch_size=batch_size)
