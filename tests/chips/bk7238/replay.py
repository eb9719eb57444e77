"""Cases made by Beken's packer, cipher tool and bootloader, replayed through the codec, the unpacker and the copier.

Sections of the file are lists, or a dict by name; each becomes cases with `op`, the section's name. Packages of other
people are decoded as they lie in the file. The bootloader's experiments are known by their names only: here such a
package is built again from the compressed bytes that the vendor's tool made, and a name that says nothing known is told
and not counted.
"""

import json
from binascii import a2b_base64, crc32, hexlify, unhexlify
from hashlib import sha256
from struct import pack, unpack

from mpota.layout.bk7238 import loader, rbl
from mpota.layout.bk7238.loader import copier
from mpota.layout.bk7238.pipe.unpack import UNPACKS, Body
from mpota.layout.bk7238.store import coded, scramble
from mpota.stream import pull
from mpota_host.chips.bk7238 import limits, quick
from mpota_host.sim.flash import SimFlash
from tests.chips.bk7238.rbl_maker import gzipped, linked, made, payload

# Where this code refuses a package that the vendor's accepts or dies of; FORMAT.md has the reasons.
SAFER = {
    "size-raw": lambda head, image, want: head.raw != len(image),
    "fault": lambda head, image, want: not isinstance(want["rc"], int),
}
SECTIONS = (
    "vendor_packages vendor_failures ltchiptool_packages ltchiptool_reads_vendor crc16_interleave crc16_block_checks"
    " beken_cipher bootloader_oracle_results"
).split()
APP_SIZE = 0x10000
SPARE = 0x8000
# Packages of the vendor by (size, compression, cipher), which other sections refer to.
PACKAGES = {}


def cases(file):
    """Every case of a file, section by section; packages first."""
    return found_in(json.load(file))


def found_in(data):
    """The same of what was in the file."""
    for case in data.get("vendor_packages", ()):
        PACKAGES[case["size"], case["compress"], case["crypt"]] = case
    told = []
    for op in SECTIONS:
        found = data.get(op, ())
        if isinstance(found, dict):
            found = [{"key": key, "value": found[key]} for key in found]
        for case in found:
            case["op"] = op
            if op in NEEDS and not NEEDS[op](case):
                told.append(case.get("test") or case["key"])
            else:
                yield case
    if told:
        print("not replayed, for want of a package: %s" % ", ".join(told))


class Rom:
    """Bytes as a Flash to read."""

    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read(self, off, buf):
        buf[:] = self.data[off : off + len(buf)]


def plain(package, head, secret=(rbl.KEY, rbl.IV)):
    """The body of a package, decrypted and without its padding."""
    src = Body(Rom(package), head, secret, bytearray(rbl.PIECE))
    buf = bytearray(head.body)
    return bytes(buf[: pull(src, buf)])


def copied(package, custom=False, secret=(rbl.KEY, rbl.IV)):
    """What the copier makes of a package: its result, and the bytes in the application's place."""
    flash = SimFlash(0x11000 * 2, prog_size=1)
    app = coded.Coded(flash, APP_SIZE, APP_SIZE)
    # Something that an erase would take away.
    app.prog(0, b"old application " * 2)
    flash.trace = []
    head = rbl.Header.decode(package[: rbl.SIZE])
    options = loader.Options({}, secret)
    rc, erased = loader.copy(Rom(package), head, app, options, custom)
    image = bytearray(head.raw if head.raw < SPARE else SPARE)
    app.bad = 0
    app.read(0, image)
    touched = bool([1 for op, _, _ in flash.trace if op == "erase"])
    return {"rc": rc, "dest_erased": touched or erased, "image": bytes(image), "bad": app.bad}


def differs(got, want):
    """None, or what differs in the fields that `want` has."""
    wrong = ["%s is %r, wanted %r" % (k, got[k], want[k]) for k in want if k in got and got[k] != want[k]]
    return ", ".join(wrong) or None


def fields(head):
    return {
        "magic_hex": hexlify(head.magic).decode(),
        "algo": head.algo,
        "timestamp": head.time,
        "name": head.name.decode(),
        "version": head.version.decode(),
        "sn_hex": hexlify(head.serial).decode(),
        "body_crc32": head.crc,
        "hash": head.hash,
        "size_raw": head.raw,
        "size_package": head.body,
    }


def opened(case):
    """(package, Header, what is wrong with it)."""
    package = a2b_base64(case["package_b64"])
    head = rbl.Header.decode(package[: rbl.SIZE])
    if head is None:
        return package, None, "the header's CRC is wrong"
    if hexlify(sha256(package).digest()).decode() != case["sha256"]:
        return package, head, "the file's own bytes are not whole"
    text = differs(fields(head), case["header"])
    if not text and head.encode() != package[: rbl.SIZE]:
        text = "the header is encoded otherwise"
    if not text and crc32(package[rbl.SIZE :]) != head.crc:
        text = "the body's CRC is another"
    fnv = rbl.Fnv()
    fnv.update(payload(case["size"]))
    if not text and fnv.value != head.hash:
        text = "FNV-1a of the payload is 0x%08x, wanted 0x%08x" % (fnv.value, head.hash)
    return package, head, text


def read_back(package, head):
    """The image in a package, by whatever reads its compression."""
    kind = rbl.COMPRESSIONS[head.compression]
    if head.compression not in UNPACKS:
        return quick.unpack(plain(package, head), kind)
    got = copied(package)
    return got["image"] if got["rc"] == copier.DONE and not got["bad"] else None


def vendor_packages(case):
    package, head, text = opened(case)
    if text:
        return text
    want = case["bootloader_1_0_14_copy"]
    got = copied(package)
    got["content_ok"] = got["rc"] == 0 and got["image"] == payload(case["size"]) and not got["bad"]
    if read_back(package, head) != payload(case["size"]):
        return "it does not decode to the payload"
    return differs(got, want)


def vendor_failures(case):
    reason = limits.refuses(case["size"], case["compress"])
    return None if reason else "our packer takes it"


def ltchiptool_packages(case):
    package, head, text = opened(case)
    if text:
        return text
    # Without padding the last bytes of an image may look like some: then the vendor's loader drops them too.
    ours = plain(package, head)
    if head.compression == rbl.NONE and len(ours) < head.raw:
        n = package[-1]
        return None if head.cipher == rbl.NONE and package[-n:] == bytes((n,)) * n else "padding that is none went"
    return None if read_back(package, head) == payload(case["size"]) else "it does not decode to the payload"


def key_of(case):
    """(size, compression, cipher) in a name like 32_gzip_aes."""
    size, compression, cipher = case["key"].split("_")
    return int(size), compression, cipher


def ltchiptool_reads_vendor(case):
    """Where ltchiptool reads a vendor's package, and where its own padding rule stops it, ours reads it."""
    size, kind, cipher = key_of(case)
    found = PACKAGES.get((size, kind, cipher))
    image = payload(size)
    if found:
        package = a2b_base64(found["package_b64"])
        head = rbl.Header.decode(package[: rbl.SIZE])
    else:
        algo = (rbl.AES if cipher == "aes" else 0) | (rbl.GZIP if kind == "gzip" else 0)
        head, body = made(image, gzipped(image) if kind == "gzip" else image, algo)
        package = head.encode() + body
    return None if read_back(package, head) == image else "it does not decode to the payload"


def crc16_interleave(case):
    data = payload(case["size"])
    # One sector more than any of them needs: a partition ends with a sector.
    flash = SimFlash(0x11000, prog_size=1)
    view = coded.Coded(flash, 0, 0x10000)
    view.prog(0, data)
    out = bytearray(case["out_len"])
    flash.read(0, out)
    want = {"sha256": case["sha256"], "first_block_crc": case["first_block_crc"]}
    if case["out_b64"] is not None:
        want["out_b64"] = case["out_b64"]
        if a2b_base64(case["out_b64"]) != bytes(out):
            return "other bytes"
    back = bytearray(len(data))
    view.read(0, back)
    if bytes(back) != data or view.bad:
        return "it reads back otherwise"
    got = {
        "sha256": hexlify(sha256(out).digest()).decode(),
        "first_block_crc": hexlify(out[32:34]).decode() if out else None,
    }
    return differs(got, want)


def crc16_block_checks(case):
    block = unhexlify(case["block_hex"])
    got = hexlify(pack(">H", coded.crc16(coded.TABLE, block, len(block)))).decode()
    return differs({"crc_be_hex": got}, case)


def beken_cipher(case):
    key = unpack(">4I", unhexlify(case["coeffs_hex"]))
    n = int(case["plain"][8:-1])
    data = bytearray(payload(n))
    if coded.scrambles(key):
        scramble.scramble(data, case["addr"], key)
    return differs({"vendor_encrypt_n_hex": hexlify(data).decode()}, case)


# The bootloader's experiments, from their names.


def number(words, after):
    """The number behind a word of a name, None where there is none."""
    if after in words:
        text = words[words.index(after) + 1] if words.index(after) + 1 < len(words) else ""
        try:
            return int(text, 0)
        except ValueError:
            pass
    return None


def compressed(size, kind):
    """What the vendor's tool made of payload(size), without padding; None where the file has no such package."""
    for cipher in ("none", "aes"):
        case = PACKAGES.get((size, kind, cipher))
        if case:
            package = a2b_base64(case["package_b64"])
            return plain(package, rbl.Header.decode(package[: rbl.SIZE]))
    return None


def adler(data):
    a, b = 1, 0
    for c in data:
        a = (a + c) % 65521
        b = (b + a) % 65521
    return b << 16 | a


def interleaved(image):
    flash = SimFlash(0x11000, prog_size=1)
    coded.Coded(flash, 0, 0x10000).prog(0, image)
    out = bytearray((len(image) + 31) // 32 * 34)
    flash.read(0, out)
    return bytes(out)


def custom(name, words):
    """The look at the first block is on. These experiments need other images than the file has compressed: none+aes."""
    image = linked(payload(4096), 0x10000)
    if "interleaved" in name:
        image = interleaved(image)
    elif number(words, "addr") is not None:
        image = linked(image, number(words, "addr"))
    elif "byte" in words:
        image = image[: int(words[words.index("byte") - 1])]
    elif not ("ok" in words or "good" in words or "valid" in words):
        return None
    return image, image, rbl.AES


def exact(name, words):
    """`none+aes 4080 -> package exactly 4096`."""
    size = int(words[1])
    return payload(size), payload(size), rbl.AES


def foreign(name, words):
    """`ltchiptool SIZE COMPRESSION CIPHER`; its padding is that of made() but for whole blocks in plain."""
    size, kind, cipher = int(words[1]), words[2], words[3]
    algo = (rbl.AES if cipher.startswith("aes") else 0) | (rbl.GZIP if kind == "gzip" else 0)
    if kind == "gzip":
        return payload(size), gzipped(payload(size)), algo
    return payload(size), payload(size), algo


def deflated(name, words):
    """Containers around one deflate stream."""
    stream = compressed(4096, "gzip")
    if stream is None:
        return None
    image = payload(4096)
    inner = stream[10:-8]
    if "zlib" in words:
        stream = b"\x78\xda" + inner + pack(">I", adler(image))
    elif "raw" in words:
        stream = inner
    return image, stream, (rbl.AES if "aes" in words else 0) | rbl.GZIP


def lzma(name, words):
    """LZMA-alone with another header, or in another container."""
    stream = compressed(4096, "lzma")
    if stream is None:
        return None
    window = number(words, "dict")
    head = bytearray(stream[:13])
    if window is not None:
        head[1:5] = pack("<I", window)
    if "size=-1" in words:
        head[5:] = b"\xff" * 8
    elif "size" in words and ("wrong" in words or "zero" in words or "0" in words):
        head[5:] = pack("<Q", 1)
    stream = b"\xfd7zXZ\0" + stream[6:] if "xz" in words or ".xz" in words else bytes(head) + stream[13:]
    return payload(4096), stream, (0 if "none" in words else rbl.AES) | rbl.LZMA


def known(name, words):
    """(image, compressed bytes, algorithm) of an experiment; None where the name says nothing known."""
    if "custom" in words:
        return custom(name, words)
    if words[0] == "none+aes" and words[1].isdigit():
        return exact(name, words)
    if words[0] == "ltchiptool" and len(words) == 4:
        return foreign(name, words)
    if words[0] == "algo":
        made = lzma(name, words)
        return made and (made[0], made[1], int(words[1], 0) | rbl.AES)
    if "gzip" in words or "zlib" in words or "deflate" in words:
        return deflated(name, words)
    for word in ("lzma", "py-lzma", "xz", ".xz", "hash", "iv", "key", "size_raw"):
        if word in words:
            return lzma(name, words)
    return None


def rebuild(name):
    """(package, image, secret) of an experiment."""
    words = name.lower().replace(",", "").replace("(", "").replace(")", "").split()
    image, stream, algo = known(name.lower(), words)
    tight = "ltchip" in words or words[0] == "ltchiptool" or ("no" in words and "padding" in words)
    head, body = made(image, stream, algo, not tight or algo == rbl.AES)
    if "hash" in words and "wrong" in words:
        head.hash += 1
    for word in words:
        if "size_raw" in words and word[0] in "+-" and word[1:].isdigit():
            head.raw += int(word)
    secret = rbl.KEY, rbl.IV
    if "wrong" in words and "iv" in words:
        secret = rbl.KEY, b"F" * 16
    elif "wrong" in words and "key" in words:
        secret = b"F" * 32, rbl.IV
    return head, head.encode() + body, image, secret


def can_rebuild(case):
    name = case["test"]
    return known(name.lower(), name.lower().replace(",", "").replace("(", "").replace(")", "").split()) is not None


def bootloader_oracle_results(case):
    head, package, image, secret = rebuild(case["test"])
    got = copied(package, "custom" in case["test"].lower(), secret)
    got["content_ok"] = got["rc"] == 0 and got["image"] == image and not got["bad"]
    text = differs(got, {k: case[k] for k in ("rc", "content_ok", "dest_erased")})
    if text and not got["dest_erased"] and got["rc"] < 0:
        for rule in SAFER:
            if SAFER[rule](head, image, case):
                return rule
    return text


NEEDS = {
    "ltchiptool_reads_vendor": lambda case: key_of(case) in PACKAGES or key_of(case)[1] in ("none", "gzip"),
    "bootloader_oracle_results": can_rebuild,
}
OPS = {
    "vendor_packages": vendor_packages,
    "vendor_failures": vendor_failures,
    "ltchiptool_packages": ltchiptool_packages,
    "ltchiptool_reads_vendor": ltchiptool_reads_vendor,
    "crc16_interleave": crc16_interleave,
    "crc16_block_checks": crc16_block_checks,
    "beken_cipher": beken_cipher,
    "bootloader_oracle_results": bootloader_oracle_results,
}


def replay(case):
    """None where the code does what the case recorded, a rule where it is safer, else what differs."""
    return OPS[case["op"]](case)
