"""Freezes mpota into a MicroPython firmware of your own: say in your board's manifest.py

    include("/path/to/mpota/device/manifest.py", layout="esp32", platform="esp32")

`platform` is what `sys.platform` says on the board; without one the tables of all ports are frozen.

boot.py, main.py, wiring.py, the settings and the keys stay files of the board; freeze none of them.

MicroPython looks for modules in this order: the application's tree, which the shim puts first in sys.path, then
`.frozen`, then `lib`. So mpota in an application's tree (`mpota pack --updater`) runs before the frozen one, and a copy
in `lib` is never run: `mpota flash` and `mip` cannot replace what is frozen. New firmware does.
"""

# What MicroPython's tools/manifestfile.py gives to a manifest are names that no import brings.
# ruff: noqa: F821
# mypy: ignore-errors

import os

options.defaults(layout="esp32", platform="")
PORTS = "mpota_boot/ports"
PLATFORM = options.platform or ("esp32" if options.layout == "esp32" else "")
# The table of this platform, else that of any other port.
TABLE = PLATFORM if PLATFORM + ".py" in os.listdir(PORTS) else "other"


def wanted(folder):
    """Every module in a folder of this one, but for the wings of other layouts. A layout may import its loader."""
    for where, _, names in sorted(os.walk(folder)):
        parts = where.replace(os.sep, "/").split("/")[1:]
        other = parts[:1] == ["layout"] and parts[1:2] not in ([], [options.layout])
        if not other and where.replace(os.sep, "/") == PORTS and PLATFORM:
            names = [name for name in names if name in ("__init__.py", "mark.py", TABLE + ".py")]
        if not other:
            for name in sorted(names):
                # The default wiring is a file that its owner changes; setup writes files that no firmware has.
                if name.endswith(".py") and name not in ("wiring.py", "setup.py"):
                    yield "/".join(parts + [name])


for package_name in ("mpota_boot", "mpota"):
    package(package_name, files=list(wanted(package_name)), opt=3)
