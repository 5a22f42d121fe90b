"""Command `maxwhisper transcribe`: its options, and their combinations.

The work on each file is in `batch`. What only the work needs is imported as it begins.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

import typer

from implementations import registry
from maxwhisper_cli import cli_captions, cli_cluster, cli_inputs, cli_reading, cli_speech, cli_words
from maxwhisper_cli import cli_options as cli
from maxwhisper_cli.commands.option_parsing import (
    parse_batch_size,
    parse_numbers,
    parse_temperatures,
)
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import TranscribeOptions, VadOptions
from maxwhisper_cli.upstream_style import Switch, UpstreamCommand, as_command
from maxwhisper_cli.writers import DEFAULT_NAME

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.captions.captions import CaptionOptions
    from maxwhisper_cli.commands.loading import Loading
    from maxwhisper_cli.commands.sinks import Sink
    from maxwhisper_cli.commands.sources import GivenInputs
    from maxwhisper_cli.inputs.input import Input
    from maxwhisper_cli.transcription.options import Task
    from maxwhisper_cli.transcription.stopwatch import Stopwatch

_DEFAULTS = TranscribeOptions()
_SWITCH = {True: Switch.ON, False: Switch.OFF}
_CLIP_TIMESTAMPS = ",".join(f"{at:g}" for at in _DEFAULTS.clip_timestamps)
_SUPPRESS_TOKENS = ",".join(map(str, _DEFAULTS.suppress_tokens))
_INCREMENT = _DEFAULTS.temperatures[1] - _DEFAULTS.temperatures[0]


@dataclass(frozen=True, slots=True)
class Transcribe:
    """Transcribe recordings.

    Segments appear as they are decoded; each file's text is then written to --output-dir.
    """

    files: cli_inputs.Files = None
    manifest: cli_inputs.Manifest = None
    recursive: cli_inputs.Recursive = False
    newest: cli_inputs.Newest = None
    allow_private: cli_inputs.AllowPrivate = False
    max_download_mb: cli_inputs.MaxDownload = 4096
    max_download_seconds: cli_inputs.MaxDownloadSeconds = 3600
    resume: cli_inputs.Resume = False
    force: cli_inputs.Force = False
    fail_fast: cli_inputs.FailFast = False
    summary: cli_inputs.Summary = None
    shard: cli_cluster.Shard = None
    cluster: cli_cluster.Cluster = None
    price_per_hour: cli_cluster.PricePerHour = None
    output_dir: cli.OutputDir = "."
    output_format: cli.OutputFormat = None
    output_name: cli.OutputName = DEFAULT_NAME
    channel: cli_reading.Channel = "mix"
    speaker_names: cli_reading.SpeakerNames = None
    audio_track: cli_reading.AudioTrack = None
    raw_format: cli_reading.RawEncoding = None
    raw_rate: cli_reading.RawRate = None
    raw_channels: cli_reading.RawChannels = None
    jsonl: cli.JsonLines = False
    clip_timestamps: cli.ClipTimestamps = _CLIP_TIMESTAMPS
    clamp_timestamps: cli.ClampTimestamps = _SWITCH[_DEFAULTS.clamp_timestamps]
    verbose: cli.Verbose = Switch.ON
    quiet: cli.Quiet = False
    timings: cli.Timings = False
    model: cli.Model = None
    model_dir: cli.ModelDir = None
    offline: cli.Offline = False
    impl: cli.Impl = registry.AUTO
    device: cli.Devices = None
    dtype: cli.Dtype = "auto"
    fp16: cli.Fp16 = None
    threads: cli.Threads = 0
    task: cli.Task = _DEFAULTS.task
    language: cli.Language = _DEFAULTS.language
    multilingual: cli.Multilingual = _SWITCH[_DEFAULTS.multilingual]
    language_detection_segments: cli.LanguageDetectionSegments = (
        _DEFAULTS.language_detection_segments
    )
    vad: cli_speech.Vad = _SWITCH[_DEFAULTS.vad is not None]
    vad_threshold: cli_speech.Threshold = None
    vad_neg_threshold: cli_speech.NegThreshold = None
    vad_min_speech_ms: cli_speech.MinSpeech = None
    vad_min_silence_ms: cli_speech.MinSilence = None
    vad_speech_pad_ms: cli_speech.SpeechPad = None
    vad_max_speech_s: cli_speech.MaxSpeech = None
    temperature: cli.Temperature = _DEFAULTS.temperatures[0]
    beam_size: cli.BeamSize = _DEFAULTS.beam_size
    best_of: cli.BestOf = _DEFAULTS.best_of
    patience: cli.Patience = _DEFAULTS.patience
    length_penalty: cli.LengthPenalty = _DEFAULTS.length_penalty
    seed: cli.Seed = _DEFAULTS.seed
    batch_size: cli.BatchSize = None
    temperature_increment_on_fallback: cli.TemperatureIncrement = _INCREMENT
    compression_ratio_threshold: cli.CompressionRatioThreshold = (
        _DEFAULTS.compression_ratio_threshold
    )
    logprob_threshold: cli.LogprobThreshold = _DEFAULTS.logprob_threshold
    no_speech_threshold: cli.NoSpeechThreshold = _DEFAULTS.no_speech_threshold
    condition_on_previous_text: cli.ConditionOnPreviousText = _SWITCH[
        _DEFAULTS.condition_on_previous_text
    ]
    initial_prompt: cli.InitialPrompt = _DEFAULTS.initial_prompt
    carry_initial_prompt: cli.CarryInitialPrompt = _SWITCH[_DEFAULTS.carry_initial_prompt]
    prefix: cli.Prefix = _DEFAULTS.prefix
    suppress_tokens: cli.SuppressTokens = _SUPPRESS_TOKENS
    suppress_blank: cli.SuppressBlank = _SWITCH[_DEFAULTS.suppress_blank]
    without_timestamps: cli.WithoutTimestamps = _SWITCH[_DEFAULTS.without_timestamps]
    max_initial_timestamp: cli.MaxInitialTimestamp = _DEFAULTS.max_initial_timestamp
    sample_len: cli.SampleLen = _DEFAULTS.sample_len
    word_timestamps: cli_words.WordTimestamps = _SWITCH[_DEFAULTS.word_timestamps]
    prepend_punctuations: cli_words.PrependPunctuations = _DEFAULTS.prepend_punctuations
    append_punctuations: cli_words.AppendPunctuations = _DEFAULTS.append_punctuations
    hallucination_silence_threshold: cli_words.HallucinationSilenceThreshold = (
        _DEFAULTS.hallucination_silence_threshold
    )
    alignment_heads: cli_words.AlignmentHeads = None
    caption_style: cli_captions.CaptionStyle = "none"
    highlight_words: cli_captions.HighlightWords = Switch.OFF
    max_line_width: cli_captions.MaxLineWidth = None
    max_line_count: cli_captions.MaxLineCount = None
    max_words_per_line: cli_captions.MaxWordsPerLine = None

    def run(self) -> None:
        """Checks all options and paths, then transcribes."""
        from maxwhisper_cli.commands.overview import Display
        from maxwhisper_cli.transcription.stopwatch import STOPPED

        captions = self._captions()
        given = self._given()
        inputs = given.inputs()
        options, reading = self._options(captions, len(inputs)), self._reading()
        is_for_stdout = self.jsonl or self.output_dir == cli.STDOUT
        terminal = Terminal(is_quiet=self.quiet, needs_reader=is_for_stdout)
        if self.shard is not None or self.cluster is not None:
            from maxwhisper_cli.commands.units import GivenUnits, UnitSettings, transcribe_units

            places = self.manifest, self.output_dir, self.output_format, self.shard, self.cluster
            rest = self.price_per_hour, self.force, self.jsonl, self.summary, given.lists()
            units = GivenUnits(*places, *rest)
            loading = self._loading(terminal, STOPPED, is_english=options.language == "en")
            work = UnitSettings(loading, options, reading, given.remote)
            transcribe_units(inputs, units, work, terminal)
            return
        from maxwhisper_cli.commands.batch import transcribe_files
        from maxwhisper_cli.commands.resuming import make_resuming
        from maxwhisper_cli.commands.work import Settings

        sinks = self._sinks(inputs, given)
        folder = None if is_for_stdout else self.output_dir
        resuming = make_resuming(
            folder, given.remote, len(inputs), skips=self.resume, forces=self.force
        )
        for warning in captions.warnings:
            terminal.warning(warning)
        display = Display(
            terminal,
            shows_segments=bool(self.verbose) and not self.quiet and not is_for_stdout,
            shows_bar_when_piped=not self.verbose,
        )
        timings = None
        if self.timings:
            from maxwhisper_cli.commands.timings import Timings

            timings = Timings()
        watch = timings.stopwatch if timings else STOPPED
        loading = self._loading(terminal, watch, is_english=options.language == "en")
        shared = loading, options, reading, captions, display, given.remote
        settings = Settings(*shared, resuming, self.fail_fast, self.summary)
        try:
            transcribe_files(sinks, settings)
        finally:
            if timings is not None:
                timings.show(terminal)

    def _captions(self) -> "CaptionOptions":
        return cli_captions.GivenCaptions(
            self.caption_style,
            self.highlight_words,
            self.max_line_width,
            self.max_line_count,
            self.max_words_per_line,
        ).options(has_word_times=bool(self.word_timestamps))

    def _options(self, captions: "CaptionOptions", n_inputs: int) -> TranscribeOptions:
        return TranscribeOptions(
            task=cast("Task", self.task),  # checked there
            language=self.language,
            multilingual=bool(self.multilingual),
            language_detection_segments=self.language_detection_segments,
            vad=self._vad(),
            temperatures=parse_temperatures(
                self.temperature, self.temperature_increment_on_fallback
            ),
            beam_size=self.beam_size,
            best_of=self.best_of,
            patience=self.patience,
            length_penalty=self.length_penalty,
            seed=self.seed,
            compression_ratio_threshold=self.compression_ratio_threshold,
            logprob_threshold=self.logprob_threshold,
            no_speech_threshold=self.no_speech_threshold,
            condition_on_previous_text=bool(self.condition_on_previous_text),
            initial_prompt=self.initial_prompt,
            carry_initial_prompt=bool(self.carry_initial_prompt),
            prefix=self.prefix,
            suppress_tokens=parse_numbers(self.suppress_tokens, int, "--suppress-tokens"),
            suppress_blank=bool(self.suppress_blank),
            without_timestamps=bool(self.without_timestamps),
            max_initial_timestamp=self.max_initial_timestamp,
            sample_len=self.sample_len,
            word_timestamps=bool(self.word_timestamps) or captions.needs_words is not None,
            prepend_punctuations=self.prepend_punctuations,
            append_punctuations=self.append_punctuations,
            hallucination_silence_threshold=self.hallucination_silence_threshold,
            alignment_heads=cli_words.parse_heads(self.alignment_heads),
            batch_size=parse_batch_size(self.batch_size, n_inputs),
            clip_timestamps=parse_numbers(self.clip_timestamps, float, "--clip-timestamps"),
            clamp_timestamps=bool(self.clamp_timestamps),
            speaker_names=cli_reading.speaker_names(self.speaker_names, self.channel),
        )

    def _vad(self) -> VadOptions | None:
        levels = self.vad_threshold, self.vad_neg_threshold
        lengths = self.vad_min_speech_ms, self.vad_min_silence_ms, self.vad_speech_pad_ms
        given = cli_speech.GivenSpeech(bool(self.vad), *levels, *lengths, self.vad_max_speech_s)
        return given.options()

    def _reading(self) -> "ReadingOptions":
        return cli_reading.GivenReading(
            self.channel, self.audio_track, self.raw_format, self.raw_rate, self.raw_channels
        ).options()

    def _given(self) -> "GivenInputs":
        from maxwhisper_cli.commands.sources import GivenInputs, make_remote

        remote = make_remote(
            self.max_download_mb,
            self.max_download_seconds,
            self.newest,
            allow_private=self.allow_private,
            is_offline=self.offline,
        )
        return GivenInputs(self.files or (), self.manifest, self.recursive, remote)

    def _sinks(self, inputs: "Sequence[Input]", given: "GivenInputs") -> "list[tuple[Input, Sink]]":
        from maxwhisper_cli.commands.sinks import GivenOutputs

        return GivenOutputs(
            self.output_dir,
            self.output_format,
            self.output_name,
            self.jsonl,
            has_speakers=self.channel == cli_reading.SPLIT,
            summary=self.summary,
        ).sinks(inputs, self.model, given.lists())

    def _loading(
        self, terminal: Terminal, stopwatch: "Stopwatch", *, is_english: bool
    ) -> "Loading":
        from maxwhisper_cli.commands.loading import Loading, chosen_dtype

        fp16 = None if self.fp16 is None else bool(self.fp16)

        return Loading(
            model=self.model,
            impl=self.impl,
            device=self.device,
            dtype=chosen_dtype(self.dtype, fp16, self.impl, self.device, terminal),
            n_threads=self.threads or 0,
            model_dir=self.model_dir,
            is_offline=self.offline,
            stopwatch=stopwatch,
            is_english=is_english,
            needs_voices=bool(self.vad),
        )


def add_to(app: typer.Typer) -> None:
    """Registers the command in an application."""
    app.command(
        "transcribe",
        cls=UpstreamCommand,
        no_args_is_help=True,
        epilog="Options are also taken as openai-whisper spells them: --beam_size 5.",
    )(as_command(Transcribe))
