"""Makes what the vendor's packer makes of the same arguments: the control packet, a wire file for each image, packages.

An image is padded to 16 bytes, compressed, padded again, encrypted, and cut into records. The signature of an image is
over what is stored on the chip. Where the vendor's tool writes something that its chips refuse, this one refuses first.
"""

from __future__ import annotations

import secrets
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass, field

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from mpota.layout.sifli.pipe import com, offline, signed, wire
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.layout.sifli.store import control
from mpota_boot.errors import Refused
from mpota_host.chips.sifli import literals

Sign = Callable[[bytes], bytes]
GZIP, ZLIB = 0, 1
# What the chip's own inflater can look back, as far as its files show.
EZIP_WBITS = 13
# How a chunk for it begins: the last block, with codes of its own.
ONE_DYNAMIC = 5


# Ids that the vendor has and that no phone may bring here.
NOT_HERE = {
    control.OTA_MANAGER: "the OTA manager, which starts the chip",
    9: "the vendor's place to compare LCPU patches",
    10: "the control packet",
    11: "the bootloader, which starts the manager",
}


@dataclass
class Options:
    """As the vendor's tool has them; `key` is the root key, `public` the DER of the signing key."""

    key: bytes = field(repr=False)
    public: bytes
    sign: Sign
    dfu_id: int = 0
    hw_ver: int = 0
    sdk_ver: int = 0
    fw_ver: int = 0
    bksize: int = 512
    pksize: int = com.CHUNK
    com_type: int = ZLIB
    align: bool = True
    offline_img: int = 0
    # Where it is even, an encrypted image is signed before it is encrypted, which no chip takes.
    flags: int = 1
    image_key: bytes = field(default_factory=lambda: secrets.token_bytes(32), repr=False)

    @property
    def nonce(self) -> bytes:
        """What begins every counter block."""
        return bytes(signed.key_hash(self.public))


@dataclass
class Given:
    """An image: its name, bytes, flags and id."""

    name: str
    data: bytes
    flags: int
    id: int


def signer(private: rsa.RSAPrivateKey) -> tuple[bytes, Sign]:
    """(DER of the public key, a function that signs) of an RSA-2048 key."""
    if private.key_size != 2048 or private.public_key().public_numbers().e != 65537:
        raise Refused("sigkey", f"an RSA key of {private.key_size} bits, wanted 2048 with the exponent 65537")
    der = private.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return der, lambda data: private.sign(data, padding.PKCS1v15(), hashes.SHA256())


def version(text: str) -> int:
    """`1.2.3` or the number X * 1000000 + Y * 1000 + Z itself."""
    parts = text.lstrip("v").split(".")
    if not all(p.isascii() and p.isdigit() for p in parts) or len(parts) not in (1, 3):
        raise Refused("version", f"the version is {text!r}, wanted 1.2.3 or a number")
    numbers = [int(p) for p in parts]
    if len(parts) == 3 and max(numbers[1:]) > 999:
        raise Refused("version", f"the version is {text!r}: the second and third number have three digits at most")
    n = numbers[0] if len(parts) == 1 else numbers[0] * 1000000 + numbers[1] * 1000 + numbers[2]
    if n > 0xFFFFFFFF:
        raise Refused("version", f"the version {text!r} is more than 32 bits")
    return n


def pad(data: bytes, align: bool) -> bytes:
    """Filled up with zeros to 16 bytes."""
    return data + bytes(-len(data) % 16) if align else data


def blob(piece: bytes, com_type: int) -> bytes:
    """One chunk of the compressed form."""
    if com_type == ZLIB:
        return zlib.compress(piece, 9)
    deflate = zlib.compressobj(9, zlib.DEFLATED, -EZIP_WBITS, 9)
    raw = deflate.compress(piece) + deflate.flush()
    if raw[0] & 7 != ONE_DYNAMIC:
        raw = literals.block(piece)
    return struct.pack("<I", len(piece)) + raw


def compressed(data: bytes, options: Options) -> bytes:
    """The compressed form, `com_*.bin`."""
    if not 0 < options.pksize <= com.CHUNK:
        raise Refused("pksize", f"chunks of {options.pksize} bytes, a device takes {com.CHUNK} at most")
    out = [struct.pack(com.HEAD, len(data), options.pksize)]
    for at in range(0, len(data), options.pksize):
        piece = blob(data[at : at + options.pksize], options.com_type)
        out.append(struct.pack("<I", len(piece)) + piece)
    return b"".join(out)


def records(plain: bytes, stored: bytes, block: int) -> bytes:
    """A wire file."""
    cuts = range(0, len(plain), block)
    return b"".join(wire.encode(at, plain[at : at + block], stored[at : at + block]) for at in cuts)


def check(images: list[Given], options: Options) -> None:
    """Refuse what no chip takes."""
    block = options.bksize
    if not 16 <= block <= 2048 or block & (block - 1):
        raise Refused("bksize", f"blocks of {block} bytes, wanted a power of two from 16 to 2048")
    if not 0 < len(images) <= control.MOST or len({image.id for image in images}) != len(images):
        raise Refused("images", f"{len(images)} images, wanted 1 to {control.MOST}, each id once")
    if options.com_type not in (GZIP, ZLIB):
        words = "the vendor's tool then stores the chunks as they are, which no chip can install"
        raise Refused("com-type", f"com_type {options.com_type}: {words}; give 1 (zlib) or 0 (the chip's own inflater)")
    if options.offline_img not in (0, 1, 2):
        raise Refused("offline", f"offline_img {options.offline_img}, wanted 0, 1 or 2")
    fields = {"dfu_id": (options.dfu_id, 8), "hw_ver": (options.hw_ver, 32)}
    for image in images:
        fields |= {f"the id of {image.name}": (image.id, 8), f"the flags of {image.name}": (image.flags, 16)}
    for field_name, (n, bits) in fields.items():
        if not 0 <= n < 1 << bits:
            raise Refused("range", f"{field_name} is {n}, wanted 0 to {(1 << bits) - 1}")
    twice = {image.name for image in images if [other.name for other in images].count(image.name) > 1}
    if twice and options.offline_img != 2:
        raise Refused("names", f"two files are called {twice.pop()}.bin, and what is made of them would be too")
    _placed(images, options)
    for image in images:
        if options.offline_img == 1 and image.flags & ~control.ENC != control.COMPRESS:
            raise Refused(
                "offline", f"{image.name} has flags {image.flags}: a package of this kind takes flag 16 alone"
            )


def _placed(images: list[Given], options: Options) -> None:
    """Refuse what every mpota manager answers with an error, whatever its map."""
    if options.dfu_id == control.MANAGER:
        words = "replaces the OTA manager, which starts the chip: a cut in that leaves a chip that starts nothing"
        raise Refused("dfu-id", f"dfu_id 2 {words}. An mpota manager refuses it; write a new manager by cable")
    if options.dfu_id not in (control.CODE, control.MIX):
        raise Refused("dfu-id", f"dfu_id {options.dfu_id}, wanted 0 (code) or 1 (code, resources and fonts)")
    for image in images:
        if image.id in NOT_HERE:
            words = f"{image.name} has id {image.id}, {NOT_HERE[image.id]}"
            raise Refused("id", f"{words}: no phone can bring it; write it by cable")
        if image.id >= len(control.NAMES):
            raise Refused("id", f"{image.name} has id {image.id}, wanted {_ids()}")
        if image.flags & control.ENC and not options.flags & control.ENC:
            words = "is signed before it is encrypted, and a chip proves what it stores"
            raise Refused("flags", f"--flags {options.flags}: {image.name} {words}; leave --flags off")
        if image.id in (control.LCPU, control.PATCH) and image.flags & control.ENC:
            words = f"{image.name} has flags {image.flags}: nothing on the chip decrypts an image of the LCPU"
            raise Refused("lcpu", f"{words}; give flags {image.flags & ~control.ENC}")


def _ids() -> str:
    return ", ".join(f"{i} {name}" for i, name in enumerate(control.NAMES) if i not in NOT_HERE)


def pack(images: list[Given], options: Options) -> dict[str, bytes]:
    """Every file by its name."""
    check(images, options)
    if options.offline_img == 2:
        return {"offline_install.bin": package_v1(images, options)}
    files: dict[str, bytes] = {}
    found, parts = [], []
    for image in images:
        plain = pad(image.data, options.align)
        name = image.name
        if image.flags & control.COMPRESS:
            plain = compressed(plain, options)
            name = f"com_{name}"
            files[f"{name}.bin"] = plain
            parts.append((image.id, plain))
            plain = pad(plain, options.align)
        stored = bytearray(plain)
        if image.flags & control.ENC:
            Ctr(options.image_key, options.nonce).xor(0, stored)
        sig = options.sign(bytes(stored) if options.flags & 1 else plain)
        found.append(control.Image(sig, len(stored), image.flags, image.id))
        front = "enc" if image.flags & control.ENC else "out"
        files[f"{front}{name}.bin"] = records(plain, bytes(stored), options.bksize)
    fields = [options.dfu_id, options.hw_ver, options.sdk_ver, options.fw_ver, options.image_key, options.bksize]
    packet = control.write(control.Control(fields, found), options.key, options.nonce, options.sign)
    files["ctrl_packet.bin"] = packet
    if options.offline_img == 1:
        files["offline_install.bin"] = offline.encode_v0([(offline.CTRL_PACKET, packet), *parts])
    return files


def package_v1(images: list[Given], options: Options) -> bytes:
    """The package that a checksum protects, and nothing else."""
    parts = []
    for image in images:
        data = image.data
        if image.flags == control.COMPRESS:
            data = compressed(pad(data, options.align), options)
        parts.append((image.id, image.flags, data))
    made: bytes = offline.encode_v1(parts)
    return made
