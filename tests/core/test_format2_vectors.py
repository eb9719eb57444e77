"""Packages that another implementation wrote, from the page of the format alone: a board reads every one, for ever."""

from binascii import hexlify, unhexlify
from hashlib import sha256
from json import load

from mpota.pipe import decrypt
from mpota.pipe.package import Chunks, Package
from mpota_boot.errors import Corrupt, Refused
from tests.expect import raises
from tests.packages import Ram

FOLDER = __file__.rsplit("/", 2)[0] + "/vectors/format2/"
DEVICE = bytes(range(32))


class Rom:
    """The image that runs, as a Flash to read."""

    def __init__(self, data):
        self.data = data
        self.size = len(data)

    def read(self, off, buf):
        assert 0 <= off and off + len(buf) <= self.size
        buf[:] = self.data[off : off + len(buf)]


def file(name):
    with open(FOLDER + name, "rb") as f:
        return f.read()


def vectors():
    with open(FOLDER + "vectors.json") as f:
        return load(f)


def opened(data, secrets=(DEVICE,)):
    """(the package, its Source, a buffer)."""
    src, buf = Ram(data).open(), bytearray(4096)
    package = Package.read(src, [file("release.pub")], buf)
    if package.recipients:
        decrypt.unlock(package, list(secrets), buf)
    return package, src, buf


def decoded(data, base=b"", secrets=(DEVICE,)):
    """(package, bytes and number of chunks of each component)."""
    package, src, buf = opened(data, secrets)
    chunks, found = None, []
    for i, part in enumerate(package.components):
        if part.base_size:
            assert (part.base_size, part.base_sha) == (len(base), sha256(base).digest())
            part.base = Rom(base)
        if chunks:
            chunks.begin(i)
        else:
            chunks = Chunks(package, 0, src, buf)
        out, n = b"", 0
        while len(out) < part.size:
            left = chunks.load()
            n += 1
            while left:
                got = chunks.readinto(buf)
                out += bytes(buf[:got])
                left -= got
        found.append((out, n))
    return package, found


def old():
    return decoded(file("old.mpota"))[1][0][0]


def test_every_package_is_read_to_its_last_byte():
    base = old()
    rows = vectors()
    assert len(rows) == 6
    for row in rows:
        package, found = decoded(file(row["name"] + ".mpota"), base)
        assert (package.product, package.layout, package.room) == ("lamp", "esp32", row["room"])
        assert package.version == b"\0\1\0\2\0\3\0\4"
        fields = {name.encode(): unhexlify(row["fields"][name]) for name in row["fields"]}
        assert package.channel == fields.get(b"Chan", b"").decode()
        # A board keeps what it has to know, and passes the others over.
        assert (package.fields or {}) == {name: fields[name] for name in fields if name in (b"From", b"Firm", b"Boot")}
        for part, (data, n), wanted in zip(package.components, found, row["components"]):
            sha = hexlify(sha256(data).digest()).decode()
            assert [part.kind, part.name, list(part.stages), len(data), sha, n] == wanted, row["name"]
            assert sha256(data).digest() == part.sha
        assert len(package.components) == len(row["components"])


def test_all_stages_and_chunks_of_many_sectors_are_among_them():
    stages, longest = set(), 0
    for row in vectors():
        for _, _, used, size, _, n in row["components"]:
            stages.update(used)
            longest = max(longest, size // n)
    assert stages == {1, 2, 3, 4, 5} and longest > 40000


def test_a_byte_that_is_changed_is_found():
    base = old()
    for row in vectors():
        data = bytearray(file(row["name"] + ".mpota"))
        end = opened(data)[0].end
        for at in (8, 17, 69, 150, end - 385, end - 1):
            data[at] ^= 2
            raises(Refused, None, opened, data)
            data[at] ^= 2
        for at in (end, end + 34, end + 35, end + 200, len(data) - 1):
            data[at] ^= 2
            raises(Corrupt, "chunk", decoded, data, base)
            data[at] ^= 2


def test_a_key_that_it_was_not_packed_for_opens_nothing():
    raises(Refused, "encrypted", decoded, file("sealed.mpota"), old(), (b"x" * 32,))
    assert len(decoded(file("sealed.mpota"), old(), (bytes(32),))[1]) == 2
