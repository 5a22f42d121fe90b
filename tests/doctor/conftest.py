"""The fixtures of the command line's tests."""

from tests.cli.conftest import maxwhisper, models
from tests.support.fake_gpus import fake_gpus

__all__ = ["fake_gpus", "maxwhisper", "models"]
