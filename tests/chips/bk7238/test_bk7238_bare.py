"""A bare RBL: only where the wiring allows it, and with every check that a signed package has to pass."""

from mpota.installer import install
from mpota.layout.bk7238 import bare, rbl
from mpota.layout.bk7238.link import fetch
from mpota.layout.bk7238.loader import copier
from mpota.link.file import File
from mpota_boot.errors import Corrupt, LinkError, NotNow, Refused, UpToDate
from mpota_boot.journal import trial
from mpota_host.chips.esp32.sim import soc
from tests import packages
from tests.chips.bk7238.rbl_maker import application, package
from tests.chips.bk7238.test_bk7238_layout import OLD, boot, chip, release
from tests.expect import raises
from tests.scratch import Scratch

NEW = application(9001, 2)


def take(board, data, dies=None):
    for _ in bare.install(board, packages.Ram(data, dies)):
        pass


def test_a_board_whose_wiring_does_not_say_so_takes_none():
    it = chip()
    it.flash.flash.trace = []
    raises(Refused, "unsigned", take, boot(it), package(NEW))
    assert it.flash.flash.trace == []


def allowing():
    it = chip()
    it.bare = True
    return it


def test_it_is_fetched_checked_armed_and_after_the_restart_runs_on_trial():
    it = allowing()
    board = boot(it)
    raises_reset(fetch.http_ota, board, packages.Ram(package(NEW)), install)
    board = boot(it)
    assert it.image(len(NEW)) == NEW and board.layout.on_trial()
    board.layout.confirm()
    # The header says 1.0.1.
    assert board.layout.version() == packages.version(1, 0, 1)
    raises(UpToDate, "current", take, boot(it), package(NEW))


def test_what_is_wrong_is_found_before_the_restart_and_nothing_is_staged():
    for data, cls, code in (
        (package(NEW, 0), Refused, "rbl"),
        (b"<html>" * 50, Refused, "rbl"),
        (b"", Refused, "rbl"),
        (package(NEW, hash=1), Corrupt, "image"),
        (package(NEW)[:-1], LinkError, "short"),
    ):
        it = allowing()
        raises(cls, code, take, boot(it), data)
        assert it.boot().code == copier.NONE and it.image(len(OLD)) == OLD


def test_a_line_that_is_lost_leaves_the_old_image_and_the_next_try_begins_again():
    it = allowing()
    raises(LinkError, "link", take, boot(it), package(NEW), 5000)
    board = boot(it)
    assert trial(board.journal) is None
    take(board, package(NEW))
    raises(NotNow, "trial", take, it.run(soc.SOFT), package(NEW))
    assert it.boot().code == copier.DONE


def test_a_link_with_nothing_on_offer_is_no_error_and_no_reset():
    class Nothing:
        def open(self):
            return None

    fetch.http_ota(boot(allowing()), Nothing(), install)


def test_http_ota_takes_a_signed_package_on_any_board_and_says_how_far_it_is():
    it = chip()
    told = []
    link = packages.Ram(release(package(NEW), 1, 1).bytes())
    raises_reset(fetch.http_ota, boot(it), link, install, lambda *done: told.append(done))
    assert told[-1][0] == told[-1][1] > 9000 and len(told) > 2
    assert boot(it).layout.on_trial() and it.image(len(NEW)) == NEW


def test_a_package_in_a_file_is_taken_too():
    for it, data in ((chip(), release(package(NEW), 1, 1).bytes()), (allowing(), package(NEW))):
        with Scratch() as root:
            with open(root + "/x", "wb") as f:
                f.write(data)
            raises_reset(fetch.http_ota, boot(it), File(root + "/x"), install)
        assert boot(it).layout.on_trial() and it.image(len(NEW)) == NEW


def raises_reset(call, *args):
    try:
        call(*args)
    except soc.Reset:
        return
    raise AssertionError("no reset")


def test_how_a_bare_download_ended_is_told():
    it = allowing()
    board = boot(it)
    raises(LinkError, "link", take, board, package(NEW), 5000)
    assert board.layout.status()["findings"][-1] == "last download: stopped, begins again"
    raises(Corrupt, "image", take, board, package(NEW, hash=1))
    assert "last download: refused before the restart: hash: " in boot(it).layout.status()["findings"][-1]
    take(board, package(NEW))
    assert board.layout.status()["findings"][-1] == "last download: complete, armed"
    board = boot(it)
    board.layout.confirm()
    assert board.layout.status()["findings"][-1] == "last download: installed"


def test_versions_that_are_no_numbers_count_as_none():
    assert bare.number(b"1.0.1") == packages.version(1, 0, 1)
    for text in (b"", b"1.x", b"1.2.3.4.5", b"70000"):
        assert bare.number(text) == bytes(8)
    assert bare.Bare(bytes(rbl.SIZE)).version == bytes(8)
