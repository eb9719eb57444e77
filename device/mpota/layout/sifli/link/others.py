"""Answers to messages that bring no image: the version that runs, and "refused" to what is not done here.

    18 read version: piece u16                          19: result u16 | bytes u16 | 8 bytes of the version's text
    21, 24, 26, 28, 30 files                            22, 25, 27, 29, 31: result u16, then zeros
    38, 40, 42 a package whose checksum is all it has   39, 41, 43: the same

The result of 19 is the number of the next piece, 0 after the last one. Imported when such a message comes.
"""

from struct import pack, unpack

from mpota.layout.sifli.link.codes import OK, USER_REJECT
from mpota.layout.sifli.link.messages import HEAD, HEAD_SIZE
from mpota.layout.sifli.port import wanted
from mpota.version import text
from mpota_boot.journal import trial

READ_VERSION = 18
PIECE = 8
VERSION = "<HH8s"
# Bytes of the answer to each message that is not done.
REFUSED = {21: 12, 24: 2, 26: 8, 28: 2, 30: 2, 38: 8, 40: 8, 42: 2}


def answer(chip, message):
    """The answer to a whole message that messages.py does not decode, None where there is none to give."""
    if len(message) < HEAD_SIZE:
        return None
    id, n = unpack(HEAD, message[:HEAD_SIZE])
    data = message[HEAD_SIZE:]
    if n != len(data):
        return None
    if id == READ_VERSION and n >= 2:
        data = _piece(running(chip).encode(), unpack("<H", data[:2])[0])
    elif id in REFUSED:
        data = pack("<H", USER_REJECT) + bytes(REFUSED[id] - 2)
    else:
        return None
    return pack(HEAD, id + 1, len(data)) + data


def _piece(version, i):
    part = version[i * PIECE : (i + 1) * PIECE]
    return pack(VERSION, i + 1 if len(version) > (i + 1) * PIECE else OK, len(part), part)


def running(chip):
    """The version of the user program that lies in its place, as text; "" where it is not known."""
    user = chip.installed()
    for record in (trial(chip.journal), wanted(chip.journal)):
        if record and user and record.sha == user.sha:
            return text(record.version)
    return ""
