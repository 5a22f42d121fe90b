"""Filters and modules of the installed openai-whisper, read without importing the package.

Importing the `whisper` package imports torch, which takes seconds and which `full-max` never does.
So its files are read by path: the mel filter bank, a data file, and modules such as `tokenizer.py`,
which needs only tiktoken. `mel`, `tokenizer` and `languages` interpret them.
"""

import importlib.util
import sys
from binascii import a2b_base64
from collections.abc import Callable
from functools import cache
from pathlib import Path
from threading import RLock
from types import ModuleType, SimpleNamespace

import numpy as np
import numpy.typing as npt

from weights.errors import MaxWhisperError

_LOADING = RLock()


def whisper_package_folder() -> Path:
    """Returns the folder of the installed openai-whisper, found without importing it.

    Raises:
        MaxWhisperError: It is not installed, or another package of that name is.
    """
    spec = importlib.util.find_spec("whisper")
    folder = Path(next(iter((spec and spec.submodule_search_locations) or ()), ""))
    if not (folder / "assets" / "mel_filters.npz").is_file():
        raise MaxWhisperError(
            "the package openai-whisper is missing (or another one is called 'whisper'): "
            "install it with 'pip install openai-whisper'"
        )
    return folder


@cache
def mel_filters(n_mels: int) -> npt.NDArray[np.float32]:
    """Returns the filter bank that turns a power spectrum into mel bands, read-only.

    Args:
        n_mels: 80, or 128 from large-v3 on.

    Returns:
        `[n_mels, 201]`.
    """
    with np.load(whisper_package_folder() / "assets" / "mel_filters.npz") as banks:
        filters: npt.NDArray[np.float32] = banks[f"mel_{n_mels}"]
    filters.setflags(write=False)
    return filters


def _patch_tiktoken_loading(tokenizer: ModuleType) -> None:
    """Replaces base64 and tiktoken in our private copy of the module by faster equivalents."""
    tokenizer.base64 = SimpleNamespace(b64decode=a2b_base64)  # type: ignore[attr-defined]
    encoding = tokenizer.tiktoken.Encoding

    class FastEncoding(encoding):  # type: ignore[misc, valid-type]
        """Encoding that searches for special tokens only in texts that contain `<|`."""

        def encode(self, text: str, **options: object) -> list[int]:
            if "<|" in text or options:
                return list(super().encode(text, **options))
            return list(self.encode_ordinary(text))

    tokenizer.tiktoken = SimpleNamespace(Encoding=FastEncoding)  # type: ignore[attr-defined]


def tokenizer_module() -> ModuleType:
    """Returns openai-whisper's tokenizer module."""
    return whisper_module("tokenizer", _patch_tiktoken_loading)


def whisper_module(name: str, prepare: Callable[[ModuleType], None] | None = None) -> ModuleType:
    """Returns a module or package of openai-whisper's, loaded once under a private name.

    Args:
        name: Name within openai-whisper, of which the module imports nothing else.
        prepare: Called with the module once it has been loaded.

    Raises:
        MaxWhisperError: Openai-whisper is not installed.
    """
    private_name = f"maxwhisper_cli._whisper_{name}"
    with _LOADING:
        if private_name in sys.modules:
            return sys.modules[private_name]
        folder = whisper_package_folder()
        path = folder / f"{name}.py"
        if not path.is_file():
            path = folder / name / "__init__.py"
        spec = importlib.util.spec_from_file_location(private_name, path)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Its dataclasses and its submodules look the module up while it is made.
        sys.modules[private_name] = module
        try:
            spec.loader.exec_module(module)
            if prepare is not None:
                prepare(module)
        except BaseException:
            del sys.modules[private_name]
            raise
        return module
