"""Compile and run a tiny graph, to see that MAX's compiler works; run as a program.

Without arguments the graph gives back its input, which needs no code; `--add` makes it add, whose
code takes half a minute the first time.
"""

import sys


def main() -> None:
    """Compiles the graph on the CPU, runs it, and exits with 1 if its result is wrong."""
    import numpy as np
    from max.driver import CPU
    from max.dtype import DType
    from max.engine import InferenceSession
    from max.graph import DeviceRef, Graph, TensorType

    values = TensorType(DType.float32, [2], DeviceRef.CPU())
    adds = "--add" in sys.argv
    with Graph("tiny", input_types=[values]) as graph:
        given = graph.inputs[0].tensor
        graph.output(given + given if adds else given)
    model = InferenceSession(devices=[CPU()]).load(graph)
    (result,) = model.execute(np.ones(2, np.float32))
    sys.exit(int(list(result.to_numpy()) != [1.0 + adds] * 2))


if __name__ == "__main__":
    main()
