"""The keys of a board with roots: the newest record that enough of them have signed, whatever comes or is lost."""

import os
from io import BytesIO
from struct import pack

from mpota import keyring
from mpota.pipe import keyrecord
from mpota.pipe.package import Package
from mpota.stream import finish
from mpota_boot.errors import FlashError, LinkError, Refused
from tests import signer
from tests.expect import raises
from tests.packages import Maker
from tests.rooted import Home
from tests.scratch import Scratch
from tests.signer import FOREIGN, RELEASES, ROLLOUT, A, B, C, body, joined, record

ONE, TWO, THREE, _ = RELEASES
FIRST, SECOND, THIRD = [record(n + 1, [RELEASES[n]]) for n in range(3)]


def offer(board, data):
    """A record as a file of its own."""
    return finish(board.keys().reading(BytesIO(data), bytearray(4096)))


def trusted(board):
    """The release keys, [] where there is no record."""
    found = finish(board.keys().proven())
    return found.release if found else []


def signed(key):
    """A package that `key` has signed."""
    return signer.signed(Maker(b"firmware" * 600), key)


def read(board, data):
    return Package.read(BytesIO(data), board.keys(), bytearray(4096))


def refused(code, data, roots=(A,), threshold=None, before=FIRST):
    """The record must be refused, by itself and before a package; the one before stays. Returns what was said."""
    with Scratch() as root:
        home = Home(root, roots, threshold)
        if before:
            offer(home.board(), before)
        for _ in "12":
            e = raises(Refused, code, offer, home.new(), data)
        raises(Refused, code, read, home.new(), data + signed(ONE))
        assert trusted(home.new()) == ([ONE.public] if before else [])
        return str(e)


def test_a_board_without_roots_trusts_its_files_and_passes_a_record_over():
    with Scratch() as root:
        home = Home(root, ())
        os.rmdir(home.folder)
        board = home.board()
        assert board.keys() == []
        package = signed(ONE)
        for data in (package, FIRST + package):
            assert Package.read(BytesIO(data), [ONE.public], bytearray(4096)).product == "demo"
            raises(Refused, "key", Package.read, BytesIO(data), [TWO.public], bytearray(4096))
        assert finish(keyring.rollout(board)) == []


def test_with_roots_and_no_record_nothing_is_trusted_but_a_record():
    with Scratch() as root:
        home = Home(root)
        with open(root + "/keys/old.pub", "wb") as f:
            f.write(ONE.public)
        e = raises(Refused, "record", read, home.board(), signed(ONE))
        assert "no keys record" in str(e)
        assert read(home.board(), FIRST + signed(ONE)).product == "demo"
        assert read(home.new(), signed(ONE)).product == "demo"


def test_a_record_replaces_the_key_and_the_old_one_is_refused():
    with Scratch() as root:
        home = Home(root)
        board = home.board()
        offer(board, FIRST)
        read(board, signed(ONE))
        read(board, SECOND + signed(TWO))
        for again in (board, home.new()):
            raises(Refused, "key", read, again, signed(ONE))
            # An old record before an old package brings nothing back.
            raises(Refused, "key", read, again, FIRST + signed(ONE))
            assert read(again, FIRST + signed(TWO)).product == "demo"
            assert trusted(again) == [TWO.public]
        assert home.read("record.a") == home.read("record.b") == SECOND


def test_an_older_record_is_refused():
    with Scratch() as root:
        home = Home(root)
        offer(home.board(), THIRD)
        for data in (FIRST, SECOND):
            e = raises(Refused, "serial", offer, home.new(), data)
        assert str(e) == "keys record 2, 3 was seen here"
        assert trusted(home.new()) == [THREE.public]


def test_another_record_of_the_same_serial_is_refused_and_the_same_one_writes_nothing():
    refused("serial", record(1, [TWO]))
    with Scratch() as root:
        home = Home(root, (A, B), threshold=1)
        offer(home.board(), FIRST)
        board = home.new()
        ring = board.keys()
        ring._write = board.journal.put = None
        offer(board, FIRST)
        # The same keys, signed by more roots.
        offer(board, record(1, [ONE], (A, B)))
        assert home.read("record.a") == FIRST


def test_too_few_signatures_are_refused_and_no_root_counts_twice():
    said = refused("root", record(2, [TWO]), (A, B, C), 2, before=record(1, [ONE], (A, B)))
    assert said == "1 roots of this board have signed keys record 2, wanted 2"
    both = record(1, [ONE], (A, B))
    two = body(2, [TWO])
    twice = joined(two, 2 * [(A, A.sign(two))])
    refused("root", twice, (A, B, C), 2, before=both)
    # The same root in two files.
    refused("root", twice, (A, A, B), 2, before=both)
    with Scratch() as root:
        home = Home(root, (A, B, C), 2)
        offer(home.board(), record(2, [TWO], (C, A)))
        assert trusted(home.new()) == [TWO.public]


def test_without_a_threshold_all_roots_must_sign():
    refused("root", record(2, [TWO], (A, B)), (A, B, C), before=record(1, [ONE], (A, B, C)))


def test_a_threshold_above_the_roots_is_never_reached():
    refused("root", record(2, [TWO], (A, B)), (A, B), 3, before=None)


def test_a_folder_without_roots_trusts_nothing():
    refused("root", SECOND, (), before=None)
    refused("root", SECOND, (), 1, before=None)


def test_a_foreign_root_says_nothing():
    assert "0 roots of this board" in refused("root", record(2, [TWO], (FOREIGN,)))
    refused("root", record(2, [TWO], (FOREIGN, A)), (A, B), 2, before=record(1, [ONE], (A, B)))
    with Scratch() as root:
        home = Home(root)
        # Boards of other roots may take the same record.
        offer(home.board(), record(2, [TWO], (FOREIGN, A)))
        assert trusted(home.new()) == [TWO.public]


def test_a_record_for_another_product_is_refused():
    said = refused("product", record(2, [TWO], product=b"lamp"))
    assert said == "the keys record is for product 'lamp', this board is 'demo'"
    with Scratch() as root:
        home = Home(root)
        offer(home.board(), record(2, [TWO], product=b""))
        assert trusted(home.new()) == [TWO.public]


def test_what_is_no_record_is_refused():
    good = SECOND
    for bad in (
        good[:4] + b"\2" + good[5:],
        good[:5] + b"\0\1" + good[7:],
        good[:7] + b"\0" + good[8:],
        good[:5] + b"\x0b" + good[6:],
        good[:5] + b"\xff\xff\xff" + good[8:],
    ):
        refused("record", bad)
    utf = body(2, [TWO], product=b"\xff\xfe")
    refused("record", joined(utf, [(A, A.sign(utf))]))
    with Scratch() as root:
        board = Home(root).board()
        for data in (b"", good[:3], b"MPOT" + good[4:], bytes(2000)):
            raises(Refused, "record", offer, board, data)
        for n in (16, 43, 400, len(good) - 1):
            raises(LinkError, "short", offer, board, good[:n])
            raises(LinkError, "short", read, board, good[:n])
        raises(Refused, "record", keyrecord.KeysRecord, good + b"x")
        raises(Refused, "record", keyrecord.KeysRecord, good[:20])


def test_the_longest_record_is_taken():
    data = record(9, RELEASES + RELEASES, (A, B), rollout=())
    assert len(data) == 44 + 8 * 384 + 2 * 392 <= 4096
    with Scratch() as root:
        home = Home(root, (A, B))
        offer(home.board(), data)
        assert len(trusted(home.new())) == 8
    full = record(9, [ONE] * 9, (A,), rollout=())
    assert len(full) == 3892
    # One key more has no room.
    refused("record", pack("<4sBBBB", b"MPOK", 1, 10, 0, 1) + bytes(4240))


def test_every_flipped_bit_is_refused():
    roots = {A.public}
    for at in range(0, len(SECOND) * 8, 23):
        bad = bytearray(SECOND)
        bad[at >> 3] ^= 1 << (at & 7)
        try:
            finish(keyrecord.KeysRecord(bytes(bad)).proving(roots, 1))
        except Refused as e:
            assert e.code in ("record", "root"), e.code
        else:
            raise AssertionError("bit %d was not seen" % at)


def test_rollout_keys_are_for_offers_and_sign_no_package():
    with Scratch() as root:
        home = Home(root)
        board = home.board()
        assert finish(keyring.rollout(board)) == []
        offer(board, FIRST)
        assert finish(keyring.rollout(home.new())) == [ROLLOUT.public]
        raises(Refused, "key", read, home.board(), signed(ROLLOUT))
        raises(Refused, "key", read, home.board(), signed(A))


def test_no_step_of_a_proof_is_long():
    with Scratch() as root:
        board = Home(root, (A, B)).board()
        steps = board.keys().reading(BytesIO(record(1, [ONE], (A, B))), bytearray(4096))
        assert len(list(steps)) == 32
        assert len(list(board.keys().trusted())) == 0


def test_neither_a_lost_journal_nor_a_lost_file_brings_an_old_record_back():
    for lost in ("journal", "record.a", "record.b", "both"):
        with Scratch() as root:
            home = Home(root)
            offer(home.board(), FIRST)
            offer(home.board(), SECOND)
            if lost == "journal":
                for name in "ab":
                    os.remove(root + "/ota/mpota" + name)
            for name in ("record.a", "record.b"):
                if lost in (name, "both"):
                    os.remove(home.folder + "/" + name)
            assert trusted(home.new()) == ([] if lost == "both" else [TWO.public])
            raises(Refused, "serial", offer, home.new(), FIRST)
            # An old copy that somebody put back counts no more.
            home.write("record.a", FIRST)
            if lost != "journal":
                assert trusted(home.new()) == ([] if lost in ("record.b", "both") else [TWO.public])
            offer(home.new(), SECOND)
            assert home.read("record.a") == home.read("record.b") == SECOND
            assert home.new().journal.last("keys") == b"\2\0\0\0"


def test_a_root_taken_off_or_a_higher_threshold_ends_the_record():
    with Scratch() as root:
        home = Home(root, (A, B), 1)
        offer(home.board(), FIRST)
        home.settings["threshold"] = 2
        assert trusted(home.new()) == []
        home.settings["threshold"] = 1
        assert trusted(home.new()) == [ONE.public]
        os.remove(home.folder + "/r0.pub")
        assert trusted(home.new()) == []
        home.settings["product"] = "lamp"
        home.write("r0.pub", A.public)
        assert trusted(home.new()) == []


def test_what_the_file_system_does_not_keep_is_told_and_the_old_record_stays():
    with Scratch() as root:
        home = Home(root)
        offer(home.board(), FIRST)
        for write in (BytesIO, _full):
            board = home.new()
            keyring.open = lambda path, mode="r", write=write: write() if "w" in mode else open(path, mode)
            try:
                for _ in "12":
                    raises(FlashError, "keys", offer, board, SECOND)
                    raises(FlashError, "keys", read, board, SECOND + signed(TWO))
                assert board.journal.last("keys") == b"\1\0\0\0"
            finally:
                del keyring.open
            assert trusted(home.new()) == [ONE.public]


def _full():
    raise OSError(28)


def test_a_file_system_without_room_for_both_costs_the_second_copy():
    with Scratch() as root:
        home = Home(root)
        offer(home.board(), FIRST)
        left = [1]

        def opened(path, mode="r"):
            if "w" in mode:
                if not left:
                    raise OSError(28)
                left.pop()
            return open(path, mode)

        keyring.open = opened
        try:
            offer(home.new(), SECOND)
        finally:
            del keyring.open
        assert trusted(home.new()) == [TWO.public]
        assert sorted([home.read("record.a"), home.read("record.b")]) == sorted([FIRST, SECOND])
        offer(home.new(), SECOND)
        assert home.read("record.a") == home.read("record.b") == SECOND


def test_status_tells_of_roots_and_record():
    with Scratch() as root:
        home = Home(root, (A, B), 1)
        facts = keyring.facts(home.board().keys())
        assert (facts["serial"], facts["seen"], facts["release"], facts["threshold"]) == (None, 0, [], 1)
        offer(home.board(), SECOND)
        facts = keyring.facts(home.new().keys())
        assert len(facts["roots"]) == 2 and facts["serial"] == facts["seen"] == 2
        assert len(facts["release"][0]) == 16 and facts["release"] != facts["rollout"]
