"""Names of devices on the command line: one, a list, or `cuda:all`."""

from collections.abc import Iterator

from implementations import nvidia, registry
from implementations.errors import ImplementationUnavailableError
from maxwhisper_cli.transcription.options import OptionsError

ALL_GPUS = "cuda:all"


def parse_devices(text: str | None, impl: str) -> tuple[str, ...]:
    """Returns the devices that an option names, each GPU once; none if it names none.

    Args:
        text: `cuda:0,cuda:1`, `cuda:all`, `cpu,cpu`, ...; None is no choice.
        impl: Implementation, or `auto`.

    Raises:
        OptionsError: A name is no device's, or a GPU is named twice.
        ImplementationUnavailableError: One of several GPUs cannot be used.
    """
    if text is None:
        return ()
    names = [name.strip() for name in text.split(",")]
    devices = [device for name in names for device in _expanded(name, impl)]
    if len(devices) == 1:
        return tuple(devices)
    seen: set[str] = set()
    for device in devices:
        if device in seen and device != "cpu":
            raise OptionsError(f"--device {text} names {device} twice; name each GPU once")
        seen.add(device)
        if device != "cpu" and (reason := _unusable_because(device, impl)) is not None:
            raise ImplementationUnavailableError(f"{device} cannot be used: {reason}")
    return tuple(devices)


def _expanded(name: str, impl: str) -> Iterator[str]:
    if name != ALL_GPUS:
        if registry.device_kind(name) is None:
            raise OptionsError(
                f"there is no device called {name!r}; "
                f"use cpu, cuda, cuda:N, several with commas, or {ALL_GPUS}"
            )
        yield "cuda:0" if name == "cuda" else name
        return
    names = [f"cuda:{gpu.index}" for gpu in nvidia.gpus()]
    usable = [each for each in names if _unusable_because(each, impl) is None]
    if not usable:
        raise ImplementationUnavailableError(
            f"--device {ALL_GPUS} finds no GPU: {_unusable_because('cuda:0', impl)}"
        )
    yield from usable


def _unusable_because(device: str, impl: str) -> str | None:
    """Returns the reason why no implementation that may be taken can use a GPU."""
    allowed = registry.names() if impl == registry.AUTO else (impl,)
    entries = [registry.entry(name) for name in allowed]
    reasons = [
        entry.no_gpu_because(device) if "cuda" in entry.device_kinds else f"{entry.name} needs none"
        for entry in entries
        if impl != registry.AUTO or "cuda" in entry.speed_rank
    ]
    return None if None in reasons else reasons[0]
