"""Inputs of `transcribe`: from arguments, a manifest and addresses."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from maxwhisper_cli.inputs.expand import expand, identity_of, lists_of
from maxwhisper_cli.inputs.fetch import FetchLimits
from maxwhisper_cli.inputs.input import STDIN, Input
from maxwhisper_cli.inputs.remote import Remote
from maxwhisper_cli.transcription.options import OptionsError


@dataclass(frozen=True, slots=True)
class GivenInputs:
    """Options and arguments that name the inputs."""

    files: Sequence[str]
    manifest: Path | None
    is_recursive: bool
    remote: Remote

    def inputs(self) -> list[Input]:
        """Returns all inputs in order; those with a problem stand for no recording.

        Raises:
            OptionsError: There are none, or one is named twice.
            InputError: The manifest cannot be read, or no argument stands for a recording.
        """
        if not self.files and self.manifest is None:
            raise OptionsError("name recordings, folders or addresses, or give --manifest")
        inputs = expand(self.files, recursive=self.is_recursive, resolve=self.remote)
        if self.manifest is not None:
            from maxwhisper_cli.inputs.manifest import read_manifest

            inputs += read_manifest(self.manifest)
        problems = [each.problem for each in inputs if each.problem is not None]
        if len(problems) == len(inputs):
            raise problems[0]
        _refuse_repeated(inputs)
        return inputs

    def lists(self) -> list[Path]:
        """Returns the files that name inputs, which no output may replace."""
        manifest = [] if self.manifest is None else [self.manifest]
        return [*manifest, *lists_of(self.files)]


def make_remote(
    max_mb: float,
    max_seconds: float,
    n_newest: int | None,
    *,
    allow_private: bool,
    is_offline: bool,
) -> Remote:
    """Returns what opens addresses, from the values of the options."""
    limits = FetchLimits(int(max_mb * 2**20), max_seconds, allow_private)
    return Remote(limits, n_newest, is_offline)


def _refuse_repeated(inputs: Sequence[Input]) -> None:
    named: set[str] = set()
    for each in inputs:
        if each.is_listed or each.source == STDIN:
            continue
        identity = identity_of(each)
        if identity in named:
            raise OptionsError(f"{each.source} is given more than once; name each input once")
        named.add(identity)
