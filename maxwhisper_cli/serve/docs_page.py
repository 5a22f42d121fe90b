"""Page of documentation: routes and fields in plain HTML, with nothing from elsewhere."""

from base64 import b64encode
from collections.abc import Sequence
from hashlib import sha256
from html import escape
from typing import Any

from starlette.responses import HTMLResponse

from maxwhisper_cli.serve.fields import SPECS

_STYLE = (
    ":root{color-scheme:light dark}body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;"
    "margin:2rem auto;padding:0 1rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;vertical-align:top;padding:.25rem .75rem .25rem 0;"
    "border-bottom:1px solid #8885}code,pre{font:14px ui-monospace,monospace}"
    "pre{overflow:auto;padding:.75rem;background:#8882}"
)
_EXAMPLE = """curl {address}v1/audio/transcriptions \\
  -H 'Authorization: Bearer KEY' -F file=@talk.mp3 -F response_format=srt"""


def docs_page(schema: dict[str, Any], address: str) -> HTMLResponse:
    """Returns the page.

    Args:
        schema: OpenAPI description of the application.
        address: Address of the server, with a slash at its end.
    """
    routes = [
        (method.upper(), path, str(what.get("description") or what.get("summary", "")))
        for path, methods in schema["paths"].items()
        for method, what in methods.items()
    ]
    fields = [
        (
            f"{spec.name}[]" if spec.is_list else spec.name,
            str(spec.kind.schema.get("type", "")),
            spec.help + (f" Also: {', '.join(spec.aliases)}." if spec.aliases else ""),
        )
        for spec in SPECS.values()
    ]
    body = (
        f"<h1>maxwhisper {escape(schema['info']['version'])}</h1>"
        f"<pre>{escape(_EXAMPLE.format(address=address))}</pre>"
        f"<h2>Routes</h2>{_table(('', 'path', ''), routes)}"
        "<h2>Fields of a transcription</h2><p><code>file</code> is the recording; all others may "
        "be left out. A field that is not listed, or cannot be honoured, is an error that names "
        f"it.</p>{_table(('field', 'type', ''), fields)}"
        '<p><a href="/openapi.json">openapi.json</a></p>'
    )
    page = (
        '<!doctype html><html lang="en"><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width"><title>maxwhisper</title>'
        f"<style>{_STYLE}</style><body>{body}</body></html>"
    )
    digest = b64encode(sha256(_STYLE.encode()).digest()).decode()
    policy = f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'"
    return HTMLResponse(page, headers={"content-security-policy": policy})


def _table(heads: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    head = "".join(f"<th>{escape(each)}</th>" for each in heads)
    lines = "".join(
        "<tr>"
        + "".join(
            f"<td>{f'<code>{escape(cell)}</code>' if column < 2 else escape(cell)}</td>"
            for column, cell in enumerate(row)
        )
        + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>"
