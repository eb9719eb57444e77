"""The agent: when it asks, when it confirms, when it goes back, and what it tells whom."""

from mpota.agent import Agent
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
    c = soc.Soc(soc.rows(SLOT), {"product": "demo", "chunk": 16384}, None)
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

        def other(self):
            self.data = whole
            return True

    whole = Maker(NEW).bytes()
    link = Greedy(b"a delta")
    agent = Agent(boot(chip()), [link], None)
    assert agent.step() == "busy" and link.reports == []
    assert steps(agent) == "reset"


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


def test_a_trial_that_asks_its_link_is_busy():
    class Slow(Ram):
        def opening(self, at=0):
            yield
            yield
            return self.open(at)

    c = chip()
    agent = trial(c, Slow(Maker(NEW).bytes()))
    assert [agent.step() for _ in range(4)][:2] == ["busy", "busy"]
    assert agent.trial is None
