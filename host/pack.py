"""Makes a package: takes the application out of whatever firmware file was given, checks it, chunks it, signs it.

What a board would refuse is refused here first, with the same sentence: nobody should sign an image that no loader
starts. The same input gives the same bytes.
"""

from __future__ import annotations

import hashlib
import struct
import zlib
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa

from device.errors import Refused
from host import format as fmt
from host import keys
from host.assemble import Head, Part, assemble, pieces
from host.encrypt import key_id, lock
from host.vendor import prepare

# What `compress` may be, and the stage it stands for.
COMPRESSIONS: dict[str, tuple[str, ...]] = {"none": (), "deflate": ("inflate",)}
# DeflateIO of the ESP32 takes a window of 2**wbits bytes from the heap; 4 KiB costs 1.7 % of size beside 32 KiB.
WBITS = 12


@dataclass
class Options:
    """What a package is for and how it is made. `chunk` in bytes; `compress` a name of COMPRESSIONS.

    `encrypt_for` are device keys, each of which will open it; they are in no text made of this object.
    """

    product: str
    version: str
    layout: str = "esp32"
    chunk: int = 16384
    compress: str = "deflate"
    wbits: int = WBITS
    encrypt_for: tuple[bytes, ...] = field(default=(), repr=False)


@dataclass
class Packed:
    """A package, what the packer wants to tell a person, and the facts for `--json`."""

    data: bytes
    notes: list[str] = field(default_factory=list)
    facts: dict[str, object] = field(default_factory=dict)
    encrypted_for: list[str] = field(default_factory=list)


def version_bytes(text: str) -> bytes:
    """`1.2.3` or `1.2.3.4`, each number 0..65535, as 8 bytes that compare as versions do."""
    parts = text.split(".")
    if not 1 <= len(parts) <= 4 or not all(p.isascii() and p.isdigit() and int(p) < 65536 for p in parts):
        raise Refused("version", f"the version is {text!r}, wanted 1.2.3 or 1.2.3.4 with numbers up to 65535")
    return struct.pack(">4H", *[int(p) for p in [*parts, "0", "0", "0"][:4]])


def pack(firmware: bytes, options: Options, key: rsa.RSAPrivateKey | None) -> Packed:
    """Sign `firmware` (a bare application or a merged image) into a package; without a key it is unsigned."""
    check(options)
    image, notes, facts = prepare(options.layout, firmware)
    data = assemble(*lock(head(options), [part(image, options)], options.encrypt_for), key)
    ids = list(dict.fromkeys(key_id(secret).hex() for secret in options.encrypt_for))
    facts |= {
        "product": options.product,
        "version": options.version,
        "layout": options.layout,
        "compress": options.compress,
        "chunk": options.chunk,
        "image": len(image),
        "size": len(data),
        "id": ident(data),
        "key": keys.key_id(keys.public_bytes(key)).hex() if key else None,
        "encrypted_for": ids,
    }
    return Packed(data, notes, facts, ids)


def head(options: Options) -> Head:
    """What the header says of the package."""
    return Head(options.product, options.layout, version_bytes(options.version), options.chunk)


def ident(data: bytes) -> str:
    """The id of a package: the first 8 bytes of the SHA-256 of what is signed, in hex."""
    end = 16 + struct.unpack_from("<H", data, 6)[0]
    return hashlib.sha256(data[:end]).hexdigest()[:16]


def part(image: bytes, options: Options) -> Part:
    """The firmware as a component."""
    travel = [encode(piece, options) for piece in pieces(image, options.chunk)]
    stages = COMPRESSIONS[options.compress]
    return Part(fmt.FIRMWARE, "firmware", image, travel, stages, options.wbits if stages else 0)


def check(options: Options) -> None:
    """Refuse what a header cannot hold."""
    for what, text, room in (("product", options.product, 32), ("layout", options.layout, 8)):
        if not 0 < len(text.encode()) <= room or "\0" in text:
            raise Refused(what, f"the {what} is {text!r}, wanted 1 to {room} bytes")
    if options.chunk not in fmt.CHUNKS:
        raise Refused("chunk", f"chunks of {options.chunk} bytes, wanted one of {fmt.CHUNKS}")
    if options.compress not in COMPRESSIONS:
        raise Refused("compress", f"compression {options.compress!r}, known are {', '.join(COMPRESSIONS)}")
    if not 9 <= options.wbits <= 15:
        raise Refused("compress", f"a window of 2**{options.wbits} bytes, wanted 9 to 15")


def encode(piece: bytes, options: Options) -> bytes:
    """One chunk's bytes as they travel."""
    if options.compress == "none":
        return piece
    deflate = zlib.compressobj(9, zlib.DEFLATED, -options.wbits, 9)
    return min(deflate.compress(piece) + deflate.flush(), stored(piece), key=len)


def stored(piece: bytes) -> bytes:
    """`piece` as raw deflate without compression: zlib adds more than a chunk has room for where nothing repeats."""
    deflate = zlib.compressobj(0, zlib.DEFLATED, -15)
    return deflate.compress(piece) + deflate.flush()
