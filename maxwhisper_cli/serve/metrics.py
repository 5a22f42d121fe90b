"""Numbers of a running server for Prometheus, and a line of log for each request."""

import logging
import time
from collections.abc import Callable

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    generate_latest,
)
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from maxwhisper_cli.serve.jobs import Job
from maxwhisper_cli.transcription.segments import Transcript

_log = logging.getLogger(__name__)
_MAX_PATH = 200
"""Longest path in the log; any client may send one."""
_SECONDS = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)
_FACTORS = (0.25, 0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
_UNKNOWN_ROUTE = "other"
_CLIENT_LEFT = 499


class Metrics:
    """Numbers of one server."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self._requests = Counter(
            "maxwhisper_requests",
            "Requests by route and status.",
            ["route", "code"],
            registry=registry,
        )
        self._request_seconds = Histogram(
            "maxwhisper_request_seconds",
            "Time from a request's first byte to its last answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._audio_seconds = Counter(
            "maxwhisper_audio_seconds",
            "Seconds of audio that were transcribed.",
            ["model"],
            registry=registry,
        )
        self._queue_seconds = Histogram(
            "maxwhisper_queue_seconds",
            "Time from an upload's end to the start of its decoding.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._first_text_seconds = Histogram(
            "maxwhisper_first_text_seconds",
            "Time from an upload's end to its first text.",
            ["model"],
            buckets=_SECONDS,
            registry=registry,
        )
        self._speed = Histogram(
            "maxwhisper_speed",
            "Seconds of audio in each second from upload to text.",
            ["model"],
            buckets=_FACTORS,
            registry=registry,
        )
        self._windows = Counter(
            "maxwhisper_fallback_segments", "Segments decoded above the first temperature.",
            ["model"], registry=registry,
        )  # fmt: skip

    def add_gauge(self, name: str, text: str, value: Callable[[], float]) -> None:
        """Adds a number that is looked up when it is asked for."""
        Gauge(name, text, registry=self.registry).set_function(value)

    def observe(self, job: Job, transcript: Transcript) -> None:
        """Takes note of a recording that is done."""
        now, model = time.monotonic(), job.model
        seconds = now - job.submitted_at
        self._audio_seconds.labels(model).inc(transcript.duration_seconds)
        self._queue_seconds.labels(model).observe((job.begun_at or now) - job.submitted_at)
        self._first_text_seconds.labels(model).observe((job.text_at or now) - job.submitted_at)
        self._speed.labels(model).observe(transcript.duration_seconds / max(seconds, 1e-6))
        first = job.request.options.temperatures[0]
        n_hotter = sum(segment.temperature > first for segment in transcript.segments)
        self._windows.labels(model).inc(n_hotter)

    def count(self, route: str, code: int, seconds: float) -> None:
        """Takes note of a request that was answered."""
        self._requests.labels(route, str(code)).inc()
        self._request_seconds.labels(route).observe(seconds)

    def response(self) -> Response:
        """Returns all numbers in Prometheus' text format."""
        return Response(generate_latest(self.registry), media_type=CONTENT_TYPE_LATEST)


class Counted:
    """Application around another one, whose requests are counted and logged."""

    def __init__(self, app: ASGIApp, metrics: Metrics, routes: frozenset[str]) -> None:
        """Stores the arguments; other routes than these are counted together."""
        self._app = app
        self._metrics = metrics
        self._routes = routes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Passes a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began, code = time.monotonic(), _CLIENT_LEFT

        async def send_counted(message: Message) -> None:
            nonlocal code
            if message["type"] == "http.response.start":
                code = message["status"]
            await send(message)

        try:
            await self._app(scope, receive, send_counted)
        finally:
            path = scope["path"]
            seconds = time.monotonic() - began
            route = path if path in self._routes else _UNKNOWN_ROUTE
            self._metrics.count(route, code, seconds)
            if scope["method"] == "POST" or code >= 400:
                shown = f"{path[:_MAX_PATH]}{'...' * (len(path) > _MAX_PATH)}"
                _log.info("%s %s %d %.2f s", scope["method"], shown, code, seconds)
