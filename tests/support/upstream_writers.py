"""openai-whisper's own writers of subtitles, and a comparison with ours."""

import io
import itertools
from typing import Any

from whisper import utils as whisper_utils

from maxwhisper_cli.captions.captions import CaptionOptions
from maxwhisper_cli.transcription.segments import Transcript
from maxwhisper_cli.writers.render import render
from tests.support.transcripts import as_whisper_result

UPSTREAM = {"srt": whisper_utils.WriteSRT, "vtt": whisper_utils.WriteVTT}
COMBINATIONS = [
    {
        "highlight_words": is_highlighted,
        "max_line_width": width,
        "max_line_count": n_lines,
        "max_words_per_line": n_words,
    }
    for is_highlighted, width, n_lines, n_words in itertools.product(
        (False, True), (None, 1, 8, 20, 42), (None, 1, 2, 3), (None, 1, 2, 5)
    )
]


def upstream_writes(name: str, of: Transcript, **options: Any) -> str:
    file = io.StringIO()
    UPSTREAM[name]("").write_result(as_whisper_result(of), file=file, **options)
    return file.getvalue()


def assert_equal_in_all_combinations(of: Transcript) -> None:
    for name, options in itertools.product(UPSTREAM, COMBINATIONS):
        ours = render(of, name, CaptionOptions(**options))
        assert ours == upstream_writes(name, of, **options), (name, options)
