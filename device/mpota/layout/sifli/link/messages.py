"""The messages between a phone and a chip: a number, a length, a payload whose fields lie on their natural bounds.

    message id u16 | bytes of the payload u16 | payload

0 to 17 are the older set, 32 to 37 the newer one, which a chip answers alike. Where a sender fills a payload up to a
whole number of words, the rest is not looked at.
"""

from struct import calcsize, pack, unpack

from mpota_boot.errors import Corrupt

(INIT, INIT_RSP, INIT_DONE, RESUME, RESUME_RSP, RESUME_DONE, START, START_RSP, END, END_RSP, PACKET, PACKET_RSP) = (
    range(12)
)
FINISH, FINISH_IND, FORCE_INIT, PRIORITY, RETRY, RETRY_RSP = range(12, 18)
INIT_EXT, INIT_EXT_RSP, INIT_EXT_DONE, LINK_CHECK, LINK_CHECK_RSP, ABORT = range(32, 38)

HEAD = "<HH"
HEAD_SIZE = 4
# Fields by message; a control packet or a record follows where a tail is named.
FIELDS = {
    INIT: "",
    INIT_RSP: "<HBx",  # result, is_boot
    INIT_DONE: "<B",  # is_start
    RESUME: "",
    RESUME_RSP: "<HBBIBBxx",  # result, is_boot, is_restart, packets, image, packets a response
    RESUME_DONE: "<B",
    START: "<IIBBxx",  # bytes on the wire, packets, packets a response, image
    START_RSP: "<HBB",  # result, who sends the end, skip
    END: "<BB",  # image, is there another one
    END_RSP: "<H",
    PACKET: "<HHH",  # image, index from 1, bytes of the record
    PACKET_RSP: "<H",
    FINISH: "<B",
    FINISH_IND: "<B",
    FORCE_INIT: "",
    PRIORITY: "",
    RETRY: "",
    RETRY_RSP: "<HHI",  # result, packets a response from now on, the last index that is stored
    INIT_EXT: "",
    INIT_EXT_RSP: "<HBBIBBBB",  # result, resume, is_restart, packets, image, packets a response, is_boot, version
    INIT_EXT_DONE: "<B",  # 1: resume, 0: from the beginning
    LINK_CHECK: "<HHI",
    LINK_CHECK_RSP: "<H",
    ABORT: "<H",
}
TAILS = (INIT, RESUME, PACKET, FORCE_INIT, INIT_EXT)
# Fields of these need not be filled up.
LEAST = {START: 10}


def encode(id, *fields, tail=b""):
    """A message's bytes."""
    data = (pack(FIELDS[id], *fields) if FIELDS[id] else b"") + tail
    return pack(HEAD, id, len(data)) + data


def decode(message):
    """(id, fields, tail) of a whole message; Corrupt where the id is unknown or the message too short."""
    if len(message) < HEAD_SIZE:
        raise Corrupt("decode", "a message of %d bytes" % len(message))
    id, n = unpack(HEAD, message[:HEAD_SIZE])
    data = message[HEAD_SIZE:]
    if id not in FIELDS or n != len(data):
        raise Corrupt("decode", "message %d says %d bytes and has %d" % (id, n, len(data)))
    size = calcsize(FIELDS[id]) if FIELDS[id] else 0
    if len(data) < LEAST.get(id, size):
        raise Corrupt("decode", "message %d of %d bytes, wanted %d" % (id, n, size))
    if len(data) < size:
        data = bytes(data) + bytes(size - len(data))
    fields = unpack(FIELDS[id], data[:size]) if size else ()
    return id, fields, data[size:] if id in TAILS else b""
