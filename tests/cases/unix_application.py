"""Runs on the unix port: installs an application's package on a board without slots, in a folder or on VfsFat.

Reads {"package": hex, "fat", "root"}. Prints the files of the application that runs then. `kept`: it is the new
application or the old one, whole.
"""

import json
import os
import sys

import vfs

import mpota_host
from mpota.installer import install
from mpota_boot import shim
from mpota_host.chips.files.sim.soc import Plain
from tests.chips.files.test_files import SETTINGS, confirmed, files
from tests.packages import Ram
from tests.trees import files_of

assert mpota_host
GIVEN = json.loads(sys.stdin.readline())
OLD = {"app.py": b"VERSION = 1\n"}


class Disk:
    """A block device in RAM."""

    def __init__(self, blocks=4000):
        self.blocks = blocks
        self.data = bytearray(blocks * 512)

    def readblocks(self, i, buf, off=0):
        at = i * 512 + off
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, i, buf, off=0):
        at = i * 512 + off
        self.data[at : at + len(buf)] = buf

    def ioctl(self, op, _):
        return {4: self.blocks, 5: 512}.get(op, 0)


def runs(plain):
    plain.power_on("reset")
    found = files_of(shim.folder) if shim.folder else {}
    found.pop(".mpota", None)
    return found


def main():
    root = GIVEN["root"] + "/board"
    if GIVEN["fat"]:
        disk = Disk()
        vfs.VfsFat.mkfs(disk)
        vfs.mount(vfs.VfsFat(disk), "/f")
        root = "/f/r"
    os.mkdir(root)
    plain = Plain(root, SETTINGS)
    confirmed(plain, files(OLD).bytes())
    said = ""
    for _ in (1, 2):
        try:
            for _ in install(plain.power_on(), Ram(bytes.fromhex(GIVEN["package"])), None):
                pass
            said = ""
            break
        except Exception as e:
            said = repr(e)
    now = runs(plain)
    kept = now == OLD or now.get("app.py", b"")[:11] == b"VERSION = 2"
    print(json.dumps({"said": said, "runs": sorted(now), "kept": kept}))


main()
