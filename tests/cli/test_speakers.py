"""`maxwhisper transcribe --channel split`: names in the outputs, refusals, several files."""

import json
from pathlib import Path

import pytest
import soundfile

from tests.cli.conftest import SPOKEN, MakeSound, RunCommandLine, names
from tests.support.sound import tone


@pytest.fixture
def call(tmp_path: Path) -> Path:
    """Two channels of 2 s."""
    path = tmp_path / "my call.wav"
    tones = [tone(frequency, 2.0, 16000) for frequency in (440, 880)]
    soundfile.write(str(path), list(zip(*tones, strict=True)), 16000, format="WAV")
    return path


def test_every_format_names_the_speakers(maxwhisper: RunCommandLine, call: Path) -> None:
    arguments = ("--channel", "split", "--speaker-names", "Anna, Ben", "-f", "all,rttm")
    done = maxwhisper("transcribe", call, *arguments)
    assert done.exit_code == 0
    assert [line.partition("]")[2].strip() for line in done.stdout.splitlines()] == [
        f"Anna: {SPOKEN.strip()}",
        f"Ben: {SPOKEN.strip()}",
    ]
    texts = {path.suffix: path.read_text() for path in Path().iterdir()}
    assert texts[".txt"] == f"Anna: {SPOKEN.strip()}\nBen: {SPOKEN.strip()}\n"
    assert f"\n00:00:00,000 --> 00:00:01,000\nBen: {SPOKEN.strip()}\n" in texts[".srt"]
    assert f"\n<v Ben>{SPOKEN.strip()}</v>\n" in texts[".vtt"]
    assert texts[".tsv"].splitlines()[2] == f"0\t1000\t{SPOKEN.strip()}\tBen"
    segments = json.loads(texts[".json"])["segments"]
    assert [(each["id"], each["speaker"]) for each in segments] == [(0, "Anna"), (1, "Ben")]
    assert texts[".rttm"].splitlines() == [
        "SPEAKER my_call 1 0.000 1.000 <NA> <NA> Anna <NA> <NA>",
        "SPEAKER my_call 1 0.000 1.000 <NA> <NA> Ben <NA> <NA>",
    ]


@pytest.mark.parametrize("batch_size", ["1", "4"])
def test_one_channel_and_two_names_fail_alone(
    maxwhisper: RunCommandLine, sound: MakeSound, call: Path, batch_size: str
) -> None:
    arguments = ("--channel", "split", "-f", "rttm", "--batch-size", batch_size)
    done = maxwhisper("transcribe", sound("mono.wav"), call, *arguments)
    assert (done.exit_code, names(Path())) == (1, ["my call.rttm"])
    assert "mono.wav has 1 channel, which cannot be split: choose channel 'mix'" in done.stderr
    assert "Anna" not in Path("my call.rttm").read_text()
    done = maxwhisper("transcribe", call, *arguments, "--speaker-names", "Anna,Ben,Cem")
    assert done.exit_code == 1
    assert "has 2 channels, and the names of speakers are 3: give one for each" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("-f", "rttm"), "rttm says who speaks, which only --channel split tells"),
        (("--speaker-names", "Anna,Ben"), "--speaker-names needs --channel split"),
        (("--channel", "split", "--speaker-names", "Anna,Anna"), "must differ from each other"),
        (("--channel", "split", "--speaker-names", "Anna,"), "must be words that can be printed"),
        (("--channel", "each"), "mix, left, right, split or a number from 1 on, not 'each'"),
    ],
)
def test_usage_errors(
    maxwhisper: RunCommandLine, call: Path, arguments: tuple[str, ...], message: str
) -> None:
    done = maxwhisper("transcribe", call, *arguments)
    assert (done.exit_code, names(Path())) == (2, [])
    assert message in " ".join(done.stderr.split())
