"""The server's packages are imported by the server alone."""

import subprocess
import sys

PACKAGES = {"fastapi", "starlette", "uvicorn", "pydantic", "websockets", "prometheus_client"}


def test_other_commands_import_nothing_of_the_server() -> None:
    code = (
        "import sys, maxwhisper_cli.app, maxwhisper_cli.model, maxwhisper_cli.commands.batch; "
        f"print(*{PACKAGES | {'maxwhisper_cli.serve'}!r} & sys.modules.keys())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []
