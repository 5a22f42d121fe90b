"""The section `words`: what word times cost on the long clip, greedy, beside the same without.

With words each window begins where the last word ended, so that the number of windows may differ.
"""

import json
from pathlib import Path

from tests.benchmarks.bars import Row, Setting
from tests.benchmarks.processes import python

CONTENDERS = ("cpu", "hybrid", "full-max", "full-max:auto")
BAR = 1.12


def word_rows(setting: Setting) -> list[Row]:
    rows = []
    folder = Path(setting.folder)
    for contender in CONTENDERS:
        if contender.partition(":")[0] not in setting.available:
            continue
        arguments = [contender, str(folder / "weights.pt"), str(folder / "samples.npy")]
        counts = ["--runs", str(setting.n_runs), "--threads", str(setting.n_threads)]
        seconds = json.loads(python("words_measure.py", *arguments, *counts))
        rows.append(
            Row(
                *("words", "time", "s", contender, seconds["words"], BAR),
                *("without", seconds["plain"]),
            )
        )
    return rows
