"""Translation of every library's out-of-memory error, and of no other error."""

from typing import Any

import numpy as np
import pytest

import maxwhisper_cli
from implementations import registry
from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.options import TranscribeOptions
from tests.support.scripted import ScriptedImplementation

ON_A_GPU = r"^cuda:1 has too little memory left; .* --device cpu none of it, and nvidia-smi shows"
HERE = r"^this machine has too little memory left; a smaller --model, --batch-size or --beam-size"
FULL = [
    (RuntimeError("CUDA out of memory. Tried to allocate 30.00 GiB."), ON_A_GPU),
    (RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate`"), ON_A_GPU),
    (ValueError("CUDA call failed: CUDA_ERROR_OUT_OF_MEMORY (out of memory)"), ON_A_GPU),
    (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 B."), HERE),
    (MemoryError("Unable to allocate 9.00 GiB for an array"), HERE),
]
SECOND = np.zeros(16000, np.float32)


def failing(error: Exception) -> Model:
    def fail(_: object) -> Any:
        raise error

    implementation = ScriptedImplementation(fail)
    implementation.device = "cuda:1"
    return Model(implementation)


@pytest.mark.parametrize(("error", "message"), FULL)
def test_transcription_translates_the_error(error: Exception, message: str) -> None:
    with pytest.raises(ImplementationFailedError, match=message):
        failing(error).transcribe(SECOND)
    with pytest.raises(ImplementationFailedError, match=message):
        list(failing(error).stream(SECOND))


@pytest.mark.parametrize("batch_size", [1, 2])
@pytest.mark.parametrize(("error", "message"), FULL)
def test_each_of_several_recordings_has_the_error(
    error: Exception, message: str, batch_size: int
) -> None:
    options = TranscribeOptions(beam_size=None, batch_size=batch_size)
    done = list(failing(error).transcribe_several([SECOND, SECOND], options))
    assert [finished.index for finished in done] == [0, 1]
    for finished in done:
        assert finished.error is not None
        with pytest.raises(ImplementationFailedError, match=message):
            raise finished.error


@pytest.mark.parametrize(("error", "message"), FULL)
def test_loading_translates_the_error(
    error: Exception, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    class TooLarge:
        @classmethod
        def load(cls, *_: object) -> None:
            raise error

    monkeypatch.setattr(registry, "implementation_class", lambda _: TooLarge)
    with pytest.raises(ImplementationUnavailableError, match=message):
        maxwhisper_cli.load("tiny.en", "full-max", device="cuda:1", offline=True)


@pytest.mark.parametrize(
    "error", [RuntimeError("a bug"), ImplementationFailedError("the compiler was out of memory")]
)
def test_other_errors_are_unchanged(error: Exception) -> None:
    with pytest.raises(type(error)) as raised:
        failing(error).transcribe(SECOND)
    assert raised.value is error
