"""The agent: when it asks, when it confirms, when it goes back, and what it tells whom."""

from mpota.agent import Agent
from mpota.pace import moment
from mpota_boot import shim
from mpota_boot.errors import FlashError, LinkError
from mpota_host.chips.esp32.sim import soc
from tests.firmware import image
from tests.packages import Maker, Ram, version

# The defaults of the settings, as the README has them, and the seconds between two questions.
POLL_MS = TRIAL_MS = 600000
ASK_MS = 5000
# After the first failure it is half to three halves of them.
AGAIN_MS = 7500
SLOT = 0x10000
OLD = image(30000, 1)
NEW = image(41232, 2)


def chip():
    c = soc.Soc(soc.rows(SLOT), {"product": "demo", "room": 16384}, None)
    c.write(c.row("ota_0").offset, OLD)
    return c


def boot(c, cause=soc.HARD):
    while True:
        board = c.power_on(cause)
        try:
            shim.boot(lambda b=board: b)
            assert shim.error is None, repr(shim.error)
            return board
        except soc.Reset:
            cause = soc.HARD


def steps(agent, n=200):
    """Step until something else than "busy" comes of it."""
    for _ in range(n):
        state = agent.step()
        if state != "busy":
            return state
    raise AssertionError("busy for ever")


def trial(c, link=None, health=None):
    """Take the update and boot it: the agent of the new image."""
    board = boot(c, soc.PWRON)
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None, health)
    assert steps(agent) == "reset"
    board = boot(c)
    assert c.started.name == "ota_1"
    return Agent(board, [link or Ram(Maker(NEW).bytes())], None, health)


class InTurn(Ram):
    """A link that offers its packages in turn; each line dies, and one that goes on with a package dies at once."""

    def __init__(self, made, dies, again):
        super().__init__(None)
        self.made = made
        self.bytes = dies, again
        self.turn = 0

    def open(self, at=0):
        if not at:
            self.turn += 1
        self.data = self.made[self.turn % len(self.made)]
        self.dies = self.fetched + self.bytes[at > 0]
        return super().open(at)


def two_in_turn(dies, again, minutes):
    """The erases of each sector of the slot, and the last state, of a board that asks every five seconds."""
    c = chip()
    c.settings["poll_ms"] = 5000
    board = boot(c, soc.PWRON)
    two = Maker(image(41232, 3))
    two.version = version(1, 2, 0)
    agent = Agent(board, [InTurn([Maker(NEW).bytes(), two.bytes()], dies, again)], None)
    c.flash.trace = []
    erased = {}
    state = ""
    while state != "reset" and board.ms < minutes * 60000:
        state = agent.step()
        if state == "idle":
            board.ms += 2500
    first = c.row("ota_1").offset
    for op, off, _ in c.flash.trace:
        if op == "erase" and off >= first:
            erased[off] = erased.get(off, 0) + 1
    return erased, state


def test_two_packages_in_turn_and_a_bad_line_wear_out_no_sector():
    # What was begun may be left for the other one each hour.
    erased, state = two_in_turn(6000, 0, 200)
    assert len(erased) == 1 and 2 <= max(erased.values()) <= 5 and state != "reset", erased


def test_of_two_packages_in_turn_on_a_bad_line_the_one_that_was_begun_arrives():
    erased, state = two_in_turn(6000, 6000, 60)
    assert state == "reset" and len(erased) == 11 and max(erased.values()) <= 2, erased


def test_an_update_is_taken_confirmed_and_then_reported():
    c = chip()
    board = boot(c, soc.PWRON)
    link = Ram(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    seen = []
    while agent.step() == "busy":
        if agent.progress not in ([(0, 0)] + seen):
            seen.append(agent.progress)
    assert len(seen) == 11 and seen[-1] == (len(NEW), len(NEW))
    assert [code for code, _ in link.reports] == ["armed"]
    board = boot(c)
    link = Ram(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    assert agent.step() == "idle"
    assert board.layout.version() == version(1, 1, 0)
    assert link.reports == [("confirmed", "version 1.1.0 runs")]
    board.ms += POLL_MS
    assert agent.step() == "idle" and len(link.reports) == 1, "the version that runs is no news"


def test_no_link_for_the_trial_time_retreats():
    c = chip()
    agent = trial(c, Ram(None))
    board = agent.board
    for _ in range(TRIAL_MS // ASK_MS - 1):
        assert agent.step() == "trial"
        board.ms += ASK_MS
    board.ms = TRIAL_MS
    assert steps(agent) in ("trial", "reset") and agent.step() == "reset"
    assert boot(c).layout.failure()[1] == "no-link"


def test_no_link_ends_a_trial_of_a_slow_application_too():
    c = chip()
    agent = trial(c, Ram(None))
    for _ in range(TRIAL_MS // ASK_MS):
        assert agent.step() == "trial"
        agent.board.ms += ASK_MS
    assert agent.step() == "reset"
    assert boot(c).layout.failure()[1] == "no-link"


def test_a_confirm_that_fails_is_left_to_the_next_boot():
    c = chip()
    agent = trial(c)

    def fails():
        raise FlashError("flash", "a program failed")

    agent.board.layout.port.mark_valid = fails
    assert agent.step() == "trial"
    agent.board.ms += TRIAL_MS
    assert agent.step() == "reset"


def test_an_armed_update_that_nobody_resets_into_is_ended_by_a_reset():
    c = chip()
    board = boot(c, soc.PWRON)
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
    assert steps(agent) == "reset"
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
    assert agent.step() == "idle"
    board.ms += TRIAL_MS
    assert agent.step() == "reset"


def test_a_link_that_comes_late_still_confirms():
    agent = trial(chip(), Ram(None))
    assert agent.step() == "trial"
    agent.board.ms += TRIAL_MS - ASK_MS
    agent.links[0].data = Maker(NEW).bytes()
    assert agent.step() == "idle" and agent.trial is None


def test_health_decides():
    def dies():
        raise ValueError("sensor")

    for health, why in ((lambda: False, "unhealthy"), (dies, "ValueError"), (lambda: None, "no-link")):
        c = chip()
        agent = trial(c, None, health)
        if why == "no-link":
            assert agent.step() == "trial"
            agent.board.ms += TRIAL_MS
        assert agent.step() == "reset"
        reason = boot(c).layout.failure()[1]
        assert why in reason, reason
    agent = trial(chip(), Ram(None), lambda: True)
    assert agent.step() == "idle" and agent.trial is None, "a health of one's own needs no link"


def test_an_application_that_dies_on_trial_retreats_and_one_that_is_confirmed_does_not():
    c = chip()
    agent = trial(c)
    assert agent.failed(ImportError("no module named 'sensor'"))
    assert "sensor" in boot(c).layout.failure()[1]
    agent = trial(chip())
    agent.step()
    assert not agent.failed(ValueError())


def test_a_lost_link_is_asked_again_soon_and_resumes():
    c = chip()
    board = boot(c)
    link = Ram(Maker(NEW).bytes(), 20000)
    agent = Agent(board, [link], None)
    assert steps(agent) == "idle" and isinstance(agent.error, LinkError)
    assert agent.step() == "idle" and len(link.opened) == 1, "it waits first"
    board.ms += AGAIN_MS
    link.dies = None
    assert steps(agent) == "reset"
    assert link.opened[-1] > 16384 and link.fetched < len(link.data) + 6000


def test_a_refusal_is_reported_and_asked_again_at_the_next_poll():
    c = chip()
    board = boot(c)
    maker = Maker(NEW)
    maker.product = b"other"
    link = Ram(maker.bytes())
    agent = Agent(board, [link], None)
    assert steps(agent) == "idle"
    assert link.reports[0][0] == "product"
    board.ms += POLL_MS - 1
    agent.step()
    assert len(link.opened) == 1
    board.ms += 1
    agent.step()
    assert len(link.opened) == 2


def test_out_of_memory_is_an_error_like_others():
    class Greedy(Ram):
        def open(self, at=0):
            raise MemoryError

    link = Greedy(b"")
    agent = Agent(boot(chip()), [link], None)
    assert agent.step() == "idle" and link.reports[0][0] == "MemoryError"


def test_what_there_is_no_memory_for_makes_way_for_the_next_offer():
    class Greedy(Ram):
        def open(self, at=0):
            if self.data is whole:
                return Ram.open(self, at)
            raise MemoryError

        def other(self, code=""):
            self.data = whole
            return True

    whole = Maker(NEW).bytes()
    link = Greedy(b"a delta")
    agent = Agent(boot(chip()), [link], None)
    assert agent.step() == "busy" and link.reports == []
    assert steps(agent) == "reset"


def test_what_has_to_run_first_is_asked_of_the_link_and_taken():
    first = Maker(NEW).bytes()
    later = Maker(image(41232, 3))
    later.version = version(1, 2, 0)
    later.fields = {b"From": version(1, 1, 0)}

    class Both(Ram):
        def other(self, code=""):
            self.data = first
            return code == "needs"

    agent = Agent(boot(chip()), [Both(later.bytes())], None)
    assert agent.step() == "busy" and steps(agent) == "reset"
    assert agent.links[0].reports == [("armed", "version 1.1.0 waits for the reset")]


def test_whatever_a_link_raises_is_no_verdict_and_ends_nothing():
    for wrong in (MemoryError(), OverflowError(), ValueError("x"), KeyError("y"), OSError(5), AttributeError("z")):

        class Broken(Ram):
            def open(self, at=0, wrong=wrong):
                raise wrong

            def report(self, code, text, wrong=wrong):
                raise wrong

        agent = trial(chip(), Broken(b""))
        assert agent.step() == "trial" and agent.trial
        agent = Agent(boot(chip()), [Broken(b"")], None)
        assert agent.step() == "idle" and agent.error is wrong


def test_a_report_that_fails_loses_no_reset():
    class Mute(Ram):
        def report(self, code, text):
            raise MemoryError

    agent = Agent(boot(chip()), [Mute(Maker(NEW).bytes())], None)
    assert steps(agent) == "reset"


def test_a_health_that_raises_has_judged_whatever_it_raises():
    def dead():
        raise OSError(19)

    c = chip()
    agent = trial(c, None, dead)
    assert agent.step() == "reset"
    assert "OSError" in boot(c).layout.failure()[1]


def test_an_error_is_reported_once_however_often_it_comes():
    agent = trial(chip())

    def fails():
        raise FlashError("flash", "a program failed")

    agent.board.layout.port.mark_valid = fails
    for _ in range(50):
        assert agent.step() == "trial"
    assert len(agent.links[0].reports) == 1


def test_links_are_asked_in_turn():
    c = chip()
    board = boot(c)
    dead, live = Ram(None), Ram(Maker(NEW).bytes())
    agent = Agent(board, [dead, live], None)
    assert steps(agent) == "idle"
    board.ms += AGAIN_MS
    assert steps(agent) == "reset"


def test_a_retreat_is_reported_once_a_boot_while_the_package_is_on_offer():
    c = chip()
    agent = trial(c, None, lambda: False)
    agent.step()
    link = Ram(Maker(NEW).bytes())
    agent = Agent(boot(c), [link], None)
    for _ in range(3):
        assert agent.step() == "idle"
        agent.board.ms += POLL_MS
    assert len(link.reports) == 1 and link.reports[0][0] == "failed" and "unhealthy" in link.reports[0][1]


def test_the_watchdog_is_fed_by_every_step_and_through_a_chunk():
    c = chip()
    agent = trial(c, Ram(None))
    dog = agent.board._dog
    assert dog.timeout == 60000
    before = dog.fed
    agent.step()
    assert dog.fed > before
    agent.links[0].data = b""
    agent.board.ms += AGAIN_MS
    agent.step()
    assert agent.board._dog.timeout == 86400000, "the trial is over"


def test_a_switch_that_fails_once_is_tried_again_at_the_next_poll():
    c = chip()
    board = boot(c, soc.PWRON)
    real, failures = board.layout.port.set_boot, [FlashError("flash", "partition ota_1: OSError(-0x1503)")]

    def once(slot):
        if failures:
            raise failures.pop()
        real(slot)

    board.layout.port.set_boot = once
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
    assert steps(agent) == "idle" and "1503" in str(agent.error)
    board.ms += POLL_MS
    assert steps(agent) == "reset"
    assert boot(c) and c.started.name == "ota_1"


def test_an_update_waits_while_the_owners_board_says_later():
    c = chip()
    board = boot(c, soc.PWRON)
    link = Ram(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    board.later = lambda: "the battery has 3400 mV"
    assert agent.step() == "idle"
    assert (agent.error.code, str(agent.error)) == ("later", "the battery has 3400 mV")
    assert not link.opened and link.reports == [("later", "the battery has 3400 mV")]
    board.ms += POLL_MS
    board.later = lambda: None
    assert agent.step() == "busy"
    # What has begun goes on.
    board.later = lambda: "too late"
    assert steps(agent) == "reset"


def test_a_later_that_raises_keeps_no_update_away():
    c = chip()
    board = boot(c, soc.PWRON)
    board.later = lambda: 1 // 0
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
    assert steps(agent) == "reset"


class NoNetwork(Ram):
    """A link whose board has no network until `there`."""

    there = False

    def open(self, at=0):
        if not self.there:
            raise LinkError(self.code, "the Wi-Fi one is not joined")
        return super().open(at)


def test_a_link_that_missed_the_network_is_asked_soon_after_it_came_and_no_other_is():
    for code, spread_ms, most_ms in (("network", 0, AGAIN_MS), ("network", 60000, 60000), ("http", 0, None)):
        c = chip()
        board = boot(c, soc.PWRON)
        link = NoNetwork(Maker(NEW).bytes())
        link.code = code
        agent = Agent(board, [link], None)
        for _ in range(12):
            board.ms += 2 * POLL_MS
            assert steps(agent) == "idle"
        if spread_ms:
            board.settings["spread_ms"] = spread_ms
            board.id = lambda: b"one of many"
        waits = agent.wait_ms
        assert waits >= POLL_MS // 2
        agent.hurry()
        if most_ms is None:
            assert agent.wait_ms == waits, "a server that is down is hammered by nobody"
            continue
        link.there = True
        assert agent.wait_ms <= most_ms
        moment = agent.wait_ms
        agent.hurry()
        assert agent.wait_ms == moment, "once is enough"
        board.ms += most_ms
        assert steps(agent) == "reset"


def test_a_house_whose_power_comes_back_asks_at_moments_of_its_own():
    for cause, spread_ms, waits in ((soc.PWRON, 600000, True), (soc.PWRON, 0, False), (soc.HARD, 600000, False)):
        c = chip()
        c.settings["spread_ms"] = spread_ms
        board = boot(c, cause)
        board.id = lambda: b"one of them"
        link = Ram(b"")
        agent = Agent(board, [link], None)
        agent.step()
        assert bool(link.opened) != waits, (cause, spread_ms)
        board.ms = moment(b"one of them", 600000) - 1
        agent.step()
        assert bool(link.opened) != waits
        board.ms += 1
        agent.step()
        assert link.opened


def test_a_server_that_says_when_to_come_back_is_not_asked_before():
    class Busy(Ram):
        def open(self, at=0):
            self.opened.append(at)
            e = LinkError("http", "status 503")
            e.after_ms = 900000
            raise e

    board = boot(chip())
    link = Busy(b"")
    agent = Agent(board, [link], None)
    agent.step()
    board.ms += 899999
    agent.step()
    assert len(link.opened) == 1
    board.ms += 1
    agent.step()
    assert len(link.opened) == 2


def test_a_link_that_fails_is_asked_less_and_less_until_it_answers():
    board = boot(chip())
    link = Ram(None)
    agent = Agent(board, [link], None)
    for n in range(1, 12):
        agent.step()
        ms = min(ASK_MS << (n - 1), POLL_MS)
        assert agent.failures == n and ms // 2 <= agent.wait_ms <= ms + ms // 2
        board.ms += agent.wait_ms
    link.data = b"no package"
    steps(agent)
    assert agent.failures == 0 and agent.wait_ms == POLL_MS


def test_on_trial_a_dead_link_is_asked_a_tenth_of_its_time_apart_at_most():
    agent = trial(chip(), Ram(None))
    for _ in range(9):
        assert agent.step() == "trial"
        assert agent.wait_ms <= TRIAL_MS // 10 * 3 // 2
        agent.board.ms += agent.wait_ms


class Slow(Ram):
    """A link in steps: three of them before each answer."""

    def opening(self, at=0, buf=None):
        for _ in range(3):
            yield
        return self.open(at)

    def reporting(self, code, words):
        for _ in range(3):
            yield
        self.report(code, words)


def test_a_link_in_steps_takes_one_at_a_time_and_reports_before_the_reset():
    board = boot(chip(), soc.PWRON)
    link = Slow(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    for _ in range(3):
        assert agent.step() == "busy" and link.opened == []
    while not agent.telling:
        assert agent.step() == "busy"
    assert link.reports == [] and board.journal.last("armed"), "armed, and not told yet"
    assert [agent.step() for _ in range(3)] == ["busy", "busy", "reset"]
    assert [code for code, _ in link.reports] == ["armed"]


def test_a_trial_with_a_link_in_steps_is_confirmed_and_that_is_reported():
    link = Slow(Maker(NEW).bytes())
    agent = trial(chip(), link)
    assert [agent.step() for _ in range(3)] == ["trial"] * 3 and agent.trial
    assert agent.step() == "busy" and not agent.trial, "confirmed, and the report is under way"
    assert steps(agent) == "idle" and [code for code, _ in link.reports] == ["confirmed"]


def test_a_trial_ends_in_the_middle_of_a_links_steps():
    class Never(Slow):
        def opening(self, at=0, buf=None):
            while True:
                yield

    c = chip()
    agent = trial(c, Never(b""))
    while agent.step() == "trial":
        agent.board.ms += 1000
    assert agent.board.ms == TRIAL_MS and boot(c).layout.failure()[1] == "no-link"


def test_an_application_that_starts_later_than_its_trial_lasts_has_its_link_asked_all_the_same():
    for data, wanted in ((Maker(NEW).bytes(), "idle"), (None, "reset")):
        agent = trial(chip(), Ram(data))
        agent.board.ms += 2 * TRIAL_MS
        assert agent.step() == wanted
