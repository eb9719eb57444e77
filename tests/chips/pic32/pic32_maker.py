"""Small PIC32MZW1s for tests: images, rows, a store, a flash, and a power cut at any of their operations."""

from hashlib import sha256

from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import PAGE
from mpota.store.flash import Region
from mpota_host.chips.pic32.sim.chip import Chip, Shelf
from mpota_host.sim.flash import PowerCut, SimFlash

BASE = 0x1000
SLOT = 0x5000
ADDRESS = 0xB0000000 + BASE + PAGE
SETTINGS = {"product": "demo", "base": BASE, "slot": SLOT, "images": 3}


def build(status=control.BLANK):
    """The page that a build has, its zeros too."""
    page = control.Control(status, control.FACTORY, 1, ADDRESS)
    return page.encode()[:48] + bytes(PAGE - 49) + b"\xf8"


def image(seed, size=9000):
    """A .bin, its code of `size` bytes like no other seed's."""
    line = bytes([(seed * 37 + 5) * (i + 3) >> 2 & 0xFF for i in range(251)])
    return build() + (line * (size // 251 + 1))[:size]


def row(name, n, data, status="FE"):
    return database.row(name, n, sha256(data).digest(), status)


class CutShelf(Shelf):
    """A store whose power fails at the n-th change: half of what was to be written is there."""

    cut = None
    ops = 0

    def change(self, name, data, whole=True):
        self.ops += 1
        if self.cut is not None and self.ops >= self.cut:
            if self.ops == self.cut and not whole:
                self.files[name] = data[: len(data) // 2]
            raise PowerCut("the power failed at change %d of the store" % self.ops)

    def open(self, name, mode):
        if mode == "wb" and self.files.get(name) != b"":
            self.change(name, b"")
        f = super().open(name, mode)
        f.before = self.stored
        return f

    def stored(self, name, data):
        self.change(name, data, False)

    def remove(self, name):
        if name in self.files:
            self.change(name, b"")
        super().remove(name)

    def put(self, name, data):
        with self.open(name, "wb") as f:
            f.write(data)


class FatShelf(CutShelf):
    """A store that finds a file as FAT does: in any case, without dots and spaces at the end, by its short name."""

    def real(self, name):
        """The name in the listing of the file that FAT would open, or `name`."""
        wanted = name.upper().rstrip(". ")
        for there in self.files:
            if wanted in (there.upper(), short(there)):
                return there
        return name

    def open(self, name, mode):
        return super().open(self.real(name), mode)

    def remove(self, name):
        super().remove(self.real(name))

    def size(self, name):
        return super().size(self.real(name))

    def get(self, name, most):
        return super().get(self.real(name), most)


def short(name):
    """The 8.3 name that FAT gives the first long name of its kind."""
    stem, _, end = name.upper().rpartition(".")
    return name.upper() if len(stem) <= 8 and len(end) <= 3 else stem[:6] + "~1." + end[:3]


def chip(rows=(), settings=None, factory=True, store=None):
    """A Chip with `rows` of (name, number, status, image); the bootloader has not run yet."""
    store = CutShelf() if store is None else store
    if factory:
        whole = bytes((control.VALID,)) + image(99)[1:]
        store.put(golden.FACTORY_FILE, whole + b"\xff" * (SLOT - len(whole)))
    if rows:
        for name, _, _, data in rows:
            store.put(name, data)
        text = database.encode([row(name, n, data, status) for name, n, status, data in rows])
        store.put(database.NAME, text.encode())
    flash = SimFlash(BASE + SLOT, prog_size=16, overwrite=((BASE, PAGE),))
    given = dict(SETTINGS)
    given.update(settings or {})
    made = Chip(flash, store, given)
    store.ops = 0
    return made


def slot(c):
    """The slot, as the bootloader and the layout see it."""
    return Region(c.flash, BASE, SLOT)


def page(c):
    """The control page."""
    buf = bytearray(control.HEAD)
    c.flash.read(BASE, buf)
    return control.Control.decode(buf)


def put_page(c, status, n, kind=control.PRODUCTION, data=None):
    """A page as the vendor's bootloader leaves it, over `data` in the slot."""
    rest = 0, 0, len(data or b"") or 5000, bytes(32)
    head = control.Control(status, kind, database.coded(n), ADDRESS, rest).encode()[:48]
    c.flash.erase(BASE, SLOT)
    c.flash.prog(BASE, head + bytes(PAGE - 48))
    if data:
        code = data[PAGE:]
        c.flash.prog(BASE + PAGE, code + b"\xff" * (-len(code) % 16))
    c.flash.trace = []


def holds(c, data):
    """Does the slot hold the code of a .bin?"""
    buf = bytearray(len(data) - PAGE)
    c.flash.read(BASE + PAGE, buf)
    return buf == data[PAGE:]


def rows(c):
    """(name, status, version text) of each row, None without a database."""
    found = database.load(c.store)
    return None if found is None else [tuple(r.fields[:3]) for r in found]


def _cut(c, call, what, n, at):
    """Does the power fail at this operation of `call()`?"""
    flash, files = c.before
    c.flash.power_on()
    c.flash.restore(flash)
    c.store.files = dict(files)
    c.store.ops, c.store.cut = 0, None
    c.flash.cut_at = at
    what.cut = n + (c.flash.ops if what is c.flash else 0)
    failed = False
    try:
        call()
    except PowerCut:
        failed = True
    c.store.cut = None
    c.flash.power_on()
    return failed


def _cuts(c, call, what, places):
    c.before = c.flash.snapshot(), dict(c.store.files)
    n = 1
    while True:
        for at in places:
            if not _cut(c, call, what, n, at):
                assert n > 1, "there was nothing to cut"
                return
            yield "%s, operation %d, %s" % (type(what).__name__, n, at)
        n += 1


def cuts_of_store(c, call):
    """Yields after each way in which the power fails at a change of the store during `call()`."""
    return _cuts(c, call, c.store, ("inside",))


def cuts_of_flash(c, call):
    """The same at each operation of the program flash."""
    return _cuts(c, call, c.flash, ("before", "inside", "after"))
