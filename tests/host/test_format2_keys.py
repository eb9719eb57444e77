"""Keys records beside the second implementation: each reads what the other writes, counts the roots."""

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa

from mpota.installer import install
from mpota_boot.errors import Refused
from mpota_host.package import record
from tests.format2 import reader, tables, writer
from tests.format2.record import open_record
from tests.host.test_format2 import verdict
from tests.packages import Ram
from tests.rooted import Home
from tests.trees import archive


@pytest.fixture(scope="module")
def made():
    """Five keys: three roots, one that signs packages, one that signs offers."""
    return [rsa.generate_private_key(public_exponent=65537, key_size=3072) for _ in range(5)]


def test_the_hosts_record_is_read(made):
    publics = [writer.modulus(key) for key in made]
    body = record.body(7, "lämp", publics[3:4], publics[4:])
    data = record.join(body, {writer.modulus(root): writer.sign(root, body) for root in made[:2]})
    found, rest = open_record(data + b"MPOT")
    assert rest == b"MPOT" and found is not None and found.signed == body
    assert (found.serial, found.product, found.release, found.rollout) == (7, "lämp", publics[3:4], publics[4:])
    assert [found.signers(publics[:n]) for n in range(4)] == [0, 1, 2, 2]
    assert found.signers([publics[0], publics[0]]) == 1 and found.signers(publics[2:]) == 0


def test_the_host_counts_the_roots_of_the_second_ones_record(made):
    publics = [writer.modulus(key) for key in made]
    data = writer.write_record(9, "lamp", publics[3:4], publics[4:], made[:2])
    for roots, threshold in ((publics[:2], 2), (publics[:3], 2), (publics[:1], 1)):
        found = record.prove(data, roots, threshold, "lamp")
        assert (found.serial, found.release, found.rollout) == (9, publics[3:4], publics[4:])
    for roots, threshold, product in ((publics[:3], 3, "lamp"), (publics[2:3], 1, "lamp"), (publics[:2], 2, "door")):
        with pytest.raises(Refused):
            record.prove(data, roots, threshold, product)
    assert record.prove(writer.write_record(1, "", publics[3:4], [], made[:1]), publics[:1], 1, "door").product == ""


def test_both_refuse_a_record_with_a_changed_bit(made):
    publics = [writer.modulus(key) for key in made]
    data = writer.write_record(9, "lamp", publics[3:4], [], made[:1])

    def mine(bad):
        found, rest = open_record(bad)
        if found is None or rest or found.signers(publics[:1]) < 1:
            raise ValueError("no record of this root")

    assert not verdict(mine, data) and not verdict(record.prove, data, publics[:1], 1)
    for at in [*range(48), *range(48, len(data), 61), len(data) - 1]:
        bad = data[:at] + bytes((data[at] ^ 1 << at % 8,)) + data[at + 1 :]
        assert verdict(mine, bad) and verdict(record.prove, bad, publics[:1], 1), at


def test_a_board_takes_the_record_and_the_package_behind_it(made, tmp_path):
    root, _, _, release, other = made
    front = writer.write_record(2, "demo", [writer.modulus(release)], [], [root])
    tree = writer.write_files({"app.py": b"VERSION = 2\n"}, {})
    assert tree == archive({"app.py": b"VERSION = 2\n"})
    parts = [writer.Part(tables.FILES, "files", tree, (tables.INFLATE,))]
    head = writer.Head("demo", "files", (1, 1))
    home = Home(str(tmp_path))
    home.write("r0.pub", writer.modulus(root))
    board = home.power_on()
    with pytest.raises(Refused, match="key"):
        take(board, front + writer.write(head, parts, other))
    foreign = writer.write_record(3, "demo", [writer.modulus(other)], [], [other])
    with pytest.raises(Refused, match="0 roots of this board"):
        take(board, foreign + writer.write(head, parts, other))
    data = front + writer.write(head, parts, release)
    found = reader.read(data, [writer.modulus(release)])
    assert found.record is not None and found.record.signers([writer.modulus(root)]) == 1
    take(board, data)
    armed = board.layout.record("armed")
    assert (armed.version, armed.sha) == (bytes((0, 1, 0, 1, 0, 0, 0, 0)), found.components[0].sha)


def take(board, data):
    for _ in install(board, Ram(data), board.keys()):
        pass
