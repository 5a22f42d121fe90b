"""The program beside a driver made up in C: NVIDIA's own binding and ctypes read it as a real one.

`tests/support/fake_driver.c` stands in for libcuda.so.1 and libnvidia-ml.so.1; it runs nothing.
"""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).parents[1] / "support" / "fake_driver.c"
TWO = "NVIDIA GeForce RTX 4090;8;9;24|lost|NVIDIA H200;9;0;141"


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with both libraries."""
    if (compiler := shutil.which("cc")) is None:
        pytest.skip("no C compiler (cc) here")
    folder = tmp_path_factory.mktemp("driver")
    library = folder / "libcuda.so.1"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
    (folder / "libnvidia-ml.so.1").symlink_to(library)
    return folder


def run(libraries: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs Python beside the libraries."""
    unset = {"CUDA_VISIBLE_DEVICES"}
    inherited = {name: value for name, value in os.environ.items() if name not in unset}
    return subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        check=True,
        env={**inherited, "LD_LIBRARY_PATH": str(libraries), **environment},
    )


def listed(libraries: Path, **environment: str) -> list[dict[str, Any]]:
    """The devices of full-max, as `maxwhisper implementations --json` lists them."""
    done = run(libraries, "-m", "maxwhisper_cli", "implementations", "--json", **environment)
    assert done.stderr == ""
    (full_max,) = [entry for entry in json.loads(done.stdout) if entry["name"] == "full-max"]
    devices: list[dict[str, Any]] = full_max["devices"]
    return devices[1:]


def test_gpus_are_listed(libraries: Path) -> None:
    rtx_4090, h200, lost = listed(libraries, FAKE_GPUS=TWO)
    assert rtx_4090["name"] == "NVIDIA GeForce RTX 4090"
    assert (rtx_4090["device"], rtx_4090["architecture"]) == ("cuda:0", "sm_89")
    assert (rtx_4090["memory_bytes"], rtx_4090["free_bytes"]) == (24 * 2**30, 18 * 2**30)
    assert (h200["device"], h200["architecture"]) == ("cuda:1", "sm_90a")
    assert (h200["max_graphs"], h200["free_bytes"]) == ("tested", 141 * 2**30 // 4 * 3)
    assert lost["device"] is None
    assert lost["max_graphs"].startswith("GPU 1 of this machine has fallen off the bus")


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"FAKE_CUDA": "999", "FAKE_NVML": "18"}, "are of different versions"),
        ({"FAKE_CUDA": "802", "FAKE_GPUS": TWO}, "start the service nvidia-fabricmanager"),
        ({"FAKE_VERSION": "12040", "FAKE_GPUS": TWO}, "NVIDIA driver 580.65.06 is too old for MAX"),
        ({"CUDA_VISIBLE_DEVICES": "", "FAKE_GPUS": TWO}, "CUDA_VISIBLE_DEVICES= hides all GPUs"),
        ({}, "the NVIDIA driver finds no GPU"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, dict) else "",
)
def test_faults_are_explained(libraries: Path, environment: dict[str, str], expected: str) -> None:
    assert expected in listed(libraries, **environment)[0]["max_graphs"]


PROGRAM = """
import ctypes
from implementations.cuda_driver import read_cuda
print(len(read_cuda().gpus))
print(ctypes.CDLL("libcuda.so.1").cuDeviceGetCount(ctypes.byref(ctypes.c_int())))
"""


def test_who_asks_for_gpus_may_fork(libraries: Path) -> None:
    """Forks cannot use CUDA once it was initialised; in the process that asks it is not."""
    done = run(libraries, "-c", PROGRAM, FAKE_GPUS=TWO)
    assert done.stdout.split() == ["2", "3"]  # CUDA_ERROR_NOT_INITIALIZED


BEGINS = """
import sys
from implementations import cuda_driver
cuda_driver.run_module = None  # no other process
for device in sys.argv[1:]:
    cuda_driver.begin(device)
print(len(cuda_driver.read_cuda().gpus), flush=True)
"""


@pytest.mark.parametrize(
    ("device", "context"),
    [("cuda", "context of 0"), ("cuda:1", "context of 2"), ("cuda:2", None)],
)
def test_a_program_may_ask_in_itself_and_get_a_context(
    libraries: Path, device: str, context: str | None
) -> None:
    """The second GPU of three has failed; a context is made by the end of the process."""
    done = run(libraries, "-c", BEGINS, device, "cuda", "cpu", FAKE_GPUS=TWO)
    assert sorted(done.stdout.splitlines()) == sorted(filter(None, ["2", context]))


def test_no_context_is_made_by_a_driver_that_fails(libraries: Path) -> None:
    done = run(libraries, "-c", BEGINS, "cuda", FAKE_GPUS=TWO, FAKE_CUDA="803")
    assert done.stdout.split() == ["0"]


def test_a_cpu_begins_nothing(libraries: Path) -> None:
    done = run(libraries, "-c", BEGINS, "cpu", FAKE_GPUS=TWO)
    assert done.stdout.split() == ["0"]  # it would have asked in another process
