"""Which version of this program runs; pyproject.toml alone says it, through the installation."""

import importlib.metadata


def program_version() -> str:
    """Returns the installed version; `not installed` where the program was only copied."""
    try:
        return importlib.metadata.version("maxwhisper")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
