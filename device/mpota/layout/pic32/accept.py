"""Which entries of a manifest count on this board: newer than what runs, not too far above it, and proven by its key.

With a `service_key` an image needs two signatures of that key: the vendor's, over the image, and EntrySignature over
number, product, digest and EraseVer. So an image that was signed once runs under its own number alone. The setting
`vendor_manifest` takes entries with the vendor's signature alone, and `bare` those that nobody signed.
"""

from binascii import crc32
from hashlib import sha256

from mpota.layout import given
from mpota.layout.pic32.link.manifest import NUMBERS
from mpota.layout.pic32.store import database
from mpota.layout.pic32.store.control import DISABLED
from mpota.version import encode
from mpota_boot.errors import Refused

# How far above the number of the image that runs the next one may be. One wrong digit must not end all updates.
JUMP = 100
UNSIGNED = (
    "nothing proves image %d: set `service_key` to the 128 hex digits that `pic32 pack --key` prints,"
    " or `bare` to true to take what nobody signed"
)
UNBOUND = (
    "image %d has no EntrySignature, so its number is not signed: make it by `pic32 pack` with --key and --product,"
    " or set `vendor_manifest` to true to take the vendor's Signature alone"
)


def number(service):
    """The number of the image that runs, 0 for the factory image."""
    port = service.layout.port
    return database.number(port.version) if port.running else 0


def limits(service):
    """The board's number, the highest that it takes now, and its product: what a Manifest asks for."""
    now = number(service)
    # The factory image has no number to count from.
    high = min(now + service.jump, NUMBERS) if now else NUMBERS
    return now, high, service.board.product


def admit(service, offer):
    """Refuse what is not next, what was given up, and what nothing proves."""
    low, high, _ = limits(service)
    n = offer.number
    if not low < n <= high:
        text = "image %d, wanted %d to %d: image %d runs, and the setting `jump` is %d"
        raise Refused("number", text % (n, low + 1, high, low, service.jump))
    _judged(service.layout, offer)
    prove(service, offer)
    boot = service.layout.port.boot_key
    if boot is not None and boot != service.key and not _signs(boot, offer.signature, offer.digest):
        raise Refused("signature", "image %d is not signed by the key of this board's bootloader" % n)


def _judged(layout, offer):
    """Refuse what was given up here. What nobody could judge, for want of the network, is tried again after a while."""
    version = encode([0, 0, 0, offer.number])
    wrong = layout.given_up(offer.digest, version)
    if wrong:
        raise Refused("failed", "image %d: %s" % (offer.number, wrong))
    key = crc32(version, crc32(offer.digest))
    if [row for row in given.known(layout.journal)[1] if row[0] == key and row[3]]:
        return
    for row in layout.rows() or database.told(layout.port.files):
        if row.digest == offer.digest and row.status == DISABLED:
            raise Refused("failed", "image %d was given up here" % offer.number)


def prove(service, entry):
    """Has the board's key signed this entry? False: nobody has, and the settings take it. Refused where they do not."""
    n = entry.number
    if service.key is None and service.bare:
        if entry.signature or entry.proof:
            raise Refused("signature", "image %d is signed: set `service_key` to the key that signs" % n)
        return False
    if not service.key:
        raise Refused("unsigned", UNSIGNED % n)
    bound = bool(entry.proof)
    if not bound and not service.vendor_manifest:
        raise Refused("signature", UNBOUND % n)
    if bound and entry.product != service.board.product:
        text = "image %d is signed for product %r, this board is %r"
        raise Refused("product", text % (n, entry.product[:32], service.board.product))
    good = not bound or _signs(service.key, entry.proof, sha256(entry.signed()).digest())
    if not good or not (entry.erase or _signs(service.key, entry.signature, entry.digest)):
        what = "image" if good else "entry"
        raise Refused("signature", "the %s %d is not signed by the key that is trusted here" % (what, n))
    return bound


def _signs(key, text, digest):
    from mpota.layout.pic32.pipe import p256

    return p256.verify_text(key, text, digest)
