"""Worker process of one implementation: loads, warms up, measures, and sends messages.

`runner` runs it as a program: a job on stdin, messages as lines of JSON on stdout. It evaluates
nothing; all output of libraries goes to stderr.
"""

import os
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from implementations import registry
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
    Stage,
    Stopped,
    TimedText,
)
from maxwhisper_cli.transcription.options import TranscribeOptions
from maxwhisper_cli.transcription.segments import Progress, Transcript
from maxwhisper_cli.transcription.stopwatch import RunningStopwatch, Spent
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model

Send = Callable[[Message], None]


def main() -> None:
    """Reads the job, runs it, and ends with `Finished` or `Stopped`."""
    send = _reserve_stdout()
    job = msgspec.json.decode(sys.stdin.buffer.read(), type=Job)
    try:
        work(job, send)
    except MaxWhisperError as error:
        send(Stopped(str(error), isinstance(error, ImplementationUnavailableError)))


def work(job: Job, send: Send) -> None:
    """Loads the implementation and measures every recording.

    Raises:
        MaxWhisperError: The model cannot be loaded, or a recording cannot be transcribed.
    """
    gpu_before = gpu_memory_in_use_mib()
    loaded = _load(job, send)
    model = loaded[0]
    with model:
        for file in job.files:
            send(Measured(_measure(loaded, file, job.n_runs, send)))
        is_on_gpu = model.implementation.device != "cpu"
        gpu_memory = own_gpu_memory_mib(gpu_before) if is_on_gpu else None
        send(Finished(peak_memory_mib(), gpu_memory))


def _load(job: Job, send: Send) -> tuple["Model", TranscribeOptions, RunningStopwatch]:
    """Loads the model; measures the time from the first import on, compiling separately."""
    send(Stage("loading"))
    start_time = time.perf_counter()
    from maxwhisper_cli.model import load

    stopwatch = RunningStopwatch()
    model = load(
        job.model,
        job.candidate.implementation,
        device=job.candidate.device,
        dtype=job.candidate.dtype,
        n_threads=job.n_threads,
        model_dir=Path(job.model_dir) if job.model_dir else None,
        offline=True,
        on_compile=lambda line: send(Stage(line)),
        stopwatch=stopwatch,
    )
    loaded_seconds = time.perf_counter() - start_time
    implementation = model.implementation
    compile_seconds = implementation.load_report.compiled_seconds
    dims = implementation.dims
    send(
        Loaded(
            device=implementation.device,
            dtype=implementation.dtype,
            load_seconds=loaded_seconds - compile_seconds,
            compile_seconds=compile_seconds,
            runs_compiled=registry.entry(implementation.name).compiles,
            is_multilingual=dims.is_multilingual,
            n_languages=dims.n_languages,
            warnings=model.notes,
        )
    )
    options = job.options if dims.is_multilingual else replace(job.options, language="en")
    return model, options, stopwatch


def _measure(
    loaded: tuple["Model", TranscribeOptions, RunningStopwatch], file: str, n_runs: int, send: Send
) -> Measurement:
    """Transcribes once to warm up, then `n_runs` times for the measurement."""
    model, options, stopwatch = loaded
    seconds: list[float] = []
    transcripts: list[Transcript] = []
    for run in range(n_runs + 1):

        def on_progress(progress: Progress, run: int = run) -> None:
            send(Advanced(file, run, progress.done_seconds, progress.total_seconds))

        if run <= 1:
            stopwatch.reset()  # before the warm-up, and once that is over
        start_time = time.perf_counter()
        transcripts.append(model.transcribe(file, options, on_progress=on_progress))
        seconds.append(time.perf_counter() - start_time)
    return _measurement(file, transcripts, seconds, stopwatch)


def _measurement(
    file: str, transcripts: list[Transcript], seconds: list[float], stopwatch: RunningStopwatch
) -> Measurement:
    last = transcripts[-1]
    n_runs = len(seconds) - 1
    spent = stopwatch.spent
    encoder = spent.get("encoder", Spent())
    decoder = [spent.get(f"decoder: {part}", Spent()) for part in ("prompts", "steps", "all else")]
    decode_seconds = sum(part.seconds for part in decoder)
    n_passes = decoder[0].n_times + decoder[1].n_times
    return Measurement(
        file=file,
        audio_seconds=last.duration_seconds,
        language=last.language,
        text=last.text.strip(),
        segments=tuple(TimedText(s.start, s.end, s.text.strip()) for s in last.segments if s.text),
        tokens=_tokens(last),
        first_seconds=seconds[0],
        run_seconds=tuple(seconds[1:]),
        encoder_ms_per_window=1e3 * encoder.seconds / max(encoder.n_times, 1),
        ms_per_token=1e3 * decode_seconds / max(n_passes, 1),
        tokens_per_second=n_passes / max(decode_seconds, 1e-9),
        n_windows=encoder.n_times // n_runs,
        n_passes=n_passes // n_runs,
        is_repeatable=len({_tokens(transcript) for transcript in transcripts}) == 1,
        warnings=last.warnings,
    )


def _tokens(transcript: Transcript) -> tuple[int, ...]:
    return tuple(token for segment in transcript.segments for token in segment.tokens)


def _reserve_stdout() -> Send:
    """Reserves stdout for messages, and redirects all other output to stderr."""
    messages = os.fdopen(os.dup(sys.stdout.fileno()), "wb", buffering=0)
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())

    def send(message: Message) -> None:
        messages.write(msgspec.json.encode(message) + b"\n")

    return send


if __name__ == "__main__":
    main()
