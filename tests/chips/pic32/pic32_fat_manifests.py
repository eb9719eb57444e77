"""A thousand manifests of a stranger and an owner, at random, over an image store on the port's own VfsFat.

Runs on the unix port. The owner has the key and signs a few things; the stranger mixes, moves, cuts and forges them,
names the store's own files in his URLs, and serves what he likes. Whatever comes: the factory image and the image that
runs change by a signed update alone, and no file goes but by a signed withdrawal.
Prints `N manifests, M updates, K bad`.
"""

import json
import random
import sys
from binascii import hexlify
from hashlib import sha256
from io import BytesIO

import vfs

import mpota_host
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.pipe import p256
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.files import Folder
from mpota_boot.errors import LinkError
from mpota_host.chips.pic32.sim.chip import Chip
from mpota_host.sim.flash import SimFlash
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_fat import Disk
from tests.chips.pic32.pic32_signer import proof, sign
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C
from tests.chips.pic32.test_pic32_service import KEY, URL

assert mpota_host
EVIL = maker.image(66)
IMAGES = {"b": B, "c": C, "d": maker.image(77), "evil": EVIL}
NUMBERS = (0, 1, 2, 3, 4, 5, 7, 50, 101, 102, 103, 104, 998, 999, 1000)
NAMES = "app.bin A.BIN a.bin FACTORY_RESET.BIN factory_reset.bin OLD.BIN IMAGE_~1.CSV image_database.csv ..".split()
# What the owner signed: (number, product, image or None, EraseVer).
SIGNED = [(3, "demo", "b", 0), (4, "demo", "c", 0), (104, "demo", "d", 0), (5, "lamp", "d", 0)]
SIGNED += [(1, "demo", None, 1), (2, "demo", None, 1), (3, "demo", "b", 1), (1, "lamp", None, 1)]
# The settings of a board: its key, and who may come without one.
BOARDS = (
    {"key": KEY},
    {},
    {"key": b""},
    {"key": KEY, "bare": True},
    {"key": KEY, "last_entry": True},
    {"vendor_manifest": True},
    {"key": KEY, "vendor_manifest": True},
)

known = {}
real = p256.verify


def verify(*given):
    """p256.verify, each question once."""
    if given not in known:
        known[given] = real(*given)
    return known[given]


p256.verify = verify


def owners(n, product, image, erase):
    """An entry that the owner signed."""
    digest = sha256(IMAGES[image]).digest() if image else b""
    found = {"Version": n, "Product": product, "EntrySignature": proof(n, digest, product, erase)}
    if image:
        found["Digest"] = hexlify(digest).decode()
    if erase:
        found["EraseVer"] = True
    else:
        found["URL"] = "http://h/" + image
        found["Signature"] = sign(IMAGES[image])
    return found


OWNERS = [owners(*given) for given in SIGNED]


def some(dice, of):
    return of[dice(len(of))]


def spoiled(entry, dice):
    """What the stranger makes of an entry."""
    found = dict(entry)
    for _ in range(1 + dice(3)):
        what = dice(9)
        other = some(dice, OWNERS)
        if what == 0:
            found["Version"] = some(dice, NUMBERS)
        elif what == 1:
            found.pop(some(dice, sorted(entry)), None)
        elif what == 2:
            field = some(dice, sorted(other))
            found[field] = other[field]
        elif what == 3:
            found["EraseVer"] = some(dice, (True, False, 1, None))
        elif what == 4:
            found["Product"] = some(dice, ("demo", "lamp", "", "demo\n3", 5))
        elif what == 5:
            found["Digest"] = hexlify(sha256(some(dice, (EVIL, A, B))).digest()).decode()
        elif what == 6:
            found["URL"] = "http://h/" + some(dice, NAMES)
        elif what == 7:
            field = some(dice, ("Signature", "EntrySignature"))
            text = found.get(field) or sign(A)
            at = dice(len(text))
            found[field] = text[:at] + some(dice, "AZ09+/=é") + text[at + 1 :]
        else:
            found[some(dice, ("version", "URl", "Patch", "files"))] = some(dice, (5, "x", [], {}))
    return found


def manifest(dice):
    """Its bytes: entries of the owner's, as they are or spoiled."""
    entries = []
    for _ in range(dice(6)):
        entry = some(dice, OWNERS)
        entries.append(entry if not dice(4) else spoiled(entry, dice))
    text = json.dumps({some(dice, ("ota", "OTA", "Ota")): entries}).encode()
    if not dice(12):
        at = dice(len(text))
        text = text[:at] + bytes((dice(256),)) + text[at + dice(3) :]
    return text


class Device:
    """A board on FAT that runs a.bin as image 2, with old.bin as image 1 and a factory image."""

    def __init__(self):
        self.disk = Disk()
        vfs.VfsFat.mkfs(self.disk)
        flash = SimFlash(maker.BASE + maker.SLOT, prog_size=16, overwrite=((maker.BASE, 4096),))
        self.disk.flash = flash
        self.chip = Chip(flash, Folder("/ota"), maker.SETTINGS)
        vfs.mount(vfs.VfsFat(self.disk), "/ota")
        store = self.chip.store
        whole = bytes((0xF8,)) + maker.image(99)[1:]
        store.put(golden.FACTORY_FILE, whole + b"\xff" * (maker.SLOT - len(whole)))
        for name, data in (("a.bin", A), ("old.bin", C)):
            store.put(name, data)
        rows = [maker.row("old.bin", 1, C, "f8"), maker.row("a.bin", 2, A, "f8")]
        store.put(database.NAME, database.encode(rows).encode())
        self.chip.power_on()
        self.kept = bytes(self.disk.data), flash.snapshot()
        self.before = self.seen()

    def restored(self):
        vfs.umount("/ota")
        self.disk.data[:] = self.kept[0]
        self.chip.flash.restore(self.kept[1])
        vfs.mount(vfs.VfsFat(self.disk), "/ota")

    def seen(self):
        """The digest of each file by its name, and of the slot's code."""
        store = self.chip.store
        found = {name.lower(): sha256(store.get(name, 1 << 20)).digest() for name in store.names()}
        buf = bytearray(maker.SLOT - 4096)
        self.chip.flash.read(maker.BASE + 4096, buf)
        found["slot"] = sha256(buf).digest()
        return found

    def polled(self, text, dice, options):
        """The last word of a service that looks at this manifest, and its events."""

        def fetch(url):
            if url == URL:
                return BytesIO(text)
            if not dice(8):
                raise LinkError("http", "status 404 of " + url)
            data = IMAGES.get(url.rpartition("/")[2], EVIL)
            return BytesIO(data if dice(6) else some(dice, (EVIL, data[:-1], data[:4096], b"")))

        service = Service(self.chip.power_on(), fetch, URL)
        for name in options:
            setattr(service, name, options[name])
        for _ in range(999):
            said = service.step()
            if said != "busy":
                return said
        return "it never rests"


def allowed(options):
    """Images that the owner's own entries can bring to a board like this one, by number; and the numbers they erase."""
    if options.get("key") != KEY:
        return {}, ()
    mine = [given for given in SIGNED if given[1] == "demo"]
    return {n: IMAGES[image] for n, _, image, erase in mine if not erase}, [n for n, _, _, erase in mine if erase]


def wrong(device, said, options):
    """What is not right after a poll; "" for nothing."""
    images, erased = allowed(options)
    after = device.seen()
    gone = [name for name in device.before if after.get(name) != device.before[name]]
    rows = {row.fields[0].lower(): row for row in database.load(device.chip.store)}
    for name in ("factory_reset.bin", "a.bin", "slot"):
        if name in gone:
            return name + " changed"
    if "old.bin" in gone and 1 not in erased:
        return "old.bin is gone"
    if "old.bin" in gone and "old.bin" in rows:
        return "old.bin is not what its row says"
    for row in rows.values():
        n = database.number(row.version)
        known = [{1: C, 2: A}.get(n) or images.get(n) or b""]
        if options.get("vendor_manifest") and images:
            # The vendor's signature says nothing of a number.
            known += [A, B, C, IMAGES["d"]]
        if row.digest not in [sha256(data).digest() for data in known]:
            return "image %d has a row, and nobody signed it" % n
    if said not in ("idle", "reset"):
        return said
    if said == "reset":
        device.chip.power_on("reset")
        # An update of the owner's, or the way back that he asked for; image 2 never runs on under another number.
        now = [maker.holds(device.chip, data) for data in list(images.values()) + [C, GOLDEN]]
        if not any(now):
            return "what runs is no image of the owner's"
    return ""


def main(n, seed):
    random.seed(seed)
    dice = lambda below: random.getrandbits(24) % below  # noqa: E731  # both interpreters have the same
    device = Device()
    updates = bad = 0
    for i in range(n):
        options = BOARDS[i % len(BOARDS)]
        text = manifest(dice)
        said = device.polled(text, dice, options)
        what = wrong(device, said, options)
        updates += said == "reset"
        if what:
            bad += 1
            print("manifest %d, %r: %s\n%s" % (i, sorted(options), what, text[:900]))
        device.restored()
    print("%d manifests, %d updates, %d bad" % (n, updates, bad))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000, 16)
