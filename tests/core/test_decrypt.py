"""Encryption, on both interpreters: the wrapped content key, and chunks that are decrypted where they lie.

The sealer here is written from the standards and shares nothing with the decoder but cryptolib's cipher.
"""

from binascii import unhexlify
from hashlib import sha256
from struct import pack

from cryptolib import aes

from mpota.pipe import decrypt
from mpota.pipe.package import Chunks, Package
from mpota_boot.errors import Corrupt, OtaError, Refused
from mpota_host.chips.esp32.sim import soc
from mpota_host.package import format as fmt
from tests.core.test_installer import OLD, SLOT, run
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, chunk_at

NEW = image(41232, 2)
DEVICE, FLEET, OTHER = bytes(range(32)), b"fleet!!!" * 4, bytes(32)
# Where the recipients of a package of one component begin.
LOCKS = fmt.RECORDS + fmt.COMPONENT_SIZE
CONTENT = sha256(b"a content key").digest()


def wrap(secret, key):
    """RFC 3394, section 2.2.1: 40 bytes."""
    ecb = aes(secret, 1)
    a = b"\xa6" * 8
    r = [key[i : i + 8] for i in range(0, 32, 8)]
    for j in range(6):
        for i in range(4):
            b = ecb.encrypt(a + r[i])
            a = b[:7] + bytes([b[7] ^ (4 * j + i + 1)])
            r[i] = b[8:]
    return a + b"".join(r)


def record(secret, key=CONTENT):
    """What the header holds for one device key."""
    return sha256(b"mpota device key" + secret).digest()[:8] + wrap(secret, key)


class Header:
    """As much of a Package as the records need: they lie behind one component."""

    locks = LOCKS
    key = None


def unwrap(records, secrets):
    """The content key that a board with these device keys finds in a header with `records`."""
    package = Header()
    package.recipients = len(records) // 48
    decrypt.unlock(package, secrets, bytearray(LOCKS) + bytes(records) + bytes(48))
    return package.key


def pad(piece):
    n = 16 - len(piece) % 16
    return piece + bytes([n]) * n


def seal(padded, at, i=0, key=CONTENT):
    """Whole blocks as they travel as the chunk of byte `at` of component `i`."""
    iv = aes(key, 1).encrypt(b"mpota iv" + pack("<II", i, at))
    return aes(key, 2, iv).encrypt(padded)


class Sealed(Maker):
    """A package whose chunks are encrypted; `padded` are the plain ones, `change` may spoil the encrypted ones."""

    def __init__(self, data, chunk=4096, deflate=False, secrets=(DEVICE,)):
        Maker.__init__(self, data, chunk, deflate=deflate)
        self.stages = b"\2" + self.stages
        self.records = [record(secret) for secret in secrets]
        self.padded = [pad(piece) for piece in self.pieces]
        self.change = lambda pieces: pieces
        self.i = 0

    def chunks(self):
        self.pieces = self.change([seal(piece, n * self.chunk, self.i) for n, piece in enumerate(self.padded)])
        return Maker.chunks(self)

    def header(self, chunks):
        head = bytearray(Maker.header(self, chunks))
        extra = b"".join(self.records)
        head[6:8] = pack("<H", len(head) - 16 + len(extra))
        head[66] = len(self.records)
        return bytes(head) + extra


def decoded(data, *secrets, i=0):
    """What component `i` of a package is, as a board that holds these device keys decodes it."""
    src = Ram(data).open()
    buf = bytearray(4096)
    package = Package.read(src, None, buf)
    if package.recipients:
        decrypt.unlock(package, list(secrets), buf)
    chunks = Chunks(package, i, src, buf)
    src.at = chunks.at
    out = b""
    while len(out) < chunks.part.size:
        left = chunks.load()
        while left:
            n = chunks.readinto(buf)
            out += bytes(buf[:n])
            left -= n
    return out


def test_the_vector_of_rfc_3394_unwraps():
    # Section 4.6: 256 bits of key data under a 256-bit key.
    kek = unhexlify("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F")
    data = unhexlify("00112233445566778899AABBCCDDEEFF000102030405060708090A0B0C0D0E0F")
    wrapped = unhexlify("28C9F404C4B810F4CBCCB35CFB87F8263F5786E2D80ED326CBC7F0E71A99F43BFB988B9B7A02DD21")
    assert wrap(kek, data) == wrapped
    assert unwrap(decrypt.key_id(kek) + wrapped, [kek]) == data


def test_every_flipped_bit_of_a_record_is_refused():
    good = bytearray(record(DEVICE))
    for bit in range(len(good) * 8):
        good[bit // 8] ^= 1 << bit % 8
        e = raises(Refused, "encrypted", unwrap, good, [DEVICE])
        # The first eight bytes are the id: another one names nobody here. Behind it the key itself is wrong.
        assert ("(another)" in str(e)) == (bit >= 64)
        good[bit // 8] ^= 1 << bit % 8
    assert unwrap(good, [DEVICE]) == CONTENT


def test_any_of_several_recipients_finds_its_own_record():
    records = record(DEVICE) + record(FLEET) + record(OTHER)
    for mine in ([DEVICE], [FLEET], [OTHER], [bytes([1] * 32), OTHER], [FLEET, DEVICE]):
        assert unwrap(records, mine) == CONTENT
    # A damaged record does not hide a good one.
    damaged = record(DEVICE)[:47] + b"?" + record(FLEET)
    assert unwrap(damaged, [DEVICE, FLEET]) == CONTENT


def test_what_lies_behind_the_records_is_not_read_as_one():
    package = Header()
    package.recipients = 1
    head = bytearray(LOCKS) + record(DEVICE) + record(FLEET)
    raises(Refused, "encrypted", decrypt.unlock, package, [FLEET], head)
    decrypt.unlock(package, [DEVICE], head)
    assert package.key == CONTENT


def test_a_board_without_a_fitting_key_names_the_keys_that_fit_and_what_to_do():
    records = record(DEVICE) + record(FLEET)
    for secrets in ([], [OTHER], [OTHER, bytes([7] * 32)]):
        words = str(raises(Refused, "encrypted", unwrap, records, secrets))
        for wanted in (decrypt.key_id(DEVICE).hex(), decrypt.key_id(FLEET).hex(), "flash --device-key"):
            assert wanted in words, words
        for secret in [DEVICE, FLEET] + secrets:
            assert secret.hex() not in words
    # However many recipients there are, the sentence stays short.
    many = b"".join([record(bytes([i] * 32)) for i in range(1, 60)])
    words = str(raises(Refused, "encrypted", unwrap, many, []))
    assert "for 59 device keys" in words and len(words) < 200


def test_what_was_sealed_is_what_is_decoded():
    for chunk in (4096, 8192, 16384):
        for deflate in (False, True):
            data = Sealed(NEW, chunk, deflate, (OTHER, DEVICE)).bytes()
            assert decoded(data, DEVICE) == NEW
            assert decoded(data, FLEET, OTHER) == NEW
            assert NEW[:32] not in data


def test_a_package_that_the_host_encrypted_once_decodes_for_ever():
    with open(__file__.rsplit("/", 2)[0] + "/vectors/mpota/encrypted.mpota", "rb") as f:
        data = f.read()
    for secret in (DEVICE, FLEET):
        assert decoded(data, secret) == NEW
    raises(Refused, "encrypted", decoded, data, OTHER)


def test_images_that_end_anywhere_in_a_block_are_decoded():
    # Sizes around the cipher's block and around the piece that the decoder decrypts at a time.
    for size in (1, 15, 16, 17, 511, 512, 513, 527, 528, 4095, 4096, 4097, 4096 + 512):
        for deflate in (False, True):
            data = (NEW + NEW)[:size]
            assert decoded(Sealed(data, deflate=deflate).bytes(), DEVICE) == data


def test_padding_that_is_wrong_is_refused():
    last = len(Sealed(NEW).padded) - 1
    for at in (0, 3, last):
        good = Sealed(NEW).padded[at]
        n = good[-1]
        for tail in (b"\0", b"\x11", b"\xff", bytes([n - 1 or 2]), b"\0" * n, bytes([n ^ 1]) + bytes([n]) * (n - 1)):
            maker = Sealed(NEW)
            maker.padded[at] = good[: len(good) - len(tail)] + tail
            if maker.padded[at] != good:
                raises(Corrupt, "decode", decoded, maker.bytes(), DEVICE)
    # More padding than a block has, though all of it is alike.
    for n in (17, 32, 33):
        maker = Sealed(NEW)
        piece = maker.pieces[last]
        maker.padded[last] = (piece + piece)[: 320 - n] + bytes([n]) * n
        maker.size += 320 - n - len(piece)
        raises(Corrupt, "decode", decoded, maker.bytes(), DEVICE)
    for padded in (b"", pad(b"")):
        maker = Sealed(NEW)
        maker.padded[1] = padded
        raises(Corrupt, None, decoded, maker.bytes(), DEVICE)


def test_a_chunk_that_is_no_whole_number_of_blocks_is_refused():
    for n in (1, 15, 17, -2, -9, None):
        maker = Sealed(NEW)
        maker.change = lambda pieces, n=n: pieces[:1] + [(pieces[1] + b"x")[:n]] + pieces[2:]
        raises(Corrupt, "decode", decoded, maker.bytes(), DEVICE)


def test_ciphertext_of_another_place_is_no_plaintext_here():
    # Even a signer's mistake cannot move a chunk: its place goes into its IV.
    maker = Sealed(NEW)
    maker.change = lambda pieces: pieces[:2] + [pieces[3]] + pieces[3:]
    out = decoded(maker.bytes(), DEVICE)
    # CBC mixes an IV into the first block alone, so that block tells.
    assert out[:8192] == NEW[:8192] and out[8192:8208] != NEW[12288:12304]


def test_the_number_of_its_component_goes_into_a_chunk_too():
    other = image(30000, 3)
    for i in (0, 1):
        one, two = Sealed(NEW), Sealed(other)
        two.kind, two.i = fmt.RESOURCE, i
        first, second = one.chunks(), two.chunks()
        head = one.header(first)
        head = bytearray(head[:LOCKS] + two.header(second)[fmt.RECORDS : LOCKS] + head[LOCKS:])
        head[6:8] = pack("<H", len(head) - 16)
        head[65] = 2
        data = bytes(head) + b"".join(first + second)
        assert decoded(data, DEVICE) == NEW
        assert (decoded(data, DEVICE, i=1) == other) == (i == 1)


def test_truncated_extended_reordered_repeated_and_flipped_chunks_are_refused_unread():
    for deflate in (False, True):
        maker = Sealed(NEW, deflate=deflate)
        chunks = maker.chunks()
        head = maker.header(chunks)
        for order in ((1, 0, 2), (0, 0, 1), (0, 2, 1), (0, 2, 3)):
            rest = list(order) + list(range(3, len(chunks)))
            raises(Corrupt, "chunk", decoded, head + b"".join([chunks[i] for i in rest]), DEVICE)
        data = bytearray(head + b"".join(chunks))
        for n in (len(head), len(head) + 34, len(head) + 100, len(data) - 16, len(data) - 1):
            raises(OtaError, "short", decoded, bytes(data[:n]), DEVICE)
        for i in (0, 1, len(chunks) - 1):
            off, length = chunk_at(data[:LOCKS] + data[len(head) :], i)
            off += len(head) - LOCKS
            for at in (off, off + 34, off + 35, off + 51, off + length - 1):
                data[at] ^= 4
                raises(Corrupt, "chunk", decoded, bytes(data), DEVICE)
                data[at] ^= 4
            longer = bytes(data[: off + length]) + bytes(16) + bytes(data[off + length :])
            if i < len(chunks) - 1:
                raises(Corrupt, "chunk", decoded, longer, DEVICE)
        assert decoded(bytes(data), DEVICE) == NEW


def test_an_encrypted_component_without_recipients_is_refused():
    raises(Refused, "encrypted", decoded, Sealed(NEW, secrets=()).bytes(), DEVICE)


def board_of(*secrets):
    """A chip that runs OLD and holds these device keys in its NVS."""
    c = soc.Soc(soc.rows(SLOT), {"product": "demo", "room": 16384}, None)
    c.write(c.row("ota_0").offset, OLD)
    board = c.power_on()
    if secrets:
        from esp32 import NVS

        nvs = NVS("mpota_keys")
        for number, secret in enumerate(secrets):
            nvs.set_blob(str(number), secret)
        nvs.commit()
    c.flash.trace = []
    return c, board


def test_a_board_holds_four_device_keys_at_most_and_none_is_missed():
    keys = [bytes([i + 1] * 32) for i in range(5)]
    for n in range(6):
        assert board_of(*keys[:n])[1].secrets() == keys[: min(n, 4)]


def test_an_encrypted_package_is_installed_and_boots():
    for deflate in (False, True):
        for chunk in (4096, 16384):
            c, board = board_of(FLEET, DEVICE)
            run(board, Ram(Sealed(NEW, chunk, deflate).bytes()))
            assert c.image("ota_1", len(NEW)) == NEW
            c.power_on(soc.HARD)
            assert c.started.name == "ota_1"


def test_a_board_without_the_key_erases_nothing():
    for secrets in ((), (OTHER,)):
        for records in ([record(DEVICE)], [record(DEVICE)[:8] + record(OTHER)[8:]], []):
            c, board = board_of(*secrets)
            maker = Sealed(NEW)
            maker.records = records
            raises(Refused, "encrypted", run, board, Ram(maker.bytes()))
            # ESP-IDF notes the name of an NVS namespace when it is asked for; nothing else is written.
            for op, off, _ in c.flash.trace:
                assert op != "erase" and soc.NVS_AT <= off < soc.OTADATA_AT and not secrets
            assert c.power_on() and c.started.name == "ota_0"
    # The id is right and the key is not: the record was wrapped for another key.
    c, board = board_of(DEVICE)
    maker = Sealed(NEW)
    maker.records = [record(DEVICE)[:8] + record(OTHER)[8:]]
    assert "another" in str(raises(Refused, "encrypted", run, board, Ram(maker.bytes())))
    assert c.flash.trace == []


def test_a_wrong_content_key_is_found_before_the_first_erase():
    c, board = board_of(DEVICE)
    maker = Sealed(NEW)
    maker.records = [record(DEVICE, OTHER)]
    raises(Corrupt, "decode", run, board, Ram(maker.bytes()))
    assert [op for op, _, _ in c.flash.trace if op == "erase"] == []


def test_a_resume_goes_on_in_the_middle_of_the_ciphertext():
    for deflate in (False, True):
        data = Sealed(NEW, deflate=deflate).bytes()
        for dies in range(600, len(data) - 2000, 9001):
            c, board = board_of(DEVICE)
            raises(OtaError, "link", run, board, Ram(data, dies))
            board = c.power_on()
            again = Ram(data)
            run(board, again)
            assert dies < 6000 or again.opened[-1] > 0
            assert c.image("ota_1", len(NEW)) == NEW
