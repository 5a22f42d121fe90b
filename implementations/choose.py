"""What `auto` stands for: the fastest implementation that is ready here to run a model.

Ready is what is installed, has its device, and has been compiled where it needs that: nothing is
compiled unasked. `cpu` is always ready where it is installed.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from implementations import nvidia, registry
from implementations.base import AUTO, EXACT, LoadOptions
from implementations.errors import ImplementationUnavailableError
from weights.checkpoint import Checkpoint

_FASTEST_FIRST = (("full-max", "cuda"), ("cuda", "cuda"), ("full-max", "cpu"), ("cpu", "cpu"))
_NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Choice:
    """An implementation, how to load it, and what would be faster."""

    name: str
    options: LoadOptions
    hint: str | None
    """How to make a faster one ready, in a line for the user; None where there is none."""

    @property
    def place(self) -> str:
        """The implementation with its device, `cuda on cuda:1`."""
        return _place(self.name, self.options)


def choose(
    checkpoint: Checkpoint, options: LoadOptions, refused: Mapping[str, str] = _NOTHING
) -> Choice:
    """The fastest implementation that is ready for this model, device and dtype.

    Args:
        checkpoint: The model.
        options: Where and how; a device or dtype that is named is kept to.
        refused: Why one that seemed ready could not be loaded after all, by `Choice.place`.

    Raises:
        ImplementationUnavailableError: none is; the message says what to do.
    """
    if options.device is not None and registry.device_kind(options.device) is None:
        raise ImplementationUnavailableError(
            f"there is no device called {options.device}; use cpu, cuda or cuda:N"
        )
    hint: str | None = None
    reasons: dict[str, str] = {}
    for name, kind in _FASTEST_FIRST:
        if not _is_of_interest(kind, options):
            continue
        placed = replace(options, device=options.device or kind)
        reason = refused.get(_place(name, placed)) or _out_of_reach_because(name, placed)
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
    told = hint or "; ".join(f"{names}: {reason}" for reason, names in reasons.items())
    raise ImplementationUnavailableError(f"nothing is ready here{_for(options)}: {told}")


def _place(name: str, options: LoadOptions) -> str:
    return f"{name} on {options.device}"


def _is_of_interest(kind: str, options: LoadOptions) -> bool:
    """Whether a kind of device is the one asked for, or is here where none was."""
    if options.device is not None:
        return registry.device_kind(options.device) == kind
    return kind != "cuda" or nvidia.no_gpu_because() is None


def _out_of_reach_because(name: str, options: LoadOptions) -> str | None:
    """Why an implementation cannot run on that device here in that dtype, before it is asked."""
    if options.device != "cpu" and (no_gpu := nvidia.no_gpu_because()) is not None:
        return no_gpu
    if name == "cpu" and options.dtype not in {None, AUTO, EXACT}:
        return f"it computes in {EXACT}"  # others that it has are slower and less exact
    return registry.unavailable_because(name)


def _how_to_get(
    name: str, checkpoint: Checkpoint, options: LoadOptions, reason: str | None
) -> str | None:
    """How to make one ready that lacks only its graphs, or `full-max` where it is not installed."""
    if reason is not None:
        is_missing = name == "full-max" and reason == registry.unavailable_because(name)
        return f"{name} is faster: {registry.entry(name).install}" if is_missing else None
    if registry.compile_target(str(options.device)) is None:
        return None
    command = f"maxwhisper compile --model {checkpoint.model_name or checkpoint.source}"
    if options.device != registry.default_device(name):
        command += f" --device {options.device}"
    if options.dtype not in {None, AUTO}:
        command += f" --dtype {options.dtype}"
    return f"{name} is faster, once compiled: {command}"


def _for(options: LoadOptions) -> str:
    """The part of a message that names what was asked for: ` for --device cuda`."""
    asked = (("device", options.device), ("dtype", options.dtype))
    named = " and ".join(f"--{name} {value}" for name, value in asked if value not in {None, AUTO})
    return f" for {named}" if named else ""
