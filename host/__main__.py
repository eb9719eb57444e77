"""`python -m host`: the command line; outside of .venv one sentence instead of a traceback."""

import sys

try:
    from host.cli import main

    main()
except ModuleNotFoundError as e:
    if (e.name or "").partition(".")[0] in ("host", "device"):
        raise
    sys.exit(f"mpota: {e.name} is not installed here; `make` sets up .venv, then run `.venv/bin/python -m host`")
