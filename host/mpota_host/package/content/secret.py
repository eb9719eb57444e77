"""Private keys by their content, whatever a file is called: what must not travel in a package, which anybody can read.

A certificate and a public key are fine. Passwords cannot be told from other text, so nobody looks for them here.
"""

from __future__ import annotations

import re
import warnings

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_der_private_key

from mpota_host.package.encode import encrypt

# RFC 7468, RFC 4716 (four dashes and spaces) and RFC 4880 (... KEY BLOCK); the label's first words say which kind.
BEGIN = re.compile(rb"-{4,5} ?BEGIN ([A-Z0-9 ]{0,40}?)PRIVATE KEY( BLOCK)? ?-{4,5}")
END = re.compile(rb"-{4,5} ?END [A-Z0-9 ]{0,40}?PRIVATE KEY( BLOCK)? ?-{4,5}")
# The smallest key in PEM, of Ed25519, has 64 characters; program text between two markers has no such number.
LEAST = 40
# More than any key in PEM with its headers.
MOST = 20000
# What stands between the characters of a key that is a text in a program or in JSON.
BETWEEN = re.compile(rb"\\[nr]|[\s\"'+,()]")
BASE64 = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=")
# Headers and the first line of a key whose end is missing.
CUT = re.compile(rb"(\s|\\[nr])+([A-Za-z0-9-]+: [^\n]*\n)*\s*[A-Za-z0-9+/=]{40}")
PUTTY = re.compile(rb"PuTTY-User-Key-File-\d+:")
DEVICE = re.compile(rb"mpota device key [0-9a-fA-F]{16}\s+[0-9a-fA-F]{64}")
# RFC 7292: a PFX is version 3 and then a ContentInfo of data or signedData.
PKCS12 = re.compile(
    rb"\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)\x02\x01\x03\x30(?:[\x00-\x7f]|\x80|\x81.|\x82..|\x83...)"
    rb"\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07[\x01\x02]",
    re.DOTALL,
)


def found(data: bytes) -> str:
    """What private key is in these bytes, in words; "" where none is known."""
    for text in (data, data.replace(b"\0", b"")):  # as UTF-16 a text has a zero beside each letter
        if _pem(text):
            return "a private key in PEM"
        if PUTTY.search(text):
            return "a private key of PuTTY"
        if encrypt.is_key(text) or DEVICE.search(text):
            return "a device key of mpota"
    if PKCS12.match(data):
        return "a PKCS #12 file, which holds a private key"
    return "a private key in DER" if _der(data) else ""


def _pem(data: bytes) -> bool:
    """Is there a key between the marks? Marks alone are a program's that looks for keys."""
    for begin in BEGIN.finditer(data):
        rest = data[begin.end() : begin.end() + MOST]
        end = END.search(rest)
        if end is None and CUT.match(rest):
            return True
        body = BETWEEN.sub(b"", rest[: end.start()]) if end else b""
        # Headers, as `Proc-Type: 4,ENCRYPTED`, have other characters too.
        if sum(c in BASE64 for c in body) >= max(LEAST, 0.9 * len(body)):
            return True
    return False


def _der(data: bytes) -> bool:
    """PKCS #1, SEC 1 or PKCS #8, encrypted or not; what follows it does not matter."""
    if data[:1] != b"\x30" or len(data) < 4:
        return False
    n = data[1] & 0x7F if data[1] > 0x80 else 0
    if n > 3:
        return False
    size = int.from_bytes(data[2 : 2 + n], "big") if n else data[1]
    try:
        with warnings.catch_warnings():
            # Of kinds that the library is about to drop.
            warnings.simplefilter("ignore")
            load_der_private_key(data[: 2 + n + size], None)
    except (TypeError, UnsupportedAlgorithm):
        return True  # it has a password, or is of a kind that this library does not know
    except ValueError:
        return False
    return True
