"""One implementation in a process of its own: load, warm up, time, and say how it goes.

Run by `runner` as a program: a job on stdin, messages as lines of JSON on stdout. It judges
nothing; whatever a library prints goes to stderr.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.compare.machine import (
    gpu_memory_in_use_mib,
    own_gpu_memory_mib,
    peak_memory_mib,
)
from maxwhisper_cli.compare.messages import (
    Advanced,
    Finished,
    Job,
    Loaded,
    Measured,
    Measurement,
    Message,
    Spoken,
    Stage,
    Stopped,
)
from maxwhisper_cli.own_warnings import own_warnings
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Transcript
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.compare.timed import Clock
    from maxwhisper_cli.model import Model

Say = Callable[[Message], None]


def main() -> None:
    """Read the job, do it, and end with `Finished` or `Stopped`."""
    say = _own_stdout()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        work(job, say)
    except MaxWhisperError as error:
        say(Stopped(str(error), isinstance(error, ImplementationUnavailableError)))


def work(job: Job, say: Say) -> None:
    """Load the implementation and measure every recording.

    Raises:
        MaxWhisperError: it cannot be loaded, or a recording cannot be transcribed.
    """
    gpu_before = gpu_memory_in_use_mib()
    model, options = _load(job, say)
    with model:
        for file in job.files:
            say(Measured(_measure(model, file, options, job.n_runs, say)))
        is_on_gpu = model.implementation.device != "cpu"
        gpu_memory = own_gpu_memory_mib(gpu_before) if is_on_gpu else None
        say(Finished(peak_memory_mib(), gpu_memory))


def _load(job: Job, say: Say) -> tuple["Model", TranscribeOptions]:
    """Load with the clock running from the first import on; compiling is counted apart."""
    say(Stage("loading"))
    told_at: list[float] = []

    def on_compile(words: str) -> None:
        told_at.append(time.perf_counter())
        say(Stage(words))

    begin = time.perf_counter()
    from maxwhisper_cli.model import Model, load

    warned: list[str] = []
    with own_warnings(warned.append):
        model = load(
            job.model,
            job.candidate.implementation,
            device=job.candidate.device,
            dtype=job.candidate.dtype,
            n_threads=job.n_threads,
            model_dir=Path(job.model_dir) if job.model_dir else None,
            offline=True,
            on_compile=on_compile,
        )
    loaded_at = time.perf_counter()
    # Told when compiling begins and when it has ended; told once, all the rest is compiling.
    compiled_at = told_at[-1] if len(told_at) > 1 else loaded_at
    compile_seconds = compiled_at - told_at[0] if told_at else 0.0
    from maxwhisper_cli.compare.timed import TimedImplementation

    timed = TimedImplementation(model.implementation)
    dims = timed.dims
    say(
        Loaded(
            device=timed.device,
            dtype=timed.dtype,
            load_seconds=loaded_at - begin - compile_seconds,
            compile_seconds=compile_seconds,
            runs_compiled="max.engine" in sys.modules,
            is_multilingual=dims.is_multilingual,
            n_languages=dims.n_languages,
            warnings=tuple(warned),
        )
    )
    options = job.options if dims.is_multilingual else replace(job.options, language="en")
    return Model(timed, model.name), options


def _measure(
    model: "Model", file: str, options: TranscribeOptions, n_runs: int, say: Say
) -> Measurement:
    """Transcribe once to warm up, then `n_runs` times on the clock."""
    from maxwhisper_cli.compare.timed import Clock, TimedImplementation

    timed = model.implementation
    assert isinstance(timed, TimedImplementation)
    seconds: list[float] = []
    transcripts: list[Transcript] = []
    for run in range(n_runs + 1):

        def on_progress(progress: Progress, run: int = run) -> None:
            say(Advanced(file, run, progress.done_seconds, progress.total_seconds))

        if run <= 1:
            timed.clock = Clock()  # anew before the warm-up, and once that is over
        begin = time.perf_counter()
        transcripts.append(model.transcribe(file, options, on_progress=on_progress))
        seconds.append(time.perf_counter() - begin)
    return _measurement(file, transcripts, seconds, timed.clock)


def _measurement(
    file: str, transcripts: list[Transcript], seconds: list[float], clock: "Clock"
) -> Measurement:
    last = transcripts[-1]
    n_runs = len(seconds) - 1
    return Measurement(
        file=file,
        audio_seconds=last.duration_seconds,
        language=last.language,
        text=last.text.strip(),
        segments=tuple(Spoken(s.start, s.end, s.text.strip()) for s in last.segments if s.text),
        tokens=_tokens(last),
        first_seconds=seconds[0],
        run_seconds=tuple(seconds[1:]),
        encoder_ms_per_window=1e3 * clock.encode_seconds / max(clock.n_windows, 1),
        ms_per_token=1e3 * clock.decode_seconds / max(clock.n_passes, 1),
        tokens_per_second=clock.n_passes / max(clock.decode_seconds, 1e-9),
        n_windows=clock.n_windows // n_runs,
        n_passes=clock.n_passes // n_runs,
        is_repeatable=len({_tokens(transcript) for transcript in transcripts}) == 1,
        warnings=last.warnings,
    )


def _tokens(transcript: Transcript) -> tuple[int, ...]:
    return tuple(token for segment in transcript.segments for token in segment.tokens)


def _own_stdout() -> Say:
    """Keep stdout for messages alone; what anyone else prints goes to stderr."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def say(message: Message) -> None:
        messages.write(msgspec.json.encode(message) + b"\n")

    return say


if __name__ == "__main__":
    main()
