"""Page for browsers at `/`: its files, all of which this server has itself.

`page/` holds them as they are sent. The list of languages is filled in here.
"""

from collections.abc import Mapping
from html import escape
from importlib.resources import files
from typing import Final

from fastapi import APIRouter
from starlette.responses import HTMLResponse, Response

from maxwhisper_cli.serve.errors import ApiError
from maxwhisper_cli.transcription.languages import language_names

_FOLDER: Final = files("maxwhisper_cli.serve").joinpath("page")
_PLACE_OF_LANGUAGES: Final = "<!-- languages -->"
_MEDIA: Final[Mapping[str, str]] = {"js": "text/javascript", "css": "text/css"}


def page_routes() -> APIRouter:
    """Returns the routes of the page, which need no key: they say nothing of a user's."""
    router = APIRouter(include_in_schema=False)
    page = _FOLDER.joinpath("index.html").read_text(encoding="utf-8")
    page = page.replace(_PLACE_OF_LANGUAGES, _language_options())
    assets = {
        asset.name: (asset.read_bytes(), _MEDIA[asset.name.rpartition(".")[2]])
        for asset in _FOLDER.iterdir()
        if asset.name.rpartition(".")[2] in _MEDIA
    }

    @router.head("/", response_model=None)
    @router.get("/", response_model=None)
    async def browser_page() -> Response:
        return HTMLResponse(page)

    @router.get("/static/{name}", response_model=None)
    async def asset(name: str) -> Response:
        if name not in assets:
            raise ApiError(404, f"there is no /static/{name}", code="unknown_url")
        content, media_type = assets[name]
        return Response(content, media_type=media_type)

    return router


def _language_options() -> str:
    names = sorted(language_names().items(), key=lambda item: item[1])
    return "".join(
        f'<option value="{escape(code)}">{escape(name)}</option>' for code, name in names
    )
