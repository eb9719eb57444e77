"""Device keys on the host, and that what is encrypted here is what the board's own code decrypts."""

import hashlib
import random
import stat

import pytest

from mpota_boot.errors import Refused
from mpota_host.package import keys
from mpota_host.package.encode import encrypt
from tests.core.test_decrypt import unwrap

KEYS = [random.Random(i).randbytes(32) for i in range(4)]


def test_a_key_file_is_for_its_owner_alone_and_is_never_overwritten(tmp_path):
    path = tmp_path / "keys" / "lamp.devkey"
    secret = encrypt.generate(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert encrypt.load(path) == secret and len(secret) == 32
    before = path.read_bytes()
    with pytest.raises(FileExistsError):
        encrypt.generate(path)
    assert path.read_bytes() == before
    assert encrypt.generate(tmp_path / "other.devkey") != secret


def test_a_key_file_survives_what_editors_do_to_text(tmp_path):
    path = tmp_path / "lamp.devkey"
    secret = encrypt.generate(path)
    text = path.read_text()
    for changed in (
        text.replace("\n", "\r\n"),
        text.rstrip("\n"),
        text + "\n \n",
        text.upper().replace("MPOTA DEVICE KEY", "mpota device key"),
    ):
        path.write_bytes(changed.encode())
        assert encrypt.load(path) == secret


def test_what_is_no_device_key_is_named_and_never_shown(tmp_path):
    path = tmp_path / "file"
    release = tmp_path / "release.pem"
    keys.generate(release)
    secret = encrypt.generate(tmp_path / "lamp.devkey")
    good = (tmp_path / "lamp.devkey").read_text()
    first, digits = good.split("\n")[:2]
    flipped = digits[:-1] + ("0" if digits[-1] != "0" else "1")
    for data, word in (
        (release.read_bytes(), "release key"),
        (keys.public_path(release).read_bytes(), "release key"),
        (b"", "empty"),
        (secret, "32 bytes"),
        (digits.encode(), "64 bytes"),
        (b"<html>" * 100, "no device key"),
        (b"\xe9" + bytes(500), "no device key"),
        (f"{first}\n{digits[:-2]}\n".encode(), "62 hex digits, wanted 64"),
        (f"{first}\n{digits}00\n".encode(), "66 hex digits, wanted 64"),
        (f"{first}\n{digits[:-1]}g\n".encode(), "hex digits alone"),
        (f"{first}\n{flipped}\n".encode(), "damaged"),
        (f"{first[:-1]}x\n{digits}\n".encode(), "damaged"),
        (first.encode(), "0 hex digits"),
    ):
        path.write_bytes(data)
        with pytest.raises(Refused) as e:
            encrypt.load(path)
        assert e.value.code == "device-key" and word in str(e.value), str(e.value)
        assert digits[:16] not in str(e.value) and flipped[-16:] not in str(e.value)


def test_the_board_unwraps_for_every_recipient_and_for_nobody_else():
    content = encrypt.content_key()
    one = encrypt.records(content, KEYS[:3])
    assert [len(record) for record in one] == [48] * 3
    records = b"".join(one)
    for secret in KEYS[:3]:
        assert unwrap(records, [secret]) == content
    with pytest.raises(Refused):
        unwrap(records, [KEYS[3]])
    # A key that is given twice is one recipient.
    assert encrypt.records(content, [KEYS[0], KEYS[1], KEYS[0]]) == encrypt.records(content, KEYS[:2])


def test_an_id_tells_keys_apart_and_is_not_part_of_the_key():
    ids = {encrypt.key_id(secret) for secret in KEYS}
    assert len(ids) == len(KEYS) and {len(one) for one in ids} == {8}
    assert encrypt.key_id(KEYS[0]) == hashlib.sha256(b"mpota device key" + KEYS[0]).digest()[:8]


def test_no_two_chunks_of_a_package_have_one_iv():
    seen = {encrypt.nonce(i, at) for i in range(20) for at in range(0, 4000 << 12, 4096)}
    assert len(seen) == 20 * 4000
    # Equal plaintext shows nowhere, neither in another chunk nor in another package.
    plain = bytes(64)
    one, two = encrypt.content_key(), encrypt.content_key()
    blocks = set()
    for key in (one, two):
        for i in range(3):
            for at in range(0, 50 << 12, 4096):
                data = encrypt.chunk(key, i, at, plain)
                assert len(data) == 80
                blocks |= {data[i : i + 16] for i in range(0, 80, 16)}
    assert len(blocks) == 2 * 3 * 50 * 5


def test_content_keys_never_repeat():
    assert len({encrypt.content_key() for _ in range(1000)}) == 1000
