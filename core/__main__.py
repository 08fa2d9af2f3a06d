"""`python -m core`."""

import sys

if __name__ == "__main__":
    try:
        from core.cli.main import main
    except KeyboardInterrupt:  # loading takes a second
        sys.exit(130)
    main()
