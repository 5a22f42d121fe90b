"""The default microphone, asked for in a process of its own: PortAudio may hang, print or crash.

Run as a program it prints the name of the default input.
"""

import importlib.util
import subprocess

from weights.helper_process import run_module

_PACKAGE = "sounddevice"
_INSTALL = "pip install 'maxwhisper[listen]'"
_MAX_SECONDS = 2.0


def microphone() -> str:
    """Returns a line about the default microphone, or about what is missing for one."""
    if importlib.util.find_spec(_PACKAGE) is None:
        return f"not known: {_PACKAGE} is not installed; {_INSTALL}"
    try:
        done = run_module("maxwhisper_cli.doctor.microphone", timeout=_MAX_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"not known: {type(error).__name__}"
    lines = (done.stdout if done.returncode == 0 else done.stderr).strip().splitlines()
    last = lines[-1] if lines else f"exit code {done.returncode}"
    return last if done.returncode == 0 else f"none: {last}"


def _main() -> None:
    import sounddevice

    device = sounddevice.query_devices(kind="input")
    rate = device["default_samplerate"]
    print(f"{device['name']}, {device['max_input_channels']} channels, {rate:.0f} Hz")  # noqa: T201


if __name__ == "__main__":
    _main()
