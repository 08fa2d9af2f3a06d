"""`python -m luthier`, and the console script `luthier`."""

from __future__ import annotations

import sys


def main() -> None:
    """Run the command line: `luthier separate ...`, or what `python -m core` takes."""
    if sys.argv[1:2] == ["--complete"]:  # a TAB: the rest of the command line is not loaded for it
        from core.cli.completion.answer import complete
        from luthier.completion import COMMANDS

        complete(sys.argv[2:], COMMANDS)
    try:
        from luthier.command import main as command
    except KeyboardInterrupt:  # loading takes a second
        sys.exit(130)
    command(sys.argv[1:])


if __name__ == "__main__":
    main()
