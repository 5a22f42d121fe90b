"""OpenAI's routes: transcriptions, translations and models; and whisper.cpp's `/inference`."""

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response

from maxwhisper_cli.serve.answers import answer
from maxwhisper_cli.serve.audio_request import AudioRequest, read_request
from maxwhisper_cli.serve.documentation import form_schema
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.events import EventStream
from maxwhisper_cli.serve.fields import parse_fields
from maxwhisper_cli.serve.form import Form
from maxwhisper_cli.serve.inference import from_whisper_cpp
from maxwhisper_cli.serve.registry import Served
from maxwhisper_cli.serve.service import Service, api_error, while_connected
from maxwhisper_cli.transcription.options import Task


def openai_routes(service: Service) -> APIRouter:
    """Returns the routes."""
    router = APIRouter()
    face = _AudioFace(service)
    schema = form_schema()

    @router.post("/v1/audio/transcriptions", openapi_extra=schema, response_model=None)
    async def transcriptions(request: Request) -> Response:
        """Transcribe a recording."""
        return await face.respond(request, "transcribe")

    @router.post("/v1/audio/translations", openapi_extra=schema, response_model=None)
    async def translations(request: Request) -> Response:
        """Transcribe a recording in English, whatever is spoken."""
        return await face.respond(request, "translate")

    @router.post("/inference", openapi_extra=schema, response_model=None)
    async def inference(request: Request) -> Response:
        """Transcribe a recording, with the fields of whisper.cpp's server."""
        return await face.respond(request, "transcribe", is_whisper_cpp=True)

    @router.get("/v1/models", response_model=None)
    async def models() -> JSONResponse:
        """List the models."""
        listed = [_model(served) for served in service.models.all]
        return JSONResponse({"object": "list", "data": listed})

    @router.get("/v1/models/{model:path}", response_model=None)
    async def model(model: str) -> JSONResponse:
        """Describe a model."""
        return JSONResponse(_model(service.models.find(model), model))

    return router


def _model(served: Served, name: str | None = None) -> dict[str, Any]:
    described = {
        "id": name or served.id,
        "object": "model",
        "created": served.created,
        "owned_by": "openai",
    }
    if served.model is not None:
        implementation = served.model.implementation
        described |= {
            "implementation": implementation.name,
            "device": implementation.device,
            "dtype": implementation.dtype,
        }
    return described


class _AudioFace:
    """Transcriptions and translations."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def respond(
        self, request: Request, task: Task, *, is_whisper_cpp: bool = False
    ) -> Response:
        """Answers a request.

        Raises:
            ApiError: It cannot be answered.
        """
        service = self._service
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(service.place())
            form = resources.enter_context(await service.form(request))
            if is_whisper_cpp:
                form.fields, task = from_whisper_cpp(form.fields)
            wanted = read_request(parse_fields(form.fields), task)
            try:
                return await while_connected(request, self._transcribe(wanted, form, resources))
            except (ApiError, ClientDisconnect):
                raise
            except Exception as error:
                raise api_error(error, wanted) from error

    async def _transcribe(
        self, wanted: AudioRequest, form: Form, resources: AsyncExitStack
    ) -> Response:
        service = self._service
        job = await service.begin(wanted, form, resources)
        if not wanted.is_streamed:
            return answer(wanted, await service.transcript(job), job.tokenizer)
        events = service.events(job)
        await anext(events)  # its errors are answers of their own
        return EventStream(job, events, resources.pop_all())
