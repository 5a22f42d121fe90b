"""Python API: load a model on an implementation once, transcribe many recordings with it.

with maxwhisper_cli.load("tiny.en", impl="cpu") as model:
    print(model.transcribe("talk.mp3").text)
"""

import os
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager
from dataclasses import replace
from functools import partial
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Unpack

from implementations import registry
from implementations.errors import ImplementationFailedError
from implementations.forking import fork_message
from implementations.implementation import Implementation
from implementations.memory import translate_out_of_memory
from implementations.options import AUTO, CompileProgress, LoadOptions
from maxwhisper_cli.audio.reader import AudioSource, ReadingOptions
from maxwhisper_cli.model_loading import (
    check_can_run,
    check_names,
    fit_threads,
    load_implementation,
    path_text,
    read_model,
)
from maxwhisper_cli.recording import (
    Recording,
    RecordingReader,
    RecordingRequest,
    open_several,
    start,
)
from maxwhisper_cli.speech.network_loader import NetworkLoader
from maxwhisper_cli.throughput.feed import NOTHING_NOW, Feed
from maxwhisper_cli.throughput.rows import count_rows, decode_run, report_part
from maxwhisper_cli.transcription.options import TranscribeOptions, check_options
from maxwhisper_cli.transcription.segments import OnProgress, OnSegment, Segment, Transcript
from maxwhisper_cli.transcription.speakers import start_run
from maxwhisper_cli.transcription.steps import DecodedPart, Run
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from weights.closing import Closing

if TYPE_CHECKING:
    from maxwhisper_cli.throughput.scheduler import OnWarning
    from maxwhisper_cli.throughput.several import Finished, OnProgressOf, OnSegmentOf

_DEFAULTS = TranscribeOptions()


class Model(Closing):
    """A loaded model; a context manager, and safe to share between threads."""

    def __init__(
        self,
        implementation: Implementation,
        name: str | None = None,
        *,
        hint: str | None = None,
        notes: tuple[str, ...] = (),
        stopwatch: Stopwatch = STOPPED,
        voices: NetworkLoader | None = None,
    ) -> None:
        self.implementation = implementation
        self.name = name
        """Name such as `tiny.en`; None if the weights are those of no named model."""
        self.hint = hint
        """Advice on a faster implementation, if `auto` found one that is not ready."""
        self._notes = notes
        self._process_id = os.getpid()
        self._stopwatch = stopwatch
        self._is_closed = False
        self._voices = voices or NetworkLoader()
        self.n_reading_threads = 0
        """Threads that read a recording, at most; 0 is as many as can run at a time."""

    @property
    def notes(self) -> tuple[str, ...]:
        """Lines about loading, such as that compiled graphs could not be stored."""
        return (*self._notes, *self.implementation.load_report.notes)

    def transcribe(
        self,
        audio: AudioSource | RecordingRequest,
        options: TranscribeOptions = _DEFAULTS,
        *,
        on_segment: OnSegment | None = None,
        on_progress: OnProgress | None = None,
        on_warning: "OnWarning | None" = None,
        **reading: Unpack[ReadingOptions],
    ) -> Transcript:
        """Transcribes a whole recording.

        Args:
            audio: A path, `-` for standard input, the content of a file, an open binary file, or
                mono samples: an array, a torch tensor or a list.
            options: Options of the transcription.
            on_segment: Called for each segment as it is decoded.
            on_progress: Called before the first window and after each; raise from it to stop.
            on_warning: Called with a message if memory does not suffice for all rows.
            **reading: `channel` to read, `mix` for the mean of all, `split` for each by itself;
                `sample_rate` of an array, 16 kHz by default; `audio_track` by number or language;
                `raw` format of a file without a header.

        Raises:
            AudioError: The recording cannot be decoded.
            OptionsError: An option does not fit this model.
            ImplementationFailedError: There is too little memory.
        """
        check_options(options)
        recording = self._open(audio, options, reading)
        return self.transcribe_opened(recording, options, on_segment, on_progress, on_warning)

    def transcribe_opened(
        self,
        recording: AbstractContextManager[Recording],
        options: TranscribeOptions,
        on_segment: OnSegment | None = None,
        on_progress: OnProgress | None = None,
        on_warning: "OnWarning | None" = None,
    ) -> Transcript:
        """Transcribes one of the recordings of `read_ahead`; else as `transcribe`."""
        memory = translate_out_of_memory(self.implementation.device)
        with memory, self._stopwatch.on("text"), recording as opened:
            run, parts = self._decode(opened, options, on_warning)
            for part in parts:
                report_part(part, on_segment, on_progress)
            return replace(run.transcript, warnings=(*opened.warnings, *run.transcript.warnings))

    def read_ahead(
        self,
        audios: Iterable[AudioSource | RecordingRequest],
        options: TranscribeOptions = _DEFAULTS,
        **reading: Unpack[ReadingOptions],
    ) -> AbstractContextManager[Iterable[AbstractContextManager[Recording]]]:
        """Returns recordings for `transcribe_opened`, in order; those of a list are read ahead."""
        check_options(options)
        return open_several(self._reader(), audios, options, reading)

    def stream(
        self,
        audio: AudioSource | RecordingRequest,
        options: TranscribeOptions = _DEFAULTS,
        *,
        on_progress: OnProgress | None = None,
        **reading: Unpack[ReadingOptions],
    ) -> Iterator[Segment]:
        """Yields a recording's segments as they are decoded; else as `transcribe`."""
        check_options(options)
        memory = translate_out_of_memory(self.implementation.device)
        with memory, self._open(audio, options, reading) as opened:
            for part in self._decode(opened, options)[1]:
                report_part(part, None, on_progress)
                yield from part.segments

    def transcribe_several(
        self,
        audios: Iterable[AudioSource | RecordingRequest] | Feed[AudioSource | RecordingRequest],
        options: TranscribeOptions = _DEFAULTS,
        *,
        on_progress: "OnProgressOf | None" = None,
        on_segment: "OnSegmentOf | None" = None,
        on_warning: "OnWarning | None" = None,
        keep_going: Callable[[], bool] = lambda: True,
        **reading: Unpack[ReadingOptions],
    ) -> "Generator[Finished, None, None]":
        """Transcribes several recordings, and yields each as it is done, failed ones included.

        With a `batch_size` above 1, or `auto` where rows pay, their windows are decoded side by
        side: a recording is opened when there is a row for it. The text of each is the same as
        alone: with `auto` as with a `batch_size` of 1, with another one as with that.

        Files in a list or tuple are read ahead by threads (`throughput/read_ahead.py` has the
        bound on memory); other iterables are asked for a recording when it is needed.

        Args:
            audios: Recordings, each as `transcribe` accepts it; or a feed that gives them.
            options: Options of the transcription.
            on_progress: Called with a recording's index and its progress; raise from it to stop.
            on_segment: Called with a recording's index and each of its segments, as it is decoded.
            on_warning: Called with a message if memory does not suffice for all rows.
            keep_going: Called before each recording is opened; False ends after those under way.
            **reading: As for `transcribe`, the same for all.
        """
        from maxwhisper_cli.throughput.scheduler import Scheduler
        from maxwhisper_cli.throughput.several import Batch, Listener, alone

        check_options(options)
        n_rows = count_rows(self.implementation, options)
        listener = Listener(on_progress, on_segment)
        with open_several(reader := self._reader(), audios, options, reading) as opening:
            recordings = takewhile(lambda _: keep_going(), opening)
            if n_rows == 1:
                options = replace(options, batch_size=1)
                for index, recording in enumerate(r for r in recordings if r is not NOTHING_NOW):
                    on_segment_of, on_progress_of = listener.of(index)
                    arguments = recording, options, on_segment_of, on_progress_of
                    yield alone(index, partial(self.transcribe_opened, *arguments))
                return
            rows = Scheduler(self.implementation, n_rows, self._stopwatch, on_warning)
            with self._stopwatch.on("text"):
                runs = (start(reader, recording, options) for recording in recordings)
                yield from Batch(runs, rows, listener)

    def _decode(
        self, opened: Recording, options: TranscribeOptions, on_warning: "OnWarning | None" = None
    ) -> tuple[Run, Iterator[DecodedPart]]:
        implementation, watch = self.implementation, self._stopwatch
        n_rows = count_rows(implementation, options)
        options = opened.fit(options)
        run = start_run(implementation, opened.mel, options, watch, is_cut=n_rows > 1)
        return run, decode_run(implementation, run, n_rows, watch, on_warning)

    def close(self) -> None:
        """Frees the memory of the weights; transcribing afterwards is a ValueError."""
        self._is_closed = True
        if os.getpid() == self._process_id:  # a fork has none of the threads that this may wait for
            self.implementation.close()

    def _open(
        self,
        audio: AudioSource | RecordingRequest,
        options: TranscribeOptions,
        reading: ReadingOptions,
    ) -> AbstractContextManager[Recording]:
        return self._reader().open(audio, options, reading)

    def _reader(self) -> RecordingReader:
        if self._is_closed:
            raise ValueError("this model is closed")
        if os.getpid() != self._process_id:
            raise ImplementationFailedError(fork_message())
        return RecordingReader(
            self.implementation, self._voices, self._stopwatch, self.n_reading_threads
        )


def load(  # noqa: PLR0913  (each is a keyword with a default)
    model: str | Path | None = None,
    impl: str = registry.AUTO,
    *,
    device: str | None = None,
    dtype: str | None = AUTO,
    n_threads: int = 0,
    model_dir: str | Path | None = None,
    offline: bool = False,
    on_download: Callable[[int, int], None] | None = None,
    on_compile: CompileProgress | None = None,
    on_note: Callable[[str], None] | None = None,
    is_english: bool = False,
    n_audio_ctx: int | None = None,
    stopwatch: Stopwatch = STOPPED,
    self_check: bool = True,
) -> Model:
    """Loads a model by name or path onto an implementation.

    Args:
        model: A name such as `tiny.en`, or a path; None is turbo, or else the best that is here.
        impl: `cpu`, `cuda`, `hybrid`, `full-max`, or `auto`: the fastest that is compiled here.
        device: `cpu`, `cuda`, `cuda:1`; None is a GPU that the implementation supports, or the CPU.
        dtype: `float32`, ...; `auto` is the fastest that keeps the accuracy, None the default.
        n_threads: CPU threads of the model and of reading recordings; 0 is the library's default.
        model_dir: Folder of weights to look in and to download to, instead of the cache.
        offline: Never use the network.
        on_download: Called with bytes received and bytes in all while weights are fetched.
        on_compile: Called with a message about what is being compiled.
        on_note: Called with a line about the model that is taken instead of turbo.
        is_english: True if an English-only model may be taken instead of turbo before others.
        n_audio_ctx: Positions of the encoder, 20 ms each, for live text alone; None is all.
        stopwatch: Measures loading, and then each transcription by `transcribe`.
        self_check: Check the first use of a GPU of a kind that was never tested against the CPU.

    Raises:
        ImplementationUnavailableError: The implementation cannot run here.
        WeightsError: The model does not exist, or cannot be read.
        OptionsError: An argument is not understood.
    """
    check_names(impl=impl, device=device, dtype=dtype)
    folder = None if model_dir is None else Path(path_text("model_dir", model_dir))
    threads, thread_notes = fit_threads(n_threads)
    check_can_run(impl, stopwatch)
    name = None if model is None else path_text("model", model)
    with stopwatch.on("model file"):
        checkpoint, model_notes = read_model(
            name, folder, on_download, offline=offline, is_english=is_english, on_note=on_note
        )
    options = LoadOptions(device, dtype, threads, on_compile, n_audio_ctx)
    chosen = checkpoint, impl, options, stopwatch
    implementation, hint = load_implementation(*chosen, self_check=self_check)
    notes, voices = (*model_notes, *thread_notes), NetworkLoader(folder, is_offline=offline)
    name = checkpoint.model_name
    loaded = Model(implementation, name, hint=hint, notes=notes, stopwatch=stopwatch, voices=voices)
    loaded.n_reading_threads = threads
    return loaded
