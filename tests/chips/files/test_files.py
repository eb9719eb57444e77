"""Updates of application files: on a board that has nothing but a file system, and with firmware on an ESP32."""

import os

from mpota.agent import Agent
from mpota.installer import install
from mpota.store.tree import Tree
from mpota.version import text
from mpota_boot import shim
from mpota_boot.errors import FlashError, LinkError, NotNow, Refused, UpToDate
from mpota_host.chips.esp32.sim import soc
from mpota_host.chips.files.sim.soc import Plain
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, several, version
from tests.scratch import Scratch
from tests.trees import APP, archive, files_of, listing, write

SETTINGS = {"product": "demo", "room": 16384, "trials": 3}
TWO = {"app.py": b"VERSION = 2\n", "new.txt": b"x" * 5000}


def files(tree, number=(1, 1, 0), layout=b"files", data=None):
    """A maker of a component of files."""
    maker = Maker(data or archive(tree))
    maker.kind, maker.name, maker.layout, maker.version = 2, b"files", layout, version(*number)
    return maker


def resource(name, data):
    maker = Maker(data)
    maker.kind, maker.name = 3, name
    return maker


def take(board, data):
    for _ in install(board, Ram(data), board.keys()):
        pass


def confirmed(plain, data):
    """Take an update, boot it, confirm it."""
    take(plain.power_on(), data)
    board = plain.power_on("reset")
    board.layout.confirm()
    return board


def settled(root):
    """A board that has confirmed the first application."""
    plain = Plain(root, SETTINGS)
    confirmed(plain, files(APP).bytes())
    return plain


def runs(plain):
    """The files of the application that runs, without its list."""
    assert shim.error is None, repr(shim.error)
    found = files_of(shim.folder) if shim.folder else {}
    found.pop(".mpota", None)
    return found


def test_files_are_taken_tried_confirmed_and_the_old_ones_go():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        board = plain.power_on()
        assert runs(plain) == {} and shim.folder == ""
        agent = Agent(board, [Ram(files(APP).bytes())], None)
        while agent.step() == "busy":
            pass
        assert runs(plain) == {}, "nothing switches before the reset"
        board = plain.power_on("reset")
        assert runs(plain) == APP
        link = Ram(files(APP).bytes())
        assert Agent(board, [link], None).step() == "idle"
        assert link.reports == [("confirmed", "version 1.1.0 runs")]
        assert text(board.layout.version()) == "1.1.0"
        confirmed(plain, files(TWO, (1, 2, 0)).bytes())
        plain.power_on()
        assert runs(plain) == TWO and shim.folder.endswith("/2")
        assert files_of(root + "/ota/1") == {}
        confirmed(plain, files(APP, (1, 3, 0)).bytes())
        plain.power_on()
        assert runs(plain) == APP and files_of(root + "/ota/2") == {}


def test_two_packages_in_turn_on_a_bad_line_are_not_begun_again_and_again():
    with Scratch() as root:
        board = settled(root).power_on()
        big = {"app.py": b"x" * 9000}
        one, two = files(big, (1, 2, 0)).bytes(), files(dict(big, b=b"b"), (1, 3, 0)).bytes()
        for data in (one, two):
            raises(LinkError, "link", lambda d=data: list(install(board, Ram(d, 6000), None)))
        before = files_of(root)
        raises(Refused, "begun", take, board, one)
        after = files_of(root)
        assert before == after
        take(board, two)


def test_what_is_armed_is_not_confirmed_before_it_runs():
    with Scratch() as root:
        plain = settled(root)
        board = plain.power_on()
        take(board, files(TWO, (1, 2, 0)).bytes())
        raises(NotNow, "staged", board.layout.confirm)
        assert runs(plain) == APP
        plain.power_on("reset").layout.confirm()
        assert runs(plain) == TWO


def _cut(self):
    raise FlashError("cut", "the power goes")


def test_a_confirm_that_a_cut_stopped_is_finished_at_the_next_boot():
    with Scratch() as root:
        plain = settled(root)
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        board = plain.power_on("reset")
        real, Tree.free = Tree.free, _cut
        try:
            raises(FlashError, "cut", board.layout.confirm)
        finally:
            Tree.free = real
        assert "app.py" in files_of(root + "/ota/1")
        Agent(plain.power_on(), [], None)
        assert runs(plain) == TWO and files_of(root + "/ota/1") == {}
        before = files_of(root)
        Agent(plain.power_on(), [], None)
        assert files_of(root) == before


def test_an_ordinary_boot_writes_nothing():
    with Scratch() as root:
        plain = settled(root)
        before = files_of(root)
        for why in ("power", "reset", "watchdog", ""):
            plain.power_on(why)
            assert files_of(root) == before


def test_an_application_gets_three_boots_and_then_the_one_before_runs():
    with Scratch() as root:
        plain = settled(root)
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        seen = []
        for why in ("", "watchdog", "watchdog", "watchdog", "watchdog", "power"):
            board = plain.power_on(why)
            seen.append(runs(plain) == TWO)
            assert seen[-1] or runs(plain) == APP, "never a mixture"
        assert seen == [True] * 4 + [False] * 2
        record, why = board.layout.failure()
        assert (record.version, why) == (version(1, 2, 0), "watchdog")
        raises(Refused, "failed", take, board, files(TWO, (1, 2, 0)).bytes())
        board.layout.forget()
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        plain.power_on("reset")
        assert runs(plain) == TWO


def test_an_unhealthy_application_goes_back_at_the_next_boot():
    with Scratch() as root:
        plain = settled(root)
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        agent = Agent(plain.power_on("reset"), [], None, lambda: False)
        assert agent.step() == "reset"
        board = plain.power_on("reset")
        assert runs(plain) == APP and board.layout.failure()[1] == "unhealthy"
        assert text(board.layout.version()) == "1.1.0"


def test_a_download_goes_on_over_a_power_cut():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        data = files(APP).bytes()
        for dies in range(1000, len(data), 3001):
            raises(LinkError, "link", lambda d=dies: list(install(plain.power_on(), Ram(data, d), None)))
        link = Ram(data)
        for _ in install(plain.power_on(), link, None):
            pass
        # One chunk of three was there.
        assert link.opened == [0, 202 + 35 + 4096], link.opened
        plain.power_on("reset")
        assert runs(plain) == APP


def test_a_list_that_rots_between_two_tries_costs_one_more_download():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        data = files(APP).bytes()
        raises(LinkError, "link", lambda: list(install(plain.power_on(), Ram(data, 5000), None)))
        path = root + "/ota/1/.mpota"
        with open(path, "rb") as f:
            there = f.read()
        write(path, there[:20] + b"/" + there[21:])
        raises(FlashError, "tree", take, plain.power_on(), data)
        take(plain.power_on(), data)
        plain.power_on("reset")
        assert runs(plain) == APP


def test_what_runs_is_known_until_somebody_changes_it():
    with Scratch() as root:
        plain = settled(root)
        board = plain.power_on()
        raises(UpToDate, "current", take, board, files(APP).bytes())
        write(root + "/ota/1/app.py", b"VERSION = 3\n")
        assert plain.power_on().layout.version() is None
        os.remove(root + "/ota/1/app.py")
        assert plain.power_on().layout.version() is None
        take(plain.power_on(), files(APP).bytes())
        plain.power_on("reset")
        assert runs(plain) == APP


def test_a_delta_stands_on_the_tree_that_runs_and_on_no_other():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        delta = files(TWO, (1, 2, 0))
        delta.base = archive(APP)
        raises(Refused, "base", take, plain.power_on(), delta.bytes())
        confirmed(plain, files(APP).bytes())
        other = files(TWO, (1, 2, 0))
        other.base = archive(TWO)
        raises(Refused, "base", take, plain.power_on(), other.bytes())
        write(root + "/ota/1/app.py", b"VERSION = 3\n")
        raises(Refused, "base", take, plain.power_on(), delta.bytes())
        write(root + "/ota/1/app.py", APP["app.py"])
        take(plain.power_on(), delta.bytes())
        plain.power_on("reset")
        assert runs(plain) == TWO


def test_after_a_refusal_the_next_offer_is_taken_at_once_and_nobody_is_told():
    class Two(Ram):
        """Offers a delta that does not fit, and behind it the whole."""

        def other(self, code=""):
            more, self.data = self.data is not whole, whole
            return more

    whole = files(TWO, (1, 2, 0)).bytes()
    delta = files(TWO, (1, 2, 0))
    delta.base = b"another tree"
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        board = plain.power_on()
        link = Two(delta.bytes())
        agent = Agent(board, [link], None)
        state = agent.step()
        assert state == "busy" and link.reports == []
        while state == "busy":
            state = agent.step()
        assert state == "reset" and [code for code, _ in link.reports] == ["armed"]


def test_what_was_given_up_is_refused_in_another_package_too():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        plain.power_on("reset").layout.retreat("unhealthy")
        again = files(TWO, (1, 2, 0))
        again.chunk, again.room = 8192, 8
        again.pieces = [again.image[i : i + 8192] for i in range(0, len(again.image), 8192)]
        raises(Refused, "failed", take, plain.power_on("reset"), again.bytes())
        take(plain.power_on(), files(TWO, (1, 2, 1)).bytes())


def test_what_does_not_fit_is_refused_before_anything_is_written():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        before = files_of(root)
        firmware = Maker(image(9000, 1))
        firmware.layout = b"files"
        raises(Refused, "kind", take, board, firmware.bytes())
        raises(Refused, "layout", take, board, files(APP, layout=b"esp32").bytes())
        alone = resource(b"font", b"12345")
        alone.layout = b"files"
        raises(Refused, "files", take, board, alone.bytes())
        raises(Refused, "files", take, board, files(None, data=b"no list at all" * 9).bytes())
        huge = files(APP)
        huge.size = 0xFFFFFFF0
        room = board.layout.target(huge)
        if room.size < huge.size:
            raises(Refused, "size", take, board, huge.bytes())
        seen = {k: v for k, v in files_of(root).items() if "ota/mpota" not in k}
        assert seen == before, seen


def test_there_is_no_way_back_behind_a_confirmed_application():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        board = confirmed(plain, files(APP).bytes())
        raises(NotNow, "rollback", board.layout.rollback, "by hand")
        raises(NotNow, "trial", board.layout.retreat, "by hand")
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        raises(NotNow, "trial", take, plain.power_on("reset"), files(APP, (1, 3, 0)).bytes())
        raises(NotNow, "trial", plain.power_on("").layout.forget)
        plain.power_on("").layout.rollback("by hand")
        board = plain.power_on("reset")
        assert runs(plain) == APP and board.layout.failure()[1] == "by hand"


def test_the_status_of_a_board_of_files():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        facts = plain.power_on().layout.status()
        assert (facts["layout"], facts["running"], facts["version"]) == ("files", "no tree", None)
        take(plain.power_on(), files(APP).bytes())
        facts = plain.power_on("reset").layout.status()
        assert facts["trial"] == {"version": "1.1.0", "trials": 2, "runs": True} and facts["updates"]
        plain.power_on("").layout.confirm()
        facts = plain.power_on().layout.status()
        assert (facts["running"], facts["version"], facts["trial"]) == ("tree 1", "1.1.0", None)


def test_a_tree_that_is_gone_leaves_what_lies_at_the_root():
    with Scratch() as root:
        plain = settled(root)
        os.remove(root + "/ota/1/.mpota")
        shim.boot(lambda: plain.power_on())
        assert shim.folder == ""
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        plain.power_on("reset")
        assert runs(plain) == TWO


# --- together with firmware ------------------------------------------------------------------------------------------

SLOT = 0x10000
OLD, NEW = image(30000, 1), image(41232, 2)
FONT = bytes(range(256)) * 17


class Chip:
    """An ESP32 with a file system in a folder, its journal in NVS."""

    def __init__(self, root, rows=None, **build):
        self.root = root
        self.soc = soc.Soc(rows or soc.rows(SLOT), SETTINGS, None)
        self.soc.write(self.soc.row("ota_0").offset if rows is None else rows[-1].offset, OLD)
        for name in build:
            getattr(self.soc, name).rollback = build[name]

    def boot(self, why=soc.HARD):
        """A reset through the loader and what boot.py does. The image and the files that run."""
        for _ in range(9):
            self.board = self.soc.power_on(why)
            self.board.root = self.root + "/ota"
            try:
                shim.boot(lambda: self.board)
            except soc.Reset:
                why = soc.HARD
                continue
            if shim.folder:
                del shim.sys.path[0]
            return self.soc.started.name, runs(self)
        raise AssertionError("the board resets for ever")


def both(tree, firmware, number=(1, 1, 0)):
    head = Maker(firmware)
    head.version = version(*number)
    return several(head, files(tree, number))


def with_font(tree, firmware, number=(1, 1, 0)):
    """Firmware, files and a resource."""
    head = Maker(firmware)
    head.version = version(*number)
    names = sorted(list(tree) + ["font"])
    rows = [listing.entry(n, len(FONT if n == "font" else tree[n]), n == "font") for n in names]
    data = archive(None, rows, b"".join([tree[n] for n in names if n != "font"]))
    return several(head, files(None, number, data=data), resource(b"font", FONT))


def test_firmware_files_and_a_resource_switch_with_one_flip():
    for bootloader in (True, False):
        with Scratch() as root:
            c = Chip(root, bootloader=bootloader)
            c.boot(soc.PWRON)
            take(c.board, with_font(TWO, NEW))
            new = dict(TWO)
            new["font"] = FONT
            assert c.boot() == ("ota_1", new)
            c.board.layout.confirm()
            assert c.boot(soc.PWRON) == ("ota_1", new)
            assert c.board.layout.version() == version(1, 1, 0)
            raises(NotNow, "rollback", c.board.layout.rollback, "by hand")


def test_a_retreat_takes_firmware_and_files_back():
    for bootloader in (True, False):
        with Scratch() as root:
            c = Chip(root, bootloader=bootloader)
            c.boot(soc.PWRON)
            take(c.board, both(APP, OLD))
            assert c.boot() == ("ota_1", APP)
            c.board.layout.confirm()
            c.boot()
            take(c.board, both(TWO, NEW, (1, 2, 0)))
            seen = [c.boot(soc.WDT) for _ in range(5)]
            assert seen == [("ota_0", TWO)] * 3 + [("ota_1", APP)] * 2, [s[0] for s in seen]


def test_files_alone_leave_the_slot_and_its_loader_alone():
    rows = soc.rows(SLOT)
    no_slots = [r for r in soc.rows(SLOT, 1, True) if r.subtype not in (16, 0) or r.type == 1]
    no_slots += [r for r in soc.rows(SLOT, 1, True) if r.type == 0 and r.subtype == 0]
    for table, runs_in in ((rows, "ota_0"), (no_slots, "factory")):
        with Scratch() as root:
            c = Chip(root, None if table is rows else table)
            c.boot(soc.PWRON)
            if runs_in == "factory":
                raises(Refused, "slots", take, c.board, Maker(NEW).bytes())
            c.soc.flash.trace = []
            take(c.board, files(APP, layout=b"esp32").bytes())
            assert not [t for t in c.soc.flash.trace if t[1] >= soc.OTADATA_AT]
            c.boot()
            assert runs(c) == APP
            c.board.layout.confirm()
            take(c.board, files(TWO, (1, 2, 0), b"esp32").bytes())
            seen = [c.boot(soc.WDT)[1] for _ in range(5)]
            assert seen == [TWO] * 3 + [APP] * 2
            assert c.board.layout.version() == version(1, 1, 0)


def test_a_firmware_update_keeps_the_files_and_a_files_update_keeps_the_firmware():
    with Scratch() as root:
        c = Chip(root)
        c.boot(soc.PWRON)
        take(c.board, files(APP, layout=b"esp32").bytes())
        c.boot()
        c.board.layout.confirm()
        firmware = Maker(NEW)
        firmware.version = version(1, 2, 0)
        take(c.board, firmware.bytes())
        assert c.boot() == ("ota_1", APP)
        c.board.layout.confirm()
        take(c.board, files(TWO, (1, 3, 0), b"esp32").bytes())
        assert c.boot() == ("ota_1", TWO)
        c.board.layout.retreat("by hand")
        assert c.boot() == ("ota_1", APP)
        c.board.layout.forget()
        assert c.boot() == ("ota_1", APP)


def test_a_confirm_in_the_run_that_armed_frees_the_old_tree_and_not_the_new_one():
    with Scratch() as root:
        c = Chip(root)
        c.boot(soc.PWRON)
        take(c.board, files(APP, layout=b"esp32").bytes())
        c.boot()
        c.board.layout.confirm()
        take(c.board, files(TWO, (1, 2, 0), b"esp32").bytes())
        c.board.layout.confirm()
        assert c.boot() == ("ota_0", TWO)


def test_a_rollback_does_not_start_what_a_download_left_half_way():
    with Scratch() as root:
        c = Chip(root)
        c.boot(soc.PWRON)
        take(c.board, Maker(NEW).bytes())
        c.boot()
        c.board.layout.confirm()
        third = image(45000, 3)
        job = install(c.board, Ram(both(APP, third, (1, 2, 0))), None)
        while (next(job) or (0,))[0] < len(third):
            pass
        job.close()
        raises(NotNow, "rollback", c.board.layout.rollback, "by hand")
        assert c.boot() == ("ota_1", {})


def test_a_resource_cannot_bring_what_is_the_boards_own():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        plain.settings["protected"] = ["/secret.bin/"]
        rows = [listing.entry("app.py", 4), listing.entry("secret.bin", 5, True)]
        data = several(files(None, data=archive(None, rows, b"V=1\n")), resource(b"secret.bin", b"evil!"))
        raises(Refused, "protected", take, plain.power_on(), data)


def test_what_the_application_removed_does_not_come_back_out_of_an_older_tree():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        plain.settings["protected"] = ["wifi.json", "cert", "", ".", ".."]
        confirmed(plain, files(APP, (1, 0, 0)).bytes())
        plain.power_on()
        write(shim.folder + "/wifi.json", b"of the owner before")
        os.mkdir(shim.folder + "/cert")
        write(shim.folder + "/cert/ca.pem", b"old")
        confirmed(plain, files(TWO, (1, 1, 0)).bytes())
        plain.power_on()
        assert runs(plain)["cert/ca.pem"] == b"old"
        os.remove(shim.folder + "/wifi.json")
        os.remove(shim.folder + "/cert/ca.pem")
        confirmed(plain, files(APP, (1, 2, 0)).bytes())
        plain.power_on()
        assert runs(plain) == APP


def test_components_out_of_order_or_twice_are_refused():
    head = Maker(NEW)
    for parts in (
        (files(APP), head),
        (head, files(APP), files(APP)),
        (head, files(APP), resource(b"b", FONT), resource(b"a", FONT)),
        (head, files(APP), resource(b"a", FONT), resource(b"a", FONT)),
    ):
        with Scratch() as root:
            c = Chip(root)
            c.boot(soc.PWRON)
            for part in parts:
                part.layout = b"esp32"
            raises(Refused, "format", take, c.board, several(*parts))
