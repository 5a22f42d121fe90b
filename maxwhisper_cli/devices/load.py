"""Loading of a model in each of several processes, which share the processors of the machine."""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from implementations.processor_threads import available_threads
from maxwhisper_cli.devices.messages import Load, OnNote

if TYPE_CHECKING:
    from maxwhisper_cli.model import Model


def loads_of(
    devices: Sequence[str], arguments: Mapping[str, Any], n_threads: int
) -> list[tuple[str, Load]]:
    """Returns each device with what loads the model there.

    Args:
        devices: Names; `cpu` may be among them several times.
        arguments: Arguments of `model.load`, the same for all.
        n_threads: Threads of all together, for reading and computing; 0 is as many as can run.
    """
    share = max(1, (n_threads or available_threads()) // len(devices))
    load = partial(_load, n_threads=share, **arguments)
    return [(device, partial(load, device=device)) for device in devices]


def _load(on_note: OnNote, **arguments: Any) -> "Model":  # noqa: ANN401
    from maxwhisper_cli.model import load

    return load(on_compile=on_note, on_note=on_note, **arguments)
