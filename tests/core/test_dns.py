"""Look-ups: what goes to a name server, what is taken of its answer, and that no step waits for it."""

from struct import pack

from mpota.link.reach import decode, encode
from mpota_boot.errors import LinkError
from tests.expect import raises

QUERY = encode("updates.example", 1, b"\x12\x34")
QUERY6 = encode("updates.example", 28, b"\x12\x34")
V6 = b"\xfd" + bytes(14) + b"\x09"


def record(kind, data, name=b"\xc0\x0c", n=None):
    return name + pack(">HHIH", kind, 1, 60, len(data) if n is None else n) + data


def answer(query, *records, **more):
    """An answer to a query; `flags`, `count` and `asked` in place of the right ones."""
    head = query[:2] + pack(">HHHHH", more.get("flags", 0x8180), 1, more.get("count", len(records)), 0, 0)
    return head + more.get("asked", query[12:]) + b"".join(records)


def test_a_query_is_that_of_rfc_1035():
    assert QUERY == b"\x12\x34\x01\0\0\1\0\0\0\0\0\0\x07updates\x07example\0\0\1\0\1"
    assert QUERY6[-4:] == b"\0\x1c\0\1" and QUERY6[:-4] == QUERY[:-4]
    assert encode("x" * 63, 1, b"ab")[12] == 63


def test_a_name_that_no_query_holds_is_refused():
    for name in ("", "a..b", ".a", "x" * 64, "a." + "x" * 64 + ".b"):
        e = raises(LinkError, "link", encode, name, 1, b"ab")
        assert "1 to 63" in str(e), str(e)


def test_the_address_is_found_behind_every_kind_of_name_and_record():
    a = record(1, b"\x0a\0\0\x09")
    alias = record(5, b"\x03cdn\xc0\x14")
    whole = record(1, b"\x0a\0\0\x09", b"\x03cdn\x07example\0")
    for records in ([a], [alias, a], [alias, whole], [record(28, V6), a], [record(46, bytes(300)), a, a]):
        assert decode(answer(QUERY, *records), QUERY) == "10.0.0.9", records
    assert decode(answer(QUERY6, a, record(28, V6)), QUERY6) == "fd00:0:0:0:0:0:0:9"
    assert decode(answer(QUERY, record(1, b"\xff\xfe\0\1")), QUERY) == "255.254.0.1"


def test_an_answer_without_an_address_says_so():
    for data in (
        answer(QUERY),
        answer(QUERY, flags=0x8183),
        answer(QUERY, record(28, V6)),
        answer(QUERY, record(1, b"\1\2\3")),
        answer(QUERY, record(1, b"\1\2\3", n=4)),
        answer(QUERY, count=9),
        answer(QUERY, record(1, b"\1\2\3\4"), count=0),
    ):
        assert decode(data, QUERY) == "", data


def test_what_is_no_answer_to_this_query_is_passed_over():
    good = answer(QUERY, record(1, b"\x0a\0\0\x09"))
    for data in (
        b"",
        good[:11],
        good[:20],
        QUERY,
        b"\x12\x35" + good[2:],
        answer(QUERY, record(1, b"\x0a\0\0\x09"), flags=0x0100),
        answer(QUERY, record(1, b"\x0a\0\0\x09"), asked=QUERY6[12:]),
        answer(encode("evil.example.xx", 1, b"\x12\x34"), record(1, b"\6\6\6\6")),
    ):
        assert decode(data, QUERY) is None, data


def test_no_bytes_of_a_stranger_break_it():
    good = answer(QUERY, record(5, b"\x03cdn\xc0\x14"), record(1, b"\x0a\0\0\x09"))
    for n in range(len(good)):
        assert decode(good[:n], QUERY) in (None, "")
        for byte in (0, 1, 0x3F, 0x80, 0xC0, 0xFF):
            data = bytearray(good)
            data[n] = byte
            found = decode(bytes(data), QUERY)
            assert found in (None, "") or found.count(".") == 3, (n, byte, found)
