"""Look for known weaknesses in the pinned versions, where the data can be had.

pip-audit has an environment of its own, given as the argument. Without the network, or behind an
index that has no such data, it says so and passes.
"""

import json
import subprocess
import sys
import venv
from pathlib import Path

PIP_AUDIT = "pip-audit==2.10.1"
ROOT = Path(__file__).parents[1]
TIMEOUT_SECONDS = 300


def main() -> int:
    """Returns 1 if a pinned version has a known weakness."""
    program = Path(sys.argv[1]) / "bin" / "pip-audit"
    if not program.is_file():
        venv.create(sys.argv[1], with_pip=True)
        pip = [program.with_name("pip"), "install", "--quiet", PIP_AUDIT]
        if subprocess.run(pip, check=False).returncode:
            print("audit skipped: pip-audit cannot be installed")
            return 0
    flags = ["--no-deps", "--disable-pip", "--progress-spinner", "off", "--format", "json"]
    command = [program, *flags, "--requirement", ROOT / "constraints.txt"]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=TIMEOUT_SECONDS, check=False
    )
    try:
        audited = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        reason = (done.stderr.strip().splitlines() or ["no answer"])[-1]
        print(f"audit skipped: {reason[:160]}")
        return 0
    known = [package for package in audited if "skip_reason" not in package]
    if not known:
        print("audit skipped: the data cannot be had here")
        return 0
    weak = [(package, weakness) for package in known for weakness in package["vulns"]]
    for package, weakness in weak:
        fixed = ", ".join(weakness["fix_versions"]) or "none yet"
        print(f"{package['name']} {package['version']}: {weakness['id']}, mended in {fixed}")
    print(f"audit: {len(known)} of {len(audited)} packages, {len(weak)} known weaknesses")
    return int(bool(weak))


if __name__ == "__main__":
    sys.exit(main())
