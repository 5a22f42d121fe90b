"""Starts the compiler unless its caller has gone meanwhile; run as a program.

    python -m implementations.max_graph.start_compiler PARENT_PID REQUEST_JSON MEF_PATH

The compiler itself ends with its parent, but takes for its parent whoever that is when it starts.
"""

import os
import shutil
import sys
from pathlib import Path

from implementations.max_graph import compile as compiler


def main() -> None:
    """Compiles what the command line asks for."""
    parent = int(sys.argv.pop(1))
    if os.getppid() != parent:
        shutil.rmtree(Path(sys.argv[2]).parent, ignore_errors=True)
        sys.exit(1)
    compiler.main()


if __name__ == "__main__":
    main()
