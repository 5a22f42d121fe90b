"""Starts the command line: `maxwhisper`, or `python -m maxwhisper_cli`."""

import io
import sys

from maxwhisper_cli.app import make_app


def main() -> None:
    """Run the command line and exit with its code."""
    for stream in (sys.stdout, sys.stderr):
        # A terminal that cannot show a letter shows another in its place; nothing stops for it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    make_app()(prog_name="maxwhisper")


if __name__ == "__main__":
    main()
