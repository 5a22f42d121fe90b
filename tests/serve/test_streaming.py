"""Text as it is decoded, by OpenAI's client: events, log-probabilities, the end."""

import json
import math
from pathlib import Path

import httpx2
import openai
import pytest
from openai.types.audio import (
    Transcription,
    TranscriptionTextDeltaEvent,
    TranscriptionTextDoneEvent,
)

from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.serve.conftest import Post


def number(web: httpx2.Client, name: str) -> float:
    """Returns one of the server's numbers."""
    lines = web.get("/metrics").text.splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_text_comes_before_the_recording_is_done(
    client: openai.OpenAI, web: httpx2.Client, sonnet: Path
) -> None:
    stream = client.audio.transcriptions.create(
        model="tiny.en", file=sonnet, stream=True, extra_body={"beam_size": 1}
    )
    first = next(stream)
    assert isinstance(first, TranscriptionTextDeltaEvent)
    assert first.delta.startswith("1. From fairest creatures")
    assert number(web, "maxwhisper_decoding ") == 1
    *others, done = stream
    assert isinstance(done, TranscriptionTextDoneEvent)
    assert "".join([first.delta, *(each.delta for each in others)]) == done.text  # type: ignore[union-attr]
    assert done.usage is not None
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens
    assert [each.code for each in done.languages or ()] == ["en"]
    assert number(web, "maxwhisper_decoding ") == 0


def test_events_validate_and_end_with_done(post: Post) -> None:
    answer = post(("include[]", "logprobs"), stream="true", beam_size="1")
    assert answer.headers["content-type"].startswith("text/event-stream")
    *events, last, rest = answer.text.split("\n\n")
    assert (last, rest) == ("data: [DONE]", "")
    parsed = [json.loads(event.removeprefix("data: ")) for event in events]
    kinds = [TranscriptionTextDeltaEvent] * (len(parsed) - 1) + [TranscriptionTextDoneEvent]
    checked = [
        kind.model_validate_json(json.dumps(event), strict=True)
        for kind, event in zip(kinds, parsed, strict=True)
    ]
    *deltas, done = checked
    assert [each for delta in deltas for each in delta.logprobs or ()] == [
        type(deltas[0].logprobs[0])(**each.model_dump())  # type: ignore[index]
        for each in done.logprobs or ()
    ]


def test_log_probabilities_are_those_of_the_tokens(
    post: Post, same_model: Model, jfk: Path
) -> None:
    answer = post(("include[]", "logprobs"), without_timestamps="true", beam_size="1")
    done = Transcription.model_validate_json(answer.content, strict=True)
    assert done.logprobs is not None
    spelled = bytes(round(byte) for each in done.logprobs for byte in each.bytes or ())
    assert spelled.decode().strip() == done.text
    options = TranscribeOptions(language="en", without_timestamps=True, beam_size=None)
    (alone,) = same_model.transcribe(jfk, options).segments
    found = [each.logprob for each in done.logprobs]
    assert len(found) == len(alone.tokens)
    # The rules mask tokens before probabilities are taken, so that theirs are a little higher.
    assert math.isclose(
        math.fsum(filter(None, found)) / len(found), alone.avg_logprob, abs_tol=0.05
    )


@pytest.mark.parametrize("kind", ["srt", "vtt"])
def test_captions_are_not_streamed(post: Post, kind: str) -> None:
    answer = post(stream="true", response_format=kind)
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "stream")


def test_an_error_before_the_first_event_has_a_status(client: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError):
        client.audio.transcriptions.create(model="tiny.en", file=b"no sound" * 99, stream=True)


def test_speakers_are_streamed(post: Post, two_channels: Path) -> None:
    answer = post(
        ("speaker_names[]", "Ann"),
        ("speaker_names[]", "Bo"),
        recording=two_channels,
        response_format="diarized_json",
        clip_timestamps="24,40",
        beam_size="1",
        stream="true",
    )
    events = [json.loads(each[6:]) for each in answer.text.split("\n\n")[:-2]]
    deltas = [each for each in events if each["type"] == "transcript.text.delta"]
    segments = [each for each in events if each["type"] == "transcript.text.segment"]
    assert [each["segment_id"] for each in deltas] == [each["id"] for each in segments]
    assert {each["speaker"] for each in segments} == {"Ann", "Bo"}
    assert events[-1]["type"] == "transcript.text.done"


def test_a_client_that_leaves_is_forgotten(
    web: httpx2.Client, client: openai.OpenAI, sonnet: Path
) -> None:
    stream = client.audio.transcriptions.create(
        model="tiny.en", file=sonnet, stream=True, extra_body={"beam_size": 1}
    )
    next(iter(stream))
    stream.close()
    for _ in range(200):
        if number(web, "maxwhisper_in_flight ") == number(web, "maxwhisper_decoding ") == 0:
            return
    pytest.fail("the server still works for a client that has left")
