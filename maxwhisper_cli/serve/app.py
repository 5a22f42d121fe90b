"""Application: all faces of the server behind one guard, and errors in OpenAI's shape."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp

from maxwhisper_cli.serve.browser_page import page_routes
from maxwhisper_cli.serve.docs_page import docs_page
from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.serve.guard import Access, Guard
from maxwhisper_cli.serve.metrics import Counted
from maxwhisper_cli.serve.openai_api import openai_routes
from maxwhisper_cli.serve.realtime import realtime_routes
from maxwhisper_cli.serve.service import Service, api_error, drain
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.version import program_version

_TIMED_OUT = 408
_CLIENT_LEFT = 499
"""Status that nobody receives, as nginx writes it."""


def make_app(
    service: Service,
    access: Access,
    voices: NetworkLoader,
    run_in_background: Callable[[], AsyncIterator[None]],
) -> ASGIApp:
    """Returns the application.

    Args:
        service: State of the server.
        access: Rules on who may use it.
        voices: Loads the network of voice activity, for live text.
        run_in_background: Begins what runs beside the requests, and ends it.
    """

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        async for _ in run_in_background():
            yield

    app = FastAPI(
        title="maxwhisper",
        version=program_version(),
        docs_url=None,  # its page takes scripts from elsewhere
        redoc_url=None,
        lifespan=lifespan,
    )
    app.include_router(openai_routes(service))
    app.include_router(page_routes())
    app.include_router(realtime_routes(service, voices))
    _add_health(app, service)
    _add_numbers(app, service)
    _add_errors(app)
    routes = frozenset(app.openapi()["paths"])
    guard = Guard(app, access, service.limits.idle_seconds)
    return Counted(guard, service.metrics, routes)


def _add_health(app: FastAPI, service: Service) -> None:
    @app.get("/health", response_model=None)
    @app.head("/health", response_model=None, include_in_schema=False)
    @app.api_route(
        "/healthz", methods=["GET", "HEAD"], response_model=None, include_in_schema=False
    )
    async def health() -> JSONResponse:
        """Say that the server runs."""
        return JSONResponse({"status": "ok"})

    @app.get("/readyz", response_model=None)
    @app.head("/readyz", response_model=None, include_in_schema=False)
    async def ready() -> JSONResponse:
        """Say whether the first model is loaded."""
        models = service.models
        if not models.is_ready:
            status = "stopping" if models.is_stopping else "loading"
            return JSONResponse({"status": status}, 503, headers={"retry-after": "2"})
        loaded = [served.id for served in models.loaded]
        return JSONResponse({"status": "ready", "loaded": loaded})


def _add_numbers(app: FastAPI, service: Service) -> None:
    """Adds the pages for those who run the server or write clients."""
    metrics, models = service.metrics, service.models
    for name, text, value in (
        ("in_flight", "Requests that are read, wait or are decoded.", lambda: service.n_in_flight),
        ("waiting", "Recordings that wait for their decoding.", lambda: models.count("n_waiting")),
        ("decoding", "Recordings that are being decoded.", lambda: models.count("n_active")),
        ("batch_windows", "Windows decoded at once.", lambda: models.count("n_in_rows")),
        ("loaded_models", "Models in memory.", lambda: len(models.loaded)),
        ("spool_bytes", "Bytes of uploads on disk.", lambda: service.spool.n_bytes),
    ):
        metrics.add_gauge(f"maxwhisper_{name}", text, value)

    @app.get("/metrics", response_model=None)
    async def numbers() -> Response:
        """Give numbers in Prometheus' format."""
        return metrics.response()

    @app.get("/docs", response_model=None, include_in_schema=False)
    async def docs(request: Request) -> Response:
        return docs_page(app.openapi(), str(request.base_url))


def _add_errors(app: FastAPI) -> None:
    """Gives each error OpenAI's shape."""

    @app.exception_handler(ApiError)
    async def refuse(request: Request, error: ApiError) -> Response:
        if error.status != _TIMED_OUT:  # nothing more comes from who has paused
            await drain(request)
        return error.response()

    @app.exception_handler(ClientDisconnect)
    async def leave(_request: Request, _error: ClientDisconnect) -> Response:
        return Response(status_code=_CLIENT_LEFT)

    @app.exception_handler(HTTPException)
    async def refuse_route(request: Request, error: HTTPException) -> Response:
        message = f"{request.method} {request.url.path}: {error.detail}".lower()
        refusal = ApiError(error.status_code, message, code="unknown_url")
        await drain(request)
        return refusal.response()

    @app.exception_handler(Exception)
    async def fail(_request: Request, error: Exception) -> Response:
        return api_error(error).response()
