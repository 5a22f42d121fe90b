"""Each request that cannot be honoured: OpenAI's error, with the field that it is about."""

import socket
from pathlib import Path
from urllib.parse import urlsplit

import httpx2
import openai
import pytest

from tests.serve.conftest import KEY, Post, RunningServer

FORM = b"content-type: multipart/form-data; boundary=b\r\n"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("language", "klingon"),
        ("language", "es"),
        ("languages[]", "es"),
        ("response_format", "html"),
        ("temperature", "hot"),
        ("temperature", "7"),
        ("temperature", "nan"),
        ("temperature_increment_on_fallback", "0.001"),
        ("timestamp_granularities[]", "sentence"),
        ("timestamp_granularities[]", "word"),
        ("stream", "perhaps"),
        ("include[]", "everything"),
        ("chunking_strategy", "by hand"),
        ("chunking_strategy", "[" * 60_000),
        ("chunking_strategy", '{"type": "server_vad", "threshold": 2}'),
        ("stream_continuous_usage_stats", "true"),
        ("known_speaker_names[]", "Ann"),
        ("beam_size", "0"),
        ("beam_size", "1.5"),
        ("n", "2"),
        ("top_p", "0.5"),
        ("vad_threshold", "0.5"),
        ("channel", "3"),
        ("channel", "9" * 5000),
        ("audio_track", "9" * 5000),
        ("channel", "split"),
        ("prompt", "<|endoftext|>"),
        ("highlight_words", "true"),
        ("caption_style", "/etc/passwd"),
        ("response_format", "diarized_json"),
        ("modle", "tiny.en"),
        ("batch_size", "8"),
    ],
)
def test_a_field_that_cannot_be_honoured_is_named(post: Post, name: str, value: str) -> None:
    answer = post((name, value))
    error = answer.json()["error"]
    assert answer.status_code == 400
    assert error["type"] == "invalid_request_error"
    assert error["message"]
    assert error["param"] in {name, name.removesuffix("[]")}


def test_a_chunking_strategy_is_named_whole(post: Post) -> None:
    """OpenAI's client sends objects as name[key]."""
    answer = post(("chunking_strategy[type]", "server_vad"), ("chunking_strategy[threshold]", "9"))
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "chunking_strategy")


def test_the_client_raises_its_own_errors(client: openai.OpenAI, jfk: Path) -> None:
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="tiny.en", file=jfk, temperature=7)
    assert refused.value.param == "temperature"
    with pytest.raises(openai.NotFoundError):
        client.audio.transcriptions.create(model="large-v3", file=jfk)
    with pytest.raises(openai.BadRequestError) as refused:
        client.audio.transcriptions.create(model="tiny.en", file=b"hello, world" * 99)
    assert (refused.value.param, refused.value.code) == ("file", "invalid_audio")


def test_a_key_is_needed(server: RunningServer, jfk: Path) -> None:
    with server.client("a wrong key", max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as refused:
            stranger.audio.transcriptions.create(model="tiny.en", file=jfk)
        assert refused.value.code == "invalid_api_key"
    with server.client("another key", max_retries=0) as friend:
        assert friend.models.list().data


def test_other_pages_and_names_are_refused(web: httpx2.Client, server: RunningServer) -> None:
    for header, code in (("origin", "wrong_origin"), ("host", "wrong_host")):
        refused = web.get("/v1/models", headers={header: "https://example.org"})
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, code)
    own = web.get("/v1/models", headers={"origin": server.address})
    assert own.status_code == 200
    assert "access-control-allow-origin" not in own.headers
    assert own.headers["x-content-type-options"] == "nosniff"
    assert own.headers["x-frame-options"] == "DENY"


def test_sizes_are_limited(post: Post) -> None:
    answer = post(recording=bytes(21 * 10**6))
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "upload_too_large")
    long = b"\x12\x34" * 16000 * 300
    header = b"RIFF\xff\xff\xff\x7fWAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data"
    answer = post(recording=header + b"\xff\xff\xff\x7f" + long * 2)
    assert (answer.status_code, answer.json()["error"]["code"]) == (413, "audio_too_long")


def test_other_content_types_and_routes(web: httpx2.Client, post: Post) -> None:
    answer = web.post("/v1/audio/transcriptions", json={"model": "tiny.en"})
    assert answer.status_code == 415
    assert post(model="tiny.en", recording=None).json()["error"]["param"] == "file"
    assert post(recording=b"").json()["error"]["param"] == "file"
    for method, path, status in (("GET", "/v2", 404), ("GET", "/v1/audio/translations", 405)):
        answer = web.request(method, path)
        assert (answer.status_code, answer.json()["error"]["param"]) == (status, None)


def exchange(server: RunningServer, body: bytes, n_announced: int) -> bytes:
    """Sends a request whose body may be shorter than announced; returns the answer."""
    place = urlsplit(server.address)
    assert place.hostname is not None
    head = (
        f"POST /v1/audio/transcriptions HTTP/1.1\r\nhost: localhost\r\n"
        f"authorization: Bearer {KEY}\r\ncontent-length: {n_announced}\r\n"
    ).encode()
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as connection:
        connection.sendall(head + FORM + b"\r\n" + body)
        answer = b""
        while block := connection.recv(65536):
            answer += block
            if b'"error"' in answer:
                break
    return answer


def test_a_cut_off_form_is_refused(server: RunningServer, jfk: Path) -> None:
    part = b'--b\r\ncontent-disposition: form-data; name="file"; filename="a.wav"\r\n\r\n'
    body = part + jfk.read_bytes()
    assert b"the upload is cut off" in exchange(server, body, len(body))
    assert b" 408 " in exchange(server, body, 2 * len(body))


def test_a_header_that_never_ends_is_not_waited_for(server: RunningServer) -> None:
    place = urlsplit(server.address)
    assert place.hostname is not None
    with socket.create_connection((place.hostname, place.port or 0), timeout=30) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nhost: ")
        assert connection.recv(100) == b""
