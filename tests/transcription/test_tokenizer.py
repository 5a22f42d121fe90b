"""Tokenizer and languages against openai-whisper's, for every language and vocabulary."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest
from whisper import tokenizer as upstream

from maxwhisper_cli.transcription.language_codes import ISO_CODES
from maxwhisper_cli.transcription.languages import (
    LanguageError,
    language_aliases,
    language_names,
    parse_language,
)
from maxwhisper_cli.transcription.tokenizer import Task, get_tokenizer

MIXED = " Hello, wörld! 你好 — こんにちは, مرحبا; здравствуйте 🙂 ♪ naïve\n\t"
VALUES = [
    "eot", "sot", "sot_prev", "sot_lm", "no_speech", "no_timestamps", "timestamp_begin",
    "transcribe", "translate", "sot_sequence", "sot_sequence_including_notimestamps",
    "language", "task", "num_languages", "special_tokens", "non_speech_tokens",
]  # fmt: skip
VOCABULARIES = [(False, 99, 51864), (True, 99, 51865), (True, 100, 51866)]


@pytest.mark.parametrize(("multilingual", "num_languages", "n_vocab"), VOCABULARIES)
@pytest.mark.parametrize("task", ["transcribe", "translate", None])
def test_vocabulary(
    multilingual: bool, num_languages: int, n_vocab: int, task: Task | None
) -> None:
    ours = get_tokenizer(multilingual, num_languages=num_languages, task=task)
    theirs = upstream.get_tokenizer(multilingual, num_languages=num_languages, task=task)
    assert ours.n_vocab == n_vocab == theirs.encoding.n_vocab
    for value in VALUES:
        assert getattr(ours, value) == getattr(theirs, value), value
    assert sorted(ours.all_language_tokens) == sorted(theirs.all_language_tokens)
    assert sorted(ours.all_language_codes) == sorted(theirs.all_language_codes)
    assert ours.all_language_codes == tuple(upstream.LANGUAGES)[:num_languages]


@pytest.mark.parametrize("language", list(upstream.LANGUAGES))
def test_every_language(language: str) -> None:
    for multilingual, num_languages, _ in VOCABULARIES:
        if multilingual and language == "yue" and num_languages == 99:
            continue
        ours = get_tokenizer(multilingual, num_languages=num_languages, language=language)
        theirs = upstream.get_tokenizer(
            multilingual, num_languages=num_languages, language=language
        )
        for value in VALUES:
            assert getattr(ours, value) == getattr(theirs, value), value
        if multilingual:
            assert ours.language_token == theirs.language_token
            assert ours.to_language_token(language) == ours.language_token
        words = ours.encode(MIXED)
        assert ours.split_to_word_tokens(words) == theirs.split_to_word_tokens(words)


@pytest.mark.parametrize(("multilingual", "num_languages", "n_vocab"), VOCABULARIES)
def test_round_trip(multilingual: bool, num_languages: int, n_vocab: int) -> None:
    ours = get_tokenizer(multilingual, num_languages=num_languages)
    theirs = upstream.get_tokenizer(multilingual, num_languages=num_languages)
    tokens = ours.encode(MIXED)
    assert tokens == theirs.encode(MIXED)
    assert ours.decode(tokens) == MIXED
    timed = [ours.timestamp_begin, *tokens, ours.timestamp_begin + 54]
    assert ours.decode(timed) == MIXED
    assert ours.decode_with_timestamps(timed) == f"<|0.00|>{MIXED}<|1.08|>"
    assert ours.decode_with_timestamps([n_vocab - 1]) == "<|30.00|>"
    assert ours.decode(tokens[3:5]) == theirs.decode(tokens[3:5])


@pytest.mark.parametrize(("multilingual", "num_languages", "n_vocab"), VOCABULARIES)
def test_every_token_is_spelled_as_upstream(
    multilingual: bool, num_languages: int, n_vocab: int
) -> None:
    ours = get_tokenizer(multilingual, num_languages=num_languages)
    theirs = upstream.get_tokenizer(multilingual, num_languages=num_languages)
    for token in range(n_vocab):
        assert ours.decode_with_timestamps([token]) == theirs.decode_with_timestamps([token])
    assert ours.blank_tokens == tuple(theirs.encode(" "))
    for unknown in (-1, n_vocab):
        with pytest.raises(KeyError):
            ours.decode_with_timestamps([unknown])


def test_broken_utf8_is_marked() -> None:
    ours = get_tokenizer(True)
    assert "\ufffd" in ours.decode(ours.encode("🙂")[:1])


def test_special_tokens_are_not_text() -> None:
    with pytest.raises(ValueError, match="endoftext"):
        get_tokenizer(True).encode("<|endoftext|>")


def test_english_only_ignores_language_and_task() -> None:
    ours = get_tokenizer(False, language="de", task="translate")
    assert (ours.language, ours.task) == (None, None)
    assert ours is get_tokenizer(False)
    assert ours.sot_sequence == (ours.sot,)
    with pytest.raises(ValueError, match="language"):
        _ = ours.language_token
    with pytest.raises(KeyError):
        ours.to_language_token("xx")


def test_same_object_in_every_thread() -> None:
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda _: get_tokenizer(True, language="el"), range(32)))
    assert len({id(tokenizer) for tokenizer in made}) == 1
    assert get_tokenizer(True, language="Greek") is made[0]


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("es", "es"),
        ("Spanish", "es"),
        ("castilian", "es"),
        (" Haitian  Creole", "ht"),
        ("YUE", "yue"),
        ("en-US", "en"),
        ("pt_BR", "pt"),
        ("zh-Hant-TW", "zh"),
        ("zh-yue-HK", "yue"),
        ("de_DE.UTF-8", "de"),
        ("deu", "de"),
        ("ger", "de"),
        ("SPA", "es"),
        ("spa-419", "es"),
        ("fil", "tl"),
        ("nb-NO", "no"),
        ("jv", "jw"),
        ("iw", "he"),
    ],
)
def test_parse_language(text: str, code: str) -> None:
    assert parse_language(text) == code


def test_every_name_and_alias() -> None:
    assert language_names() == upstream.LANGUAGES
    assert language_aliases() == upstream.TO_LANGUAGE_CODE
    for name, code in upstream.TO_LANGUAGE_CODE.items():
        assert parse_language(name.title()) == code


def test_codes_of_three_letters() -> None:
    """Every language of Whisper's has one, and no code means two languages or hides Whisper's."""
    assert {code for iso, code in ISO_CODES.items() if len(iso) == 3} | {"haw", "yue"} == set(
        upstream.LANGUAGES
    )
    assert not ISO_CODES.keys() & upstream.LANGUAGES.keys()
    assert all(parse_language(iso.upper()) == code for iso, code in ISO_CODES.items())


@pytest.mark.parametrize(
    ("text", "hint"),
    [
        ("auto", "'auto', which detects it"),
        ("deutsch", r"'german' \(de\)"),
        ("jp", r"'japanese' \(ja\)"),
        ("Portuguesse", "'portuguese'"),
        ("xx", "give a code such as 'es' or a name"),
        ("qqq", "give a code such as 'es' or a name"),
        ("", "give a code such as 'es' or a name"),
        ("english-ish", "give a code|'english'"),
    ],
)
def test_hints_are_by_meaning(text: str, hint: str) -> None:
    with pytest.raises(LanguageError, match=hint):
        parse_language(text)


def test_unknown_languages() -> None:
    with pytest.raises(LanguageError, match="did you mean 'spanish'"):
        parse_language("spansh")
    with pytest.raises(LanguageError, match="no language 'klingon'"):
        parse_language("klingon")
    with pytest.raises(LanguageError, match=r"does not know cantonese \(yue\)"):
        parse_language("yue", 99)
    with pytest.raises(LanguageError, match="cantonese"):
        get_tokenizer(True, num_languages=99, language="yue")


def test_torch_is_not_imported() -> None:
    program = """
import sys
import numpy as np
from maxwhisper_cli.audio.reader import open_audio
from maxwhisper_cli.transcription.languages import parse_language
from maxwhisper_cli.transcription.mel import MelSpectrogram
from maxwhisper_cli.transcription.tokenizer import get_tokenizer
with open_audio(np.zeros(16000, np.float32)) as audio, MelSpectrogram(audio, 80) as mel:
    mel.padded_window(0, 100)
get_tokenizer(True, language=parse_language("Spanish")).non_speech_tokens
print([name for name in ("torch", "whisper", "max") if name in sys.modules])
"""
    answer = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert answer.stdout.strip() == "[]"
