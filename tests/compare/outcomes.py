"""Outcomes made up for tests of what follows measuring."""

from maxwhisper_cli.compare.assess import assess
from maxwhisper_cli.compare.machine import Machine
from maxwhisper_cli.compare.messages import Finished, Loaded, Measurement, TimedText
from maxwhisper_cli.compare.results import Comparison, Recording, Work
from maxwhisper_cli.compare.runner import Outcome
from maxwhisper_cli.transcription.options import TranscribeOptions

REFERENCE = "Ask not what your country can do for you, ask what you can do."
DEFAULT_TEXT = "Ask not what your country can do for you ask what you can do"
MISHEARD = "Ask not what your county can do for you ask what you can do"


def measured(
    file: str,
    text: str = DEFAULT_TEXT,
    *,
    tokens: tuple[int, ...] = (1, 2, 3),
    run_seconds: tuple[float, ...] = (2.0, 1.0, 4.0),
    is_repeatable: bool = True,
) -> Measurement:
    return Measurement(
        file=file,
        audio_seconds=8.0,
        language="en",
        text=text,
        segments=(TimedText(0.0, 2.5, text[:20]), TimedText(2.5, 8.0, text[20:])),
        tokens=tokens,
        first_seconds=5.0,
        run_seconds=run_seconds,
        encoder_ms_per_window=100.0,
        ms_per_token=10.0,
        tokens_per_second=100.0,
        n_windows=1,
        n_passes=20,
        is_repeatable=is_repeatable,
    )


def done(name: str, *measurements: Measurement, compiled: float | None = None) -> Outcome:
    return Outcome(
        name,
        "ok",
        loaded=Loaded("cpu", "float32", 1.5, compiled or 0.0, compiled is not None, False, 99),
        measurements=measurements,
        finished=Finished(peak_memory_mib=512.0, gpu_memory_mib=None),
    )


def compared(*outcomes: Outcome, recordings: tuple[Recording, ...]) -> Comparison:
    return Comparison(
        schema_version=1,
        created="2026-02-03T04:05:06+00:00",
        maxwhisper="0.1.0",
        work=Work("tiny.en", TranscribeOptions(beam_size=None), 3, 2, recordings),
        machine=Machine(
            cpu="Some Processor",
            n_cpus=2,
            memory_mib=24576.0,
            gpus=(),
            system="Linux 6",
            python="3.11.7",
            load_average=0.1,
            packages={"numpy": "2.4.6", "torch": "2.13.0"},
        ),
        rows=assess(outcomes, recordings),
    )
