"""A chip's session: every row of the vendor's order of checks, and everything that a phone may send wrong."""

from struct import pack, unpack

from mpota.layout.sifli import loader
from mpota.layout.sifli.link import codes as g
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.link.session import Session
from mpota.layout.sifli.policy import Policy, newer
from mpota.layout.sifli.store import progress as p
from mpota.layout.sifli.store import table
from mpota_boot.errors import Corrupt
from mpota_boot.journal import trial
from mpota_host.sim.flash import PowerCut
from tests.chips.sifli import sifli_maker as maker
from tests.expect import raises

OLD, NEW = maker.payload(9000, 1), maker.payload(9000, 2)
RES = maker.payload(9000, 3)
CODE, FILES = maker.Package([(0, 16, NEW)], 1002000), maker.Package([(3, 0, RES)], 1002000)
BOTH = maker.Package([(0, 16, NEW), (3, 0, RES)], 1002000)
LOCKED = maker.Package([(0, 1, NEW)], 1002000)


class At:
    """A session on a provisioned chip, in the manager unless said otherwise."""

    def __init__(self, chip=None, manager=True, policy=None, why="force", **given):
        self.chip = chip or maker.chip(**given)
        if chip is None:
            maker.provision(self.chip, OLD)
        self.clock = maker.Clock()
        self.session = Session(self.chip, policy or Policy(lambda found: True), self.clock, manager, why)

    def ask(self, id, *fields, tail=b""):
        """What the chip answers, as (id, fields) each."""
        self.session.feed(m.encode(id, *fields, tail=tail))
        return self.heard()

    def heard(self):
        out = []
        message = self.session.take()
        while message:
            out.append(m.decode(message)[:2])
            message = self.session.take()
        return out

    def later(self, ms):
        self.clock.ms += ms
        self.session.tick()
        return self.heard()

    def init(self, package, id=m.INIT):
        (answer,) = self.ask(id, tail=package.packet)
        return answer[1][0]

    def begin(self, package):
        assert self.init(package, m.FORCE_INIT) == 0
        assert self.ask(m.INIT_DONE, 1) == []
        return self

    def start(self, package, id, every=4):
        n = len(package.records[id])
        return self.ask(m.START, sum([len(r) for r in package.records[id]]), n, every, id)

    def packets(self, package, id, first=1, last=None):
        out = []
        records = package.records[id]
        for i in range(first - 1, last or len(records)):
            out += self.ask(m.PACKET, id, i + 1, len(records[i]), tail=records[i])
        return out

    def send(self, package, id):
        assert self.start(package, id) == [(m.START_RSP, (0, 1, 0))]
        for answer in self.packets(package, id):
            assert answer == (m.PACKET_RSP, (0,)), answer
        return self.ask(m.END, id, 0)


def refused(code, at, package=CODE, id=m.INIT):
    before = at.chip.flash.digest()
    assert at.init(package, id) == code
    assert at.chip.flash.digest() == before and at.session.state != p.NEG


# The vendor's order of checks.


def test_each_check_has_its_code_and_writes_nothing():
    refused(g.GENERAL, At(), maker.Package([(3, 0, RES)], dfu=3))
    refused(g.USER_REJECT, At(), maker.Package([(6, 0, RES)], dfu=2))
    refused(g.USER_REJECT, At(policy=Policy(None)))
    refused(g.SDK_VER, At(policy=Policy(lambda found: True, None, 7000)))
    refused(g.FW_VER, At(policy=Policy(lambda found: True, lambda fw: fw > 1002000)))
    refused(g.PARAMETER, At(), maker.Package([(12, 0, RES)]))
    refused(g.PARAMETER, At(), maker.Package([(1, 0, RES)]))
    refused(g.PARAMETER, At(), maker.Package([(3, 0, RES), (3, 0, RES)]))
    refused(g.PARAMETER, At(), maker.Package([]))
    refused(g.NO_SPACE, At(), maker.Package([(5, 0, RES)]))
    refused(g.NO_SPACE, At(), maker.Package([(3, 0, maker.payload(0x8001))]))
    places = maker.places()
    places["res"] = (places["font"][0], 0x110000)
    del places["font"]
    many = maker.Package([(3, 0, RES)], block=16)
    many.control.images[0].length = 65536 * 16
    many.packet = maker.control.write(many.control, maker.ROOT, maker.signed.key_hash(maker.PUBLIC), maker.sign)
    refused(g.NO_SPACE, At(places=places, memory=maker.flash(places, size=0x200000)), many)
    refused(g.USER_REJECT, At(policy=Policy(lambda found: False)))
    asked = []
    refused(g.USER_REJECT, At(policy=Policy(lambda found: asked.append(found.fw))))
    assert asked == [1002000]


def test_the_application_is_asked_last():
    asked = []
    refused(g.SDK_VER, At(policy=Policy(lambda found: asked.append(1), None, 1)))
    refused(g.NO_SPACE, At(policy=Policy(lambda found: asked.append(1))), maker.Package([(5, 0, RES)]))
    assert not asked


def test_staged_images_have_to_fit_their_area_together():
    image = maker.payload(20000)
    assert At().init(maker.Package([(0, 16, image)])) == 0
    refused(g.NO_SPACE, At(), maker.Package([(0, 16, image), (3, 16, image)]))


def test_a_chip_that_is_not_ready_says_so():
    at = At()
    at.chip.ready = False
    refused(g.NOT_READY, at)


def test_each_efuse_that_is_missing_or_wrong_refuses():
    for code, fuses in (
        (g.GENERAL, maker.efuse(root=bytes(32))),
        (g.GENERAL, maker.efuse(root=b"\xff" * 32)),
        (g.GENERAL, maker.efuse(public=maker.PUBLIC[:-1] + b"\3")),
        (g.CONTROL_INVALID, maker.efuse(secure=0)),
        (g.CONTROL_INVALID, maker.efuse(secure=0xFF)),
    ):
        refused(code, At(fuses=fuses))


def test_a_key_in_the_table_that_the_efuses_do_not_name_refuses():
    places = maker.places()
    other = b"\xd7" + maker.N.to_bytes(256, "big")[1:]
    for public in (maker.signed.encode(other), b"\xff" * 294):
        refused(g.CONTROL_INVALID, At(places=places, memory=maker.flash(places, public)))


def test_a_package_of_the_tables_own_key_is_refused_where_the_efuses_name_another():
    # A prime does for a modulus: whoever knows that it is one can sign.
    n = 2**2048 - 1557
    low, high, a, b = n - 1, 65537, 0, 1
    while high > 1:
        q = low // high
        low, high, a, b = high, low - q * high, b, a - q * b

    def sign(data):
        block = int.from_bytes(maker.trust.block(maker.sha256(data).digest(), maker.signed.SIZE), "big")
        return pow(block, b % (n - 1), n).to_bytes(256, "big")

    forged = maker.Package([(3, 0, RES)], 1002000)
    forged.packet = maker.control.write(forged.control, maker.ROOT, maker.signed.key_hash(maker.PUBLIC), sign)
    places = maker.places()
    strange = maker.signed.encode(n.to_bytes(256, "big"))
    at = At(places=places, memory=maker.flash(places, strange))
    refused(g.CONTROL_INVALID, at, forged)
    # It is the eFuses that stand against it, and nothing else.
    data = maker.control.content(forged.packet, maker.ROOT, maker.signed.key_hash(maker.PUBLIC))
    assert maker.signed.verify(strange, forged.packet[-256:], maker.sha256(data).digest())


def test_another_uid_loses_what_was_kept_and_nothing_else():
    at = At().begin(BOTH)
    other = At(chip=maker.chip(memory=at.chip.flash, fuses=maker.efuse(uid=bytes(16))), manager=False)
    assert other.session.up.control is None
    assert other.init(BOTH, m.RESUME) == g.PARAMETER and other.init(BOTH, m.FORCE_INIT) == 0
    assert loader.boot(maker.chip(memory=at.chip.flash)).name == loader.MANAGER


def test_an_encrypted_program_needs_a_table_that_takes_its_key():
    places = maker.places()
    memory = maker.flash(places, apart=False)
    locked = maker.Package([(0, 17, NEW)])
    assert At(places=places, memory=memory).init(locked) == 0
    head = table.Header(1, 512, 2, bytes(32), bytes(256), bytes(20))
    memory = maker.flash(places, apart=False)
    assert table.put_header(memory, table.IMG_HCPU2, head)
    refused(g.USER_REJECT, At(places=places, memory=memory), locked)
    assert At(places=places, memory=memory).init(CODE) == 0


def test_a_state_that_does_not_fit_is_answered_and_ends_the_link():
    at = At().begin(CODE)
    assert at.init(CODE) == g.UNEXPECTED and at.session.closing
    assert at.ask(m.INIT, tail=CODE.packet) == []


def test_the_user_program_takes_nothing_while_one_is_on_trial():
    at = At().begin(CODE)
    assert at.send(CODE, 0) == [(m.END_RSP, (0,))]
    at.ask(m.FINISH, 0)
    at.session.work()
    chip = maker.chip(memory=at.chip.flash)
    assert loader.boot(chip).name == loader.USER and trial(chip.journal)
    refused(g.UNEXPECTED, At(chip=chip, manager=False), FILES)


def test_an_upgrade_under_way_is_error_10_for_the_old_init_alone():
    for id, code in ((m.INIT, g.ONGOING), (m.FORCE_INIT, 0), (m.RESUME, 0), (m.INIT_EXT, 0)):
        chip = At().begin(BOTH).chip
        assert At(chip=maker.chip(memory=chip.flash), manager=False).init(BOTH, id) == code
    assert At().init(BOTH, m.RESUME) == g.GENERAL


def test_a_resume_of_another_package_is_refused():
    chip = At().begin(BOTH).chip
    for other in (
        CODE,
        maker.Package([(0, 16, NEW), (3, 0, RES)], 1002001),
        maker.Package([(0, 16, NEW), (3, 0, RES)], 1002000, sdk=1),
        maker.Package([(0, 16, NEW), (3, 0, RES)], 1002000, key=bytes(32)),
        maker.Package([(0, 16, NEW), (3, 0, RES)], 1002000, block=256),
        maker.Package([(0, 16, NEW), (3, 1, RES)], 1002000),
        maker.Package([(0, 16, NEW), (4, 0, RES)], 1002000),
        maker.Package([(0, 16, OLD), (3, 0, RES)], 1002000),
    ):
        at = At(chip=maker.chip(memory=chip.flash), manager=False)
        assert at.init(other, m.RESUME) == g.PARAMETER
        ((id, fields),) = at.ask(m.INIT_EXT, tail=other.packet)
        assert (id, fields[0], fields[1]) == (m.INIT_EXT_RSP, 0, 0)


def test_records_of_another_package_are_refused_at_the_end_or_by_their_length_at_the_packet():
    package = maker.Package([(3, 0, RES)], 1002000)
    for n, last, end in ((9000, 0, g.FW_INVALID), (8960, g.GENERAL, None)):
        strange = maker.Package([(3, 0, maker.payload(n, 7))], 1002000)
        at = At().begin(package)
        assert at.start(package, 3, 1) == [(m.START_RSP, (0, 1, 0))]
        results = [fields[0] for id, fields in at.packets(strange, 3) if id == m.PACKET_RSP]
        assert len(results) == len(package.records[3]) and results[-1] == last and not any(results[:-1])
        assert at.session.closing == bool(last)
        if end:
            assert at.ask(m.END, 3, 0) == [(m.END_RSP, (end,))]


def test_an_encrypted_record_of_another_package_is_refused_at_the_packet_as_it_is_there():
    package = maker.Package([(3, 1, RES)], 1002000)
    strange = maker.Package([(3, 1, RES)], 1002000, key=bytes(range(32)))
    at = At().begin(package)
    assert at.start(package, 3, 1) == [(m.START_RSP, (0, 1, 0))]
    assert at.packets(strange, 3, 1, 1)[0] == (m.PACKET_RSP, (g.GENERAL,))


# Whoever is in radio range.


def held(at, n=16):
    return maker.held(at.chip.place(3), n)


def floored(version):
    """A policy as the shipped wiring has it, over a board that confirmed `version`; its list says who is let in."""
    return lambda chip: Policy(lambda found: True, newer(chip, lambda: maker.control.version(version)))


def guarded(flash, make, **given):
    chip = maker.chip(memory=flash)
    return At(chip=chip, policy=make(chip), **given)


def test_a_start_without_a_packet_changes_nothing_whatever_the_image():
    for package, id in ((FILES, 3), (maker.Package([(4, 0, RES)], 1002000), 4), (LOCKED, 0), (CODE, 0)):
        for cut in (False, True):
            user = At(manager=False)
            assert user.init(package) == 0
            user.ask(m.INIT_DONE, 1)
            at = At(chip=maker.chip(memory=user.chip.flash), why=loader.manage(user.chip))
            before, known = at.chip.flash.digest(), at.chip.journal.last("user")
            for _turn in range(3):
                assert at.start(package, id) == [(m.START_RSP, (0, 1, 0))]
                assert at.ask(m.END, id, 0) == [(m.END_RSP, (g.MISS_PACKET,))]
                assert at.ask(m.FINISH, 0) == [(m.FINISH_IND, (g.MISS_PACKET,))]
            # A record that does not hash is no byte that is written.
            bad = bytes(32) + package.records[id][0][32:]
            assert at.ask(m.PACKET, id, 1, len(bad), tail=bad)[0] == (m.PACKET_RSP, (g.GENERAL,)) if cut else True
            if not cut:
                assert at.chip.flash.digest() == before
                at.session.lost()
            assert at.session.leave
            for _turn in range(3):
                chip = maker.chip(memory=at.chip.flash)
                assert loader.boot(chip).name == loader.USER and chip.journal.last("user") == known


def test_the_first_byte_in_place_keeps_the_manager_though_the_power_goes_right_before_it():
    for package, id in ((FILES, 3), (LOCKED, 0)):
        for where in ("before", "inside", "after"):
            at = At().begin(package)
            assert at.start(package, id, 1) == [(m.START_RSP, (0, 1, 0))]
            flash = at.chip.flash
            place = at.chip.place(id)
            keep = flash.erase

            def erase(off, n, flash=flash, place=place, keep=keep, where=where):
                if off == place.start:
                    flash.cut, flash.cut_at = flash.ops + 1, where
                keep(off, n)

            flash.erase = erase
            raises(PowerCut, None, at.packets, package, id, 1, 1)
            flash.erase = keep
            flash.power_on()
            start = loader.boot(maker.chip(memory=flash))
            assert (start.name, start.why) == (loader.MANAGER, "force"), where


def test_a_start_of_another_image_does_not_cost_the_place_of_one_that_is_half_there():
    package = maker.Package([(3, 0, RES), (4, 0, maker.payload(5000, 4))], 1002000)
    at = At().begin(package)
    at.start(package, 3)
    at.packets(package, 3, 1, 9)
    at.session.lost()
    for _turn in range(2):
        at = At(chip=maker.chip(memory=at.chip.flash))
        assert at.init(package, m.RESUME) == 0
        at.ask(m.RESUME_DONE, 1)
        assert at.start(package, 4) == [(m.START_RSP, (0, 1, 0))]
        at.session.lost()
        assert not at.session.leave
    at = At(chip=maker.chip(memory=at.chip.flash))
    ((_id, fields),) = at.ask(m.RESUME, tail=package.packet)
    assert fields[3:5] == (8, 3)


def test_the_version_that_runs_is_refused_and_one_that_is_newer_resumes():
    make = floored(1002000)
    for fw, code in ((1001999, g.FW_VER), (1002000, g.FW_VER), (1002001, 0), (2000000, 0)):
        package = maker.Package([(0, 16, NEW)], fw) if fw != 1002000 else BOTH
        at = At()
        for id in (m.INIT, m.FORCE_INIT, m.INIT_EXT):
            at = guarded(at.chip.flash, make, manager=False)
            assert (at.init(package, id) == code) if code == 0 else refused(code, at, package, id) is None
    package = maker.Package([(0, 16, NEW), (3, 0, RES)], 1002001)
    at = guarded(At().chip.flash, make).begin(package)
    at.start(package, 0)
    at.packets(package, 0, 1, 9)
    at.session.lost()
    at = guarded(at.chip.flash, make, manager=False)
    assert at.init(package) == g.ONGOING and at.init(package, m.RESUME) == 0


def test_a_restart_brings_the_version_that_runs_only_where_the_boards_owner_says_so():
    older = maker.Package([(0, 16, NEW)], 1001000)
    low = maker.control.version(1002000)
    for allowed in (False, True):
        for package, id, code in (
            (BOTH, m.INIT, g.FW_VER),
            (BOTH, m.INIT_EXT, g.FW_VER),
            (BOTH, m.FORCE_INIT, 0 if allowed else g.FW_VER),
            (older, m.FORCE_INIT, g.FW_VER),
        ):
            at = At(manager=False)
            again = lambda fw, allowed=allowed: allowed and maker.control.version(fw) >= low  # noqa: E731
            at.session.policy = Policy(lambda found: True, newer(at.chip, lambda: low), again=again)
            assert at.init(package, id) == code, (allowed, id)


def test_a_manager_that_has_nothing_to_start_takes_the_version_that_was_confirmed():
    make = floored(1002000)
    package = maker.Package([(3, 0, RES)], 1002001)
    at = guarded(At().chip.flash, make).begin(package)
    at.start(package, 3)
    at.packets(package, 3, 1, 1)
    at.session.lost()
    assert loader.manage(maker.chip(memory=at.chip.flash)) == "force"
    for fw, code in ((1001999, g.FW_VER), (1002000, 0), (1002001, 0)):
        at = guarded(at.chip.flash, make)
        assert at.init(maker.Package([(3, 0, RES)], fw), m.FORCE_INIT) == code


def test_a_package_without_a_program_is_taken_once():
    make = floored(1002000)
    files, font = maker.Package([(3, 0, RES)], 1003000), maker.Package([(4, 0, RES)], 1003000)
    at = guarded(At().chip.flash, make)
    assert not upgraded(at, files, (3,)).session.manager
    flash = at.chip.flash
    for package in (files, font, FILES):
        for id in (m.INIT, m.FORCE_INIT, m.INIT_EXT):
            refused(g.FW_VER, guarded(flash, make, manager=False), package, id)
    # A newer one, and the program of that very release.
    for package in (maker.Package([(3, 0, RES)], 1003001), maker.Package([(0, 16, NEW)], 1003000)):
        assert guarded(flash, make, manager=False).init(package) == 0
    allowed = guarded(flash, make, manager=False)
    allowed.session.policy.again = lambda fw: True
    assert allowed.init(files, m.FORCE_INIT) == 0


def test_nobody_is_let_in_but_the_package_that_keeps_the_manager():
    shut = Policy(lambda found: False)
    refused(g.USER_REJECT, At(policy=shut), FILES, m.FORCE_INIT)
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 9)
    at.session.lost()
    flash = at.chip.flash
    refused(g.USER_REJECT, At(chip=maker.chip(memory=flash), policy=shut), BOTH, m.FORCE_INIT)
    assert At(chip=maker.chip(memory=flash), policy=shut).init(FILES, m.RESUME) == 0
    # An upgrade that left nothing half written is asked about again.
    at = At().begin(CODE)
    at.session.lost()
    refused(g.USER_REJECT, At(chip=at.chip, policy=shut, manager=False), CODE, m.RESUME)


def test_an_update_that_was_armed_since_init_is_not_overwritten():
    at = At(manager=False)
    assert at.init(CODE) == 0
    record = maker.Record(b"armed it", bytes(32), bytes(8), 100, 9, 1, 0, 0, 3)
    at.chip.journal.put("armed", record.encode())
    before = at.chip.flash.digest()
    assert at.ask(m.INIT_DONE, 1) == [(m.ABORT, (g.UNEXPECTED,))]
    assert not at.session.leave and at.chip.flash.digest() == before


def test_a_chip_whose_journal_is_anothers_says_not_ready():
    places = maker.places()
    memory = maker.flash(places)
    state = places["state"][0] - maker.BASE
    memory.prog(state, b"not a journal...")
    at = At(chip=maker.chip(places, memory))
    refused(g.NOT_READY, at)
    assert "0x%x" % state in at.chip.journal.closed()
    assert loader.boot(maker.chip(places, memory)).name == loader.USER


def test_a_page_that_is_anothers_is_not_erased_and_one_of_its_own_is_whatever_a_cut_left_of_it():
    for off in (0, 2000, 4092):
        at = At()
        page = at.chip.pages[1]
        page.prog(off, b"strange!"[:4])
        seen = maker.held(page, 4096)
        assert at.init(FILES, m.FORCE_INIT) == 0
        assert at.ask(m.INIT_DONE, 1) == [(m.ABORT, (g.FLASH,))]
        assert maker.held(page, 4096) == seen
    cut = 0
    while True:
        # An upgrade that was agreed on and did not come: its page is there.
        at = At().begin(FILES)
        At(chip=at.chip, why="wait").later(30000)
        flash = at.chip.flash
        cut += 1
        flash.cut = flash.ops + cut
        flash.tears = dict(flash.tears, erase=lambda old, new, pick: bytes([b | 0x5A for b in old]))
        try:
            At(chip=maker.chip(memory=flash)).begin(BOTH)
            break
        except PowerCut:
            flash.power_on()
        at = At(chip=maker.chip(memory=flash), why="wait")
        at.later(30000)
        at = At(chip=maker.chip(memory=flash)).begin(BOTH)
        assert at.send(BOTH, 0) == [(m.END_RSP, (0,))], cut
    assert cut > 4
    # A magic that rotted.
    at = At().begin(FILES)
    off = at.chip.pages[1].start + at.chip.places["state"][0] - maker.BASE
    At(chip=at.chip, why="wait").later(30000)
    at.chip.flash.cells.put(off, b"R")
    at = At(chip=maker.chip(memory=at.chip.flash)).begin(FILES)
    assert at.send(FILES, 3) == [(m.END_RSP, (0,))]


# Two programs.


def test_the_user_program_agrees_keeps_it_and_makes_way():
    for first, done in ((m.INIT, m.INIT_DONE), (m.INIT_EXT, m.INIT_EXT_DONE)):
        at = At(manager=False)
        ((_id, fields),) = at.ask(first, tail=CODE.packet)
        assert fields[0] == 0 and fields[1 if first == m.INIT else 6] == 1
        assert not at.session.leave
        at.ask(done, 1)
        assert at.session.leave and at.session.closing
        start = loader.boot(maker.chip(memory=at.chip.flash))
        assert (start.name, start.why) == (loader.MANAGER, "wait")


def test_the_user_program_resets_though_nobody_says_that_the_answer_came():
    at = At(manager=False)
    assert at.init(CODE) == 0
    at.later(5999)
    assert not at.session.leave
    at.later(1)
    assert at.session.leave


def test_an_agreement_that_is_taken_back_changes_nothing():
    at = At(manager=False)
    assert at.init(CODE) == 0
    at.ask(m.INIT_DONE, 0)
    at.later(60000)
    assert not at.session.leave and loader.boot(maker.chip(memory=at.chip.flash)).name == loader.USER
    assert at.ask(m.INIT_DONE, 1) == [] and not at.session.leave


def test_the_user_program_takes_no_image():
    at = At(manager=False)
    assert at.start(CODE, 0) == [(m.START_RSP, (g.UNEXPECTED, 1, 0))]
    assert at.ask(m.END, 0, 0) == [(m.END_RSP, (g.UNEXPECTED,))]
    assert at.ask(m.FINISH, 0) == [(m.FINISH_IND, (g.UNEXPECTED,))]
    assert at.packets(CODE, 0, 1, 1) == [(m.PACKET_RSP, (g.UNEXPECTED,))]
    assert at.ask(m.RETRY)[0][1][0] == g.UNEXPECTED


def test_the_manager_waits_thirty_seconds_and_goes_back():
    at = At().begin(CODE)
    at = At(chip=maker.chip(memory=at.chip.flash), why="wait")
    at.later(29999)
    assert not at.session.leave
    at.later(1)
    assert at.session.leave
    assert loader.boot(maker.chip(memory=at.chip.flash)).name == loader.USER


# Images.


def test_an_image_is_started_as_the_control_packet_says_or_not_at_all():
    size, n = sum([len(r) for r in FILES.records[3]]), len(FILES.records[3])
    for fields in ((size + 1, n, 4, 3), (size, n + 1, 4, 3), (size, n, 0, 3), (size, n, 4, 4)):
        at = At().begin(FILES)
        before = at.chip.flash.digest()
        assert at.ask(m.START, *fields) == [(m.START_RSP, (g.PARAMETER, 1, 0))]
        assert at.chip.flash.digest() == before
        assert at.start(FILES, 3) == [(m.START_RSP, (0, 1, 0))]


def test_an_image_that_was_started_is_started_again_by_the_same_words_alone():
    at = At().begin(FILES)
    assert at.start(FILES, 3, 4) == [(m.START_RSP, (0, 1, 0))]
    assert at.start(FILES, 3, 4) == [(m.START_RSP, (0, 1, 0))]
    size, n = sum([len(r) for r in FILES.records[3]]), len(FILES.records[3])
    for fields in ((size, n, 5, 3), (size, n + 1, 4, 3), (size + 1, n, 4, 3)):
        assert at.ask(m.START, *fields) == [(m.START_RSP, (g.UNEXPECTED, 1, 0))]
    assert len(at.packets(FILES, 3)) == 5
    assert at.start(FILES, 3, 4) == [(m.START_RSP, (g.UNEXPECTED, 1, 0))]


def test_responses_come_at_their_interval_and_at_the_end():
    at = At().begin(FILES)
    at.start(FILES, 3, 4)
    n = len(FILES.records[3])
    assert n == 18 and len(at.packets(FILES, 3)) == 5


def test_a_packet_that_is_not_the_next_one_is_asked_about_once():
    for wrong in (3, 1, 9, 0):
        at = At().begin(FILES)
        at.start(FILES, 3)
        at.packets(FILES, 3, 1, 1)
        record = FILES.records[3][0]
        assert at.ask(m.PACKET, 3, wrong, len(record), tail=record) == [(m.LINK_CHECK, (0, 4, 1))]
        assert at.packets(FILES, 3, 2, 5) == []
        assert at.ask(m.LINK_CHECK_RSP, 0) == []
        assert len(at.packets(FILES, 3, 2)) == 5 and at.ask(m.END, 3, 0) == [(m.END_RSP, (0,))]


def test_a_packet_that_is_not_what_it_says_ends_the_download():
    record = FILES.records[3][1]
    other = FILES.records[3][2]
    bent = record[:40] + bytes((record[40] ^ 1,)) + record[41:]
    hashed = record[:31] + bytes((record[31] ^ 1,)) + record[32:]
    for code, n, tail in (
        (g.GENERAL, None, bent),
        (g.GENERAL, None, hashed),
        (g.GENERAL, None, other),
        (g.GENERAL, None, record[:-1]),
        (g.GENERAL, None, record + bytes(16)),
        (g.GENERAL, None, record + bytes(4000)),
        (g.GENERAL, None, b""),
        (g.PARAMETER, 7, record),
    ):
        at = At().begin(FILES)
        at.start(FILES, 3, 1)
        at.packets(FILES, 3, 1, 1)
        seen = maker.held(at.chip.place(3), 0x8000)
        answers = at.ask(m.PACKET, 3, 2, len(tail) if n is None else n, tail=tail)
        assert answers == [(m.PACKET_RSP, (code,)), (m.ABORT, (code,))]
        assert maker.held(at.chip.place(3), 0x8000) == seen
        assert at.session.closing and not at.session.leave and at.session.state == p.FORCE_UPDATE
    answers = At().begin(FILES).packets(FILES, 3, 1, 1)
    assert answers == [(m.PACKET_RSP, (g.UNEXPECTED,))]


def test_a_packet_of_another_image_is_refused():
    at = At().begin(BOTH)
    at.start(BOTH, 0, 1)
    record = BOTH.records[3][0]
    assert at.ask(m.PACKET, 3, 1, len(record), tail=record)[0] == (m.PACKET_RSP, (g.PARAMETER,))


def test_a_longer_image_is_never_written_past_its_end():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3)
    record = FILES.records[3][0]
    n = len(FILES.records[3])
    answers = at.ask(m.PACKET, 3, n + 1, len(record), tail=record)
    assert answers[0] == (m.PACKET_RSP, (g.GENERAL,))


def test_an_end_before_the_last_packet_is_a_missing_packet_and_may_be_made_good():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 10)
    assert at.ask(m.END, 3, 0) == [(m.END_RSP, (g.MISS_PACKET,))]
    assert at.ask(m.FINISH, 0) == [(m.FINISH_IND, (g.MISS_PACKET,))]
    at.packets(FILES, 3, 11)
    assert at.ask(m.END, 3, 0) == [(m.END_RSP, (0,))] and at.ask(m.END, 3, 0) == [(m.END_RSP, (0,))]
    assert at.ask(m.END, 9, 0) == [(m.END_RSP, (g.PARAMETER,))]
    assert at.start(FILES, 3) == [(m.START_RSP, (0, 1, 1))]


def test_an_image_that_was_not_signed_is_refused_at_its_end_and_may_come_again():
    at = At().begin(FILES)
    forged = maker.Package([(3, 0, maker.payload(9000, 4))])
    at.start(FILES, 3)
    at.packets(forged, 3)
    assert at.ask(m.END, 3, 0) == [(m.END_RSP, (g.FW_INVALID,))]
    assert at.ask(m.FINISH, 0) == [(m.FINISH_IND, (g.MISS_PACKET,))]
    assert at.send(FILES, 3) == [(m.END_RSP, (0,))]


def test_a_compressed_image_that_decodes_to_too_much_is_refused_before_anything_is_erased():
    places = maker.places()
    places["user"] = (places["user"][0], 0x2000)
    at = At(chip=maker.chip(places, maker.flash(places)))
    before = maker.held(at.chip.user, 0x2000)
    small = maker.Package([(0, 16, bytes(8000))], 1002000)
    assert at.init(small) == 0
    long = maker.com(bytes(8000) + bytes(1000), 4000)[: len(small.stored[0])]
    data = long[:8] + long[8:]
    package = maker.Package([(0, 16, b"")], 1002000)
    package.control.images[0] = maker.control.Image(maker.sign(data), len(data), 16, 0)
    package.packet = maker.control.write(package.control, maker.ROOT, maker.signed.key_hash(maker.PUBLIC), maker.sign)
    package.records[0] = [maker.wire.encode(i, data[i : i + 512], data[i : i + 512]) for i in range(0, len(data), 512)]
    at = At(chip=at.chip).begin(package)
    assert at.send(package, 0) == [(m.END_RSP, (0,))]
    assert at.ask(m.FINISH, 0) == [] and at.session.job
    at.session.work()
    assert at.heard() == [(m.FINISH_IND, (g.FW_INVALID,))] and at.session.leave
    assert maker.held(at.chip.user, 0x2000) == before


def test_a_phone_that_falls_silent_is_asked_and_then_given_up():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 5)
    assert at.later(6000) == [] and at.later(6000) == [(m.LINK_CHECK, (0, 4, 5))]
    at.ask(m.LINK_CHECK_RSP, 0)
    at.packets(FILES, 3, 6, 6)
    assert at.later(6000) == [] and at.later(6000) == [(m.LINK_CHECK, (0, 4, 6))]
    assert at.later(6000) == [(m.ABORT, (g.MISS_PACKET,))] and at.session.closing


def test_responses_come_more_often_where_they_are_missed():
    at = At().begin(FILES)
    at.start(FILES, 3, 6)
    at.packets(FILES, 3, 1, 4)
    assert at.ask(m.RETRY) == [(m.RETRY_RSP, (0, 3, 4))]
    assert at.ask(m.RETRY) == [(m.RETRY_RSP, (0, 1, 4))]
    assert at.packets(FILES, 3, 5, 5) == [(m.PACKET_RSP, (0,))]
    for _turn in range(3):
        assert at.ask(m.RETRY) == [(m.RETRY_RSP, (0, 1, 5))]


def test_noise_is_passed_over():
    at = At().begin(FILES)
    for noise in (
        b"",
        b"\0",
        b"\x63\0\0\0",
        b"\x16\0\2\0ab",
        b"\x15\0\3\0ab",
        b"\x12\0\1\0a",
        b"\x0a\0\2\0ab",
        m.encode(m.PRIORITY),
        m.encode(m.END_RSP, 0),
    ):
        at.session.feed(noise)
        assert at.heard() == []
    assert at.send(FILES, 3) == [(m.END_RSP, (0,))]


def other(at, id, data=b""):
    """What the chip answers to a message that messages.py does not have: (id, payload), None where it says nothing."""
    at.session.feed(pack("<HH", id, len(data)) + data)
    found = at.session.take()
    assert at.session.take() is None
    if found is None:
        return None
    assert unpack("<HH", found[:4])[1] == len(found) - 4
    return unpack("<H", found[:2])[0], found[4:]


def version_of(at):
    """The version that the chip tells, piece by piece, and how many there were."""
    text, piece, n = b"", 0, 0
    while True:
        id, data = other(at, 18, pack("<H", piece))
        piece, size, part = unpack("<HH8s", data)
        assert id == 19 and len(data) == 12 and part[size:] == bytes(8 - size)
        text += part[:size]
        n += 1
        if not piece:
            return text, n
        assert piece == n


def test_the_version_that_runs_is_told_in_pieces_to_whoever_asks():
    for manager in (False, True):
        at = At(manager=manager)
        assert version_of(at) == (b"0.1.0", 1)
        assert other(at, 18, pack("<H", 1)) == (19, bytes(12))
        assert other(at, 18, pack("<H", 65535)) == (19, bytes(12))
    long = maker.Package([(0, 16, NEW)], 4294967295)
    at = upgraded(At(manager=False), long, (0,))
    # On trial already: it is the one that lies there.
    assert trial(at.chip.journal) and version_of(at) == (b"4294.967.295", 2)
    at = At(manager=True).begin(LOCKED)
    at.start(LOCKED, 0)
    at.packets(LOCKED, 0, 1, 1)
    # In the middle of a program that comes in place none is whole.
    assert version_of(at) == (b"", 1)
    assert At(chip=maker.chip(), manager=True).chip.installed() is None
    assert version_of(At(chip=maker.chip(), manager=True)) == (b"", 1)


def test_a_message_that_is_not_done_is_refused_whatever_it_holds_and_changes_nothing():
    sizes = {21: 12, 24: 2, 26: 8, 28: 2, 30: 2, 38: 8, 40: 8, 42: 2}
    at = At().begin(FILES)
    assert at.start(FILES, 3) == [(m.START_RSP, (0, 1, 0))]
    at.packets(FILES, 3, 1, 9)
    before, state = at.chip.flash.digest(), at.session.state
    for manager in (at, At(manager=False)):
        for id in sizes:
            for data in (b"", bytes(1), bytes(9), b"\xff" * 2000):
                assert other(manager, id, data) == (id + 1, pack("<H", g.USER_REJECT) + bytes(sizes[id] - 2))
    for id in (14 + 5, 20, 22, 23, 25, 27, 29, 31, 39, 41, 43, 44, 99, 65535):
        assert other(at, id, bytes(20)) is None
    assert at.chip.flash.digest() == before and at.session.state == state
    for answer in at.packets(FILES, 3, 10):
        assert answer == (m.PACKET_RSP, (0,))
    assert at.ask(m.END, 3, 0) == [(m.END_RSP, (0,))]
    at.session.closing = True
    assert other(at, 38, bytes(12)) is None


def test_a_message_that_is_not_done_is_named_by_its_number():
    for id in (18, 21, 38, 43, 99):
        e = raises(Corrupt, "decode", m.decode, pack("<HH", id, 9) + bytes(9))
        assert "message %d is not done here" % id in str(e)
    assert "says 8 bytes and has 9" in str(raises(Corrupt, "decode", m.decode, pack("<HH", 6, 8) + bytes(9)))


# Ends.


def test_a_staged_program_that_does_not_come_returns_to_the_user_program():
    at = At().begin(CODE)
    at.start(CODE, 0)
    at.packets(CODE, 0, 1, 9)
    at.session.lost()
    assert at.session.leave
    chip = maker.chip(memory=at.chip.flash)
    assert loader.boot(chip).name == loader.USER and maker.held(chip.user, len(OLD)) == OLD
    again = At(chip=chip, manager=False)
    assert again.init(CODE) == g.ONGOING
    ((id, fields),) = again.ask(m.RESUME, tail=CODE.packet)
    assert (id, fields[:6]) == (m.RESUME_RSP, (0, 1, 0, 8, 0, 4))


def test_resources_that_do_not_come_keep_the_manager_until_they_do():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 9)
    at.session.lost()
    assert not at.session.leave
    for _turn in range(3):
        chip = maker.chip(memory=at.chip.flash)
        start = loader.boot(chip)
        assert (start.name, start.why) == (loader.MANAGER, "force")
    at = At(chip=chip)
    at.later(3600000)
    assert not at.session.leave
    ((_id, fields),) = at.ask(m.INIT_EXT, tail=FILES.packet)
    assert fields == (0, 1, 0, 8, 3, 4, 0, 1)
    at.ask(m.INIT_EXT_DONE, 1)
    assert at.start(FILES, 3) == [(m.START_RSP, (0, 1, 0))]
    at.packets(FILES, 3, 9)
    assert at.ask(m.END, 3, 0) == [(m.END_RSP, (0,))]
    at.ask(m.FINISH, 0)
    at.session.work()
    assert at.heard() == [(m.FINISH_IND, (0,))] and at.session.leave
    assert loader.boot(maker.chip(memory=at.chip.flash)).name == loader.USER
    assert maker.held(at.chip.place(3), len(RES)) == RES


def test_another_package_without_the_resource_that_is_half_written_leaves_the_manager_there():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 9)
    at.session.lost()
    at = At(chip=maker.chip(memory=at.chip.flash)).begin(CODE)
    assert at.send(CODE, 0) == [(m.END_RSP, (0,))]
    at.ask(m.FINISH, 0)
    at.session.work()
    assert at.heard() == [(m.FINISH_IND, (0,))]
    chip = maker.chip(memory=at.chip.flash)
    assert maker.held(chip.user, len(NEW)) == NEW
    start = loader.boot(chip)
    assert (start.name, start.why) == (loader.MANAGER, "force")
    at = At(chip=maker.chip(memory=at.chip.flash)).begin(FILES)
    assert at.send(FILES, 3) == [(m.END_RSP, (0,))]
    at.ask(m.FINISH, 0)
    at.session.work()
    chip = maker.chip(memory=at.chip.flash)
    assert loader.boot(chip).name == loader.USER and maker.held(chip.place(3), len(RES)) == RES


def test_a_resumed_image_repeats_what_it_was_started_with():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 9)
    at.session.lost()
    at = At(chip=maker.chip(memory=at.chip.flash))
    at.init(FILES, m.RESUME)
    at.ask(m.RESUME_DONE, 1)
    assert at.start(FILES, 3, 5) == [(m.START_RSP, (g.PARAMETER, 1, 0))]
    assert at.start(FILES, 3, 4) == [(m.START_RSP, (0, 1, 0))]


def test_a_flash_that_fails_is_said_and_ends_the_download():
    at = At().begin(FILES)
    at.start(FILES, 3, 1)

    def fails(off, n):
        raise OSError(5)

    at.chip.flash.erase = fails
    assert at.packets(FILES, 3, 1, 1)[0] == (m.PACKET_RSP, (g.FLASH,))


def finished(at):
    """What the chip says of the installation."""
    at.ask(m.FINISH, 0)
    at.session.work()
    return at.heard()


def test_an_encrypted_program_that_was_written_in_place_has_its_key_in_the_table():
    at = At().begin(LOCKED)
    assert at.send(LOCKED, 0) == [(m.END_RSP, (0,))] and finished(at) == [(m.FINISH_IND, (0,))]
    chip = maker.chip(memory=at.chip.flash)
    assert loader.boot(chip).name == loader.USER and maker.held(chip.user, len(LOCKED.stored[0])) == LOCKED.stored[0]
    head = table.header(chip.table, table.IMG_HCPU2)
    assert head.flags & table.ENC and chip.unwrap(head.key) == maker.IMAGE_KEY and head.length == len(LOCKED.stored[0])


def test_a_program_in_place_whose_key_the_table_does_not_take_keeps_the_manager():
    at = At().begin(LOCKED)
    assert at.send(LOCKED, 0) == [(m.END_RSP, (0,))]
    flash = at.chip.flash
    prog = flash.prog

    def fails(off, buf):
        if off < 0x5000:
            raise OSError(5)
        prog(off, buf)

    flash.prog = fails
    assert finished(at) == [(m.FINISH_IND, (g.FLASH,))] and not at.session.leave
    assert loader.boot(maker.chip(memory=flash)).why == "force"
    flash.prog = prog


def test_a_compressed_resource_that_is_half_installed_keeps_the_manager():
    package = maker.Package([(0, 16, maker.payload(4000, 2)), (3, 16, maker.payload(9000, 3))])
    at = At().begin(package)
    assert at.send(package, 0) == at.send(package, 3) == [(m.END_RSP, (0,))]
    flash = at.chip.flash
    place = at.chip.place(3)
    prog = flash.prog

    def fails(off, buf):
        if place.start < off < place.start + place.size:
            raise OSError(5)
        prog(off, buf)

    flash.prog = fails
    assert finished(at) == [(m.FINISH_IND, (g.FLASH,))] and not at.session.leave
    flash.prog = prog
    chip = maker.chip(memory=flash)
    assert loader.boot(chip).why == "force"
    at = At(chip=chip).begin(package)
    assert at.send(package, 0) == at.send(package, 3) == [(m.END_RSP, (0,))]
    assert finished(at) == [(m.FINISH_IND, (0,))] and at.session.leave
    chip = maker.chip(memory=flash)
    assert loader.boot(chip).name == loader.USER and maker.held(chip.place(3), 9000) == maker.payload(9000, 3)


def test_an_upgrade_is_not_gone_on_with_in_the_area_that_a_retreat_needs_by_now():
    at = At().begin(CODE)
    at.start(CODE, 0)
    at.packets(CODE, 0, 1, 9)
    at.session.lost()
    chip = maker.chip(memory=at.chip.flash)
    assert p.load(chip).slot == 1 and chip.free() == 1
    # An update by another way, confirmed since.
    maker.provision(chip, OLD, 1)
    chip = maker.chip(memory=at.chip.flash)
    at = At(chip=chip, manager=False)
    assert at.init(CODE, m.RESUME) == g.PARAMETER
    ((_id, fields),) = at.ask(m.INIT_EXT, tail=CODE.packet)
    assert fields[:2] == (0, 0)
    at.ask(m.INIT_EXT_DONE, 1)
    assert p.load(chip).slot == 0


def test_a_kept_packet_that_is_damaged_costs_the_upgrade_and_not_the_manager():
    chip = At().begin(CODE).chip
    chip.flash.overwrite = ((0, chip.flash.size),)
    chip.pages[1].prog(40, bytes(8))
    at = At(chip=maker.chip(memory=chip.flash), why="wait")
    assert at.start(CODE, 0) == [(m.START_RSP, (g.PARAMETER, 1, 0))]
    at.later(30000)
    assert at.session.leave and loader.boot(maker.chip(memory=chip.flash)).name == loader.USER


def test_a_phone_that_forgot_its_agreement_is_told_12_and_can_begin_at_once():
    user = At(manager=False)
    assert user.init(CODE) == 0
    user.ask(m.INIT_DONE, 1)
    at = At(chip=maker.chip(memory=user.chip.flash), why="wait")
    assert at.init(CODE) == g.UNEXPECTED and at.session.closing and at.session.leave
    chip = maker.chip(memory=user.chip.flash)
    assert loader.boot(chip).name == loader.USER
    at = At(chip=chip, manager=False)
    assert at.init(CODE) == g.ONGOING and at.init(CODE, m.RESUME) == 0


def test_a_phone_that_forgot_its_agreement_begins_anew_in_a_manager_that_stays():
    at = At().begin(FILES)
    at.start(FILES, 3)
    at.packets(FILES, 3, 1, 9)
    at.session.lost()
    at = At(chip=maker.chip(memory=at.chip.flash)).begin(FILES)
    assert at.init(FILES) == g.UNEXPECTED and not at.session.leave
    at.session.lost()
    at.begin(FILES)
    assert at.send(FILES, 3) == [(m.END_RSP, (0,))]


def test_a_manager_that_waits_goes_back_though_a_phone_came_and_changed_its_mind():
    at = At().begin(CODE)
    at.start(CODE, 0)
    at.packets(CODE, 0, 1, 9)
    chip = maker.chip(memory=at.chip.flash)
    assert loader.boot(chip).why == "wait"
    at = At(chip=chip, why="wait")
    assert at.init(CODE, m.RESUME) == 0 and at.ask(m.RESUME_DONE, 0) == []
    at.later(29999)
    assert not at.session.leave
    at.later(1)
    assert at.session.leave


def test_blocks_that_the_flash_cannot_write_one_by_one_are_refused():
    places = maker.places()
    memory = maker.flash(places, prog_size=256)
    refused(g.PARAMETER, At(places=places, memory=memory), maker.Package([(3, 0, RES)], block=128))
    assert At(places=places, memory=memory).init(maker.Package([(3, 0, RES)], block=256)) == 0


def upgraded(at, package, ids, first=m.FORCE_INIT):
    """The session that is left after an upgrade from its first word to its last, by way of the manager."""
    ((_id, fields),) = at.ask(first, tail=package.packet)
    assert fields[0] == 0
    at.ask(m.INIT_EXT_DONE if first == m.INIT_EXT else m.INIT_DONE, 1)
    if not at.session.manager:
        at = booted(at.chip.flash)
    for id in ids:
        ((_id, fields),) = at.start(package, id)
        assert fields[0] == 0
        if not fields[2]:
            for answer in at.packets(package, id, at.session.good + 1):
                assert answer == (m.PACKET_RSP, (0,)), answer
            assert at.ask(m.END, id, 0) == [(m.END_RSP, (0,))]
    assert finished(at) == [(m.FINISH_IND, (0,))]
    return booted(at.chip.flash)


def booted(flash):
    start = loader.boot(maker.chip(memory=flash))
    return At(chip=maker.chip(memory=flash), manager=start.name == loader.MANAGER, why=start.why)


def test_after_a_cut_anywhere_another_package_or_the_same_one_is_installed():
    res, font = maker.payload(5000, 3), maker.payload(5000, 7)
    first = maker.Package([(0, 16, NEW), (3, 0, res), (4, 16, font)], 1002000)
    last = maker.payload(8800, 9)
    other = maker.Package([(0, 16, last), (3, 0, maker.payload(4500, 11)), (4, 16, res)], 1003000)
    at = At(manager=False)
    begun = at.chip.flash.ops
    assert not upgraded(at, first, (0, 3, 4)).session.manager
    ops = at.chip.flash.ops - begun
    for op in range(1, ops + 1, 3):
        for where, package, program, init in (
            ("inside", first, NEW, m.INIT_EXT),
            ("after", other, last, m.INIT_EXT),
            ("inside", other, last, m.FORCE_INIT),
        ):
            at = At(manager=False)
            flash = at.chip.flash
            flash.cut, flash.cut_at = flash.ops + op, where
            try:
                upgraded(at, first, (0, 3, 4))
            except PowerCut:
                pass
            flash.power_on()
            at = booted(flash)
            if not at.session.manager:
                assert maker.held(at.chip.user, 8800) in (OLD[:8800], NEW[:8800]), (op, where)
                assert maker.held(at.chip.place(3), 5000) in (b"\xff" * 5000, res), (op, where)
                assert maker.held(at.chip.place(4), 5000) in (b"\xff" * 5000, font), (op, where)
                record = trial(at.chip.journal)
                if record:
                    at.chip.journal.put("running", record.encode())
            else:
                # Where it waits for the first image of what was agreed on, this one is told 12 and begins anew.
                at.init(package, init)
                at = booted(flash)
            at = upgraded(at, package, (0, 3, 4), init)
            assert not at.session.manager and maker.held(at.chip.user, len(program)) == program, (op, where)
