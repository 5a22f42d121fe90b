"""Prints constraints that hold each package we name to the oldest version that we allow.

    python .ci/oldest.py [NAME==VERSION ...]

Arguments stand in for the bound of their package.
"""

import re
import sys
import tomllib
from pathlib import Path

BOUND = re.compile(r"([\w.-]+)(?:\[[\w,-]+\])?(?:>=|==)([\w.]+)")


def main() -> None:
    """Print a line for each dependency, those of the extras included."""
    project = tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"].values()
    lines = [*project["dependencies"], *(line for extra in extras for line in extra), *sys.argv[1:]]
    bounds: dict[str, str] = {}
    for line in lines:
        found = BOUND.match(line)
        if found is None:
            raise SystemExit(f"pyproject.toml: {line!r} has no lower bound")
        bounds[found[1]] = found[2]
    sys.stdout.writelines(f"{name}=={version}\n" for name, version in bounds.items())


if __name__ == "__main__":
    main()
