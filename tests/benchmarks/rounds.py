"""Contenders taking turns, so that what slows the machine for a while slows them all."""

from collections.abc import Callable, Iterable
from typing import TypeVar

from tests.benchmarks.bars import Setting

Run = TypeVar("Run")


def take_turns(
    setting: Setting,
    section: str,
    contenders: Iterable[str],
    measure: Callable[[str], Run],
    describe: Callable[[Run], str],
) -> dict[str, list[Run]]:
    """Measures each contender once a round, saying what came out; the runs of each."""
    runs: dict[str, list[Run]] = {name: [] for name in contenders}
    for number in range(setting.n_runs):
        for name, done in runs.items():
            done.append(measure(name))
            setting.console.print(
                f"{section}, run {number + 1} of {setting.n_runs}, {name}: {describe(done[-1])}",
                highlight=False,
            )
    return runs
