"""The two places of a PIC32MZW1, the slot in program flash and the store, and what a .bin for them looks like."""

from binascii import unhexlify

from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import PAGE
from mpota.layout.pic32.store.files import FACTORY_FILE, Programmed
from mpota_boot.errors import Refused

# The rows that the store keeps beside the factory image, and where the slot lies since release 3.7.
IMAGES = 2
BASE, SLOT = 0x20000, 0xDF000


def ident(version):
    """What the journal calls an image by: a number of one byte, 0 for the factory image."""
    return database.number(version) % 120 + 1


def key_of(text):
    """The public key in 128 hex digits, b"" where it is none: then nothing is proven, and nothing is taken."""
    try:
        key = unhexlify(text.encode())
    except (ValueError, AttributeError):
        return b""
    return key if len(key) == 64 else b""


def sign_of(name):
    """The name of the file with an image's signature, where the vendor's bootloader looks for it."""
    return (name.rpartition(".")[0] or name) + "_sign.txt"


class Port:
    """The slot `flash`, control page first; `files`, the store; what runs, as a number of the journal."""

    images = IMAGES
    # The public key that the bootloader was built with, None where it asks for no signatures.
    boot_key = None
    address = 0xB0000000 + BASE + PAGE

    def __init__(self, board, flash, store):
        self.flash = flash
        self.files = store
        self.feed = board.feed
        self.root = board.root
        self.protected = board.protected
        page = control.read(flash)
        self.version = page.version if page else 0
        self.running = 0 if page is None or page.golden else ident(self.version)

    def row(self, rows):
        """The row of the image that runs, None for the factory image."""
        return find(rows, self.version) if self.running else None

    @property
    def current(self):
        """The image that runs, as it was before it got its page."""
        row = self.row(database.load(self.files) or ())
        return Programmed(self.flash, self.files, row.name if row else FACTORY_FILE)


def find(rows, version):
    """The last whole row of a version."""
    for row in rows[::-1]:
        if row.whole and row.version == version:
            return row
    return None


def judge(head, size, address):
    """Refuse what is no .bin for this slot, by its first bytes."""
    give = "; give the .bin that `mpota pic32 pack` makes"
    start = bytes(head[:64])
    if start[:1] == b":":
        raise Refused("hex", "an Intel HEX file" + give)
    if len(head) < PAGE or size <= PAGE:
        raise Refused("tiny", "%d bytes, a control page has %d" % (size, PAGE) + give)
    page = control.Control.decode(head)
    # KSEG0 and KSEG1 are two windows on one flash, as the loader has it.
    if page is None or (page.boot ^ address) & 0x1FFFFFFF:
        seen = "no control page" if page is None else "an image for 0x%x" % page.boot
        raise Refused("address", "%s, this board starts at 0x%x" % (seen, address) + give)
