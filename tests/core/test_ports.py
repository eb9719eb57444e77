"""Why a start came, as each port tells it: what ends a trial, what counts towards a rescue, and what costs nothing.

The numbers are those of the ports' C sources in MicroPython 1.26, ports/NAME/modmachine.c; an ESP8266's are in
user_interface.h of its SDK (enum rst_reason).
"""

import sys

import mpota_host
from mpota import console
from mpota.agent import Agent
from mpota.runner import STARTS, Runner
from mpota_boot import board as boards
from mpota_boot import shim
from mpota_boot.board import Board
from mpota_boot.errors import FlashError, LinkError
from mpota_boot.journal import trial
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.sim.plain import PlainBoard
from mpota_host.sim.reset import Reset
from tests.chips.files.test_files import APP, TWO, confirmed, files, runs, take
from tests.scratch import Scratch

assert mpota_host
WAKES = 50
SETTINGS = {"product": "demo", "chunk": 16384, "trials": 3, "window_ms": 100}
# machine's constants, then what reset_cause() gives after a power-on, machine.reset(), a deep sleep and a watchdog, and
# after a soft reset: None where it stays what it was.
PORTS = {
    # is_soft_reset, then esp_reset_reason()
    "esp32": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 5}, 1, 2, 4, 3, 5),
    # machine_init() and machine_deinit(); a reset sets SFTRSTF, and PINRSTF where the chip pulls its own NRST
    "stm32": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 0}, 1, 2, 4, 3, 0),
    "stm32 without PINRSTF": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 0}, 1, 0, 4, 3, 0),
    # a value in backup RAM; machine_deinit()
    "alif": ({"PWRON": 1, "HARD": 2, "WDT": 3, "DEEPSLEEP": 4, "SOFT": 5}, 1, 2, 4, 3, 5),
    # machine.reset() is watchdog_reboot(), a deep sleep ends with it, and reset_cause() is watchdog_caused_reboot()
    "rp2": ({"PWRON": 1, "WDT": 3}, 1, 3, 3, 3, None),
    # WDOG_TriggerSystemSoftwareReset(); MP_DEEPSLEEP_RESET is 4 and has no name in the module
    "mimxrt": ({"PWRON": 1, "WDT": 3, "SOFT": 5}, 1, 5, 4, 3, None),
    # RSTC->RCAUSE after NVIC_SystemReset(), with which a deep sleep ends too
    "samd": ({"PWRON": 1, "HARD": 0x10, "WDT": 0x20, "SOFT": 0x40, "DEEPSLEEP": 0x80}, 1, 0x40, 0x40, 0x20, None),
    # system_get_rst_info()->reason
    "esp8266": ({"PWRON": 0, "HARD": 6, "WDT": 1, "SOFT": 4, "DEEPSLEEP": 5}, 0, 4, 5, 1, None),
}
POWER, RESET, WAKE, DOG = "power", "machine.reset()", "deep sleep", "watchdog"
# The words of cause() after each, and after a soft reset that follows each.
TOLD = {
    "esp32": (("power", ""), ("reset", ""), ("wake", ""), ("watchdog", "")),
    "stm32": (("power", "unknown"), ("reset", "unknown"), ("wake", "unknown"), ("watchdog", "unknown")),
    "stm32 without PINRSTF": (
        ("power", "unknown"),
        ("unknown", "unknown"),
        ("wake", "unknown"),
        ("watchdog", "unknown"),
    ),
    "alif": (("power", ""), ("reset", ""), ("wake", ""), ("watchdog", "")),
    "rp2": (("power", "power"), ("unknown", "unknown"), ("unknown", "unknown"), ("unknown", "unknown")),
    "mimxrt": (("power", "power"), ("unknown", "unknown"), ("unknown", "unknown"), ("unknown", "unknown")),
    "samd": (("power", "power"), ("unknown", "unknown"), ("unknown", "unknown"), ("unknown", "unknown")),
    "esp8266": (("power", "power"), ("unknown", "unknown"), ("wake", "wake"), ("unknown", "unknown")),
}


class _Dog:
    def __init__(self, id=0, timeout=5000):
        if timeout > 8388:
            raise ValueError("timeout exceeds 8388")

    def feed(self):
        pass


class Machine:
    """Module `machine` of a port, and the chip under it."""

    WDT = _Dog

    def __init__(self, port):
        names, self.power, self.by_reset, self.wake, self.dog, self.after_soft = PORTS[port]
        for name in names:
            setattr(self, name + "_RESET", names[name])
        self.cause = self.power
        # RP2: WATCHDOG.REASON
        self.mem32 = {}

    def reset_cause(self):
        return self.cause

    def go(self, why):
        """The chip starts again."""
        if why == "soft":
            if self.after_soft is not None:
                self.cause = self.after_soft
            return
        self.cause = {POWER: self.power, RESET: self.by_reset, WAKE: self.wake, DOG: self.dog}[why]


class On(PlainBoard):
    """A board that asks `machine` why it starts."""

    def cause(self):
        return Board.cause(self)

    def watch(self, ms=0):
        Board.watch(self, ms)


class Ported(Plain):
    """A board of a port. `start(why)` is what boot.py does, with the resets that it asks for."""

    def __init__(self, root, port, **settings):
        given = dict(SETTINGS)
        given.update(settings)
        super().__init__(root, given)
        self.machine = sys.modules["machine"] = Machine(port)

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

    def other(self):
        return False

    def report(self, code, text):
        pass


class App:
    def step(self):
        pass

    def health(self):
        return None


def each(port, call, **settings):
    with Scratch() as root:
        machine = sys.modules.get("machine")
        try:
            call(Ported(root, port, **settings))
        finally:
            if machine is None:
                del sys.modules["machine"]
            else:
                sys.modules["machine"] = machine


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
    assert set(TOLD) == set(PORTS)

    def ask(plain):
        for why, words in zip((POWER, RESET, WAKE, DOG), TOLD[port]):
            plain.machine.go(why)
            seen = [plain.board("").cause()]
            plain.machine.go("soft")
            seen.append(plain.board("").cause())
            assert tuple(seen) == words, (port, why, seen)

    for port in sorted(PORTS):
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

    for port in sorted(PORTS):
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

    for port in sorted(PORTS):
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
        assert board.journal.last("wakes") == bytes((WAKES - 1,))
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

    for port in sorted(PORTS):
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
        for way in [(RESET,), (WAKE,), ("soft",), (RESET, "soft"), (WAKE, "soft"), (DOG,) + ("soft",) * 9]:
            board = plain.start(POWER)
            board.journal.put("boots", b"")
            for i in range(12):
                if way[0] == DOG and i > 9:
                    break
                board = plain.start(way[i % len(way)])
                run = Runner(board, Agent(board, [], []), App)
                assert run.app and not run.why, (port, way, i, run.why)

    for port in sorted(PORTS):
        each(port, lives)


def test_a_watchdog_that_is_told_still_counts():
    def hangs(plain):
        confirmed(plain, files(APP).bytes())
        for _ in range(STARTS):
            board = plain.start(DOG)
            run = Runner(board, Agent(board, [], []), App)
        assert "watchdog" in run.why and run.app is None

    for port in ("esp32", "stm32", "alif"):
        each(port, hangs)


class Rp2:
    """The part of sys and os that says which chip it is."""

    platform = "rp2"

    def __init__(self, chip):
        self.chip = chip

    def uname(self):
        return ("rp2", "rp2", "1.26.0", "", "Raspberry Pi Pico with " + self.chip)

    def getcwd(self):
        return "/"


def asked(plain, chip, age, reason):
    """What cause() says on this chip, asked by the first Board of a run and by a later one."""
    plain.machine.go(DOG)
    plain.machine.mem32 = {0x400D8008 if "2350" in chip else 0x40058008: reason}
    real = boards.sys, boards.os, PlainBoard.ticks_ms
    boards.sys = boards.os = Rp2(chip)
    PlainBoard.ticks_ms = lambda board: age
    Board.bitten = None
    try:
        first = plain.board("").cause()
        PlainBoard.ticks_ms = lambda board: 99999
        return first, plain.board("").cause()
    finally:
        boards.sys, boards.os, PlainBoard.ticks_ms = real
        Board.bitten = None


def test_an_rp2_tells_its_watchdog_by_a_register_while_its_clock_is_young():
    def ask(plain):
        for chip in ("RP2040", "RP2350"):
            assert asked(plain, chip, 400, 1) == ("watchdog",) * 2
            assert asked(plain, chip, 400, 2) == ("unknown",) * 2, "machine.reset(), or a deep sleep"
            # After a soft reset the register is what it was, and the clock runs on.
            for reason in (1, 2):
                assert asked(plain, chip, 9000, reason) == ("unknown",) * 2

    each("rp2", ask)


def test_a_soft_reset_of_the_host_costs_a_trial_nothing():
    def restarts(plain):
        on_trial(plain)
        assert trial(plain.start(RESET).journal).trials == 2
        for _ in range(9):
            console.soft(plain.board(""))
            assert trial(plain.start("soft").journal).trials == 2, port
        # One that nobody announced counts where it cannot be told.
        counts = TOLD[port][1][1] != ""
        assert trial(plain.start("soft").journal).trials == 2 - counts, port
        assert trial(plain.start(RESET).journal).trials == 1 - counts, port

    for port in sorted(PORTS):
        each(port, restarts)


def test_a_host_leaves_no_mark_where_no_trial_is_open():
    def restarts(plain):
        confirmed(plain, files(APP).bytes())
        number = plain.start(POWER).journal.number
        console.soft(plain.board(""))
        assert plain.start("soft").journal.number == number

    each("rp2", restarts)


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

    each("rp2", restarts)


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

    for port in sorted(PORTS):
        each(port, stuck)


def test_what_a_cut_left_is_healed_after_every_start_but_a_soft_one_and_a_wake():
    def heals(plain):
        confirmed(plain, files(APP).bytes())
        healed = []
        for why in (POWER, RESET, WAKE, DOG, "soft"):
            board = plain.start(why)
            board.layout.heal = lambda why=why: healed.append(why)
            Agent(board, [], [])
        assert POWER in healed and RESET in healed and DOG in healed
        if port == "esp32":
            assert healed == [POWER, RESET, DOG]

    for port in sorted(PORTS):
        each(port, heals)
