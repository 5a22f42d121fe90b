"""A file's JSON is the same bytes alone, with others, in any rows and order, beside failures.

The scripted model answers by what it is shown: mel frames, prompt, temperature. So a text would
change with any frame or token that comes from another row.
"""

import zlib
from dataclasses import replace
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

from implementations.request import DecodedWindow, DecodeRequest
from implementations.session import AudioFeatures
from maxwhisper_cli.audio.reader import AudioSource
from maxwhisper_cli.model import Model
from maxwhisper_cli.throughput.several import Finished
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from maxwhisper_cli.writers.render import render
from tests.support import loaded
from tests.support.scripted import BEGIN, ScriptedFeatures, window
from tests.support.scripted_rows import RowImplementation

TOKENIZER = get_tokenizer(False)
WORDS = [TOKENIZER.encode(f" {word}")[0] for word in ("so", "we", "may", "go", "now", "then")]
VARIANTS = [
    {},
    {"word_timestamps": True, "hallucination_silence_threshold": 0.5},
    {"condition_on_previous_text": False, "prefix": "Well", "word_timestamps": True},
    {"initial_prompt": "Names: Ada.", "carry_initial_prompt": True, "seed": 7},
    {"clip_timestamps": (1.0, 9.0, 20.0), "clamp_timestamps": True, "beam_size": None},
    {"without_timestamps": True, "no_speech_threshold": None},
]


class Listening(RowImplementation):
    """Answers by a hash of all that a window is shown."""

    def __init__(self) -> None:
        super().__init__(lambda _request: window([]))

    def decode(self, audio_features: AudioFeatures, request: DecodeRequest) -> DecodedWindow:
        assert isinstance(audio_features, ScriptedFeatures)
        shown = repr((request.prompt, request.search, request.n_given)).encode()
        key = zlib.crc32(np.ascontiguousarray(audio_features.mel).tobytes(), zlib.crc32(shown))
        rng = np.random.default_rng(key)
        tokens: list[int] = []
        at = 0
        while request.rules.with_timestamps and at < 1400 and rng.random() < 0.8:
            start, at = at + int(rng.integers(0, 50)), at + int(rng.integers(50, 400))
            tokens += [BEGIN + start, *rng.choice(WORDS, rng.integers(1, 9)), BEGIN + min(at, 1500)]
        decoded = window(
            tokens or [*rng.choice(WORDS, 5)],
            avg_logprob=-1.5 if rng.random() < 0.3 else -0.4,
            no_speech_prob=float(rng.random()),
        )
        return replace(decoded, tokens=tuple(map(int, decoded.tokens)))


def noise(seed: int, seconds: float) -> np.ndarray:
    samples = np.random.default_rng(seed).normal(0, 0.1, round(seconds * 16000))
    return samples.astype(np.float32)


def json_of(transcript: Transcript | None) -> str:
    assert transcript is not None
    return render(transcript, "json")


@pytest.fixture(scope="module")
def recordings(tmp_path_factory: pytest.TempPathFactory) -> list[AudioSource]:
    """Two of several minutes, short ones, an empty one, and two that cannot be opened."""
    broken = tmp_path_factory.mktemp("broken") / "broken.wav"
    broken.write_text("no sound")
    seconds = (62.0, 1.5, 30.0, 0.0, 41.0)
    return [broken, Path("gone.wav"), *(noise(i, each) for i, each in enumerate(seconds))]


@pytest.mark.parametrize("changes", VARIANTS)
@pytest.mark.parametrize("is_cut", [False, True])
def test_json_is_the_same_in_any_mix(
    recordings: list[AudioSource],
    changes: dict[str, object],
    is_cut: bool,
) -> None:
    options = replace(TranscribeOptions(temperatures=(0.0, 0.4, 0.8)), **changes)  # type: ignore[arg-type]
    alone: list[str | None] = [None, None]
    one_by_one = replace(options, batch_size=2 if is_cut else 1)
    alone += [json_of(Model(Listening()).transcribe(each, one_by_one)) for each in recordings[2:]]
    rng = np.random.default_rng(zlib.crc32(repr(changes).encode()))
    for max_rows in (2, 1024, 3, 1024):
        implementation = Listening()
        implementation.rows_of_auto = int(rng.integers(2, 12))
        implementation.max_rows = max_rows
        implementation.failing = {int(n) for n in rng.integers(2, 20, 2)}
        order = rng.permutation(len(recordings))[: rng.integers(2, 12)]
        model = Model(implementation)
        rows: int | Literal["auto"] = implementation.rows_of_auto if is_cut else "auto"
        finished: list[Finished] = list(
            model.transcribe_several(
                [recordings[i] for i in order], replace(options, batch_size=rows)
            )
        )
        assert sorted(done.index for done in finished) == list(range(len(order)))
        for done in finished:
            expected = alone[order[done.index]]
            if expected is None:
                assert done.error is not None
            elif done.error is None or str(done.error) != "the device failed":
                assert json_of(done.transcript) == expected


def test_real_speech_is_the_same_bytes(impl: str, jfk: Path, sonnet: Path, tmp_path: Path) -> None:
    """Recordings that are not cut, of two windows and of one, and one that cannot be opened.

    Where PyTorch decodes, two short ones do, at one temperature: it takes 10 s otherwise, and other
    temperatures are in test_rows.py.
    """
    broken = tmp_path / "broken.wav"
    broken.write_text("no sound")
    samples = loaded.samples_of(sonnet)
    model = loaded.model("tiny.en", impl)
    is_quick = impl == "full-max" or model.implementation.device != "cpu"
    options = TranscribeOptions(
        beam_size=None,
        temperatures=(0.0, 0.2) if is_quick else (0.0,),
        word_timestamps=True,
        prefix="Well",
    )
    short = samples[20 * 16000 : 28 * 16000]
    other = samples[: 30 * 16000] if is_quick else loaded.samples_of(jfk, 5)
    recordings: list[AudioSource] = [short, broken, other]
    alone = [None if each is broken else model.transcribe(each, options) for each in recordings]
    in_rows = replace(options, batch_size=3)
    finished = {done.index: done for done in model.transcribe_several(recordings, in_rows)}
    assert finished[1].error is not None
    for index in {*range(len(recordings))} - {1}:
        if model.implementation.device == "cpu" and impl != "hybrid":
            assert json_of(finished[index].transcript) == json_of(alone[index])
        else:  # PyTorch and GPUs add up in another order where there are more rows
            assert words_of(finished[index].transcript) == words_of(alone[index])


def words_of(transcript: Transcript | None) -> list[object]:
    """Returns a transcript's tokens, times and words, without its probabilities."""
    assert transcript is not None
    return [
        (segment.tokens, segment.start, segment.end, [word.word for word in segment.words or ()])
        for segment in transcript.segments
    ]
