"""Documentation of the routes: schemas of their forms."""

from typing import Any

from maxwhisper_cli.serve.fields import SPECS


def form_schema() -> dict[str, Any]:
    """Returns the OpenAPI description of a transcription's form."""
    properties: dict[str, Any] = {
        "file": {"type": "string", "format": "binary", "description": "The recording."}
    }
    properties["url"] = {
        "type": "string",
        "description": "Its public address instead, if the server was started with --allow-url.",
    }
    for spec in SPECS.values():
        schema: dict[str, Any] = dict(spec.kind.schema)
        name = spec.name
        if spec.is_list:
            name, schema = f"{name}[]", {"type": "array", "items": schema}
        others = f" Also: {', '.join(spec.aliases)}." if spec.aliases else ""
        properties[name] = {**schema, "description": f"{spec.help}{others}"}
    form = {"type": "object", "properties": properties}
    content = {"multipart/form-data": {"schema": form}}
    return {"requestBody": {"required": True, "content": content}}
