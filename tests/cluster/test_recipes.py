"""The README's recipes, as far as a shell and a schema can try them."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest

import maxwhisper_cli.cluster
from maxwhisper_cli.cluster.plan import parse_shard

README = Path(maxwhisper_cli.cluster.__path__[0]) / "README.md"


def recipe(beginning: str) -> str:
    """The block of code that begins so."""
    blocks = re.findall(r"(?:^    .*\n|^\n(?=    ))+", README.read_text(), re.MULTILINE)
    lines = next(block for block in blocks if block.lstrip().startswith(beginning))
    return "".join(line[4:] or "\n" for line in lines.splitlines(keepends=True)).strip() + "\n"


def run(script: str, folder: Path, **variables: str) -> list[str]:
    """The arguments that a shell gives to maxwhisper."""
    program = folder / "maxwhisper"
    program.write_text('#!/bin/sh\nprintf "%s\\n" "$@"\n')
    program.chmod(0o755)
    environment = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}", **variables}
    done = subprocess.run(
        ["sh", "-c", script], env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout.splitlines()


def test_slurm(tmp_path: Path) -> None:
    script = recipe("#!/bin/sh\n    #SBATCH")
    variables = {"SLURM_ARRAY_TASK_ID": "3", "SLURM_ARRAY_TASK_COUNT": "16"}
    arguments = run(script, tmp_path, **variables)
    assert parse_shard(arguments[arguments.index("--shard") + 1]) == (3, 16)


def test_kubernetes(tmp_path: Path) -> None:
    yaml = pytest.importorskip("yaml", reason="it comes with the extra cluster")
    job: Any = yaml.safe_load(recipe("apiVersion"))
    assert (job["kind"], job["spec"]["completionMode"]) == ("Job", "Indexed")
    (container,) = job["spec"]["template"]["spec"]["containers"]
    shell, option, script = container["command"]
    assert (shell, option) == ("sh", "-c")
    n = job["spec"]["completions"]
    for index in (0, n - 1):
        arguments = run(script, tmp_path, JOB_COMPLETION_INDEX=str(index))
        assert parse_shard(arguments[arguments.index("--shard") + 1]) == (index + 1, n)


@pytest.mark.full  # importing Ray takes 2 s
@pytest.mark.filterwarnings("ignore")
def test_spot_machines() -> None:
    yaml = pytest.importorskip("yaml", reason="it comes with the extra cluster")
    util = pytest.importorskip("ray.autoscaler._private.util", reason="ray is not installed")
    cluster: Any = yaml.safe_load(recipe("cluster_name"))
    util.validate_config(util.prepare_config(cluster))
