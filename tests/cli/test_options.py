"""The options of `maxwhisper transcribe`: openai-whisper's, with its defaults and spellings."""

import argparse
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
from whisper.transcribe import cli as whisper_command_line

from maxwhisper_cli.audio.reader import RawFormat
from maxwhisper_cli.commands.loading import Loading
from maxwhisper_cli.commands.transcribe import Transcribe
from maxwhisper_cli.commands.work import Settings
from maxwhisper_cli.inputs.input import Input
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.upstream_style import Switch
from tests.cli.conftest import RunCommandLine

OWN_DEFAULTS = {
    "model": None,  # turbo, or where that is not to be had the best that is here
    "device": None,  # upstream asks torch; here the implementation chooses
    "fp16": None,  # upstream's True means half precision where there is a GPU, as None does here
    "output_format": None,  # is `all`, which a test of its own shows
}


@dataclass
class Captured:
    options: TranscribeOptions
    loading: Loading
    reading: Any


@pytest.fixture
def parsed(maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Parses a command line up to the point where work would begin."""
    Path("talk.wav").touch()
    captured: list[Captured] = []

    def capture(_sinks: object, settings: Settings) -> None:
        captured.append(Captured(settings.options, settings.loading, settings.reading))

    monkeypatch.setattr("maxwhisper_cli.commands.batch.transcribe_files", capture)

    def parse(*arguments: str) -> Captured:
        done = maxwhisper("transcribe", "talk.wav", *arguments)
        assert done.exit_code == 0, done.stderr
        return captured.pop()

    return parse


@pytest.fixture(scope="module")
def upstream() -> list[argparse.Action]:
    """The options that openai-whisper's own parser has."""
    parsers: list[argparse.ArgumentParser] = []

    class SeenError(Exception):
        pass

    def keep(parser: argparse.ArgumentParser, *_: object) -> None:
        parsers.append(parser)
        raise SeenError

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(argparse.ArgumentParser, "parse_args", keep)
        with pytest.raises(SeenError):
            whisper_command_line()
    actions = [action for action in parsers[0]._actions if action.dest not in {"help", "audio"}]
    assert len(actions) >= 32
    return actions


def meaning(value: object) -> object:
    """A default as openai-whisper would hold it."""
    if isinstance(value, Switch):
        return bool(value)
    return {"True": True, "False": False}.get(str(value), value)


def test_each_option_of_openai_whisper_is_there_with_its_default(
    upstream: list[argparse.Action],
) -> None:
    ours = {field.name: meaning(field.default) for field in fields(Transcribe)}
    theirs = {action.dest: action.default for action in upstream}
    assert {name: ours.get(name, "missing") for name in theirs} == theirs | OWN_DEFAULTS


@pytest.mark.parametrize("separator", ["_", "-"])
def test_openai_whispers_defaults_spelled_out_change_nothing(
    parsed: Any, upstream: list[argparse.Action], separator: str
) -> None:
    takes_none = {"optional_int", "optional_float"}
    arguments = [
        text
        for action in upstream
        if action.dest not in OWN_DEFAULTS
        and (action.default is not None or getattr(action.type, "__name__", "") in takes_none)
        for text in (f"--{action.dest.replace('_', separator)}", str(action.default))
    ]
    assert len(arguments) > 40
    plain, spelled_out = parsed(), parsed(*arguments)
    assert spelled_out == plain
    assert plain.options == TranscribeOptions()


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--beam_size None", {"beam_size": None}),
        ("--beam-size 3 --patience 2.0", {"beam_size": 3, "patience": 2.0}),
        ("--temperature 0.5", {"temperatures": (0.5, 0.7, 0.9)}),
        ("--temperature_increment_on_fallback None", {"temperatures": (0.0,)}),
        ("--temperature 0.3 --temperature-increment-on-fallback=None", {"temperatures": (0.3,)}),
        ("--temperature 1.2", {"temperatures": (1.2,)}),
        ("--condition_on_previous_text False", {"condition_on_previous_text": False}),
        ("--condition-on-previous-text=false", {"condition_on_previous_text": False}),
        (
            "--initial_prompt Hi --carry_initial_prompt",
            {"initial_prompt": "Hi", "carry_initial_prompt": True},
        ),
        (
            "--carry-initial-prompt True --initial-prompt Hi",
            {"initial_prompt": "Hi", "carry_initial_prompt": True},
        ),
        (
            "--without-timestamps --suppress-blank False",
            {"without_timestamps": True, "suppress_blank": False},
        ),
        ("--language Castilian --task translate", {"language": "es", "task": "translate"}),
        ("--language None", {"language": None}),
        ("--language auto", {"language": None}),
        ("--language es_MX", {"language": "es"}),
        ("--multilingual --clamp-timestamps", {"multilingual": True, "clamp_timestamps": True}),
        ("--suppress_tokens 1,2", {"suppress_tokens": (1, 2)}),
        ("--suppress_tokens=", {"suppress_tokens": ()}),
        ("--clip_timestamps 1.5,3,10", {"clip_timestamps": (1.5, 3.0, 10.0)}),
        (
            "--no_speech_threshold None --logprob_threshold None "
            "--compression_ratio_threshold None",
            {
                "no_speech_threshold": None,
                "logprob_threshold": None,
                "compression_ratio_threshold": None,
            },
        ),
        (
            "--seed 7 --best_of 2 --length_penalty 0.5",
            {"seed": 7, "best_of": 2, "length_penalty": 0.5},
        ),
        (
            "--prefix So --sample-len 9 --max-initial-timestamp None",
            {"prefix": "So", "sample_len": 9, "max_initial_timestamp": None},
        ),
    ],
)
def test_options_reach_the_request(
    parsed: Any, arguments: str, expected: dict[str, object]
) -> None:
    options = parsed(*arguments.split()).options
    default = TranscribeOptions()
    changed = {
        field.name: getattr(options, field.name)
        for field in fields(options)
        if getattr(options, field.name) != getattr(default, field.name)
    }
    assert {name: getattr(options, name) for name in expected} == expected
    assert changed.keys() <= expected.keys()


def test_arguments_after_two_dashes_are_files(
    maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("talk.wav").touch()
    Path("--verbose").touch()
    seen: list[list[tuple[Input, object]]] = []
    monkeypatch.setattr(
        "maxwhisper_cli.commands.batch.transcribe_files", lambda sinks, *_: seen.append(sinks)
    )
    assert maxwhisper("transcribe", "--", "--verbose", "talk.wav").exit_code == 0
    assert [each.source for each, _ in seen[0]] == ["--verbose", "talk.wav"]


@pytest.mark.parametrize(
    ("arguments", "dtype"),
    [
        ("", "auto"),
        ("--fp16 False", "float32"),
        ("--fp16 True", "auto"),
        ("--fp16 True --impl cuda", "float16"),
        ("--fp16 True --impl full-max", "auto"),
        ("--fp16 True --impl full-max --device cuda:1", "float16"),
        ("--fp16 True --impl cuda --device cpu", "auto"),
        ("--fp16 True --dtype bfloat16", "bfloat16"),
    ],
)
def test_fp16_and_dtype(
    parsed: Any, monkeypatch: pytest.MonkeyPatch, arguments: str, dtype: str | None
) -> None:
    monkeypatch.setattr("implementations.nvidia.no_gpu_because", lambda: "none here")
    assert parsed(*arguments.split()).loading.dtype == dtype


def test_fp16_applies_to_the_gpu_of_auto(parsed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("implementations.nvidia.no_gpu_because", lambda: None)
    assert parsed("--fp16").loading.dtype == "float16"


def test_fp16_on_a_processor_warns(
    parsed: Any, maxwhisper: RunCommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("implementations.nvidia.no_gpu_because", lambda: "none here")
    assert "has no effect" in maxwhisper("transcribe", "talk.wav", "--fp16").stderr
    assert maxwhisper("transcribe", "talk.wav").stderr == ""


def test_model_options_reach_the_loader(parsed: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MAXWHISPER_MODEL", "tiny")
    assert parsed().loading == Loading("tiny", "auto", None, "auto", 0, None, is_offline=False)
    given = parsed(
        "--model=base",
        "--impl=cuda",
        "--device=cuda:1",
        "--threads=3",
        "--model_dir=dir",
        "--offline",
    )
    assert given.loading == Loading(
        "base", "cuda", "cuda:1", "auto", 3, Path("dir"), is_offline=True
    )


@pytest.mark.parametrize(
    ("given", "channel"),
    [("mix", "mix"), ("left", "left"), ("right", "right"), ("split", "split"), ("3", 3)],
)
def test_channel(parsed: Any, given: str, channel: object) -> None:
    assert parsed("--channel", given).reading == {"channel": channel}


@pytest.mark.parametrize(("given", "track"), [("2", 2), ("spa", "spa"), ("Spanish", "Spanish")])
def test_audio_track(parsed: Any, given: str, track: object) -> None:
    assert parsed("--audio-track", given).reading["audio_track"] == track


def test_raw_samples(parsed: Any) -> None:
    assert parsed("--raw-format", "s16le").reading["raw"] == RawFormat("s16le", 16000, 1)
    given = parsed("--raw-format", "mulaw", "--raw-rate", "8000", "--raw_channels", "2")
    assert given.reading["raw"] == RawFormat("mulaw", 8000, 2)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--beam_size many", "neither a whole number nor None"),
        ("--patience nan", "neither a number nor None"),
        ("--temperature nan", "neither a number nor None"),
        ("--temperature inf", "neither a number nor None"),
        ("--temperature None", "is no number"),
        ("--temperature 1e-40", "0, or from 0.001 to 2"),
        ("--temperature -1e300", "from 0 to 2"),
        ("--temperature 1e-40 --temperature-increment-on-fallback None", "0, or from 0.001"),
        ("--temperature_increment_on_fallback 1e-9", "at least 0.01"),
        ("--max_initial_timestamp=-1", "at least 0"),
        ("--suppress_tokens=-2", "at least -1"),
        ("--task Transcribe", "transcribe or translate"),
        ("--beam-sise 3", "beam-size"),
        ("--impl gpu", "is none of"),
        ("--language Klingon", "knows no language 'Klingon'"),
        ("--task summarise", "transcribe or translate"),
        ("--channel 0", "--channel is mix"),
        ("--channel both", "--channel is mix"),
        ("--audio-track 0", "--audio-track is a number"),
        ("--audio-track -1", "--audio-track is a number"),
        ("--raw-format s17", "--raw-format is one of s8, u8, s16le"),
        ("--raw-rate 8000", "--raw-rate needs --raw-format"),
        ("--raw-channels 2", "--raw-channels needs --raw-format"),
        ("--raw-format u8 --raw-rate 0", "--raw-rate is a number"),
        ("--raw-format u8 --raw-channels 9999", "--raw-channels is from 1 to 1024"),
        ("--raw-format u8 --audio-track 2", "raw samples have one track"),
        ("--clip_timestamps 3,1", "back in time"),
        ("--threads -1", "below 0"),
        ("--clip_timestamps soon", "--clip-timestamps takes numbers"),
        ("--suppress_tokens x", "--suppress-tokens takes numbers"),
        ("--temperature_increment_on_fallback 0", "must be at least 0.01"),
        ("--beam_size None --patience 2", "patience needs a beam_size"),
        ("--carry_initial_prompt", "needs an initial_prompt"),
        ("-f doc", "no output format 'doc'"),
        ("--output-name {date}", "{date}"),
        ("--output-name a/{stem}", "no file name"),
    ],
)
def test_contradictions_are_usage_errors(
    maxwhisper: RunCommandLine, arguments: str, expected: str
) -> None:
    Path("talk.wav").touch()
    done = maxwhisper("transcribe", "talk.wav", *arguments.split())
    assert done.exit_code == 2
    assert expected in done.stderr
    assert done.stdout == ""
