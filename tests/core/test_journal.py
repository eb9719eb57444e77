"""The journal on the simulated NVS: what a put leaves behind, whole or as it was, and what counts as a trial."""

import os

from mpota.layout.contract import Layout
from mpota_boot.errors import FlashError
from mpota_boot.journal import Record, trial
from mpota_boot.nvs import NvsJournal
from mpota_host.chips.esp32.sim import nvs
from mpota_host.sim.flash import PowerCut, SimFlash
from tests.expect import raises
from tests.packages import version
from tests.scratch import Scratch

SIZE = 0x4000


def journal(flash):
    return NvsJournal(nvs.bind(flash)("mpota"))


def record(count=1, trials=3):
    return Record(b"identity", bytes(range(32)), version(1, 1), 1000, count, 1, 0, 0, trials)


def test_a_put_is_what_last_gives_and_nothing_forgets_it():
    flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
    j = journal(flash)
    assert j.last("armed") is None
    j.put("armed", b"one")
    j.put("reason", b"r" * 300)
    for again in (j, journal(flash)):
        assert again.last("armed") == b"one" and len(again.last("reason")) == 128
    j.put("armed", b"")
    assert j.last("armed") is None
    j.put("armed", b"")


def test_a_cut_at_any_operation_leaves_the_old_value_or_the_new_one_and_the_next_put_holds():
    for n in range(1, 20):
        for cut_at in ("before", "inside", "after"):
            flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
            j = journal(flash)
            j.put("armed", b"old" * 15)
            flash.cut, flash.cut_at = flash.ops + n, cut_at
            try:
                j.put("armed", b"new" * 15)
            except PowerCut:
                pass
            flash.cut = None
            flash.power_on()
            j = journal(flash)
            assert j.last("armed") in (b"old" * 15, b"new" * 15), (n, cut_at)
            j.put("armed", b"end" * 15)
            assert journal(flash).last("armed") == b"end" * 15, (n, cut_at)


def test_a_value_that_nvs_does_not_keep_is_an_error():
    j = journal(SimFlash(SIZE, overwrite=[(0, SIZE)]))

    class Forgetful:
        def __init__(self, nvs):
            self.get_i32, self.set_i32, self.get_blob, self.commit = nvs.get_i32, nvs.set_i32, nvs.get_blob, nvs.commit

        def set_blob(self, tag, data):
            pass

    j.nvs = Forgetful(j.nvs)
    raises(FlashError, "journal", j.put, "armed", b"x")


def test_a_trial_is_open_until_it_is_confirmed_or_given_up():
    for end in ("running", "failed"):
        j = journal(SimFlash(SIZE, overwrite=[(0, SIZE)]))
        assert trial(j) is None
        j.put("armed", record().encode())
        assert trial(j).encode() == record().encode()
        j.put("armed", record(trials=1).encode())
        assert trial(j).trials == 1
        j.put(end, record(trials=2).encode())
        assert trial(j) is None, "trials left do not tell one arming from another"
        j.put("armed", record(2).encode())
        assert trial(j) is not None, "the same image armed again is another trial"


def test_records_of_another_kind_are_none():
    good = record().encode()
    assert Record.decode(good).encode() == good
    for bad in (None, b"", good[:-1], good + b"x", b"\xff" * Record.SIZE):
        assert Record.decode(bad) is None


def test_the_floor_is_the_higher_of_what_was_put_and_what_was_confirmed():
    j = journal(SimFlash(SIZE, overwrite=[(0, SIZE)]))
    floor = Layout(None, j, 3).floor
    assert floor() == bytes(8)
    j.put("floor", version(1, 0, 5))
    assert floor() == version(1, 0, 5)
    j.put("running", record().encode())
    assert floor() == version(1, 1)
    j.put("floor", version(1, 2))
    assert floor() == version(1, 2)
    j.put("floor", b"torn")
    assert floor() == version(1, 1)


def test_a_reason_that_the_journal_cut_inside_a_character_is_text():
    j = journal(SimFlash(SIZE, overwrite=[(0, SIZE)]))
    j.put("reason", b"identity" + b"x" + b"\xc3\xa9" * 100)
    assert Layout(None, j, 3).reason(b"identity") == "x" + "\\xc3\\xa9" * 59 + "\\xc3"


class Housed:
    """A board whose folder has room for a second copy."""

    def __init__(self, root):
        self.root = root + "/ota"


def test_a_lost_nvs_reads_the_second_copy_and_the_first_put_takes_it_over():
    with Scratch() as root:
        flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        assert j.last("running") is None
        for tag in ("running", "floor", "given", "armed", "progress"):
            j.put(tag, tag.encode())
        flash.erase(0, SIZE)
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        for again in (j, NvsJournal(None, Housed(root))):
            assert [again.last(tag) for tag in ("running", "floor", "given")] == [b"running", b"floor", b"given"]
            assert again.last("armed") == b"armed" and again.last("progress") is None
        j.put("boots", b"1")
        os.remove(root + "/ota/sparea")
        os.remove(root + "/ota/spareb")
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        assert [j.last(tag) for tag in ("running", "floor", "given")] == [b"running", b"floor", b"given"]


def test_a_trial_goes_on_and_one_that_was_given_up_stays_over_where_the_nvs_is_lost():
    for given_up in (False, True):
        with Scratch() as root:
            flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
            j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
            j.put("armed", record().encode())
            if given_up:
                j.put("failed", record().encode())
            flash.erase(0, SIZE)
            j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
            assert (trial(j) is None) == given_up


def test_what_a_cut_left_in_the_nvs_is_not_taken_over_by_an_older_copy():
    with Scratch() as root:
        flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
        NvsJournal(nvs.bind(flash)("mpota"), Housed(root)).put("floor", b"old")
        NvsJournal(nvs.bind(flash)("mpota")).put("floor", b"new")
        # The numbers lay on a page that was lost.
        nvs.bind(flash)("mpota").erase_key("a")
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        j.put("boots", b"1")
        assert j.last("floor") == b"new"


def test_a_cut_while_the_second_copy_is_taken_over_loses_none_of_it():
    with Scratch() as root:
        flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
        NvsJournal(nvs.bind(flash)("mpota"), Housed(root)).put("floor", bytes(8))
        NvsJournal(nvs.bind(flash)("mpota"), Housed(root)).put("running", b"r" * 58)
        for n in range(1, 30):
            for cut_at in ("before", "inside", "after"):
                flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
                flash.cut, flash.cut_at = flash.ops + n, cut_at
                try:
                    NvsJournal(nvs.bind(flash)("mpota"), Housed(root)).put("boots", b"1")
                except PowerCut:
                    pass
                flash.cut = None
                flash.power_on()
                j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
                assert (j.last("floor"), j.last("running")) == (bytes(8), b"r" * 58), (n, cut_at)


def test_what_the_nvs_knows_counts_more_than_its_copy_and_nothing_forgotten_comes_back():
    with Scratch() as root:
        flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        j.put("given", b"old")
        NvsJournal(nvs.bind(flash)("mpota")).put("given", b"new")
        j = NvsJournal(nvs.bind(flash)("mpota"), Housed(root))
        assert j.last("given") == b"new"
        j.put("given", b"")
        flash.erase(0, SIZE)
        assert NvsJournal(nvs.bind(flash)("mpota"), Housed(root)).last("given") is None


def test_a_file_system_that_takes_no_copy_holds_nothing_up():
    j = NvsJournal(nvs.bind(SimFlash(SIZE, overwrite=[(0, SIZE)]))("mpota"), Housed("/dev/null"))
    j.put("floor", bytes(8))
    assert j.last("floor") == bytes(8)


def test_one_read_of_the_nvs_that_fails_is_read_again():
    flash = SimFlash(SIZE, overwrite=[(0, SIZE)])
    j = journal(flash)
    j.put("armed", b"x")
    real = j.nvs

    class Once:
        left = 1

        def get_blob(self, tag, buf):
            if self.left:
                self.left = 0
                raise OSError(5)
            return real.get_blob(tag, buf)

    j.nvs = Once()
    assert j.last("armed") == b"x"
