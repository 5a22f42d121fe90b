"""Error rates against counts made by hand, and words that differ."""

import sys

import pytest
from whisper.normalizers import BasicTextNormalizer, EnglishTextNormalizer

from maxwhisper_cli.compare.accuracy import Accuracy, ErrorRate, accuracy, first_difference
from maxwhisper_cli.compare.differences import Span, compare_texts, separator
from maxwhisper_cli.compare.normalizers import normalizer_for


def test_english_is_counted_after_whispers_normalizer() -> None:
    found = accuracy("Mr. Smith's colour is grey, isn't it?", "mister smith's color is gray", "en")
    # Against "mister smith is color is gray is not it", the last three words are missing.
    assert found.wer == ErrorRate(3 / 9, 3, 9)
    assert accuracy("two hundred", "200!", "en").wer == ErrorRate(0.0, 0, 1)


def test_each_kind_of_error_counts_once() -> None:
    wer = accuracy("uno dos tres cuatro", "uno doz tres y cuatro cinco", "es").wer
    assert wer == ErrorRate(3 / 4, 3, 4)
    assert accuracy("uno dos tres", "uno", "es").wer == ErrorRate(2 / 3, 2, 3)


def test_characters_are_counted_too() -> None:
    assert accuracy("abcde", "abxde", "es").cer == ErrorRate(0.2, 1, 5)


def test_a_language_without_spaces_is_counted_by_characters() -> None:
    found = accuracy("東京都です", "東京とです。", "ja")
    assert found == Accuracy(ErrorRate(0.2, 1, 5), ErrorRate(0.2, 1, 5))


@pytest.mark.parametrize("reference", ["", " , ; ", "[noise]"])
def test_a_reference_without_words_gives_no_rate(reference: str) -> None:
    assert accuracy(reference, "something", "en") == Accuracy(None, None)


def test_empty_text_has_only_errors() -> None:
    assert accuracy("one two", "", "en").wer == ErrorRate(1.0, 1, 1)  # 12
    assert accuracy("hello there", "", "en").wer == ErrorRate(1.0, 2, 2)


def test_rates_over_recordings_weigh_words() -> None:
    rates = [ErrorRate(1.0, 1, 1), None, ErrorRate(0.0, 0, 9)]
    assert ErrorRate.over(rates) == ErrorRate(0.1, 1, 10)
    assert ErrorRate.over([None]) is None


@pytest.mark.parametrize(
    "text", ["Okay, I'll pay £20.50 on the 3rd!", "Ça va? Não; ¿Qué?", "won't we've twenty-one"]
)
def test_normalizers_are_openai_whispers(text: str) -> None:
    assert normalizer_for("en")(text) == EnglishTextNormalizer()(text).strip()
    assert normalizer_for("fr")(text) == BasicTextNormalizer()(text).strip()
    assert normalizer_for("ja")(text) == BasicTextNormalizer(split_letters=True)(text).strip()


def test_normalizers_need_no_torch() -> None:
    import subprocess

    code = (
        "import sys; from maxwhisper_cli.compare.normalizers import normalizer_for; "
        "normalizer_for('en')('one'); print('torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"


def test_first_difference() -> None:
    assert first_difference([1, 2], [1, 2]) is None
    assert first_difference([1, 2], [1, 3]) == 1
    assert first_difference([1, 2], [1, 2, 3]) == 2
    assert first_difference([], [4]) == 0


def test_differing_words_are_returned_as_written() -> None:
    assert compare_texts("And so, my fellow Americans", "And so my yellow Americans!", "en") == (
        Span("And so, my", "And so my", is_same=True),
        Span("fellow", "yellow", is_same=False),
        Span("Americans", "Americans!", is_same=True),
    )
    assert compare_texts("a c", "a b c", "en")[1] == Span("", "b", is_same=False)


@pytest.mark.parametrize(
    ("left", "right", "language"),
    [
        ("Don't - stop. Now", "do not stop now, please", "en"),
        ("東京です", "東京でした", "ja"),
        ("", "words", "en"),
        ("words", "", "en"),
        ("! ?", "? !", "en"),
    ],
)
def test_spans_join_to_both_texts(left: str, right: str, language: str) -> None:
    spans = compare_texts(left, right, language)
    glue = separator(language)
    assert glue.join(s.left for s in spans if s.left) == left
    assert glue.join(s.right for s in spans if s.right) == right
