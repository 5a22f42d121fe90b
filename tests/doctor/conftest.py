"""The fixtures of the command line's tests."""

from tests.cli.conftest import maxwhisper, models

__all__ = ["maxwhisper", "models"]
