"""Stand-in for loaded models, for the command line in this process or in one of its own.

It imports no pytest: each process that tests start would take a quarter of a second longer.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from maxwhisper_cli.model import Model
from maxwhisper_cli.transcription.stopwatch import STOPPED
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
from tests.support.scripted import BEGIN, TINY_EN, Script, ScriptedImplementation, window
from weights.dims import ModelDimensions

SPOKEN = " Grüße, 世界."


@dataclass
class FakeModels:
    """Stand-in for `maxwhisper_cli.model.load`, with its calls."""

    dims: ModelDimensions = TINY_EN
    script: Script | None = None
    kind: type[ScriptedImplementation] = ScriptedImplementation
    calls: list[dict[str, Any]] = field(default_factory=list)
    implementations: list[ScriptedImplementation] = field(default_factory=list)

    def load(self, model: str, impl: str, **settings: Any) -> Model:
        self.calls.append({"model": model, "impl": impl, **settings})
        implementation = self.kind(self.script or says(SPOKEN, self.dims))
        implementation.dims = self.dims
        self.implementations.append(implementation)
        return Model(implementation, stopwatch=settings.get("stopwatch", STOPPED))


def says(text: str, dims: ModelDimensions) -> Script:
    """Each window decodes to this text, from 0 to 1 s, to its end."""
    tokenizer = get_tokenizer(dims.is_multilingual, num_languages=dims.n_languages)
    begin = tokenizer.timestamp_begin
    assert dims.is_multilingual or begin == BEGIN
    tokens: Sequence[int] = (begin, *tokenizer.encode(text), begin + 50)
    return lambda _: window(tokens)
