"""Loading of a model for a command, with progress and warnings on the terminal."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from implementations import cuda_driver, nvidia, registry
from implementations.options import AUTO
from maxwhisper_cli.console import Terminal
from maxwhisper_cli.transcription.options import OptionsError, TranscribeOptions
from maxwhisper_cli.transcription.stopwatch import STOPPED, Stopwatch
from weights.default_model import DEFAULT_MODEL

if TYPE_CHECKING:
    from maxwhisper_cli.audio.reader import ReadingOptions
    from maxwhisper_cli.devices.pool import DevicePool
    from maxwhisper_cli.model import Model
    from maxwhisper_cli.throughput.reading_processes import ReadingProcesses
    from maxwhisper_cli.throughput.reading_start import Started


@dataclass(frozen=True, slots=True)
class Loading:
    """Model to load, and the implementation, device and dtype that run it."""

    model: str | None
    """A name or path; None if none was given."""
    impl: str
    device: str | None
    """One, or several with commas."""
    dtype: str | None
    n_threads: int
    model_dir: Path | None
    is_offline: bool
    stopwatch: Stopwatch = STOPPED
    is_english: bool = False
    """True if the options allow only English."""
    needs_voices: bool = False
    """True if voice activity detection needs its network."""
    self_check: bool = True
    """False to load what a check has refused."""
    n_audio_ctx: int | None = None
    """Positions of the encoder to load, for live text alone; None is all of them."""


def begin(loading: Loading, paths: Sequence[str], reading: "ReadingOptions") -> "ReadingProcesses":
    """Begins with what may be done while a model is loaded that may run on a GPU.

    The GPU is made ready, and processes read the first files. A processor is left to the model.

    Args:
        loading: The model.
        paths: Files to transcribe, in order.
        reading: How they are read.
    """
    started: list[Started] = []
    if _may_use_gpu(loading):
        from implementations.processor_threads import available_threads
        from maxwhisper_cli.throughput.reading_start import start_reading

        n_threads = loading.n_threads or available_threads()
        started = start_reading(paths, reading, n_threads)
        cuda_driver.begin(loading.device or "cuda")
    with loading.stopwatch.on("imports"):
        from maxwhisper_cli.throughput.reading_processes import ReadingProcesses
    return ReadingProcesses(started, reading)


def _may_use_gpu(loading: Loading) -> bool:
    """Returns True if the model may be loaded onto one GPU, into this process."""
    device = loading.device or "cuda"
    if not device.startswith("cuda") or names_several(device) or not cuda_driver.has_library():
        return False
    return loading.impl == registry.AUTO or ("cuda" in registry.entry(loading.impl).device_kinds)


def load_on_devices(loading: Loading, terminal: Terminal, n_files: int) -> "Model | DevicePool":
    """Loads the model on each of several devices, in processes of their own, or as `load_model`.

    Args:
        loading: The model, and the devices.
        terminal: Shows progress and notes.
        n_files: Files to transcribe: a device for each is the most.

    Raises:
        MaxWhisperError: A device does not exist, or the model cannot be loaded.
    """
    if loading.device is None or not names_several(loading.device):
        return load_model(loading, terminal)
    from maxwhisper_cli.devices.names import parse_devices

    devices = parse_devices(loading.device, loading.impl)[:n_files]
    if len(devices) == 1:
        return load_model(replace(loading, device=devices[0]), terminal)
    if loading.stopwatch is not STOPPED:
        raise OptionsError("--timings measures one device: give --device one")
    _fetch_voices(loading, terminal)
    from maxwhisper_cli.devices.load import loads_of
    from maxwhisper_cli.devices.pool import DevicePool

    name = loading.model or DEFAULT_MODEL
    with terminal.activity() as activity:
        activity.show(f"loading {name} on {' and '.join(devices)}")
        arguments = {
            "model": loading.model,
            "impl": loading.impl,
            "dtype": loading.dtype,
            "model_dir": loading.model_dir,
            "offline": loading.is_offline,
            "is_english": loading.is_english,
            "self_check": loading.self_check,
        }
        pool = DevicePool(loads_of(devices, arguments, loading.n_threads), terminal.note)
    for note in pool.notes:
        terminal.warning(note)
    if pool.hint is not None:
        terminal.note(f"running on {pool.implementation.name}; {pool.hint}")
    return pool


def load_model(loading: Loading, terminal: Terminal) -> "Model":
    """Loads the model, and shows the progress of imports, downloads and compiling.

    The network of voice activity detection comes first: it is small, and may be refused.
    """
    _fetch_voices(loading, terminal)
    name = loading.model or DEFAULT_MODEL
    with terminal.activity() as activity:
        suffix = "" if loading.impl == registry.AUTO else f" on {loading.impl}"
        activity.show(f"loading {name}{suffix}")
        with loading.stopwatch.on("imports"):
            from maxwhisper_cli.activity import headline
            from maxwhisper_cli.model import load

        printed: set[str] = set()
        noted: list[str] = []

        def print_once(message: str) -> None:
            if not activity.is_live and message not in printed:
                printed.add(message)
                terminal.note(message)

        def on_download(n_done: int, n_total: int) -> None:
            print_once(f"downloading {name}, {n_total / 1e6:.0f} MB")
            activity.show_download(name, n_done, n_total)

        def on_note(note: str) -> None:
            noted.append(note)
            terminal.warning(note)

        def on_compile(message: str) -> None:
            terminal.note(message)
            activity.show(headline(message))

        model = load(
            loading.model,
            loading.impl,
            device=loading.device,
            dtype=loading.dtype,
            n_threads=loading.n_threads,
            model_dir=loading.model_dir,
            offline=loading.is_offline,
            on_download=on_download,
            on_compile=on_compile,
            on_note=on_note,
            is_english=loading.is_english,
            n_audio_ctx=loading.n_audio_ctx,
            stopwatch=loading.stopwatch,
            self_check=loading.self_check,
        )
    for note in model.notes[len(noted) :]:
        terminal.warning(note)
    if model.hint is not None:
        terminal.note(f"running on {model.implementation.name}; {model.hint}")
    return model


def names_several(device: str) -> bool:
    """Returns True for a list of devices, or all GPUs."""
    return "," in device or device.endswith(":all")


def _fetch_voices(loading: Loading, terminal: Terminal) -> None:
    """Finds or fetches the network for voice activity, if that is needed.

    Raises:
        MaxWhisperError: It is not here, and cannot or may not be fetched.
    """
    if not loading.needs_voices:
        return
    from maxwhisper_cli.speech.network_file import network_file

    with terminal.activity() as activity, loading.stopwatch.on("model file"):
        network_file(loading.model_dir, offline=loading.is_offline, progress=activity.show_download)


def chosen_dtype(
    dtype: str | None, fp16: bool | None, impl: str, device: str | None, terminal: Terminal
) -> str | None:
    """Returns `--dtype`, or if that is auto the dtype of openai-whisper's `--fp16`."""
    if dtype != AUTO or fp16 is None:
        return dtype
    if not fp16:
        return "float32"
    if _is_for_gpu(impl, device):
        return "float16"
    terminal.warning("a processor does not compute in float16; --fp16 True has no effect")
    return dtype


def _is_for_gpu(impl: str, device: str | None) -> bool:
    """Returns True if the options select a GPU."""
    if impl == registry.AUTO and device is None:
        return nvidia.no_gpu_because() is None
    return (device or registry.default_device(impl)).startswith("cuda")


def fit_to_model(
    options: TranscribeOptions, model: "Model | DevicePool", terminal: Terminal
) -> TranscribeOptions:
    """Replaces options that the model does not support as openai-whisper does, with a warning."""
    dims = model.implementation.dims
    if not dims.is_multilingual:
        if options.language not in {None, "en"}:
            terminal.warning(
                f"this model knows only English, not {options.language}; using English"
            )
        if options.task == "translate":
            terminal.warning("this model knows only English and cannot translate; transcribing")
        if options.multilingual:
            terminal.warning("this model knows only English and detects no language")
        return replace(options, language="en", task="transcribe", multilingual=False)
    is_turbo = (dims.n_audio_layer, dims.n_text_layer) == (32, 4)
    if is_turbo and options.task == "translate":
        terminal.warning(
            "turbo was not trained to translate and may write the language spoken; "
            "medium and large-v2 do better"
        )
    return options
