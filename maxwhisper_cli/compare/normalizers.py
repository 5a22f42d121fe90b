"""Openai-whisper's text normalizers, loaded without importing torch; what error rates rest on.

Section 4.4 and appendix C of the paper (arXiv:2212.04356): spelling, numbers, punctuation and
capitals are not errors. Nothing is counted here.
"""

import importlib.util
import sys
from collections.abc import Callable
from functools import cache
from threading import RLock
from types import ModuleType

from maxwhisper_cli.transcription.upstream import whisper_package_folder

Normalizer = Callable[[str], str]

WITHOUT_SPACES = frozenset({"zh", "ja", "th", "lo", "my", "yue"})
"""Languages that write no spaces: their error rates are of characters (appendix C)."""

_NAME = "maxwhisper_cli._whisper_normalizers"
_LOADING = RLock()


@cache
def normalizer_for(language: str) -> Normalizer:
    """The English normalizer, or the basic one for any other language."""
    module = _normalizers_module()
    normalize: Normalizer = (
        module.EnglishTextNormalizer()
        if language == "en"
        else module.BasicTextNormalizer(split_letters=language in WITHOUT_SPACES)
    )
    return lambda text: normalize(text).strip()


def _normalizers_module() -> ModuleType:
    """Openai-whisper's `normalizers` package, loaded once under a private name."""
    with _LOADING:
        if _NAME in sys.modules:
            return sys.modules[_NAME]
        folder = whisper_package_folder() / "normalizers"
        spec = importlib.util.spec_from_file_location(
            _NAME, folder / "__init__.py", submodule_search_locations=[str(folder)]
        )
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        # Its modules import one another by the name of the package.
        sys.modules[_NAME] = module
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[_NAME]
            raise
        return module
