"""The commands of `mpota`, run in this process."""

from mpota_host.command import cli


def call(*args):
    """The exit status of a command."""
    try:
        cli.main([str(a) for a in args])
    except SystemExit as e:
        return e.code or 0
    return 0
