"""The package as a file: signatures, keys and every flipped bit. The packages were signed once and are kept."""

from struct import pack

from mpota.pipe import trust
from mpota.pipe.package import Chunks, Package
from mpota.version import text
from mpota_boot.errors import Corrupt, OtaError, Refused
from mpota_host.package import format as fmt
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, version

HERE = __file__.rsplit("/", 2)[0]
NEW = image(41232, 2)


def vector(name):
    with open(HERE + "/vectors/mpota/" + name, "rb") as f:
        return f.read()


RELEASE, NEXT = vector("release.pub"), vector("next.pub")


def read(data, keys=(RELEASE, NEXT)):
    return Package.read(Ram(data).open(), keys, bytearray(4096))


def decoded(data, keys=(RELEASE, NEXT)):
    src = Ram(data).open()
    buf = bytearray(4096)
    package = Package.read(src, keys, buf)
    chunks = Chunks(package, 0, src, buf)
    out = b""
    while len(out) < package.components[0].size:
        left = chunks.load()
        while left:
            n = chunks.readinto(buf)
            out += bytes(buf[:n])
            left -= n
    return package, out


def test_signed_packages_decode_to_their_image():
    for name, number in (("deflate.mpota", version(1, 1, 0)), ("raw.mpota", version(1, 2, 0))):
        package, out = decoded(vector(name))
        assert out == NEW
        assert (package.product, package.layout, package.version, package.room) == ("demo", "esp32", number, 4096)


def test_a_chunk_may_decode_to_more_than_its_room():
    src, buf = Ram(vector("deflate.mpota")).open(), bytearray(4096)
    package = Package.read(src, [RELEASE], buf)
    chunks = Chunks(package, 0, src, buf)
    sizes = []
    while chunks.out < len(NEW):
        sizes.append(chunks.load())
        assert chunks.start + sizes[-1] == chunks.out and chunks.stored < 4096
    assert sizes == [20480, 20480, 272]


def test_a_field_that_is_not_known_is_passed_over_or_refused_by_its_first_letter():
    maker = Maker(NEW)
    maker.fields = {b"Chan": b"canary", b"note": b"for people", b"From": version(1, 0, 0)}
    package = read(maker.bytes(), None)
    assert package.channel == "canary" and package.fields == {b"From": version(1, 0, 0)}
    maker.fields = {b"Robo": b""}
    assert "b'Robo'" in str(raises(Refused, "field", read, maker.bytes(), None))


def test_fields_that_do_not_fit_into_the_header_are_refused():
    maker = Maker(NEW)
    good = maker.bytes()
    maker.fields = {b"Chan": b"canary"}
    data = maker.bytes()
    end = fmt.RECORDS + fmt.COMPONENT_SIZE
    for n in range(1, 12):
        # The header ends inside the field.
        cut = bytearray(data[: end + n] + data[end + 12 :])
        cut[6:8] = pack("<H", len(good[16:end]) + n)
        raises(Refused, "format", read, cut, None)
    twice = bytearray(data[: end + 12] * 1 + data[end : end + 12] + data[end + 12 :])
    twice[6:8] = pack("<H", len(good[16:end]) + 24)
    raises(Refused, "format", read, twice, None)


def test_either_of_two_trusted_keys_will_do_and_no_other():
    for keys in ((RELEASE,), (RELEASE, NEXT), (NEXT, RELEASE)):
        read(vector("deflate.mpota"), keys)
    for keys in ((NEXT,), ()):
        raises(Refused, "key", read, vector("deflate.mpota"), keys)


def test_a_flipped_bit_anywhere_in_the_header_is_refused():
    data = bytearray(vector("raw.mpota"))
    end = read(data).end
    for at in range(end):
        data[at] ^= 1 << at % 8
        raises(OtaError, None, read, data)
        data[at] ^= 1 << at % 8
    read(data)


def test_the_signature_of_another_header_is_refused():
    one, two = vector("deflate.mpota"), bytearray(vector("deflate.mpota"))
    two[16 + 40] ^= 1
    raises(Refused, "signature", read, two)
    other = vector("raw.mpota")
    end = read(one).end
    raises(Refused, None, read, one[: end - 384] + other[end - 384 : end] + one[end:])


def test_a_flipped_bit_anywhere_in_the_chunks_is_found():
    data = bytearray(vector("deflate.mpota"))
    end = read(data).end
    for at in range(end, len(data), 613):
        data[at] ^= 1 << at % 8
        raises(Corrupt, "chunk", decoded, data)
        data[at] ^= 1 << at % 8


def test_every_truncation_is_an_error():
    data = vector("deflate.mpota")
    for n in list(range(0, 700, 13)) + list(range(700, len(data), 1999)):
        raises(OtaError, None, decoded, data[:n])


def test_a_signature_is_compared_whole():
    digest = bytes(range(32))
    n = int.from_bytes(RELEASE, "big")
    # Not below the modulus, of another length, zero, one: none is a signature of anything.
    for sig in (RELEASE, bytes(384), bytes(383) + b"\1", bytes(383), bytes(385), (n - 1).to_bytes(384, "big")):
        assert not trust.verify(RELEASE, sig, digest)
    assert not trust.verify(RELEASE[1:], bytes(383), digest)


def test_versions_are_text_and_compare_as_bytes():
    assert text(version(1, 2, 3)) == "1.2.3" and text(version(1, 2, 3, 4)) == "1.2.3.4"
    order = [
        version(0, 9, 9),
        version(1, 0, 0),
        version(1, 0, 0, 1),
        version(1, 0, 10),
        version(1, 255, 0),
        version(1, 256, 0),
    ]
    assert sorted(order) == order
