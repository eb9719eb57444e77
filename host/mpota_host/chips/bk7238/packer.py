"""Makes RBL packages, as Beken's `rt_ota_packaging_tool_cli` does and as its 1.0.14 bootloader takes them.

raw image -> compress -> PKCS#7 to 16, always -> AES-256-CBC -> 96 bytes of header before it. Key and IV are ASCII.
"""

from __future__ import annotations

import gzip
import lzma
import struct
import zlib
from dataclasses import dataclass

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from mpota.layout.bk7238 import rbl
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238 import limits

# lc 3, lp 0, pb 2, and a window of 64 KiB: what the loader's heap is known to hold.
PROPS, WINDOW = 0x5D, 65536
CODES = {name: code for code, name in rbl.COMPRESSIONS.items()}
CIPHER_CODES = {name: code for code, name in rbl.CIPHERS.items()}


@dataclass(frozen=True)
class Options:
    """The arguments of the vendor's packer. `time` is what it takes from the input file, in Unix seconds."""

    version: str
    part: str = "app"
    compress: str = "none"
    crypt: str = "none"
    key: str = ""
    iv: str = ""
    time: int = 0


def fnv1a(data: bytes) -> int:
    """FNV-1a, 32 bits, in one piece: five times as fast on a PC as the device's halves."""
    h = 0x811C9DC5
    for c in data:
        h = (h ^ c) * 0x01000193 & 0xFFFFFFFF
    return h


def _lzma(raw: bytes) -> bytes:
    body = lzma.compress(raw, lzma.FORMAT_RAW, filters=[FILTER])
    return struct.pack("<BIQ", PROPS, WINDOW, len(raw)) + body


FILTER = {
    "id": lzma.FILTER_LZMA1,
    "preset": 9,
    "dict_size": WINDOW,
    "lc": 3,
    "lp": 0,
    "pb": 2,
}
COMPRESS = {"none": lambda raw: raw, "gzip": lambda raw: gzip.compress(raw, 9, mtime=0), "lzma": _lzma}


def padded(data: bytes) -> bytes:
    """PKCS#7: 1 to 16 bytes, each of which says how many."""
    n = 16 - len(data) % 16
    return data + bytes((n,)) * n


def secret(options: Options) -> tuple[bytes, bytes]:
    """Key and IV as bytes; Refused where they are no 32 and 16 ASCII characters."""
    for what, text, n in (("key", options.key, 32), ("iv", options.iv, 16)):
        if len(text) != n or not text.isascii():
            raise Refused("key", f"the {what} is {len(text)} characters long, wanted {n} ASCII characters")
    return options.key.encode(), options.iv.encode()


def raw_bytes(text: str) -> bytes:
    """An argument as it was typed, which need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape")


def check(raw: bytes, options: Options) -> None:
    """Refuse what a header cannot hold, or what no loader would take."""
    for what, text, room in (("version", options.version, 23), ("part", options.part, 15)):
        if not text or len(raw_bytes(text)) > room or "\0" in text:
            raise Refused(what, f"the {what} is {text!r}, wanted 1 to {room} bytes")
    if options.part.startswith("bootloader"):
        raise Refused("part", "the loader refuses a package for its own partition")
    if options.compress not in COMPRESS:
        raise Refused("compress", f"{options.compress}: the 1.0.14 loader lacks it; {', '.join(COMPRESS)} it has")
    if options.crypt not in ("none", "aes"):
        raise Refused("crypt", f"cipher {options.crypt!r}, known are none and aes")
    wrong = limits.refuses(len(raw), options.compress)
    if wrong:
        raise Refused("tiny", wrong)


def pack(raw: bytes, options: Options) -> bytes:
    """The package of an application image."""
    check(raw, options)
    body = padded(COMPRESS[options.compress](raw))
    if options.crypt == "aes":
        key, iv = secret(options)
        aes = Cipher(algorithms.AES(key), modes.CBC(iv)).encryptor()
        body = aes.update(body) + aes.finalize()
    algo = CODES[options.compress] | CIPHER_CODES[options.crypt]
    name, version = raw_bytes(options.part), raw_bytes(options.version)
    sizes = fnv1a(raw), len(raw), len(body)
    head = rbl.Header(rbl.MAGIC, algo, options.time & 0xFFFFFFFF, name, version, rbl.SERIAL, zlib.crc32(body), *sizes)
    done: bytes = head.encode()
    return done + body
