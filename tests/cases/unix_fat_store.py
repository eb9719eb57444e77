"""Runs on the unix port: the image store of a PIC32MZW1 on VfsFat, and an update service with hostile manifests.

Reads {"key", "signature": of the NEIGHBOUR image}. Prints what each manifest changed.
"""

import json
import sys
from binascii import hexlify
from hashlib import sha256
from io import BytesIO

import vfs

import mpota_host
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.files import Folder
from mpota_boot.errors import LinkError
from mpota_host.chips.pic32.sim.chip import Chip
from mpota_host.sim.flash import SimFlash
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import A, C

assert mpota_host
BLOCKS = 4000
EVIL, NEIGHBOUR = maker.image(66), maker.image(55)
GIVEN = json.loads(sys.stdin.readline())
KEY = bytes.fromhex(GIVEN["key"])


class Disk:
    """A block device in RAM that counts the writes of each block."""

    def __init__(self):
        self.data = bytearray(BLOCKS * 512)
        self.writes = {}

    def readblocks(self, i, buf, off=0):
        at = i * 512 + off
        buf[:] = self.data[at : at + len(buf)]

    def writeblocks(self, i, buf, off=0):
        for k in range(0, len(buf), 512):
            n = i + k // 512
            self.data[n * 512 : n * 512 + 512] = buf[k : k + 512]
            self.writes[n] = self.writes.get(n, 0) + 1

    def ioctl(self, op, _):
        return {4: BLOCKS, 5: 512}.get(op, 0)


def made():
    """(disk, chip) of a board that runs a.bin and has old.bin and a factory image."""
    disk = Disk()
    vfs.VfsFat.mkfs(disk)
    vfs.mount(vfs.VfsFat(disk), "/ota")
    flash = SimFlash(maker.BASE + maker.SLOT, prog_size=16, overwrite=((maker.BASE, 4096),))
    chip = Chip(flash, Folder("/ota"), maker.SETTINGS)
    whole = bytes((0xF8,)) + maker.image(99)[1:]
    chip.store.put(golden.FACTORY_FILE, whole + b"\xff" * (maker.SLOT - len(whole)))
    chip.store.put("a.bin", A)
    chip.store.put("old.bin", C)
    rows = [maker.row("old.bin", 1, C, "f8"), maker.row("a.bin", 2, A, "f8")]
    chip.store.put(database.NAME, database.encode(rows).encode())
    return disk, chip


def held(chip):
    store = chip.store
    return {name.lower(): hexlify(sha256(store.get(name, 1 << 20)).digest()).decode() for name in store.names()}


def entry(n, data, name, digest=None, signature=""):
    digest = digest or hexlify(sha256(data).digest()).decode()
    found = {"Version": n, "URL": "http://h/" + name, "Digest": digest}
    if signature:
        found["Signature"] = signature
    return found


def offer(board, data, found, times=1, bare=False):
    """Let a service look so often at a manifest of one entry. `bare`: it has no key and takes what nobody signed."""
    files = {"manifest.json": json.dumps({"ota": [found]}).encode()}
    files[found["URL"][9:]] = data

    def fetch(url):
        if url[9:] not in files:
            raise LinkError("http", "status 404 of " + url)
        return BytesIO(files[url[9:]])

    service = Service(board, fetch, "http://h/manifest.json")
    service.key, service.bare = None if bare else KEY, bare
    # What the key signed is the image alone.
    service.vendor_manifest = True
    for _ in range(times):
        for _ in range(999):
            said = service.step()
            if said != "busy":
                break
        board.ms += 61000
    return said


def strangers(chip):
    """What unsigned offers under these names change, and on a bare board those that are not what they promise."""
    board = chip.power_on()
    out = {}
    for name in ("FACTORY_RESET.BIN", "OLD.bin", "A.bin", "IMAGE_~1.CSV"):
        before = held(chip)
        offer(board, EVIL, entry(9, EVIL, name))
        offer(board, EVIL, entry(9, NEIGHBOUR, name), bare=True)
        now = held(chip)
        out[name] = {"changed": [file for file in before if now.get(file) != before[file]]}
    return out


def lost_page(chip):
    chip.flash.erase(maker.BASE, 4096)
    board = chip.power_on()
    return {"starts": board is not None, "did": str(chip.boots[-1].did)}


def neighbour(chip):
    """The boots after a signed image of another product was taken, which never confirms."""
    offer(chip.power_on(), NEIGHBOUR, entry(10, NEIGHBOUR, "app.bin", None, GIVEN["signature"]))
    out = []
    for i in range(7):
        board = chip.power_on("reset" if i else "power")
        out.append({"starts": board is not None, "a": maker.holds(chip, A), "did": str(chip.boots[-1].did)})
        if board is None:
            break
    return out


def hottest(periods):
    """Writes of the hottest block in so many periods. The digest is wrong in each."""
    disk, chip = made()
    board = chip.power_on()
    disk.writes = {}
    # A signed entry whose server sends other bytes.
    offer(board, EVIL, entry(9, NEIGHBOUR, "app.bin", None, GIVEN["signature"]), periods)
    vfs.umount("/ota")
    return max(list(disk.writes.values()) + [0])


def main():
    _, chip = made()
    out = {"offers": strangers(chip), "lost_page": lost_page(chip)}
    vfs.umount("/ota")
    _, chip = made()
    strangers(chip)
    out["neighbour"] = neighbour(chip)
    vfs.umount("/ota")
    out["wear"] = {"once": hottest(1), "ten": hottest(10)}
    print(json.dumps(out))


main()
