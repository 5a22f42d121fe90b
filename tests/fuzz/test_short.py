"""A short campaign against each target; `make fuzz` runs long ones."""

from pathlib import Path

import pytest

from maxwhisper_cli.app import make_app
from tests.fuzz.audio import run_audio
from tests.fuzz.command_lines import run_command_lines, workplace
from tests.fuzz.guided import Target, run_campaign
from tests.fuzz.targets import TARGETS

N_CASES = 40
"""For each target: about 5 s together."""


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_no_case_surprises_a_parser(target: Target, tmp_path: Path) -> None:
    campaign = run_campaign(target, tmp_path, seed=1, n_cases=N_CASES)
    assert campaign.findings == {}
    assert (campaign.n_cases, campaign.n_lines > 0) == (N_CASES, True)


def test_a_campaign_is_reproduced_by_its_seed(tmp_path: Path) -> None:
    target = next(target for target in TARGETS if target.name == "caption styles")
    first, again, other = (
        run_campaign(target, tmp_path / str(i), seed=seed, n_cases=20).corpus
        for i, seed in enumerate((3, 3, 4))
    )
    assert first == again != other


def test_a_finding_is_found(tmp_path: Path) -> None:
    def run(data: bytes, folder: Path) -> None:
        assert len(data) < 12, "too long"

    target = Target("broken", run, lambda _: [b"abcdefgh"], ("test_short.py",))
    (place,) = run_campaign(target, tmp_path, seed=0, n_cases=50).findings
    assert place.startswith("AssertionError at test_short.py:")


def test_damaged_recordings(tmp_path: Path) -> None:
    campaign = run_audio(tmp_path, seed=1, n_cases=60)
    assert (campaign.n_cases, campaign.findings) == (60, {})


def test_command_lines(tmp_path: Path) -> None:
    campaign = run_command_lines(tmp_path, seed=1, n_cases=15)
    assert (campaign.n_cases, campaign.findings) == (15, {})


FINDINGS = (
    (["compile", "--model", "tiny.en", "--window-seconds", "nan"], "nan is no finite number"),
    (["serve", "--max-spool-mb", "inf"], "inf is no finite number"),
    (["transcribe", "talk.wav", "--model", "tiny.en", "--max-initial-timestamp", "1e308"], None),
)


def test_findings_of_command_lines(tmp_path: Path) -> None:
    """Numbers that are none, or that no integer has."""
    with workplace(tmp_path) as runner:
        for arguments, error in FINDINGS:
            done = runner.invoke(make_app(), arguments, prog_name="maxwhisper")
            assert (done.exit_code, (error or "") in done.stderr) == (2 if error else 0, True)
            assert not isinstance(done.exception, Exception)
