"""Fields of whisper.cpp's server, numbers for Prometheus, and the page of documentation."""

import re

import httpx2
import pytest

from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.fields import SPECS
from maxwhisper_cli.serve.inference import from_whisper_cpp
from tests.serve.conftest import Post


def test_whisper_cpps_fields(post: Post) -> None:
    answer = post(
        path="/inference",
        temperature="0.0",
        temperature_inc="0.2",
        response_format="json",
        offset_t="8000",
        duration="3000",
        beam_size="-1",
        split_on_word="false",
    )
    assert answer.json()["text"].lower().startswith("ask what you can do for your country")
    refused = post(path="/inference", tinydiarize="true")
    assert (refused.status_code, refused.json()["error"]["param"]) == (400, "tinydiarize")


def test_whisper_cpps_fields_become_ours() -> None:
    given = [("translate", "true"), ("no_timestamps", "true"), ("offset_t", "500"), ("n", "1")]
    assert from_whisper_cpp(given[:3]) == (
        [("without_timestamps", "true"), ("clip_timestamps", "0.5")],
        "translate",
    )
    with pytest.raises(ApiError):
        from_whisper_cpp(given)


def test_numbers_are_prometheus(web: httpx2.Client, post: Post) -> None:
    assert post(beam_size="1").status_code == 200
    answer = web.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=")
    lines = [line for line in answer.text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'[a-z_]+(\{([a-z]+="[^"]*",?)+\})? \S+', line) for line in lines)
    names = {re.split(r"[{ ]", line)[0].removeprefix("maxwhisper_") for line in lines}
    assert {
        "requests_total", "audio_seconds_total", "queue_seconds_sum", "first_text_seconds_sum",
        "speed_sum", "batch_windows", "in_flight", "fallback_segments_total",
    } <= names  # fmt: skip
    assert web.get("/metrics", headers={"authorization": ""}).status_code == 401


def test_documentation_lists_all_fields(web: httpx2.Client) -> None:
    page = web.get("/docs")
    assert all(f"<code>{name}" in page.text for name in SPECS)
    assert "http" not in re.sub(r'http://[^ "]*v1/|http-equiv', "", page.text)
    assert "default-src 'none'" in page.headers["content-security-policy"]
    routes = web.get("/openapi.json").json()["paths"]
    assert {"/v1/audio/transcriptions", "/v1/audio/translations", "/inference"} <= set(routes)
