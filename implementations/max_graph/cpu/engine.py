"""Loading and running of compiled graphs, without the part of MAX that builds graphs.

`max.engine` imports all of `max.graph`, which takes longer than this model's encoder. Its classes
stand on those of `max._core.engine`, which are enough to run what is compiled. They belong to
MAX's inside: the project's range of versions ends below the next minor one.
"""

from collections.abc import Iterable, Mapping

from max._core.engine import InferenceSession
from max._core.engine import Model as CoreModel
from max._core.engine import read as read_artifact
from max.driver import CPU, Buffer, DLPackArray


class Model:
    """A graph that runs, with its weights."""

    __slots__ = ("_core",)

    def __init__(self, core: CoreModel) -> None:
        self._core = core

    def execute(self, *inputs: Buffer | DLPackArray) -> list[Buffer]:
        """Runs the graph over contiguous arrays on the CPU; returns its outputs.

        Arrays are not copied: they must live until the run ends.
        """
        buffers = [x if isinstance(x, Buffer) else Buffer.from_dlpack(x) for x in inputs]
        assert all(buffer.is_contiguous for buffer in buffers), "a kernel reads them in order"
        return self._core._execute_device_tensors(buffers)


def load_models(
    artifacts: Iterable[bytes], weights: Mapping[str, Buffer | DLPackArray]
) -> dict[str, Model]:
    """Returns the graphs of compiled files by name, on the CPU.

    Args:
        artifacts: Contents of compiled files.
        weights: Arrays by the names of the graphs' weights; they must live as long as the graphs.
    """
    session = InferenceSession([CPU()], [])
    models: dict[str, Model] = {}
    for artifact in artifacts:
        compiled = session._wrap_compiled(read_artifact(artifact))
        models |= {core.name: Model(core) for core in session._load_all(compiled, weights)}
    return models
