"""Too little memory is told in a line, whichever library says so, and nothing else is."""

import re
from typing import Any

import numpy as np
import pytest

import maxwhisper_cli
from implementations import registry
from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.scripted import ScriptedImplementation

TOLD = re.escape("this machine has too little memory left; a smaller --model, --batch-size")
FULL = (
    RuntimeError("CUDA out of memory. Tried to allocate 30.00 GiB."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes."),
    ValueError("CUDA call failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"),
    MemoryError("Unable to allocate 9.00 GiB for an array"),
)
SECOND = np.zeros(16000, np.float32)


@pytest.fixture(params=FULL, ids=lambda error: str(error)[:12])
def full(request: pytest.FixtureRequest) -> Exception:
    error: Exception = request.param
    return error


def failing(error: Exception) -> Model:
    def fail(_: object) -> Any:
        raise error

    return Model(ScriptedImplementation(fail))


def test_a_transcription_says_so(full: Exception) -> None:
    with pytest.raises(ImplementationFailedError, match=TOLD):
        failing(full).transcribe(SECOND)
    with pytest.raises(ImplementationFailedError, match=TOLD):
        list(failing(full).stream(SECOND))


@pytest.mark.parametrize("batch_size", [1, 2])
def test_each_of_several_recordings_says_so(full: Exception, batch_size: int) -> None:
    options = TranscribeOptions(beam_size=None, batch_size=batch_size)
    done = list(failing(full).transcribe_several([SECOND, SECOND], options))
    assert [finished.index for finished in done] == [0, 1]
    for finished in done:
        assert isinstance(finished.error, ImplementationFailedError)
        assert re.match(TOLD, str(finished.error))


def test_loading_says_so(full: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    class TooLarge:
        @classmethod
        def load(cls, *_: object) -> None:
            raise full

    monkeypatch.setattr(registry, "implementation_class", lambda _: TooLarge)
    with pytest.raises(ImplementationUnavailableError, match=TOLD):
        maxwhisper_cli.load("tiny.en", "full-max", device="cpu", offline=True)
    with pytest.raises(ImplementationUnavailableError, match=r"cuda:1 has too.*nvidia-smi shows"):
        maxwhisper_cli.load("tiny.en", "full-max", device="cuda:1", offline=True)


def test_another_error_stays_what_it_is() -> None:
    with pytest.raises(RuntimeError, match="a bug"):
        failing(RuntimeError("a bug")).transcribe(SECOND)
