"""The tables of the page as structs, little-endian and without gaps."""

from struct import Struct

PREAMBLE = Struct("<4sBBH8s")  # magic, format, signature, bytes up to the last field, key id
BODY = Struct("<32s8s8sBBBB")  # product, layout, version, room in KiB, components, recipients, 0
COMPONENT = Struct("<BBB4sII32s32sHBI32s16s")
RECIPIENT = Struct("<8s40s")  # id of the device key, the wrapped content key
FIELD = Struct("<4sH")  # name, bytes of the value
LINK = Struct("<32sHB")  # of the next chunk: SHA-256, bytes, sectors
IV = Struct("<8sII")  # label, component, where in the component
RECORD = Struct("<4sBBBBI32s")  # magic, format, release keys, rollout keys, signatures, serial, product
LIST = Struct("<4sHII")  # magic, files, bytes of the list, bytes of all files
ENTRY = Struct("<IBB")  # bytes of the file, 1 for a resource, bytes of the path

HEADER = 4096
RSA = 384
SECTOR = 4096
SECTORS = 16
SLACK = 96
FIRMWARE, FILES, RESOURCE = 1, 2, 3
INFLATE, DECRYPT, DELTA, LZMA, XTENSA = 1, 2, 3, 4, 5
# Bytes of each field that the page knows, least and most.
FIELDS = {b"Chan": (1, 32), b"From": (8, 8), b"Firm": (8, 8), b"Boot": (2, 2)}


def text(field: bytes) -> str:
    """A name that is padded with NUL."""
    return field.rstrip(b"\0").decode()


def block(digest: bytes) -> bytes:
    """What an RSA-3072 signature with PKCS#1 v1.5 must be, to the power of e: RFC 8017, 9.2."""
    info = bytes.fromhex("3031300d060960864801650304020105000420") + digest
    return b"\0\1" + b"\xff" * (RSA - 3 - len(info)) + b"\0" + info
