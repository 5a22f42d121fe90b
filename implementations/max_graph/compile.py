"""Compile the graphs of a model into one file; run as a program, so that it has its own process.

A process of its own keeps the compiler's memory, signals and crashes out of the caller's. It knows
no cache and no weights:

    python -m implementations.max_graph.compile REQUEST_JSON MEF_PATH
"""

import os
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from implementations.max_graph.request import HOST, NATIVE, CompileRequest

if TYPE_CHECKING:
    from max.driver import Device
    from max.graph import KernelLibrary, Module


def compile_to(request: CompileRequest, path: Path) -> None:
    """Builds the graphs as one module, compiles it, and writes the compiled file."""
    device = _device(request)  # first of all, since it decides what MAX finds
    from max.engine import InferenceSession

    module, kernels = build(request)
    session = InferenceSession(devices=[device])
    session.compile(module, custom_extensions=kernels.library_paths()).export_mef(path)


def build(request: CompileRequest) -> tuple["Module", "KernelLibrary"]:
    """Builds the graphs of a request; compiles nothing."""
    from max.graph import KernelLibrary, Module

    module, kernels = Module(), KernelLibrary()
    if request.target == HOST:
        from implementations.max_graph.cpu.graphs.build import add_graphs
    else:
        from implementations.max_graph.gpu.graphs.build import add_graphs
    add_graphs(request, module, kernels)
    return module, kernels


def _device(request: CompileRequest) -> "Device":
    """Returns the device to compile for; a GPU need not be in this machine."""
    from max import driver

    if request.target == HOST:
        if request.cpu_target != NATIVE:
            driver.set_virtual_cpu_target(request.cpu_target)
        return driver.CPU()
    driver.set_virtual_device_api(request.target.partition(":")[0])
    driver.set_virtual_device_target_arch(request.architecture)
    driver.set_virtual_device_count(request.gpu + 1)
    return driver.Accelerator(request.gpu)


def _end_with(parent: int, path: Path) -> None:
    """Ends this process when its parent is gone, killed or not, and leaves no file behind."""
    while os.getppid() == parent:
        time.sleep(0.5)
    with suppress(OSError):
        path.unlink(missing_ok=True)
        path.parent.rmdir()  # refused by a folder that holds anything else
    os._exit(1)


def main() -> None:
    """Compiles what the command line asks for."""
    path = Path(sys.argv[2])
    threading.Thread(target=_end_with, args=(os.getppid(), path), daemon=True).start()
    compile_to(CompileRequest.from_json(sys.argv[1]), path)
    # The file is complete; taking MAX's worker threads down in order has been seen to abort.
    os._exit(0)


if __name__ == "__main__":
    main()
