"""Files of rules inside the package, in TOML.

TOML and files of packages are imported on first use: most runs need neither.
"""

from typing import Any


def parse(text: str) -> dict[str, Any]:
    """Returns the tables of a TOML text.

    Raises:
        ValueError: It is no TOML.
    """
    import tomllib

    return tomllib.loads(text)


def read(folder: str, name: str) -> dict[str, Any] | None:
    """Returns the tables of `folder/name.toml` in this package; None if there is no such file."""
    from importlib.resources import files

    source = files("maxwhisper_cli.captions") / folder / f"{name}.toml"
    return parse(source.read_text(encoding="utf-8")) if source.is_file() else None
