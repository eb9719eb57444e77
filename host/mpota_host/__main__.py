"""`mpota`: the command line; where a package is missing one sentence instead of a traceback."""

import sys


def main() -> None:
    """The entry point of the command `mpota`, and of `python -m mpota_host`."""
    try:
        from mpota_host.command.cli import main as run

        run()
    except ModuleNotFoundError as e:
        name = (e.name or "").partition(".")[0]
        if name in ("mpota_host", "mpota", "mpota_boot"):
            raise
        from mpota_host.command.needs import missing

        sys.exit(f"mpota: {missing(name)}")


if __name__ == "__main__":
    main()
