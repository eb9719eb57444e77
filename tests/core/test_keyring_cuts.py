"""A power cut at every operation of storing a keys record, on models of LittleFS and FAT: the old or the new one."""

from io import BytesIO

from mpota.stream import finish
from mpota_host.sim import fs
from tests.rooted import Home
from tests.signer import RELEASES, record

RECORDS = [record(n, [RELEASES[n]]) for n in (1, 2, 3)]


def offer(home, data):
    finish(home.new().keys().reading(BytesIO(data), bytearray(4096)))


def serial(home):
    """That of the record that a new run trusts, 0 for none."""
    found = finish(home.new().keys().proven())
    return found.serial if found else 0


def cuts(disk, work):
    """(what was cut, the state left) of each moment at which the power may go while `work` runs."""
    found = [("before all", disk.state())]
    disk.watch = lambda op, path, shapes: found.extend(
        [("%s %s: %s" % (op, path, shape), disk.left(change)) for shape, change in shapes]
    )
    work()
    disk.watch = None
    return found


def live(disk, home, before, data, deep):
    """Cut the storing of a record everywhere, then, once more, what the next run makes of it; how many states."""
    start = disk.state()
    want = data[8]
    seen = {}
    for name, state in cuts(disk, lambda: offer(home, data)):
        if state in seen:
            continue
        disk.load(state)
        seen[state] = now = serial(home)
        assert now in (before, want), (name, now)
        if deep:
            live(disk, home, now, data, False)
        offer(home, data)
        assert serial(home) == want, name
        for older in RECORDS[: want - 1]:
            # What was replaced comes back from no copy and no link.
            assert finish(home.new().keys().taking(older)) is False, name
        assert home.read("record.a") == home.read("record.b") == data, name
    disk.load(start)
    return len(seen), set(seen.values())


def test_a_cut_anywhere_leaves_the_old_record_or_the_new_one():
    for kind, least in ((fs.LittleFs, 4), (fs.Fat, 12)):
        disk = kind()
        stand = fs.Stand(disk, fs.modules())
        try:
            home = Home("", disk=disk)
            # The first one comes while there is none.
            states, found = live(disk, home, 0, RECORDS[0], True)
            assert states >= least and found == {0, 1}, (kind, states, found)
            offer(home, RECORDS[0])
            states, found = live(disk, home, 1, RECORDS[1], True)
            assert states >= least and found == {1, 2}, (kind, states, found)
            # The board has slept.
            states, found = live(disk, home, 1, RECORDS[2], False)
            assert states >= least and found == {1, 3}, (kind, states, found)
        finally:
            stand.end()


def test_a_torn_copy_costs_nothing():
    disk = fs.LittleFs()
    stand = fs.Stand(disk, fs.modules())
    try:
        home = Home("", disk=disk)
        offer(home, RECORDS[1])
        for name in ("record.a", "record.b"):
            whole = disk.files[home.folder + "/" + name]
            for n in range(0, len(whole), 97):
                for torn in (whole[:n], whole[:n] + bytes(len(whole) - n), b"\xff" * n + whole[n:] if n else b""):
                    disk.files[home.folder + "/" + name] = torn
                    assert serial(home) == 2, (name, n)
            disk.files[home.folder + "/" + name] = whole
    finally:
        stand.end()
