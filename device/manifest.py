"""Freezes mpota into a MicroPython firmware of your own: say in your board's manifest.py

    include("/path/to/mpota/device/manifest.py", layout="esp32")

boot.py, main.py, wiring.py, the settings and the keys stay files of the board; freeze none of them.

MicroPython looks for modules in this order: the application's tree, which the shim puts first in sys.path, then
`.frozen`, then `lib`. So an application that brings a newer mpota in its tree runs that one, and a trial that fails
goes back to the frozen one. A copy in `lib` is never run: `mpota flash` and `mip` cannot replace what is frozen, only a
new firmware does.
"""

# What MicroPython's tools/manifestfile.py gives to a manifest are names that no import brings.
# ruff: noqa: F821
# mypy: ignore-errors

import os

options.defaults(layout="esp32")


def wanted(folder):
    """Every module in a folder of this one, but for the wings of other layouts. A layout may import its loader."""
    for where, _, names in sorted(os.walk(folder)):
        parts = where.replace(os.sep, "/").split("/")[1:]
        other = parts[:1] == ["layout"] and parts[1:2] not in ([], [options.layout])
        if not other:
            for name in sorted(names):
                # The default wiring is a file that its owner changes; setup writes files that no firmware has.
                if name.endswith(".py") and name not in ("wiring.py", "setup.py"):
                    yield "/".join(parts + [name])


for package_name in ("mpota_boot", "mpota"):
    package(package_name, files=list(wanted(package_name)), opt=3)
