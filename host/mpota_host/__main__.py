"""`mpota`: the command line; outside of .venv one sentence instead of a traceback."""

import sys

try:
    from mpota_host.command.cli import main

    main()
except ModuleNotFoundError as e:
    if (e.name or "").partition(".")[0] in ("mpota_host", "mpota", "mpota_boot"):
        raise
    sys.exit(f"mpota: {e.name} is not installed here; `make` sets up .venv, then run `.venv/bin/mpota`")
