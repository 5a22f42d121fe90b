"""Parts of a running server that its faces share: models, limits, uploads, requests in flight.

A face reads a request in its own words; `Service` gives it a place, reads its form, lends it the
model, and waits for the transcript as long as the client does.
"""

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Coroutine
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, TypeVar

from starlette.requests import ClientDisconnect, Request

from implementations.errors import ImplementationFailedError
from maxwhisper_cli.audio.reader import AudioError
from maxwhisper_cli.serve.audio_request import AudioRequest
from maxwhisper_cli.serve.engine import StoppingError
from maxwhisper_cli.serve.errors import SERVER, ApiError, busy, invalid, unavailable
from maxwhisper_cli.serve.fetch import fetch
from maxwhisper_cli.serve.form import Form, read_form
from maxwhisper_cli.serve.jobs import Job, TooLongError
from maxwhisper_cli.serve.limits import Limits
from maxwhisper_cli.serve.metrics import Metrics
from maxwhisper_cli.serve.registry import ModelRegistry
from maxwhisper_cli.serve.spool import Spool
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.transcription.steps import DecodedPart
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from weights.errors import MaxWhisperError

_log = logging.getLogger(__name__)
_RETRY_SECONDS = 2
_MAX_RETRY_SECONDS = 60
_PER_RETRY_SECOND = 16
_DRAINED_BYTES = 64 * 2**20
_DRAIN_SECONDS = 5.0

Result = TypeVar("Result")


@dataclass(eq=False)
class Service:
    """The server's shared state; only the event loop's thread changes it."""

    models: ModelRegistry
    limits: Limits
    spool: Spool
    may_fetch: bool = False
    """True if recordings may be fetched from public addresses."""
    metrics: Metrics = field(default_factory=Metrics)
    n_in_flight: int = 0
    """Requests that are read, wait or are decoded."""

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Counts a request, and limits its time, for as long as the block lasts.

        Raises:
            ApiError: The queue is full, the server is stopping, or the time is over.
        """
        if self.models.is_stopping:
            raise _stopping()
        if self.n_in_flight >= self.limits.queue:
            seconds = _RETRY_SECONDS + self.n_in_flight // _PER_RETRY_SECOND
            raise busy(
                f"{self.n_in_flight} requests are waiting, the limit of this server: try again",
                min(_MAX_RETRY_SECONDS, seconds),
            )
        self.n_in_flight += 1
        try:
            async with asyncio.timeout(self.limits.request_seconds):
                yield
        except TimeoutError as error:
            raise unavailable(
                f"the request took longer than {self.limits.request_seconds:g} s, "
                "the limit of this server"
            ) from error
        except asyncio.CancelledError as error:
            if not self.models.is_stopping:
                raise
            raise _stopping() from error  # its time to end in is over
        finally:
            self.n_in_flight -= 1

    async def form(self, request: Request) -> Form:
        """Reads the form of a request, with its file, which the caller removes."""
        form = await read_form(request, self.spool, self.limits)
        try:
            await self._fetch(form)
        except BaseException:
            form.close()
            raise
        if form.upload is None or not form.upload.n_bytes:
            is_missing = form.upload is None
            form.close()
            message = "file is missing: send a recording" if is_missing else "file is empty"
            raise invalid(message, "file")
        return form

    async def _fetch(self, form: Form) -> None:
        """Fetches the recording, if the form has its address instead of a file."""
        url = next((value.strip() for name, value in form.fields if name == "url"), "")
        form.fields = [(name, value) for name, value in form.fields if name != "url"]
        if not url:
            return
        if not self.may_fetch:
            raise invalid("this server fetches nothing: send the recording as file", "url")
        if form.upload is not None:
            raise invalid("file and url: send one of them", "url")
        form.upload = await fetch(url, self.spool, self.limits)

    async def events(self, job: Job) -> AsyncGenerator[DecodedPart | Transcript, None]:
        """Yields the parts of a job, and its transcript, which is measured.

        Raises:
            Exception: The error that ended it.
        """
        async with aclosing(job.events()) as events:
            async for event in events:
                if isinstance(event, Transcript):
                    self.metrics.observe(job, event)
                yield event

    async def transcript(self, job: Job) -> Transcript:
        """Waits for the transcript of a job.

        Raises:
            Exception: The error that ended it.
        """
        async with aclosing(self.events(job)) as events:
            async for event in events:
                if isinstance(event, Transcript):
                    return event
        raise AssertionError("a job ends with a transcript or an error")

    async def begin(self, wanted: AudioRequest, form: Form, resources: AsyncExitStack) -> Job:
        """Gives a recording to the engine of the model, which then owns its file.

        Args:
            wanted: The request.
            form: The form with its file.
            resources: Keeps the model while the job runs.

        Raises:
            ApiError: There is no such model, or it cannot do that.
            MaxWhisperError: The model cannot be loaded.
        """
        assert form.upload is not None
        served = self.models.find(wanted.model)
        if self.models.is_stopping:
            raise _stopping()
        loaded = await resources.enter_async_context(self.models.lease(served))
        wanted.check_model(loaded.model.implementation.dims, loaded.id)
        dims = loaded.model.implementation.dims
        job = Job(wanted, form.upload, self.limits.audio_seconds, loaded.id)
        if wanted.has_logprobs:
            job.tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.n_languages)
        form.upload = None
        resources.callback(job.cancel)
        loaded.engine.submit(job)
        return job


async def while_connected(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """Returns the result of some work, which is cancelled if the client leaves.

    Raises:
        ClientDisconnect: It left.
    """
    tasks = asyncio.ensure_future(work), asyncio.ensure_future(_left(request))
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if tasks[0].done():
            return tasks[0].result()
        raise ClientDisconnect
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _left(request: Request) -> None:
    while (await request.receive())["type"] != "http.disconnect":
        pass


async def drain(request: Request) -> None:
    """Reads on in a body that nobody wants, so that its sender comes to read the answer."""
    n_bytes = 0
    is_read = getattr(request.state, "is_read", False)
    if is_read or "expect" in request.headers:  # a sender that expects something waits for it
        return
    with suppress(TimeoutError, ClientDisconnect, RuntimeError):
        async with asyncio.timeout(_DRAIN_SECONDS):
            while n_bytes < _DRAINED_BYTES:
                message = await request.receive()
                n_bytes += len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body"):
                    return


def api_error(error: Exception, wanted: AudioRequest | None = None) -> ApiError:
    """Returns any error as that of a request."""
    if isinstance(error, ApiError):
        return error
    if isinstance(error, OptionsError) and wanted is not None:
        return wanted.refusal(error)
    if isinstance(error, AudioError):
        return _refused_audio(error, wanted)
    if isinstance(error, StoppingError):
        return _stopping()
    if isinstance(error, ImplementationFailedError):
        return unavailable(str(error), retry_after=_RETRY_SECONDS)
    message = "the server has failed; its log says more"
    if isinstance(error, MaxWhisperError):
        message = str(error)
    else:
        _log.error("a request failed", exc_info=error)
    return ApiError(500, message, kind=SERVER, headers={"x-should-retry": "false"})


def _refused_audio(error: AudioError, wanted: AudioRequest | None) -> ApiError:
    message = str(error).replace("the stream", "the recording")
    if isinstance(error, TooLongError):
        return ApiError(413, message, "file", "audio_too_long")
    return invalid(message, _audio_param(message, wanted), "invalid_audio")


def _audio_param(message: str, wanted: AudioRequest | None) -> str:
    """Returns the field that an error of a recording speaks of."""
    given = () if wanted is None else wanted.given
    if "channel" in message:
        return next((name for name in ("channel", "response_format") if name in given), "file")
    if "track" in message and "audio_track" in given:
        return "audio_track"
    return "file"


def _stopping() -> ApiError:
    return unavailable("the server is stopping: try again", retry_after=_RETRY_SECONDS)
