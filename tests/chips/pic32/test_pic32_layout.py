"""Updates of a PIC32MZW1 through the installer: trials, going back, the store's limits, and pairs that a cut parted."""

from mpota.agent import Agent
from mpota.installer import install
from mpota.layout.pic32.layout import BOOKS
from mpota.layout.pic32.loader import programmer as golden
from mpota.layout.pic32.store import control, database
from mpota.layout.pic32.store.control import DISABLED, VALID
from mpota_boot.errors import FlashError, LinkError, NotNow, Refused
from mpota_host.chips.pic32.sim.chip import ChipBoard
from mpota_host.sim.reset import Reset
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C, Deaf
from tests.expect import raises
from tests.packages import Maker, Ram, version


def package(image, number=(1, 1, 0)):
    made = Maker(image)
    made.layout = b"pic32"
    made.version = version(*number)
    return made.bytes()


def update(board, image, number=(1, 1, 0)):
    for _ in install(board, Ram(package(image, number)), None):
        pass


def chip(*rows, **options):
    """A chip that runs the best of the rows; the Board of its main.py."""
    c = maker.chip(rows, **options)
    return c, c.power_on()


def confirmed(c, image, number):
    """One more image, installed and confirmed."""
    update(c.power_on(), image, number)
    board = c.power_on("reset")
    board.layout.confirm()
    return board


def test_an_update_is_armed_tried_and_confirmed():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("image1.bin", "FE", "3")]
    assert maker.page(c).status == DISABLED and maker.holds(c, A)
    board = c.power_on("reset")
    assert maker.holds(c, B) and board.layout.on_trial().version == version(1, 1, 0) and board._dog
    board.layout.confirm()
    assert maker.rows(c)[1] == ("image1.bin", "f8", "3") and maker.page(c).status == VALID
    assert board.layout.on_trial() is None and board.layout.version() == version(1, 1, 0)
    ops = c.flash.ops, c.store.ops
    assert c.power_on().layout.version() == version(1, 1, 0)
    assert (c.flash.ops, c.store.ops) == ops, "an ordinary boot writes nothing"


def test_two_packages_in_turn_on_a_bad_line_write_the_store_once():
    c, board = chip(("a.bin", 2, "f8", A))
    for data in (B, C):
        raises(LinkError, "link", lambda d=data: list(install(board, Ram(package(d), 6000), None)))
    ops = c.store.ops
    for _ in range(9):
        raises(Refused, "begun", update, board, B)
        raises(LinkError, "link", lambda: list(install(board, Ram(package(C), 300), None)))
    assert c.store.ops == ops


def test_the_agent_drives_it_from_offer_to_confirm():
    c, board = chip(("a.bin", 2, "f8", A))
    link = Ram(package(B))
    agent = Agent(board, [link], None)
    while agent.step() == "busy":
        pass
    board = c.power_on("reset")
    agent = Agent(board, [link], None)
    while agent.step() == "trial":
        board.ms += 5001
    assert agent.trial is None and maker.page(c).status == VALID and maker.holds(c, B)


def test_a_factory_image_is_left_and_comes_back_when_the_update_fails():
    c = maker.chip(factory=False)
    c.flash.prog(maker.BASE, maker.build())
    c.flash.prog(maker.BASE + 4096, A[4096:] + b"\xff" * (-len(A) % 16))
    board = c.power_on()
    update(board, B)
    board = c.power_on("reset")
    assert maker.holds(c, B)
    board.layout.retreat("unhealthy")
    board = c.power_on("reset")
    assert maker.holds(c, A) and maker.page(c).kind == control.FACTORY
    record, why = board.layout.failure()
    assert (record.version, why) == (version(1, 1, 0), "unhealthy")
    raises(Refused, "failed", update, board, B)
    c.store.files["stray.bin"] = b"no row has it"
    status = board.layout.status()
    assert status["updates"] is None and "stray.bin" in c.store.files, "who asks changes nothing"
    assert status["running"] == "factory image" and status["failed"]["reason"] == "unhealthy"
    assert status["findings"] == ["image1.bin: image 2, disabled: unhealthy"]


def test_an_image_gets_three_boots_and_then_the_one_before_runs():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    seen = []
    for _ in range(5):
        board = c.power_on("watchdog")
        seen.append("B" if maker.holds(c, B) else "A")
    assert seen == ["B"] * 3 + ["A"] * 2
    assert board.layout.failure()[1] == "watchdog"
    board.layout.forget()
    update(board, B)
    c.power_on("reset")
    assert maker.holds(c, B), "what was forgotten may be tried again"


def test_nothing_is_installed_while_an_update_waits_or_is_on_trial():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    raises(NotNow, "trial", update, board, C, (1, 2, 0))
    board = c.power_on("reset")
    raises(NotNow, "trial", update, board, C, (1, 2, 0))
    board.layout.confirm()
    control.disable(maker.slot(c))
    refused = raises(NotNow, "staged", update, board, C, (1, 2, 0))
    assert board.layout.status()["updates"] == str(refused)


def test_a_disabled_image_that_is_all_there_is_takes_the_next_update():
    c, board = chip(("a.bin", 2, "f8", A), factory=False)
    update(board, B)
    raises(NotNow, "trial", update, board, C)
    # The update's file is bad, the one before is gone, and there is no factory image.
    c.store.files["image1.bin"] = b"bad"
    c.store.remove("a.bin")
    board = c.power_on("reset")
    assert c.boots[-1].did[-1] == "no other image" and maker.page(c).status == DISABLED
    update(board, C, (1, 2, 0))
    c.power_on("reset").layout.confirm()
    assert maker.holds(c, C) and maker.page(c).status == VALID


def test_the_store_keeps_its_number_of_rows_and_the_files_that_they_name():
    c, board = chip(("a.bin", 2, "f8", A), settings={"images": 2})
    confirmed(c, B, (1, 1, 0))
    board = confirmed(c, C, (1, 2, 0))
    assert [r[0] for r in maker.rows(c)] == ["image2.bin", "image1.bin"]
    assert "a.bin" in c.store.files, "the file goes with the next update"
    board.layout.ready()
    assert sorted(n for n in c.store.files if n.endswith(".bin")) == ["factory_reset.bin", "image1.bin", "image2.bin"]
    update(board, A, (1, 3, 0))
    assert [r[2] for r in maker.rows(c)] == ["4", "5"]


def test_what_failed_is_replaced_before_what_is_good():
    c, board = chip(("a.bin", 2, "f8", A), settings={"images": 2})
    update(board, B)
    c.power_on("reset").layout.retreat("bad")
    board = c.power_on("reset")
    update(board, C, (1, 2, 0))
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("image2.bin", "FE", "4")]


def test_the_row_of_what_runs_is_never_the_one_that_goes():
    c, board = chip(("a.bin", 2, "f8", A), settings={"images": 2})
    c.store.put(database.NAME, database.encode(database.load(c.store) + [maker.row("b.bin", 9, B, "f8")]).encode())
    update(board, C, (1, 2, 0))
    assert maker.rows(c) == [("a.bin", "f8", "2"), ("image1.bin", "FE", "10")]


def test_an_image_that_the_loader_never_starts_is_given_up_after_its_trials():
    c, board = chip(("a.bin", 2, "f8", A), settings={"trials": 2})
    update(board, B)
    good, c.store = c.store, Deaf(c.store, ("image1.bin",))
    before = len(c.boots)
    board = c.power_on("reset")
    assert maker.holds(c, A) and board.layout.on_trial() is None and len(c.boots) - before == 3
    assert board.layout.status()["failed"] == {"version": "1.1.0", "reason": "the loader did not start the image"}
    c.store = good
    c.power_on("reset")
    assert maker.holds(c, A) and maker.rows(c)[1][1] == "f0"


def test_a_database_that_lost_the_image_that_runs_costs_no_file():
    c, board = chip(("a.bin", 2, "f8", A))
    c.store.files.pop(database.NAME)
    board.layout.tidy()
    assert "a.bin" in c.store.files


def parted(what):
    c, board = chip(("a.bin", 2, "f8", A))
    c.store.put("image1.bin", B)
    seen = set()
    for how in what(c, lambda: c.power_on().layout.arm(Armed(B))):
        board = c.power_on()
        assert board is not None and len(maker.rows(c)) in (1, 2), how
        seen.add(maker.holds(c, B))
        # Armed or not: one of the two, whole, and where it was armed it runs.
        trial = board.layout.on_trial()
        assert maker.holds(c, B) == (trial is not None), how
        if trial is None:
            assert maker.holds(c, A) and maker.page(c).status == VALID, how
    return seen


def test_row_and_page_that_a_cut_parted_are_finished_at_the_next_boot():
    assert parted(maker.cuts_of_store) == {False, True}
    assert True in parted(maker.cuts_of_flash)


class Armed:
    """A package that has come."""

    id = b"package1"
    version = version(1, 1, 0)

    def __init__(self, image):
        from hashlib import sha256

        class Part:
            kind = 1
            size = len(image)
            sha = sha256(image).digest()

        self.components = [Part]


def confirming(what):
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    c.power_on("reset")
    n = 0
    for how in what(c, lambda: ChipBoard(c, "reset").layout.confirm()):
        n += 1
        board = c.power_on()
        assert maker.holds(c, B), how
        if board.layout.on_trial():
            board.layout.confirm()
        board = c.power_on()
        assert board.layout.on_trial() is None and maker.page(c).status == VALID, how
        assert board.layout.version() == version(1, 1, 0), how
    return n


def test_a_confirmation_is_whole_wherever_it_is_cut():
    assert confirming(maker.cuts_of_store) > 5 and confirming(maker.cuts_of_flash) >= 3


def test_a_retreat_that_is_cut_comes_to_the_old_image():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    c.power_on("reset")

    for how in maker.cuts_of_store(c, lambda: ChipBoard(c, "reset").layout.retreat("bad")):
        board = c.power_on()
        if board.layout.on_trial():
            board.layout.retreat("bad")
            board = c.power_on("reset")
        assert maker.holds(c, A) and board.layout.failure()[1] == "bad", how


def test_rollback_by_hand_goes_down_the_ranking_to_the_factory_image():
    c, board = chip(("a.bin", 2, "f8", A))
    board = confirmed(c, B, (1, 1, 0))
    board.layout.rollback("by hand")
    board = c.power_on("reset")
    assert maker.holds(c, A) and board.layout.failure()[1] == "by hand"
    board.layout.rollback("by hand")
    board = c.power_on("reset")
    assert maker.holds(c, GOLDEN)
    raises(NotNow, "rollback", board.layout.rollback, "by hand")


def test_rollback_drops_what_waits_and_ends_what_is_on_trial():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    board.layout.rollback("changed my mind")
    board = c.power_on("reset")
    assert maker.holds(c, A) and board.layout.on_trial() is None
    update(board, C, (1, 2, 0))
    board = c.power_on("reset")
    board.layout.rollback("changed my mind")
    c.power_on("reset")
    assert maker.holds(c, A)
    raises(NotNow, "trial", c.power_on().layout.retreat, "nothing")


def test_a_factory_reset_leaves_nothing_of_what_was_downloaded():
    c, board = chip(("a.bin", 2, "f8", A))
    board.layout.factory_reset()
    board = c.power_on("reset")
    assert maker.holds(c, GOLDEN) and maker.rows(c) is None
    raises(NotNow, "rollback", board.layout.factory_reset)


def test_the_factory_image_makes_way_when_the_store_reads_again():
    c = maker.chip((("b.bin", 3, "FE", B),))
    good, c.store = c.store, Deaf(c.store, ("b.bin",))
    assert c.power_on() is not None
    c.store = good
    board = c.power_on("reset")
    assert maker.holds(c, GOLDEN)
    Agent(board, [], None)
    c.power_on("reset")
    assert maker.holds(c, B)


def test_a_store_that_fails_is_said_by_name():
    c, board = chip(("a.bin", 2, "f8", A))
    c.store = board.layout.port.files = Deaf(c.store, (database.NEW, database.NAME))
    raises(FlashError, "store", board.layout.rows)
    raises(FlashError, "store", board.layout.save, [])


def test_the_database_counts_to_999():
    board = chip(("a.bin", 999, "f8", A))[1]
    raises(Refused, "number", update, board, B)


def test_a_delta_stands_on_head_and_code_of_what_runs():
    board = chip(("a.bin", 2, "f8", A))[1]
    base = board.layout.running(Armed(A).components[0])
    buf = bytearray(len(A))
    base.read(0, memoryview(buf)[:4096])
    base.read(4096, memoryview(buf)[4096:])
    assert bytes(buf) == A


def test_status_says_what_runs_what_is_there_and_why():
    c, board = chip(("a.bin", 2, "f8", A))
    update(board, B)
    status = c.power_on("reset").layout.status()
    assert status["running"] == "image 3" and status["page"] == "not confirmed"
    assert status["trial"] == {"version": "1.1.0", "trials": 3, "runs": True}
    assert [i["status"] for i in status["images"]] == ["valid", "downloaded"]
    c.power_on("reset").layout.retreat("no sensor")
    status = c.power_on("reset").layout.status()
    assert status["running"] == "image 2" and status["failed"] == {"version": "1.1.0", "reason": "no sensor"}
    assert [i["status"] for i in status["images"]] == ["valid", "disabled"]
    assert status["findings"] == ["a.bin: image 2, valid", "image1.bin: image 3, disabled: no sensor"]


def test_a_reset_is_a_reset_to_whoever_plays_the_board():
    c, board = chip(("a.bin", 2, "f8", A))
    try:
        board.reset()
        raise AssertionError("it came back")
    except Reset:
        pass
    assert golden.FACTORY_FILE in c.store.files


def test_an_image_leaves_room_for_the_files_that_judge_it():
    c, board = chip(("a.bin", 2, "f8", A))
    before = dict(c.store.files)
    c.store.capacity = sum(map(len, before.values())) + len(B) + BOOKS - 1
    error = raises(Refused, "size", update, board, B)
    assert "its place has %d" % (len(B) - 1) in str(error) and c.store.files == before
    c.store.capacity += 1
    confirmed(c, B, (1, 1, 0))
    assert maker.rows(c)[1] == ("image1.bin", "f8", "3")
