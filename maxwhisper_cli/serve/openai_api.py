"""OpenAI's routes: transcriptions, translations and models."""

from contextlib import AsyncExitStack
from typing import Any

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from maxwhisper_cli.serve.answers import answer
from maxwhisper_cli.serve.audio_request import AudioRequest, read_request
from maxwhisper_cli.serve.documentation import form_schema
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.fields import parse_fields
from maxwhisper_cli.serve.form import Form
from maxwhisper_cli.serve.registry import Served
from maxwhisper_cli.serve.service import Service, api_error, transcript_of, while_connected
from maxwhisper_cli.transcription.options import Task


def openai_routes(service: Service) -> APIRouter:
    """Returns the routes below `/v1`."""
    router = APIRouter(prefix="/v1", tags=["OpenAI"])
    face = _AudioFace(service)
    schema = form_schema()

    @router.post("/audio/transcriptions", openapi_extra=schema, response_model=None)
    async def transcriptions(request: Request) -> Response:
        """Transcribe a recording."""
        return await face.respond(request, "transcribe")

    @router.post("/audio/translations", openapi_extra=schema, response_model=None)
    async def translations(request: Request) -> Response:
        """Transcribe a recording in English, whatever is spoken."""
        return await face.respond(request, "translate")

    @router.get("/models", response_model=None)
    async def models() -> JSONResponse:
        """List the models."""
        listed = [_model(served) for served in service.models.all]
        return JSONResponse({"object": "list", "data": listed})

    @router.get("/models/{model:path}", response_model=None)
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

    async def respond(self, request: Request, task: Task) -> Response:
        """Answers a request.

        Raises:
            ApiError: It cannot be answered.
        """
        service = self._service
        async with AsyncExitStack() as resources:
            await resources.enter_async_context(service.place())
            form = resources.enter_context(await service.form(request))
            wanted = read_request(parse_fields(form.fields), task)
            try:
                return await while_connected(request, self._transcribe(wanted, form, resources))
            except ApiError:
                raise
            except Exception as error:
                raise api_error(error, wanted) from error

    async def _transcribe(
        self, wanted: AudioRequest, form: Form, resources: AsyncExitStack
    ) -> Response:
        job = await self._service.begin(wanted, form, resources)
        return answer(wanted, await transcript_of(job))
