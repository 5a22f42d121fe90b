"""Server-sent events of a transcription, as OpenAI's client parses them.

`data: {json}` for each event, the text as it is decoded, then everything at once
(`transcript.text.done`), then `data: [DONE]`. An error after the first event is an event as well.
"""

import asyncio
import json
import math
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import AsyncExitStack, aclosing
from typing import Any

from starlette.background import BackgroundTask
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from maxwhisper_cli.serve.answers import SpeakerLabels, languages_of, logprobs_of, verbose
from maxwhisper_cli.serve.errors import SlowReaderError
from maxwhisper_cli.serve.jobs import Job
from maxwhisper_cli.serve.service import api_error
from maxwhisper_cli.transcription.segments import Segment, Transcript
from maxwhisper_cli.transcription.steps import DecodedPart

_PAUSE_SECONDS = 15.0
"""Time after which a comment says that the connection lives."""
_POSITIONS_PER_SECOND = 50
_DONE = b"data: [DONE]\n\n"
_COMMENT = b": still at work\n\n"

Events = AsyncGenerator[DecodedPart | Transcript, None]


class EventStream(Response):
    """Answer that is sent as it is decoded; frees what the request holds when it ends."""

    media_type = "text/event-stream"

    def __init__(self, job: Job, events: Events, resources: AsyncExitStack) -> None:
        """Stores the arguments.

        Args:
            job: The job.
            events: Its events, of which the first was read.
            resources: All that the request holds.
        """
        super().__init__(headers={"x-accel-buffering": "no"})
        del self.headers["content-length"]
        self.background: BackgroundTask | None = None
        self._wanted = job.request
        self._tokenizer = job.tokenizer
        self._events = events
        self._resources = resources

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Sends the events, until the last one or until the client leaves."""
        start = {"type": "http.response.start", "status": 200, "headers": self.raw_headers}
        work = asyncio.ensure_future(self._send_all(send))
        left = asyncio.ensure_future(_left(receive))
        error: dict[str, Any] | None = None
        try:
            async with self._resources:
                await send(start)
                await asyncio.wait((work, left), return_when=asyncio.FIRST_COMPLETED)
                if work.done():
                    work.result()
        except SlowReaderError:
            return
        except Exception as failure:  # noqa: BLE001  (it is sent to the client)
            error = dict(api_error(failure, self._wanted).body())
        finally:
            for task in (work, left):
                task.cancel()
            await asyncio.gather(work, left, return_exceptions=True)
        if not left.done() or left.cancelled():
            last = b"" if error is None else _event(error)
            await send({"type": "http.response.body", "body": last})

    async def _send_all(self, send: Send) -> None:
        async for block in _with_comments(self._blocks()):
            await send({"type": "http.response.body", "body": block, "more_body": True})

    async def _blocks(self) -> AsyncGenerator[bytes, None]:
        labels = SpeakerLabels()
        is_first = True
        async with aclosing(self._events) as events:
            async for event in events:
                if isinstance(event, Transcript):
                    yield _event(self._done(event))
                    yield _DONE
                    return
                for segment in event.segments:
                    for content in self._of(segment, labels, is_first=is_first):
                        yield _event(content)
                    is_first = is_first and not segment.text.strip()

    def _of(
        self, segment: Segment, labels: SpeakerLabels, *, is_first: bool
    ) -> list[dict[str, Any]]:
        """Returns the events of a segment."""
        text = segment.text.lstrip() if is_first else segment.text
        delta: dict[str, Any] = {"type": "transcript.text.delta", "delta": text}
        if self._tokenizer is not None:
            delta["logprobs"] = logprobs_of((segment,), self._tokenizer)
        if self._wanted.response_format != "diarized_json":
            return [delta]
        diarized = labels.segment(segment)
        return [{**delta, "segment_id": diarized["id"]}, diarized]

    def _done(self, transcript: Transcript) -> dict[str, Any]:
        content: dict[str, Any] = {
            "type": "transcript.text.done",
            "text": transcript.text.strip(),
            "languages": languages_of(transcript),
            "usage": _usage(transcript),
        }
        if self._tokenizer is not None:
            content["logprobs"] = logprobs_of(transcript.segments, self._tokenizer)
        if self._wanted.response_format == "verbose_json":
            content = {**verbose(self._wanted, transcript), **content}
        return content


async def _left(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _with_comments(blocks: AsyncGenerator[bytes, None]) -> AsyncIterator[bytes]:
    """Yields blocks, and comments where they keep the client waiting."""
    async with aclosing(blocks):
        while True:
            following = asyncio.ensure_future(anext(blocks, None))
            try:
                while not (await asyncio.wait((following,), timeout=_PAUSE_SECONDS))[0]:
                    yield _COMMENT
                block = following.result()
            finally:
                following.cancel()
                await asyncio.gather(following, return_exceptions=True)
            if block is None:
                return
            yield block


def _event(content: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(content, ensure_ascii=False)}\n\n".encode()


def _usage(transcript: Transcript) -> dict[str, Any]:
    """Returns the usage by tokens: the encoder's positions, and the tokens of the text."""
    n_audio = math.ceil(transcript.duration_seconds * _POSITIONS_PER_SECOND)
    n_text = sum(len(segment.tokens) for segment in transcript.segments)
    return {
        "type": "tokens",
        "input_tokens": n_audio,
        "output_tokens": n_text,
        "total_tokens": n_audio + n_text,
        "input_token_details": {"audio_tokens": n_audio},
    }
