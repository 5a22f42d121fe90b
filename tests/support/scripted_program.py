"""The command line as a process of its own, on a scripted model that says the same in every window.

python -m tests.support.scripted_program transcribe talk.wav ...
"""

from unittest import mock

from maxwhisper_cli.__main__ import main
from tests.support.fake_models import FakeModels

if __name__ == "__main__":
    with mock.patch("maxwhisper_cli.model.load", FakeModels().load):
        main()
