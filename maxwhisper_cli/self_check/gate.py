"""Decides whether a loaded implementation must be checked, checks it once, refuses what differs."""

import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager, suppress

from implementations import cuda_driver, nvidia, nvml, registry
from implementations.errors import ImplementationFailedError, ImplementationUnavailableError
from implementations.implementation import Implementation
from implementations.max_graph.artifacts import artifact_key
from implementations.max_graph.load_plan import make_plan
from implementations.memory import available_bytes
from implementations.options import EXACT, LoadOptions
from maxwhisper_cli.model_loading import SWITCH
from maxwhisper_cli.self_check.agreement import FAULT, find_difference
from maxwhisper_cli.self_check.records import Result, Subject, read_result, store_result
from maxwhisper_cli.version import program_version
from weights.checkpoint import Checkpoint

ALWAYS = "always"
"""Value of `SWITCH` that checks hybrid and full-max at every start, on every device."""

_REFERENCE_BYTES, _LIBRARY_BYTES = 8, 300_000_000
"""Memory of `cpu` in float32 for each element of the weights, and beside them."""


def confirm(
    implementation: Implementation,
    checkpoint: Checkpoint,
    options: LoadOptions,
    notify: Callable[[str], None],
) -> None:
    """Checks an implementation that is on a GPU of a kind that was never confirmed.

    The first use computes, and stores the result; later ones read it.

    Args:
        implementation: Just loaded; it is closed if it is refused.
        checkpoint: The model's weights.
        options: Device and dtype as they were chosen for it.
        notify: Called with a line as the check begins.

    Raises:
        ImplementationUnavailableError: It computes another text than the CPU, or there is too
            little memory to see.
        ImplementationFailedError: The device has failed meanwhile.
    """
    is_forced = os.environ.get(SWITCH) == ALWAYS
    if not registry.entry(implementation.name).compiles:
        return
    if not (is_forced or is_unconfirmed(implementation.device)):
        return
    subject = _subject(implementation, checkpoint, options)
    stored = None if is_forced else read_result(subject)
    with _closed_if_it_fails(implementation):
        result = stored or _check(implementation, checkpoint, subject, notify)
        _require_equal(result, _refusal(subject, options, result), is_new=stored is None)


def is_unconfirmed(device: str) -> bool:
    """Returns True for a GPU of a kind on which the tests were never run."""
    gpu = nvidia.find_gpu(device) if cuda_driver.gpu_index(device) is not None else None
    return gpu is not None and not nvidia.is_confirmed(gpu)


@contextmanager
def _closed_if_it_fails(implementation: Implementation) -> Iterator[None]:
    try:
        yield
    except BaseException:
        with suppress(RuntimeError, ValueError):  # of a device that answers nothing more
            implementation.close()
        raise


def _require_equal(result: Result, refusal: str, *, is_new: bool) -> None:
    """Refuses an implementation that differs.

    Raises:
        ImplementationUnavailableError: It differs; another one may be used instead.
        ImplementationFailedError: The device has just failed, for all that this process does.
    """
    if result.difference is None:
        return
    if is_new and result.difference.startswith(FAULT):
        raise ImplementationFailedError(refusal)
    raise ImplementationUnavailableError(refusal)


def _check(
    implementation: Implementation,
    checkpoint: Checkpoint,
    subject: Subject,
    notify: Callable[[str], None],
) -> Result:
    where = f"{implementation.name} on {subject.gpu}"
    notify(f"checking {where} against the CPU, once for models of these sizes")
    _require_memory(where, checkpoint)
    reference_class = registry.implementation_class(registry.REFERENCE)
    with closing(reference_class.load(checkpoint, LoadOptions("cpu", EXACT))) as reference:
        return store_result(subject, find_difference(implementation, reference))


def _require_memory(where: str, checkpoint: Checkpoint) -> None:
    n_elements = sum(array.size for array in checkpoint.tensors.values())
    needed, available = n_elements * _REFERENCE_BYTES + _LIBRARY_BYTES, available_bytes()
    if available is not None and available < needed:
        raise ImplementationUnavailableError(
            f"the first use of {where} is checked against the CPU, which takes"
            f" {needed / 1e9:.1f} GB of memory, and {available / 1e9:.1f} GB are available;"
            " use a smaller --model, or --impl cuda, which needs no check"
        )


def _subject(
    implementation: Implementation, checkpoint: Checkpoint, options: LoadOptions
) -> Subject:
    plan = make_plan(checkpoint, options, has_decoder=implementation.name != "hybrid")
    gpu = nvidia.find_gpu(implementation.device)
    return Subject(
        implementation=implementation.name,
        gpu="this processor" if gpu is None else gpu.name,
        driver=nvml.read_nvml().driver or f"CUDA {cuda_driver.read_cuda().version}",
        artifacts=tuple(map(artifact_key, plan.requests)),
        version=program_version(),
    )


def _refusal(subject: Subject, options: LoadOptions, result: Result) -> str:
    impl, device = subject.implementation, options.device or "cpu"
    others = "cuda or --impl cpu" if device.startswith("cuda") else "cpu"
    return (
        f"{impl} is not used on {subject.gpu}, where it does not compute what the CPU does"
        f" (checked on {result.checked}): {result.difference}; use --impl {others}, and report what"
        f" `maxwhisper parity FILE --impl {impl} --device {device}` prints;"
        f" {SWITCH}={ALWAYS} checks again"
    )
