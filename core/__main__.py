"""`python -m core`."""

import sys

if __name__ == "__main__":
    if sys.argv[1:2] == ["--complete"]:  # a TAB: the rest of the command line is not loaded for it
        from core.cli.completion.answer import complete

        complete(sys.argv[2:])
    try:
        from core.cli.main import main
    except KeyboardInterrupt:  # loading takes a second
        sys.exit(130)
    main()
