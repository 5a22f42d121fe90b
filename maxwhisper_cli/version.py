"""Version of this program, from the metadata of its installation."""

import importlib.metadata


def program_version() -> str:
    """Returns the installed version; `not installed` if the program was only copied."""
    try:
        return importlib.metadata.version("maxwhisper")
    except importlib.metadata.PackageNotFoundError:
        return "not installed"
