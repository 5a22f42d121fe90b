"""Chooses for `auto` the fastest implementation that is ready here to run a model.

A ready one is installed, has its device, and is compiled if it needs that: `auto` compiles nothing.
`cpu` is always ready if it is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from implementations import nvidia, registry
from implementations.errors import ImplementationUnavailableError
from implementations.memory import no_address_space_because
from implementations.options import AUTO, EXACT, LoadOptions
from weights.checkpoint import Checkpoint

_POSITIONS = 1500
"""Positions of the encoder for 30 s; a model for live text has fewer."""
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """An implementation, how to load it, and what would be faster."""

    name: str
    options: LoadOptions
    hint: str | None
    """A line for the user that tells how to make a faster one ready; None if there is none."""

    @property
    def place(self) -> str:
        """Implementation with its device, `cuda on cuda:1`."""
        return _place(self.name, self.options)


def choose(
    checkpoint: Checkpoint, options: LoadOptions, refused: Mapping[str, str] = _NOTHING
) -> Choice:
    """Returns the fastest implementation that is ready for this model, device and dtype.

    Args:
        checkpoint: The model.
        options: Device, dtype and threads; a device or dtype that is named is not changed.
        refused: Reasons why one that seemed ready could not be loaded, by `Choice.place`.

    Raises:
        ImplementationUnavailableError: None is ready; the message has a remedy.
    """
    if options.device is not None and registry.device_kind(options.device) is None:
        raise ImplementationUnavailableError(
            f"there is no device called {options.device}; use cpu, cuda or cuda:N"
        )
    hint: str | None = None
    reasons: dict[str, str] = {}
    for name, kind in registry.fastest_first():
        if not _is_candidate(kind, options):
            continue
        placed = replace(options, device=options.device or _device(name, kind))
        reason = refused.get(_place(name, placed)) or _unavailable_because(name, placed)
        try:
            if reason is None and registry.is_compiled(name, checkpoint, placed):
                return Choice(name, placed, hint)
        except ImplementationUnavailableError as error:
            reason = str(error)
        if reason is not None:
            reasons[reason] = " and ".join(filter(None, (reasons.get(reason), name)))
        if _place(name, placed) in refused:
            hint = hint or f"{name} is faster and cannot run: {reason}"
        hint = hint or _how_to_get(name, checkpoint, placed, reason)
    explanation = hint or "; ".join(f"{names}: {reason}" for reason, names in reasons.items())
    raise ImplementationUnavailableError(f"nothing is ready here{_for(options)}: {explanation}")


def fastest_here(impl: str, device: str | None) -> str:
    """Returns the implementation that is fastest on this machine, compiled or not yet.

    Args:
        impl: An implementation, which is returned as it is, or `auto`.
        device: `cpu`, `cuda`; None is either.
    """
    if impl != AUTO:
        return impl
    for name, kind in registry.fastest_first():
        if device is not None and registry.device_kind(device) != kind:
            continue
        options = LoadOptions(device or _device(name, kind))
        has_device = kind == "cpu" or nvidia.no_gpu_because() is None
        if has_device and _unavailable_because(name, options) is None:
            return name
    return impl


def _place(name: str, options: LoadOptions) -> str:
    return f"{name} on {options.device}"


def _is_candidate(kind: str, options: LoadOptions) -> bool:
    """Returns True if the kind is the chosen device's, or is available if none is chosen."""
    if options.device is not None:
        return registry.device_kind(options.device) == kind
    return kind != "cuda" or nvidia.no_gpu_because() is None


def _device(name: str, kind: str) -> str:
    """Returns the device of a kind that an implementation takes if none is chosen."""
    return (registry.entry(name).usable_gpu() or kind) if kind == "cuda" else kind


def _unavailable_because(name: str, options: LoadOptions) -> str | None:
    """Returns the reason why one cannot run on that device in that dtype, as the registry knows."""
    device = options.device or "cpu"
    if device != "cpu" and (no_gpu := registry.entry(name).no_gpu_because(device)) is not None:
        return no_gpu
    if registry.entry(name).is_exact_only and options.dtype not in {None, AUTO, EXACT}:
        return f"it computes in {EXACT}"
    return registry.unavailable_because(name)


def _how_to_get(
    name: str, checkpoint: Checkpoint, options: LoadOptions, reason: str | None
) -> str | None:
    """Returns a command that makes one ready that lacks its graphs, or packages that compile."""
    entry = registry.entry(name)
    if reason is not None:
        is_missing = entry.compiles and reason == registry.unavailable_because(name)
        is_missing &= reason != no_address_space_because(entry.address_space_bytes)
        return f"{name} is faster: {entry.install}" if is_missing else None
    if registry.compile_target(str(options.device)) is None:
        return None
    command = f"maxwhisper compile --model {checkpoint.model_name or checkpoint.source}"
    if checkpoint.dims.n_audio_ctx != _POSITIONS:
        command += f" --window-seconds {30 * checkpoint.dims.n_audio_ctx / _POSITIONS:g}"
    if options.device != registry.default_device(name):
        command += f" --device {options.device}"
    if options.dtype not in {None, AUTO}:
        command += f" --dtype {options.dtype}"
    return f"{name} is faster, once compiled: {command}"


def _for(options: LoadOptions) -> str:
    """Returns the part of a message that names the options: ` for --device cuda`."""
    given = (("device", options.device), ("dtype", options.dtype))
    named = " and ".join(f"--{name} {value}" for name, value in given if value not in {None, AUTO})
    return f" for {named}" if named else ""
