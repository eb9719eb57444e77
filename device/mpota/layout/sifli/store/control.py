"""The control packet, `ctrl_packet.bin`: what an upgrade brings, which key encrypts it, who signed it.

    0 SHA-256 of the content 32 | 32 content, AES-256-CTR with the root key | end - 256 RSA-2048 over the content
    content: 0 dfu_ID u8 | 1 hardware u32 | 5 SDK u32 | 9 firmware u32 | 13 image key 32 | 45 3 + 263 n u16 |
             47 block u16 | 49 n u8 | then n images: signature 256 | stored length u32 | flags u16 | id u8

Order of a look at it: the hash, the signature, the fields. The whole hash counts, where the vendor takes 8 bytes of it.
"""

import struct
from hashlib import sha256

from mpota.layout.sifli.pipe import signed
from mpota.layout.sifli.pipe.ctr import Ctr
from mpota.version import encode
from mpota_boot.errors import Refused

HEAD = "<BIII32sHHB"
HEAD_SIZE = 50
IMAGE = "<256sIHB"
IMAGE_SIZE = 263
MOST = 11  # images of one packet: an id each
# A hash, the content of the largest packet, a signature.
SIZE = 32 + HEAD_SIZE + IMAGE_SIZE * MOST + signed.SIZE

# Flags of an image: stored encrypted, comes in the compressed form.
ENC, COMPRESS = 1, 16
# Kinds of upgrades.
CODE, MIX, MANAGER = 0, 1, 2
# Ids of images on NOR flash.
HCPU, LCPU, PATCH, RES, FONT, EX, OTA_MANAGER, TINY_FONT, RES_UPGRADE = range(9)
NAMES = ("hcpu", "lcpu", "patch", "res", "font", "ex", "manager", "tiny_font", "res_upgrade")


class Image:
    """One image: `sig` over its stored bytes, `length` of them, `flags`, `id`."""

    def __init__(self, sig, length, flags, id):
        self.sig = sig
        self.length = length
        self.flags = flags
        self.id = id

    def staged(self):
        """Does it wait in an area until all has come? An LCPU that is half written may carry no phone's messages."""
        return self.flags & COMPRESS or self.id in (LCPU, PATCH)


class Control:
    """The content of a control packet."""

    def __init__(self, fields, images):
        self.dfu, self.hw, self.sdk, self.fw, self.key, self.block = fields
        self.images = images

    @classmethod
    def decode(cls, data):
        """From the content; Refused where its fields do not hang together."""
        if len(data) < HEAD_SIZE:
            raise Refused("control-fields", "a control packet's content of %d bytes" % len(data))
        *fields, _, block, n = struct.unpack(HEAD, data[:HEAD_SIZE])
        want = HEAD_SIZE + IMAGE_SIZE * n
        if n > MOST or len(data) != want or not 16 <= block <= 2048 or block & (block - 1):
            raise Refused("control-fields", "%d images in %d bytes, blocks of %d" % (n, len(data), block))
        images = []
        for off in range(HEAD_SIZE, want, IMAGE_SIZE):
            images.append(Image(*struct.unpack(IMAGE, data[off : off + IMAGE_SIZE])))
        return cls(fields + [block], images)

    def encode(self):
        """The content's bytes."""
        n = len(self.images)
        head = struct.pack(HEAD, self.dfu, self.hw, self.sdk, self.fw, self.key, 3 + IMAGE_SIZE * n, self.block, n)
        return head + b"".join([struct.pack(IMAGE, i.sig, i.length, i.flags, i.id) for i in self.images])

    def image(self, id):
        """The image with this id, or None."""
        for image in self.images:
            if image.id == id:
                return image
        return None

    def staging(self, id, sector):
        """Where in its area a staged image lies, the user program first; for None, the bytes that all need."""
        at = 0
        for image in sorted(self.images, key=lambda i: i.id):
            if image.staged():
                if image.id == id:
                    return at
                at += (image.length + sector - 1) // sector * sector
        return at

    def same(self):
        """A digest of all that a resumed upgrade must have in common with the one before it: all but the lengths."""
        h = sha256(struct.pack(HEAD, self.dfu, self.hw, self.sdk, self.fw, self.key, 0, self.block, len(self.images)))
        for i in self.images:
            h.update(struct.pack("<256sHB", i.sig, i.flags, i.id))
        return h.digest()


def version(fw):
    """The eight bytes of a firmware version: X * 1000000 + Y * 1000 + Z."""
    return encode([fw // 1000000 & 0xFFFF, fw // 1000 % 1000, fw % 1000])


def content(packet, root, nonce):
    """The decrypted content of a packet whose hash is right; neither the signature nor the fields were looked at."""
    if not 32 + signed.SIZE <= len(packet) <= SIZE:
        raise Refused("control-hash", "a control packet of %d bytes, at most %d" % (len(packet), SIZE))
    data = bytearray(packet[32 : -signed.SIZE])
    Ctr(root, nonce).xor(0, data)
    if sha256(data).digest() != bytes(packet[:32]):
        raise Refused("control-hash", "the control packet is damaged, or for another root key or signature key")
    return bytes(data)


def read(packet, root, nonce, public):
    """The Control in a packet, proven by `public`, the flash table's key; Refused where it is not."""
    data = content(packet, root, nonce)
    if not signed.verify(public, bytes(packet[-signed.SIZE :]), sha256(data).digest()):
        raise Refused("control-signature", "the control packet is not signed by the key in the flash table")
    return Control.decode(data)


def write(control, root, nonce, sign):
    """The packet's bytes; `sign(data)` gives the RSA-2048 signature over data."""
    data = control.encode()
    buf = bytearray(data)
    Ctr(root, nonce).xor(0, buf)
    return sha256(data).digest() + bytes(buf) + sign(data)
