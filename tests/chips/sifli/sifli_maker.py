"""A small SiFli chip and packages for it, on both interpreters: the other side of what device/layout/sifli reads.

The RSA key is one of this project's own, made for these tests alone. What is compressed here is stored deflate, for the
unix port has no compressor; the vendor's and zlib's streams come from the vectors.
"""

from hashlib import sha256
from struct import pack

from mpota.layout.sifli.pipe import offline, signed, wire
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.layout.sifli.port import Chip, User
from mpota.layout.sifli.store import control, table
from mpota.pipe import trust
from mpota_boot.journal import Record
from mpota_host.sim.flash import SimFlash

N = int(
    "ba2ec0204e4dddd662125286cba791ec5df18f60fad4724a46d4ab08a3dfc5224d38c43732348775cb5d2d5d2b81cd500c13"
    "a5ad1c2a5c042fc42c3d12c75e6fdf65d56900780a3de0891167386ae32f51faa76c577a2d190e72815af9ef661d1960c4c2"
    "812d33071dc3b76f7821a2a20b66deb6b34f0a83967c47d22fb29748e95c2eac1c484e909ffc7feec9dc86ba3109f33b6d5f"
    "555d94194e3e2fb01e98dd11b49a36e3d6f3d103f801af072d32d08bcfdec86910b649adc2bb32aa08cbb19b97cee8d5f3e9"
    "b46e155f1c7574889e92fa663dd5de0106a349d768209d71ec3e8ebe3e1a974d87b6d6d77ee618a79a432930d5d72be384f2"
    "619cdc4561e1",
    16,
)
D = int(
    "1097f415ad04f19d96d60d36e855c202b008c47f9f3b6a0846b1d3a08c82781e6b8580af6eb111d5a4cf6428a6a505f8796b"
    "12dc0fe39299e8ebf2096b700b71ab167763c95fe981c44e5317c1067dc30cea6b1b93dc56c2a1f000a96c173321aace5e1a"
    "fbca5c7ee8df35ad20a6d6c8dc7d49a23ceef17ff2dc96c61bec2de171c46adc96a7e77ef64023b5a7e89f019bc620b9aa0a"
    "1683d9758caa39a587a8360cce0e490ff1f26df637adb0d261ccf5071a45999817c654b162a26454dad6828d2f3eae41ed8d"
    "cca0eeb84b876988e4302679ae254b905319a1e772d9ac94b5effa7804a4676edee217f4e38de974accd132723346f6b89fa"
    "f8ed3d39b731",
    16,
)

PUBLIC = signed.encode(N.to_bytes(256, "big"))
ROOT = sha256(b"a root key").digest()
UID = sha256(b"a chip").digest()[:16]
IMAGE_KEY = sha256(b"an image key").digest()
BASE = 0x10000000
# What the tests' maps have in common: the table and the manager at the front, four sectors of state.
TABLE, MANAGER, STATE = (BASE, 0x5000), (BASE + 0x6000, 0x1000), (BASE + 0x7000, 0x4000)
SIZE = 0x40000


def places(user_first=True, areas=2, room=0x8000):
    """A memory map: the user program before or behind the upgrade areas, then resources and a font."""
    row = [("user", 0)] + [("upgrade", i) for i in range(areas)]
    if not user_first:
        row = row[1:] + row[:1]
    found = {"flash": BASE, "table": TABLE, "manager": MANAGER, "state": STATE, "upgrade": [None] * areas}
    at = BASE + 0xB000
    for name, i in row + [("res", 0), ("font", 0)]:
        if name == "upgrade":
            found[name][i] = (at, room)
        else:
            found[name] = (at, room)
        at += room
    return found


def efuse(uid=UID, public=PUBLIC, secure=0xA5, root=ROOT):
    """The 128 bytes of the eFuses."""
    return uid + signed.key_hash(public) + bytes((secure,)) + bytes(71) + root


def table_bytes(places, public=PUBLIC, apart=True):
    """A flash table; `apart`: the headers that the chip starts by lie in another sector than the user program's."""
    boot, hcpu = (table.IMG_EXT2, table.IMG_EXT1) if apart else (table.IMG_BL, table.IMG_HCPU)
    head = table.Header(places["manager"][1], 512, table.AUTO, b"\xff" * 32, b"\xff" * 256, b"\xff" * 20)
    manager = places["manager"]
    place = table.Place(manager[0], manager[1], manager[0], 0)
    cores = {table.HCPU_CORE: hcpu, table.BL_CORE: boot}
    return table.encode({boot: place, hcpu: place}, public, {boot: head, hcpu: head}, cores, BASE)


def flash(places, public=PUBLIC, apart=True, prog_size=4, size=SIZE):
    """A flash with a table."""
    end = max([at + n for at, n in [places[name] for name in ("res", "user")] + [places["upgrade"][-1]]])
    end = max(end, sum(places.get("font", (0, 0))))
    found = SimFlash(max(size, end - BASE), prog_size=prog_size)
    found.trace = None
    data = table_bytes(places, public, apart)
    found.prog(0, data + b"\xff" * (-len(data) % prog_size))
    return found


def chip(places=None, memory=None, fuses=None):
    """A Chip as it is after a reset."""
    places = places or default_places()
    return Chip(memory or flash(places), places, fuses or efuse(), lambda: None)


def default_places():
    return places()


def payload(n, seed=1):
    """Bytes that do not repeat within a sector."""
    line = bytes([(seed * 7919 + 1) * (i + 1) * (i + 1) >> 3 & 0xFF for i in range(251)])
    return (line * (n // 251 + 1))[:n]


def com(data, chunk=10240, total=None):
    """The compressed form, of stored deflate."""
    out = [pack("<II", len(data) if total is None else total, chunk)]
    for at in range(0, len(data), chunk):
        piece = data[at : at + chunk]
        blob = b"\x78\x01\x01" + pack("<HH", len(piece), len(piece) ^ 0xFFFF) + piece + b"sum!"
        out.append(pack("<I", len(blob)) + blob)
    return b"".join(out)


def sign(data):
    """The RSA-2048 signature over data."""
    return pow(int.from_bytes(trust.block(sha256(data).digest(), signed.SIZE), "big"), D, N).to_bytes(256, "big")


def encrypted(data, key=IMAGE_KEY, public=PUBLIC):
    buf = bytearray(data)
    Ctr(key, signed.key_hash(public)).xor(0, buf)
    return bytes(buf)


class Package:
    """A control packet and the wire records of its images: (id, flags, bytes) of each, before encryption."""

    def __init__(self, images, fw=1001001, dfu=1, block=512, sdk=7001, key=IMAGE_KEY):
        self.records = {}
        self.stored = {}
        found = []
        for id, flags, data in images:
            data = com(data) if flags & control.COMPRESS else data
            data += bytes(-len(data) % 16)
            stored = encrypted(data, key) if flags & control.ENC else data
            found.append(control.Image(sign(stored), len(stored), flags, id))
            self.stored[id] = stored
            self.records[id] = [
                wire.encode(at, data[at : at + block], stored[at : at + block]) for at in range(0, len(data), block)
            ]
        self.control = control.Control([dfu, 51, sdk, fw, key, block], found)
        self.packet = control.write(self.control, ROOT, signed.key_hash(PUBLIC), sign)


def provision(chip, data, slot=0):
    """As a workshop leaves a board: a program in its place, its compressed form in an area, a journal that knows it."""
    stored = com(data)
    for place, what in ((chip.user, data), (chip.slots[slot], stored)):
        n = chip.flash.erase_size
        place.erase(0, (len(what) + n - 1) // n * n)
        place.prog(0, what + b"\xff" * (-len(what) % chip.flash.prog_size))
    sha = sha256(stored).digest()
    user = User(slot, control.COMPRESS, len(stored), sha, len(data), sha256(data).digest())
    record = Record(b"workshop", sha, bytes((0, 0, 0, 1, 0, 0, 0, 0)), len(stored), 0, slot, -1, 0, 0).encode()
    chip.journal.put("user", user.encode())
    chip.journal.put("running", record)


def held(flash, n):
    """The first bytes of a Flash."""
    buf = bytearray(n)
    flash.read(0, buf)
    return bytes(buf)


class Clock:
    """Time that stands still until a test moves it."""

    def __init__(self):
        self.ms = 0

    def ticks_ms(self):
        return self.ms

    def since(self, then):
        return self.ms - then


def offline_v0(package):
    """A v0 package of a Package whose images are all compressed."""
    parts = [(offline.CTRL_PACKET, package.packet)]
    return offline.encode_v0(parts + [(id, package.stored[id]) for id in sorted(package.stored)])
