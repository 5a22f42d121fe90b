"""Options from Python: what is not understood is an error, and never read as something else."""

import math
from dataclasses import fields
from fractions import Fraction
from typing import Any

import numpy as np
import pytest

from maxwhisper_cli.model import Model, load
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from tests.support.scripted import ScriptedImplementation, window

NUMBERS = (
    "patience",
    "length_penalty",
    "compression_ratio_threshold",
    "logprob_threshold",
    "no_speech_threshold",
    "max_initial_timestamp",
    "hallucination_silence_threshold",
)
COUNTS = (
    "beam_size",
    "best_of",
    "seed",
    "sample_len",
    "batch_size",
    "language_detection_segments",
)
FLAGS = (
    "multilingual",
    "condition_on_previous_text",
    "carry_initial_prompt",
    "suppress_blank",
    "without_timestamps",
    "clamp_timestamps",
    "word_timestamps",
    "token_logprobs",
)
TEXTS = (
    "task",
    "language",
    "initial_prompt",
    "prefix",
    "prepend_punctuations",
    "append_punctuations",
)
TUPLES = ("temperatures", "suppress_tokens", "clip_timestamps")


def test_every_option_is_of_a_kind() -> None:
    named = {*NUMBERS, *COUNTS, *FLAGS, *TEXTS, *TUPLES}
    named |= {"alignment_heads", "languages", "speaker_names", "vad"}
    assert named == {field.name for field in fields(TranscribeOptions)}


@pytest.mark.parametrize("task", ["Transcribe", "summarize", "", "translate ", "trans"])
def test_an_unknown_task_is_refused(task: Any) -> None:
    with pytest.raises(OptionsError, match="task is transcribe or translate, not"):
        TranscribeOptions(task=task)


@pytest.mark.parametrize(
    ("names", "values"),
    [
        (NUMBERS, (math.nan, math.inf, -math.inf, "1", True, 10**400, 1j, (1.0,))),
        (COUNTS, (2.5, math.nan, "3", True, -1, (1,))),
        (FLAGS, (1, 0, "True", None)),
        (TEXTS, (1, b"es", ("es",), True)),
        (TUPLES, (0.5, "1,2", None, (math.nan,), ("1",), (True,), (1j,))),
    ],
    ids=["numbers", "counts", "flags", "texts", "tuples"],
)
def test_values_of_no_use_are_refused_by_name(
    names: tuple[str, ...], values: tuple[Any, ...]
) -> None:
    for name in names:
        for value in values:
            with pytest.raises(OptionsError, match=name):
                TranscribeOptions(**{name: value})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"temperatures": (1e-40,)}, "0, or from 0.001 to 2"),
        ({"temperatures": (2.1,)}, "from 0 to 2, not 2.1"),
        ({"temperatures": (0.0, -0.2)}, "from 0 to 2"),
        ({"beam_size": 101}, "from 1 to 100"),
        ({"best_of": 0}, "from 1 to 100"),
        ({"batch_size": 1025}, "from 1 to 1024"),
        ({"length_penalty": 1.5}, "from 0 to 1"),
        ({"max_initial_timestamp": -0.5}, "at least 0"),
        ({"patience": 1e9}, "from 0 to 100"),
        ({"suppress_tokens": (-2,)}, "at least -1"),
        ({"clip_timestamps": (0, math.inf)}, "finite"),
        ({"language": "es", "multilingual": True}, "leave language out"),
        ({"languages": ("es", "klingon")}, "knows no language 'klingon'"),
        ({"languages": "es"}, "languages must be a tuple"),
        ({"languages": ("es", "fr"), "language": "es"}, "give one of them"),
        ({"hallucination_silence_threshold": -1}, "at least 0"),
        ({"alignment_heads": 3}, "alignment_heads must be a tuple"),
        ({"alignment_heads": ()}, "one or more heads"),
        ({"alignment_heads": (3, 4)}, "alignment_heads must be a tuple, not 3"),
        ({"alignment_heads": ((3,),)}, "pairs of layer and head"),
        ({"alignment_heads": ((3, -1),)}, "at least 0, not -1"),
        ({"alignment_heads": ((3, 1.5),)}, "a whole number, not 1.5"),
    ],
)
def test_ranges(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionsError, match=message):
        TranscribeOptions(**changes)


def test_numbers_of_other_types_are_stored_in_pythons() -> None:
    options = TranscribeOptions(
        temperatures=[np.float32(0.5), Fraction(1, 2), 1],  # type: ignore[arg-type]
        beam_size=np.int64(3),  # type: ignore[arg-type]
        suppress_tokens=range(2),  # type: ignore[arg-type]
        alignment_heads=[np.array([3, 1])],  # type: ignore[arg-type]
    )
    assert options.temperatures == (0.5, 0.5, 1.0)
    assert (type(options.temperatures[0]), type(options.beam_size)) == (float, int)
    assert options.suppress_tokens == (0, 1)
    assert options.alignment_heads == ((3, 1),)
    hash(options)  # a list among them would be an error


@pytest.mark.parametrize("given", ["Spanish", "ES", "castilian", "es", "es-MX", "spa"])
def test_the_code_of_a_language_is_stored(given: str) -> None:
    assert TranscribeOptions(language=given).language == "es"


@pytest.mark.parametrize("given", [None, "auto", " Auto "])
def test_detection(given: str | None) -> None:
    assert TranscribeOptions(language=given).language is None


def test_an_unknown_language_is_a_wrong_option() -> None:
    with pytest.raises(OptionsError, match="knows no language 'klingon'"):
        TranscribeOptions(language="klingon")


@pytest.mark.parametrize("options", [None, {"language": "es"}, "es", TranscribeOptions])
def test_options_of_another_kind_are_refused(options: Any) -> None:
    model = Model(ScriptedImplementation(lambda _: window([])))
    sound = np.zeros(16000, np.float32)
    for run in (
        lambda: model.transcribe(sound, options),
        lambda: next(model.stream(sound, options)),
        lambda: next(model.transcribe_several([sound], options)),
    ):
        with pytest.raises(OptionsError, match="options must be TranscribeOptions"):
            run()


@pytest.mark.parametrize("arguments", [{"impl": 3}, {"device": 0}, {"dtype": 16}, {"model": 5}])
def test_arguments_of_load_are_checked(arguments: dict[str, Any]) -> None:
    with pytest.raises(OptionsError, match=next(iter(arguments))):
        load(**{"model": "tiny.en", "impl": "cpu", "offline": True, **arguments})
