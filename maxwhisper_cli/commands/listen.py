"""Command `maxwhisper listen`: its options, and what it opens."""

import sys
from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import typer

from implementations import nvidia, registry
from maxwhisper_cli import cli_listen, cli_reading, cli_speech
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.commands.live_display import JsonView, LiveView, NoView, TextView
from maxwhisper_cli.commands.live_session import LiveSession
from maxwhisper_cli.commands.loading import Loading, load_model
from maxwhisper_cli.console import Column, Terminal
from maxwhisper_cli.transcription.options import OptionsError
from maxwhisper_cli.upstream_style import Switch, UpstreamCommand, as_command
from maxwhisper_cli.writers.base import Document
from maxwhisper_cli.writers.files import (
    STDIN,
    Outputs,
    files_of_model,
    plan_outputs,
    prepare_folder,
)
from maxwhisper_cli.writers.registry import choose_writers
from weights.audio_context import positions_of
from weights.errors import MaxWhisperError

if TYPE_CHECKING:
    from maxwhisper_cli.listen.options import ListenOptions
    from maxwhisper_cli.listen.source import LiveSource
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.transcription.segments import Transcript

_NAME: Final = "live"
"""Name of outputs of a microphone."""
_CPU_MODEL: Final = "base"
_CPU_WINDOW, _GPU_WINDOW = 15.0, 30.0


@dataclass(frozen=True, slots=True)
class Listen:
    """Transcribe a microphone or a pipe live.

    Words appear while somebody speaks: grey as long as they may change, then bold. Ctrl-C ends it,
    with everything said so far written.
    """

    source: cli_listen.Source = None
    list_devices: cli_listen.ListDevices = False
    input_device: cli_listen.InputDevice = None
    raw_format: cli_reading.RawEncoding = None
    raw_rate: cli_reading.RawRate = None
    raw_channels: cli_reading.RawChannels = None
    output_dir: cli.OutputDir = "."
    output_format: cli_listen.OutputFormat = None
    output_name: cli.OutputName = "{stem}"
    jsonl: cli_listen.JsonLines = False
    quiet: cli.Quiet = False
    model: cli_listen.Model = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    impl: cli.Impl = registry.AUTO
    device: cli.Device = None
    dtype: cli.Dtype = "auto"
    threads: cli.Threads = 0
    task: cli.Task = "transcribe"
    language: cli.Language = None
    policy: cli_listen.Policy = "auto"
    min_chunk: cli_listen.MinChunk = 0.5
    window_seconds: cli_listen.WindowSeconds = None
    vad_threshold: cli_speech.Threshold = None
    vad_neg_threshold: cli_speech.NegThreshold = None
    vad_min_speech_ms: cli_speech.MinSpeech = None
    vad_min_silence_ms: cli_speech.MinSilence = None
    vad_speech_pad_ms: cli_speech.SpeechPad = None
    initial_prompt: cli.InitialPrompt = None
    condition_on_previous_text: cli.ConditionOnPreviousText = Switch.ON

    def run(self) -> None:
        """Checks all options, then listens."""
        terminal = Terminal(is_quiet=self.quiet, needs_reader=self.output_format is None)
        if self.list_devices:
            _list_devices(terminal)
            return
        self._check_source()
        options = self._options()
        outputs = self._outputs()
        with ExitStack() as resources:
            source = resources.enter_context(self._open(terminal))
            model = resources.enter_context(load_model(self._loading(), terminal))
            if self.source is None:
                source.read(0)  # what was recorded while the model was loaded
            session = self._session(model, options, source, terminal, outputs)
            terminal.note(self._greeting(model, source))
            session.run()
            if outputs is not None:
                terminal.note(f"wrote {', '.join(map(str, outputs.paths))}")
            terminal.check_results()

    def _check_source(self) -> None:
        if self.source is None:
            if self.raw_format is not None:
                raise OptionsError("--raw-format is for pipes: maxwhisper listen -")
            return
        if self.input_device is not None:
            raise OptionsError("--input-device is a microphone, and SOURCE is another source")
        if self.source == STDIN and (sys.stdin is None or sys.stdin.isatty()):
            raise MaxWhisperError("- is standard input: pipe audio into it")

    def _options(self) -> "ListenOptions":
        from maxwhisper_cli.listen.options import LIVE_VAD, ListenOptions, PolicyName
        from maxwhisper_cli.transcription.options import Task

        values = {
            "threshold": self.vad_threshold,
            "neg_threshold": self.vad_neg_threshold,
            "min_speech_ms": self.vad_min_speech_ms,
            "min_silence_ms": self.vad_min_silence_ms,
            "speech_pad_ms": self.vad_speech_pad_ms,
        }
        given = {name: value for name, value in values.items() if value is not None}
        return ListenOptions(
            policy=cast("PolicyName", self.policy),  # checked there
            min_chunk_seconds=self.min_chunk,
            task=cast("Task", self.task),
            language=self.language,
            initial_prompt=self.initial_prompt,
            condition_on_previous_text=bool(self.condition_on_previous_text),
            vad=replace(LIVE_VAD, **given),  # type: ignore[arg-type]
        )

    def _outputs(self) -> Outputs | None:
        if self.output_format is None:
            if self.output_dir != ".":
                raise OptionsError("--output-dir needs --output-format")
            return None
        if self.output_dir == cli.STDOUT:
            raise OptionsError("--output-dir is a folder here: finished lines go to stdout anyway")
        writers = choose_writers(self.output_format)
        if any(writer.needs_speakers for writer in writers):
            raise OptionsError("rttm says who speaks, which nothing tells here")
        folder = Path(self.output_dir)
        source = _NAME if self.source is None else self.source
        read = files_of_model(self.model)
        (planned,) = plan_outputs([source], writers, folder, self.output_name, read=read)
        prepare_folder(folder, planned.paths)
        return planned

    def _loading(self) -> Loading:
        is_gpu = self._is_for_gpu()
        seconds = self.window_seconds or (_GPU_WINDOW if is_gpu else _CPU_WINDOW)
        return Loading(
            model=self.model or (None if is_gpu else _CPU_MODEL),
            impl=self.impl,
            device=self.device,
            dtype=self.dtype,
            n_threads=self.threads or 0,
            model_dir=self.model_dir,
            is_offline=self.offline,
            needs_voices=True,
            n_audio_ctx=positions_of(seconds),
        )

    def _is_for_gpu(self) -> bool:
        if self.impl == registry.AUTO and self.device is None:
            return nvidia.no_gpu_because() is None
        return (self.device or registry.default_device(self.impl)).startswith("cuda")

    def _open(self, terminal: Terminal) -> "LiveSource":
        if self.source is None:
            from maxwhisper_cli.listen.microphone import open_microphone

            return open_microphone(self.input_device)
        from maxwhisper_cli.listen.pipe import open_pipe

        raw = cli_reading.GivenReading(
            "mix", None, self.raw_format, self.raw_rate, self.raw_channels
        ).options()
        return open_pipe(self.source, raw.get("raw"), terminal.warning)

    def _session(
        self,
        model: "Model",
        options: "ListenOptions",
        source: "LiveSource",
        terminal: Terminal,
        outputs: Outputs | None,
    ) -> LiveSession:
        from maxwhisper_cli.listen.lines import LineBuilder
        from maxwhisper_cli.listen.transcriber import LiveTranscriber
        from maxwhisper_cli.speech.network_file import load_network

        network = load_network(self.model_dir, offline=self.offline)
        return LiveSession(
            source=source,
            live=LiveTranscriber(model.implementation, options, network),
            lines=LineBuilder(),
            view=self._view(terminal),
            terminal=terminal,
            outputs=outputs,
            document=partial(self._document, model),
        )

    def _view(self, terminal: Terminal) -> LiveView:
        if self.jsonl:
            return JsonView(terminal)
        return NoView() if self.quiet else TextView(terminal)

    def _document(self, model: "Model", transcript: "Transcript") -> Document:
        implementation = model.implementation
        return Document(
            transcript=transcript,
            task=self.task,
            model=model.name or self.model,
            implementation=implementation.name,
            device=implementation.device,
            dtype=implementation.dtype,
            recording=_NAME if self.source is None else Path(self.source).stem,
        )

    def _greeting(self, model: "Model", source: "LiveSource") -> str:
        implementation = model.implementation
        return (
            f"listening to {source.name}: {model.name or self.model} on {implementation.name} "
            f"({implementation.device}, {implementation.dtype}); Ctrl-C ends it"
        )


def add_to(app: typer.Typer) -> None:
    """Registers the command."""
    app.command("listen", cls=UpstreamCommand)(as_command(Listen))


def _list_devices(terminal: Terminal) -> None:
    from maxwhisper_cli.listen.microphone import list_microphones

    microphones = list_microphones()
    if not microphones:
        raise MaxWhisperError("no microphone was found: connect one, or pipe audio into listen -")
    columns = (
        Column("number", is_number=True),
        Column("name"),
        Column("system"),
        Column("channels", is_number=True),
        Column("Hz", is_number=True),
    )
    terminal.table(
        columns,
        [
            (
                f"{each.number}{'*' if each.is_default else ''}",
                each.name,
                each.host,
                str(each.n_channels),
                str(each.sample_rate),
            )
            for each in microphones
        ],
    )
