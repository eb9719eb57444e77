"""Each port as its chip and its C sources are: what ends a trial, what counts towards a rescue, who feeds the watchdog.

The rows are those of mpota_host/sim/ports.py. What runs on them is the shipped shim, runner, agent and Board with the
table of mpota_boot/ports that a board of the port carries.
"""

import sys

import mpota_host
from mpota import console
from mpota.agent import Agent
from mpota.runner import STARTS, Runner
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import FlashError, LinkError
from mpota_boot.journal import trial
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.sim.plain import PlainBoard
from mpota_host.sim.ports.table import DOG, POWER, RESET, ROWS, SOFT, SUPPORTED, WAKE, Bite, Chip
from mpota_host.sim.reset import Reset
from tests.chips.files.test_files import APP, TWO, confirmed, files, runs, take
from tests.scratch import Scratch

assert mpota_host
WAKES = 50
SETTINGS = {"product": "demo", "room": 16384, "trials": 3, "window_ms": 100}
# The words of cause() after each start, and after a soft reset that follows each.
_ALL = ("power", ""), ("reset", ""), ("wake", ""), ("watchdog", "")
# A deep sleep ends with machine.reset() there.
_NO_WAKE = ("power", ""), ("reset", ""), ("reset", ""), ("watchdog", "")
TOLD = {
    "esp32": _ALL,
    "rp2": _NO_WAKE,
    "rp2350": _NO_WAKE,
    "stm32": _ALL,
    "stm32-pin": _ALL,
    "mimxrt": _ALL,
    # Where WDOG1 is not asked, a wake is any reset since the first one.
    "mimxrt1170": (("power", ""), ("reset", ""), ("unknown", ""), ("watchdog", "")),
    "samd": _NO_WAKE,
    "alif": _ALL,
    "renesas-ra": tuple([(words[0], "unknown") for words in _ALL]),
    "esp8266": (("power", "power"), ("unknown", "unknown"), ("wake", "wake"), ("unknown", "unknown")),
}


def table(platform):
    """The table that a board of this platform has."""
    try:
        return __import__("mpota_boot.ports." + platform, None, None, ("x",))
    except ImportError:
        return __import__("mpota_boot.ports.other", None, None, ("x",))


class Uname:
    """`os` as far as a table asks it."""

    def __init__(self, row):
        self.row = row

    def __getattr__(self, name):
        return getattr(OS, name)

    def uname(self):
        return (self.row.platform, self.row.platform, "1.29.0", "", self.row.machine)


OS = __import__("os")


class On(PlainBoard):
    """A board that asks `machine` why it starts, and whose watchdog is the chip's."""

    def cause(self):
        return Board.cause(self)

    def watch(self, ms=0):
        Board.watch(self, ms)

    def relax(self):
        Board.relax(self)


class Ported(Plain):
    """A board of a port. `start(why)` is what boot.py does, with the resets that it asks for."""

    def __init__(self, root, port, **settings):
        given = dict(SETTINGS)
        given.update(settings)
        super().__init__(root, given)
        self.machine = sys.modules["machine"] = Chip(port)

    def board(self, why):
        return On(self, why)

    def start(self, why):
        for _ in range(5):
            self.machine.go(why)
            try:
                board = self.power_on()
                assert shim.error is None, repr(shim.error)
                return board
            except Reset:
                why = RESET
        raise AssertionError("it resets for ever")


class Down:
    """A link without a network."""

    def open(self, at=0):
        raise LinkError("link", "there is no network")

    def other(self, code=""):
        return False

    def report(self, code, text):
        pass


class App:
    def step(self):
        pass

    def health(self):
        return None


# Of these rows alone, where a test of a table says so.
ONLY = None


def each(port, call, **settings):
    if ONLY and port not in ONLY:
        return
    before = {name: sys.modules.get(name) for name in ("machine", "os")}
    had = Board._port
    with Scratch() as root:
        try:
            sys.modules["os"] = Uname(ROWS[port])
            Board._port = table(ROWS[port].platform)
            call(Ported(root, port, **settings))
        finally:
            Board._port = had
            Board._why = Board._dog = Board._feeder = None
            for name in before:
                if before[name] is None:
                    sys.modules.pop(name)
                else:
                    sys.modules[name] = before[name]


def on_trial(plain):
    """A confirmed application, and the next one armed."""
    confirmed(plain, files(APP).bytes())
    take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())


def wakes(plain):
    """How many wakes from deep sleep, without a network, end the trial."""
    for n in range(1, 300):
        board = plain.start(WAKE)
        Agent(board, [Down()], []).step()
        if trial(board.journal) is None:
            return n
    raise AssertionError("on trial for ever")


def test_each_port_tells_what_it_can_and_no_more():
    assert set(TOLD) == set(ROWS)

    def ask(plain):
        for why, words in zip((POWER, RESET, WAKE, DOG), TOLD[port]):
            plain.start(POWER)
            seen = []
            for one in (why, SOFT, SOFT):
                plain.start(one)
                seen.append(plain.board("").cause())
            assert tuple(seen) == (words[0], words[1], words[1]), (port, why, seen)

    for port in sorted(ROWS):
        each(port, ask)


def test_a_start_is_told_whatever_was_before_it():
    def ask(plain):
        plain.start(POWER)
        for before in (RESET, WAKE, DOG):
            for why, words in zip((RESET, WAKE, DOG), TOLD[port][1:]):
                plain.start(before)
                plain.start(why)
                told = plain.board("").cause()
                # An i.MX RT that slept once reads the same ever after; WDOG1 knows better, where it is asked.
                assert told == words[0] or (port == "mimxrt1170" and told == "unknown"), (port, before, why, told)

    for port in sorted(ROWS):
        each(port, ask)


# Numbers that no start of a row has, and WDOG1.WRSR.
ODD = {
    "esp32": {0: "reset", 2: "reset"},
    "stm32": {2: "reset", 9: "reset"},
    "mimxrt": {2: "unknown", 4: "unknown"},
    "samd": {2: "power", 4: "power", 0x10: "reset", 0x80: "wake"},
    "alif": {0: "reset", 6: "reset"},
    "esp8266": {2: "unknown", 3: "unknown"},
}


def test_a_number_that_is_seldom_seen_has_its_word_too():
    def ask(plain):
        plain.machine.held.clear()
        for n in ODD[port]:
            assert table(ROWS[port].platform).cause(n) == ODD[port][n], (port, n)

    for port in sorted(ODD):
        each(port, ask)


class NoRegisters:
    """`mem32` of a build that has none."""

    def __getitem__(self, at):
        raise KeyError(at)


def test_a_build_without_registers_takes_no_soft_reset_for_a_watchdog():
    def ask(plain):
        plain.start(POWER)
        plain.machine.mem32 = plain.machine.mem16 = NoRegisters()
        for why in (RESET, WAKE, DOG, SOFT):
            plain.start(why)
            assert plain.board("").cause() == "unknown", (port, why)

    for port in ("rp2", "mimxrt", "samd", "stm32"):
        each(port, ask)


def test_a_trial_ends_by_resets_on_every_port():
    def resets(plain):
        on_trial(plain)
        seen = []
        for _ in range(5):
            board = plain.start(RESET)
            record = trial(board.journal)
            seen.append(record.trials if record else None)
        assert seen == [2, 1, 0, None, None], (port, seen)
        assert runs(plain) == APP

    for port in sorted(ROWS):
        each(port, resets)


def test_a_trial_ends_by_wakes_on_every_port():
    def sleeps(plain):
        on_trial(plain)
        plain.start(RESET)
        n = wakes(plain)
        board = plain.board("")
        assert n <= WAKES and runs(plain) == APP, (port, n)
        told = [words[0] for words in TOLD[port]][2] == "wake"
        assert n == (WAKES if told else 3), (port, n)
        if told:
            assert "50 wakes from deep sleep" in board.layout.failure()[1]
        assert board.journal.last("wakes") is None

    for port in sorted(ROWS):
        each(port, sleeps)


def test_the_number_of_wakes_is_a_setting():
    def sleeps(plain):
        on_trial(plain)
        plain.start(RESET)
        assert wakes(plain) == 5

    each("esp32", sleeps, trial_wakes=5)


def test_wakes_of_a_trial_that_was_confirmed_or_left_are_forgotten():
    def sleeps(plain, confirms):
        on_trial(plain)
        plain.start(RESET)
        for _ in range(WAKES - 1):
            board = plain.start(WAKE)
        assert board.journal.last("wakes")[0] == WAKES - 1
        if confirms:
            board.layout.confirm()
        else:
            board.layout.retreat("unhealthy")
        assert board.journal.last("wakes") is None
        board = plain.start(RESET)
        take(board, files(APP, (1, 3, 0)).bytes())
        plain.start(RESET)
        assert wakes(plain) == WAKES

    for confirms in (True, False):
        each("esp32", lambda plain, confirms=confirms: sleeps(plain, confirms))


def test_wakes_that_nobody_forgot_are_not_the_next_trials():
    def sleeps(plain):
        confirmed(plain, files(APP).bytes())
        board = plain.power_on()
        board.journal.put("wakes", bytes((WAKES - 1,)))
        board.journal.put("soft", b"1")
        take(board, files(TWO, (1, 2, 0)).bytes())
        assert trial(plain.start(RESET).journal).trials == 2
        assert trial(plain.start(WAKE).journal)

    each("esp32", sleeps)


def test_a_wake_writes_nothing_where_no_trial_is_open():
    def sleeps(plain):
        confirmed(plain, files(APP).bytes())
        number = plain.start(POWER).journal.number
        for _ in range(9):
            board = plain.start(WAKE)
            Runner(board, Agent(board, [], []), App)
        assert board.journal.number == number

    for port in sorted(ROWS):
        each(port, sleeps)


def test_a_journal_that_cannot_count_a_wake_ends_the_trial():
    def sleeps(plain):
        on_trial(plain)
        board = plain.start(RESET)
        real = type(board.journal).put

        def put(journal, tag, data):
            if tag == "wakes":
                raise FlashError("journal", "full")
            real(journal, tag, data)

        type(board.journal).put = put
        try:
            assert trial(plain.start(WAKE).journal) is None
        finally:
            type(board.journal).put = real

    each("esp32", sleeps)


def test_a_healthy_application_is_never_in_rescue():
    def lives(plain):
        confirmed(plain, files(APP).bytes())
        plain.start(POWER)
        # A watchdog once, for there are worse days.
        for way in [(RESET,), (WAKE,), (SOFT,), (RESET, SOFT), (WAKE, SOFT), (DOG,) + (SOFT,) * 9]:
            board = plain.start(POWER)
            board.journal.put("boots", b"")
            for i in range(12):
                if way[0] == DOG and i > 9:
                    break
                board = plain.start(way[i % len(way)])
                run = Runner(board, Agent(board, [], []), App)
                assert run.app and not run.why, (port, way, i, run.why)

    for port in sorted(ROWS):
        each(port, lives)


def test_a_watchdog_that_is_told_still_counts():
    def hangs(plain):
        confirmed(plain, files(APP).bytes())
        for _ in range(STARTS):
            board = plain.start(DOG)
            run = Runner(board, Agent(board, [], []), App)
        assert "watchdog" in run.why and run.app is None

    for port in SUPPORTED + ("rp2350", "alif"):
        each(port, hangs)


def test_a_soft_reset_of_the_host_costs_a_trial_nothing():
    def restarts(plain):
        on_trial(plain)
        assert trial(plain.start(RESET).journal).trials == 2
        for _ in range(9):
            console.soft(plain.board(""))
            assert trial(plain.start(SOFT).journal).trials == 2, port
        # One that nobody announced counts where it cannot be told.
        counts = TOLD[port][1][1] != ""
        assert trial(plain.start(SOFT).journal).trials == 2 - counts, port
        assert trial(plain.start(RESET).journal).trials == 1 - counts, port

    for port in sorted(ROWS):
        each(port, restarts)


def test_a_host_leaves_no_mark_where_no_trial_is_open():
    def restarts(plain):
        confirmed(plain, files(APP).bytes())
        number = plain.start(POWER).journal.number
        console.soft(plain.board(""))
        assert plain.start(SOFT).journal.number == number

    each("esp8266", restarts)


def test_a_mark_that_cannot_be_taken_away_excuses_nothing():
    def restarts(plain):
        on_trial(plain)
        board = plain.start(RESET)
        board.journal.put("soft", b"1")
        real = type(board.journal).put

        def put(journal, tag, data):
            if tag == "soft":
                raise FlashError("journal", "full")
            real(journal, tag, data)

        type(board.journal).put = put
        try:
            assert trial(plain.start(RESET).journal).trials == 1
            assert trial(plain.start(RESET).journal).trials == 0
        finally:
            type(board.journal).put = real

    each("esp8266", restarts)


def test_a_trial_that_a_reset_could_not_end_asks_for_no_other_one():
    def stuck(plain):
        on_trial(plain)
        board = plain.start(POWER)
        agent = Agent(board, [Down()], [])
        agent.trial = None
        board.ms += 600000
        assert agent.step() == "reset"
        board = plain.start(RESET)
        agent = Agent(board, [Down()], [])
        agent.trial = None
        board.ms += 600000
        assert agent.step() == "idle", port

    for port in sorted(ROWS):
        each(port, stuck)


def test_what_a_cut_left_is_healed_after_every_start_but_a_soft_one_and_a_wake():
    def heals(plain):
        confirmed(plain, files(APP).bytes())
        healed = []
        for why in (POWER, RESET, WAKE, DOG, SOFT):
            board = plain.start(why)
            board.layout.heal = lambda why=why: healed.append(why)
            Agent(board, [], [])
        assert POWER in healed and RESET in healed and DOG in healed
        if port in SUPPORTED:
            told = [words[0] for words in TOLD[port]]
            assert healed == [POWER, RESET] + [WAKE] * (told[2] != "wake") + [DOG], (port, healed)

    for port in sorted(ROWS):
        each(port, heals)


def test_a_trial_ends_by_time_over_all_its_starts_on_every_port():
    def lives(plain, why):
        on_trial(plain)
        starts = []
        plain.start(RESET)
        while trial(plain.start(why).journal):
            board = plain.board("")
            agent = Agent(board, [Down()], [])
            board.ms += 250000
            starts.append(agent.step())
            assert len(starts) < 9, (port, why, "on trial for ever")
        # Four starts of 250 of 600 s, counted in tenths of 60 s: 4 + 4 + 2.
        assert starts == ["trial", "trial", "reset"] and runs(plain) == APP, (port, why, starts)
        assert plain.board("").layout.failure()[1] == "no-link"
        assert plain.board("").journal.last("wakes") is None

    for port in sorted(ROWS):
        for why in (RESET, WAKE, SOFT):
            each(port, lambda plain, why=why: lives(plain, why), trials=99, trial_wakes=99)


def test_a_trial_writes_its_time_ten_times_at_most():
    def lives(plain):
        on_trial(plain)
        board = plain.start(RESET)
        agent = Agent(board, [Down()], [])
        journal = board.journal
        number = journal.number
        real, seen = journal.put, []
        journal.put = lambda tag, data: seen.append(tag) or real(tag, data)
        for _ in range(5999):
            board.ms += 100
            assert agent.step() == "trial"
        del journal.put
        # And what is asked when, which one reset has to know.
        assert 0 < seen.count("wakes") <= 10 and seen.count("doing") <= 40
        assert journal.number - number == len(seen) == seen.count("wakes") + seen.count("doing")
        board.ms += 100
        assert agent.step() == "reset"

    each("esp32", lives)


def test_a_journal_that_cannot_keep_the_time_ends_the_trial_all_the_same():
    def lives(plain):
        on_trial(plain)
        board = plain.start(RESET)
        agent = Agent(board, [Down()], [])
        board.layout.keep = lambda tag, data: False
        for _ in range(9):
            board.ms += 60000
            assert agent.step() == "trial"
        board.ms += 60000
        assert agent.step() == "reset"

    each("esp32", lives)


HOUR = 3600000


def over(plain):
    """A trial is over, and the watchdog was started for it."""
    on_trial(plain)
    board = plain.start(RESET)
    assert plain.machine.dog_at is not None, "a trial is watched"
    board.layout.confirm()
    board.relax()
    return board


def test_nobody_at_the_prompt_is_reset_by_the_watchdog_of_a_trial_that_is_over():
    def looks(plain):
        over(plain)
        plain.machine.wait(20 * HOUR)
        # A soft reset stops what feeds it, and boot.py is all that runs in the raw REPL.
        for _ in range(3):
            plain.start(SOFT)
            plain.machine.wait(20 * HOUR)

    for port in SUPPORTED + ("rp2350",):
        each(port, looks)


def test_a_watchdog_that_was_never_started_is_not_started_by_a_soft_reset():
    def looks(plain):
        confirmed(plain, files(APP).bytes())
        plain.start(POWER)
        plain.start(SOFT)
        # An ESP32 does not say whether it runs: it gets the longest time.
        ms = plain.machine.dog_at and plain.machine.dog_at - plain.machine.now
        assert ms == (1073741823 if port == "esp32" else None), (port, ms)

    for port in SUPPORTED:
        each(port, looks)


def test_the_watchdog_of_a_trial_ends_a_hang_also_after_a_soft_reset():
    def hangs(plain):
        over(plain)
        take(plain.board(""), files(TWO, (1, 3, 0)).bytes())
        for why in (RESET, SOFT):
            plain.start(why)
            try:
                plain.machine.wait(HOUR)
            except Bite:
                continue
            raise AssertionError((port, why, "nothing ends it"))

    for port in sorted(ROWS):
        each(port, hangs, wdt_ms=60000)


def test_a_watchdog_gets_the_time_that_its_port_has():
    def asks(plain):
        board = plain.start(POWER)
        for ms in (1000, 60000, 3600000):
            board.watch(ms)
            got = plain.machine.dog_at - plain.machine.now
            # Of an RP2 the table has the RP2040's time, for an RP2350 too.
            most = 8388 if ROWS[port].platform == "rp2" else ROWS[port].most
            assert got == ROWS[port].only or got == min(ms, most or ms), (port, ms, got)

    for port in sorted(ROWS):
        each(port, asks)


class OldTimer:
    """machine.Timer before MicroPython 1.27: `hard` is unknown."""

    PERIODIC = 1

    def __init__(self, id=-1, *, mode=1, period=-1, callback=None):
        OldTimer.made(period=period, callback=callback)


def test_a_timer_without_hard_callbacks_feeds_too():
    def looks(plain):
        board = plain.start(POWER)
        OldTimer.made = plain.machine.Timer
        plain.machine.Timer = OldTimer
        board.watch()
        board.relax()
        plain.machine.wait(HOUR)

    each("rp2", looks)


class NoDog:
    """machine.WDT of a build whose ESP-IDF starts no task watchdog."""

    def __init__(self, id=0, timeout=5000):
        raise OSError(-259)


def test_a_build_without_a_watchdog_starts_after_a_soft_reset():
    def looks(plain):
        confirmed(plain, files(APP).bytes())
        plain.start(POWER)
        plain.machine.WDT = NoDog
        board = plain.start(SOFT)
        assert board.cause() == "" and Board._dog is None
        board.feed()
        board.relax()

    each("esp32", looks)
