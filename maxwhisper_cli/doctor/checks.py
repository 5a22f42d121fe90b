"""Things that are tried: an implementation, a model, writing, decoding, compiling a tiny graph."""

import io
import math
import subprocess
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from implementations import registry
from maxwhisper_cli.cache_contents import COMPILED
from maxwhisper_cli.configuration.settings import Settings
from maxwhisper_cli.doctor.report import FAIL, PASS, SKIPPED, Check, without_secrets
from weights.cache import CACHE_VARIABLE, cache_root, unsafe_because
from weights.errors import MaxWhisperError
from weights.helper_process import helper_environment, module_command

_TINY_GRAPH = "implementations.max_graph.tiny_graph"
_RATE, _AMPLITUDE = 44100, 0.5
_LEVEL = _AMPLITUDE / math.sqrt(2)
"""Root mean square of the tone."""


class TinyCompile:
    """Compiler of a tiny graph in a process of its own, begun at once and awaited later."""

    def __init__(self, *, max_seconds: float | None) -> None:
        """Starts the compiler, if MAX is installed.

        Args:
            max_seconds: Time from now after which it is stopped; None for as long as it takes.
        """
        self._reason = registry.unavailable_because("full-max")
        self._began = time.monotonic()
        self._end = None if max_seconds is None else self._began + max_seconds
        self._process: subprocess.Popen[str] | None = None
        if self._reason is None:
            arguments = () if max_seconds is not None else ("--add",)
            self._process = subprocess.Popen(
                module_command(_TINY_GRAPH, *arguments),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                encoding="utf-8",
                errors="replace",
                env=helper_environment(),
            )

    def check(self) -> Check:
        """Returns the outcome; waits for it until the time is over."""
        name = "compile a tiny graph"
        if self._process is None:
            return Check(name, SKIPPED, f"full-max cannot run here: {self._reason}")
        timeout = None if self._end is None else max(0.0, self._end - time.monotonic())
        try:
            _, errors = self._process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            return Check(name, SKIPPED, "it takes longer here; maxwhisper doctor --full waits")
        code = self._process.returncode
        if code == 0:
            return Check(name, PASS, f"{time.monotonic() - self._began:.1f} s")
        lines = errors.strip().splitlines()
        reason = lines[-1] if lines else f"exit code {code}"
        return Check(name, FAIL, f"{reason}; --impl cpu needs no compiling")

    def close(self) -> None:
        """Stops the compiler if it still runs."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.communicate()


def quick_checks(settings: Settings) -> list[Check]:
    """Returns the outcomes of all checks but the compiler's."""
    return [
        _tried("run an implementation", _an_implementation, is_vital=True),
        _tried("find a model", _a_model),
        _tried("read the configuration", lambda: _configuration(settings)),
        _tried("write the cache folder", _write_cache),
        _tried("trust the compiled graphs", _compiled_graphs),
        _tried("write temporary files", _write_temporary_files),
        _tried("decode a second of audio", _decode, is_vital=True),
    ]


def _tried(name: str, attempt: Callable[[], str], *, is_vital: bool = False) -> Check:
    try:
        check = Check(name, PASS, attempt(), is_vital)
    except MaxWhisperError as error:
        check = Check(name, FAIL, str(error), is_vital)
    except Exception as error:  # noqa: BLE001  (a report of faults must survive them)
        check = Check(name, FAIL, f"{type(error).__name__}: {error}", is_vital)
    return replace(check, detail=without_secrets(check.detail))


def _an_implementation() -> str:
    reasons = {name: registry.unavailable_because(name) for name in registry.names()}
    able = [name for name, reason in reasons.items() if reason is None]
    if not able:
        installs = {registry.entry(name).install for name in registry.names()}
        raise MaxWhisperError(f"none can run here; {' or '.join(sorted(installs))}")
    return ", ".join(able)


def _a_model() -> str:
    from weights.resolve import names_here

    names = names_here()
    if not names:
        raise MaxWhisperError("none is here: the first run fetches one, or --model takes a path")
    return ", ".join(names)


def _configuration(settings: Settings) -> str:
    settings.check_all()
    n_files = len(settings.found.files)
    return f"{n_files} file{'' if n_files == 1 else 's'}"


def _write_cache() -> str:
    try:
        root = cache_root()
        root.mkdir(parents=True, exist_ok=True)
        _write_in(root)
    except OSError as error:
        raise MaxWhisperError(
            f"{error.strerror or error}: every run compiles and fetches again; "
            f"set {CACHE_VARIABLE} to a folder that can be written"
        ) from error
    return ""


def _compiled_graphs() -> str:
    reason = unsafe_because(cache_root() / COMPILED)
    if reason is not None:
        raise MaxWhisperError(f"{reason}: graphs there are not used, but compiled in every run")
    return ""


def _write_temporary_files() -> str:
    try:
        _write_in(Path(tempfile.gettempdir()))
    except OSError as error:
        raise MaxWhisperError(
            f"{error.strerror or error}: compiling needs them; set TMPDIR to another folder"
        ) from error
    return ""


def _write_in(folder: Path) -> None:
    """Writes a file of a megabyte and removes it, which also needs free space."""
    with tempfile.NamedTemporaryFile(dir=folder, prefix="tmp") as file:
        file.write(bytes(2**20))
        file.flush()


def _decode() -> str:
    import numpy as np

    from maxwhisper_cli.audio.reader import open_audio

    began = time.monotonic()
    with open_audio(_encoded_tone()) as audio:
        samples = audio.read()
    level = float(np.sqrt(np.mean(samples[4000:12000] ** 2)))
    if not 0.9 < len(samples) / 16000 < 1.2 or not math.isclose(level, _LEVEL, rel_tol=0.1):
        raise MaxWhisperError("a tone came back as something else; install av and soxr again")
    return f"AAC, {time.monotonic() - began:.2f} s"


def _encoded_tone() -> io.BytesIO:
    """Returns a second of a tone, as AAC."""
    import av
    import numpy as np

    times = np.arange(_RATE) / _RATE
    tone = (_AMPLITUDE * np.sin(2 * np.pi * 440 * times)).astype(np.float32)
    buffer = io.BytesIO()
    with av.open(buffer, "w", format="adts") as container:
        stream = container.add_stream("aac", rate=_RATE, layout="mono")
        for begin in range(0, len(tone), 1024):
            frame = av.AudioFrame.from_ndarray(tone[None, begin : begin + 1024], "fltp", "mono")
            frame.sample_rate = _RATE
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    buffer.seek(0)
    return buffer
