"""Every response format, through OpenAI's own client: its types, and the command line's bytes."""

import warnings
from pathlib import Path

import httpx2
import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionDiarized,
    TranscriptionVerbose,
    TranslationVerbose,
)

from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.render import render
from tests.serve.conftest import Post

TEXT = (
    "And so, my fellow Americans ask not what your country can do for you "
    "ask what you can do for your country."
)


ENGLISH = frozenset({"the", "of", "and", "to", "in", "a", "is", "was", "that", "for", "with", "as"})
SPANISH = frozenset(
    {"de", "la", "que", "el", "en", "y", "a", "los", "se", "del", "las", "un", "por"}
)
FIELDS = {"beam_size": "1"}
GREEDY = {"beam_size": 1}
"""Of most requests here: what is asked for is the format."""


@pytest.fixture(scope="module")
def alone(same_model: Model, jfk: Path) -> Transcript:
    """Transcript of the command line."""
    return same_model.transcribe(jfk, TranscribeOptions(language="en", beam_size=1))


def test_json_is_the_default(client: openai.OpenAI, jfk: Path) -> None:
    done = client.audio.transcriptions.create(model="whisper-1", file=jfk)
    assert isinstance(done, Transcription)
    assert done.text == TEXT
    assert done.usage is not None
    assert done.usage.type == "duration"
    assert done.usage.seconds == 11.0


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_captions_are_the_command_lines(
    client: openai.OpenAI, jfk: Path, alone: Transcript, kind: str
) -> None:
    done = client.audio.transcriptions.create(  # type: ignore[call-overload]
        model="tiny.en", file=jfk, response_format=kind, extra_body=GREEDY
    )
    assert done == render(alone, kind)


def test_text_is_one_line(client: openai.OpenAI, jfk: Path, alone: Transcript) -> None:
    done = client.audio.transcriptions.create(
        model="tiny.en", file=jfk, response_format="text", extra_body=GREEDY
    )
    assert done == f"{alone.text.strip()}\n"


def test_verbose_json_has_the_command_lines_segments(post: Post, alone: Transcript) -> None:
    answer = post(response_format="verbose_json", beam_size="1")
    done = TranscriptionVerbose.model_validate_json(answer.content, strict=True)
    assert (done.language, done.duration, done.words) == ("english", 11.0, None)
    assert done.text == alone.text.strip()
    assert done.segments is not None
    for ours, theirs in zip(alone.segments, done.segments, strict=True):
        for name in theirs.model_fields_set:
            value = getattr(ours, name)
            assert getattr(theirs, name) == (list(value) if name == "tokens" else value), name


def test_granularities_choose_words_and_segments(post: Post, same_model: Model, jfk: Path) -> None:
    options = TranscribeOptions(language="en", word_timestamps=True, beam_size=1)
    alone = same_model.transcribe(jfk, options)
    expected = [
        (word.word.strip(), word.start, word.end)
        for segment in alone.segments
        for word in segment.words or ()
    ]
    name, verbose = "timestamp_granularities[]", {"response_format": "verbose_json", **FIELDS}
    words = TranscriptionVerbose.model_validate_json(
        post((name, "word"), **verbose).content, strict=True
    )
    assert words.segments is None
    assert [(w.word, w.start, w.end) for w in words.words or ()] == expected
    both = TranscriptionVerbose.model_validate_json(
        post((name, "word"), (name, "segment"), **verbose).content, strict=True
    )
    assert len(both.segments or ()) == len(alone.segments)
    assert both.words == words.words


def test_channels_are_speakers(post: Post, two_channels: Path) -> None:
    fields = {"response_format": "diarized_json", "clip_timestamps": "24,40", "beam_size": "1"}
    answer = post(recording=two_channels, **fields)
    done = TranscriptionDiarized.model_validate_json(answer.content, strict=True)
    assert {segment.speaker for segment in done.segments} == {"A", "B"}
    assert [segment.start for segment in done.segments] == sorted(s.start for s in done.segments)


def test_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == ["tiny.en", "base"]
    for name in ("tiny.en", "whisper-1", "openai/whisper-tiny.en", "gpt-4o-transcribe"):
        assert client.models.retrieve(name).id == name
    with pytest.raises(openai.NotFoundError) as refused:
        client.models.retrieve("large-v3")
    assert refused.value.code == "model_not_found"


def test_a_translation_needs_a_model_that_translates(client: openai.OpenAI, jfk: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI's of its own route
        with pytest.raises(openai.BadRequestError) as refused:
            client.audio.translations.create(model="tiny.en", file=jfk)
    assert refused.value.param == "model"


def test_another_model_translates(client: openai.OpenAI, spanish: Path) -> None:
    """It is loaded by the first request for it."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # OpenAI's of its own route
        done = client.audio.translations.create(
            model="base", file=spanish, response_format="verbose_json", extra_body=GREEDY
        )
    checked = TranslationVerbose.model_validate_json(done.model_dump_json(), strict=True)
    assert checked.language == "english"
    assert checked.segments is not None
    assert "".join(segment.text for segment in checked.segments).strip() == checked.text
    assert len(set(checked.text.lower().split()) & ENGLISH) >= 3


@pytest.mark.full
def test_languages_are_those_that_may_be_spoken(post: Post, spanish: Path) -> None:
    languages = (("languages[]", "es"), ("languages[]", "en"))
    answer = post(*languages, recording=spanish, model="base", beam_size="1")
    done = Transcription.model_validate_json(answer.content, strict=True)
    assert [each.code for each in done.languages or ()] == ["es"]
    assert len(set(done.text.lower().split()) & SPANISH) >= 3


def test_health(web: httpx2.Client) -> None:
    assert web.get("/health", headers={"authorization": ""}).json() == {"status": "ok"}
    for path in ("/", "/health", "/healthz", "/readyz"):  # balancers and monitors ask for no body
        answer = web.head(path, headers={"authorization": ""})
        assert (answer.status_code, answer.content) == (200, b"")
    ready = web.get("/readyz", headers={"authorization": ""})
    assert (ready.status_code, ready.json()["status"]) == (200, "ready")
