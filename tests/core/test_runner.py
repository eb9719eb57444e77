"""The turns of agent and application, and the rescue: what a board does on its worst day."""

import os

from mpota import runner
from mpota.agent import Agent
from mpota.runner import WELL_MS, Runner
from mpota_boot import rescue, shim
from mpota_boot.rescue import STARTS, wanted
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.sim.reset import Reset
from tests.chips.files.test_files import APP, TWO, confirmed, files, runs, take
from tests.expect import raises
from tests.packages import Ram
from tests.scratch import Scratch
from tests.trees import write

SETTINGS = {"product": "demo", "room": 16384, "trials": 3, "window_ms": 100}


class App:
    """An application that counts its turns and dies where it is told to."""

    def __init__(self, dies=None, health=None):
        self.turns = 0
        self.dies = dies
        if health is not None:
            self.health = lambda: health

    def step(self):
        self.turns += 1
        if self.turns == self.dies:
            raise ValueError("the sensor is gone")


class Quiet:
    """Tracebacks are for the console."""

    def __init__(self):
        self.seen = []

    def __enter__(self):
        self.sys = runner.sys
        runner.sys = self
        return self.seen

    def print_exception(self, e):
        self.seen.append(e)

    def __exit__(self, *_):
        runner.sys = self.sys


def start(plain, app=None, why="power", links=()):
    board = plain.power_on(why)
    return Runner(board, Agent(board, list(links), None), lambda: app)


def test_agent_and_application_take_turns():
    with Scratch() as root:
        app = App()
        run = start(Plain(root, SETTINGS), app)
        for _ in range(5):
            run.turn()
        assert app.turns == 5 and run.why is None


def test_a_board_without_an_application_serves_updates_all_the_same():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        board = plain.power_on()
        raises(Reset, None, Runner, board, Agent(board, [Ram(files(APP).bytes())], None), lambda: None)
        plain.power_on("reset")
        assert runs(plain) == APP


def test_the_agent_has_its_turn_before_the_application_can_keep_it():
    def hangs():
        raise AssertionError("the application was started before the update was looked for")

    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        raises(Reset, None, Runner, board, Agent(board, [Ram(files(APP).bytes())], None), hangs)


def test_a_window_is_open_for_a_host_at_every_start():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        run = start(plain)
        assert run.board.ms >= 100
        plain.settings["window_ms"] = 2000
        assert start(plain).board.ms >= 2000


def test_an_application_on_trial_is_judged_by_its_own_health_and_not_by_a_link():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        take(plain.power_on(), files(APP).bytes())
        link = Ram(None)
        run = start(plain, App(health=False), "reset", [Ram(files(APP).bytes())])
        assert run.agent.trial, "the link answered, and that must not be the verdict"
        raises(Reset, None, run.turn)
        assert link.opened == []
        plain.power_on("reset")
        assert runs(plain) == {}


def test_an_application_that_dies_on_trial_is_left():
    with Scratch() as root, Quiet():
        plain = Plain(root, SETTINGS)
        take(plain.power_on(), files(APP).bytes())
        run = start(plain, App(2), "reset")
        run.turn()
        raises(Reset, None, run.turn)
        assert "sensor" in plain.power_on("reset").layout.failure()[1]
        assert runs(plain) == {}


def test_an_application_that_dies_leaves_the_agent_at_work():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        link = Ram(None)
        app = App(2)
        with Quiet() as seen:
            run = start(plain, app, "power", [link])
            for _ in range(4):
                run.turn()
        assert app.turns == 2 and "sensor" in run.why and len(seen) == 1
        link.data = files(TWO).bytes()
        run.board.ms += 10000000
        raises(Reset, None, lambda: [run.turn() for _ in range(100)])
        plain.power_on("reset")
        assert runs(plain) == TWO


def test_three_failed_starts_in_a_row_are_enough():
    with Scratch() as root, Quiet():
        plain = Plain(root, SETTINGS)
        for n in range(STARTS):
            app = App(1)
            run = start(plain, app, "reset")
            run.turn()
            assert app.turns == 1, n
        app = App(1)
        run = start(plain, app, "reset")
        run.turn()
        assert app.turns == 0 and "3 starts failed" in run.why and "sensor" in run.why
        assert wanted(run.board) == run.why
        # Switched off and on: one more try, which is not counted for ever.
        app = App()
        run = start(plain, app)
        run.turn()
        assert app.turns == 1 and run.why is None
        run.board.ms += WELL_MS + 1
        run.turn()
        assert run.board.journal.last("boots") is None
        assert start(plain, App(), "reset").why is None


def test_a_watchdog_that_ends_the_application_counts_and_a_reset_does_not():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        for why, count in (("reset", 0), ("watchdog", 1), ("", 1), ("power", 1), ("watchdog", 2), ("watchdog", 3)):
            run = start(plain, App(), why)
            assert (run.board.journal.last("boots") or b"\0")[0] == count
        assert run.why and "watchdog" in run.why


def test_a_good_run_writes_nothing():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        run = start(plain, App())
        number = run.board.journal.number
        for _ in range(3):
            run.board.ms += WELL_MS
            run.turn()
        assert run.board.journal.number == number


def test_a_pin_or_a_file_asks_for_the_rescue():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        app = App()
        plain.settings["held"] = True
        run = start(plain, app)
        run.turn()
        assert run.why == "the pin is held" and app.turns == 0
        plain.settings["held"] = False
        write(root + "/" + rescue.FILE, b"")
        run = start(plain, app)
        run.turn()
        assert "rescue" in run.why and app.turns == 0


def test_a_journal_that_keeps_nothing_does_not_end_the_rescue():
    with Scratch() as root:
        run = start(Plain(root, SETTINGS), App(1))

        def full(tag, data):
            raise OSError(28)

        run.board.journal.put = full
        with Quiet() as seen:
            run.turn()
            run.turn()
        assert run.why and len(seen) == 2


def test_an_application_that_cannot_be_imported_is_a_rescue():
    def broken():
        raise SyntaxError("invalid syntax")

    with Scratch() as root, Quiet():
        board = Plain(root, SETTINGS).power_on()
        run = Runner(board, Agent(board, [], None), broken)
        run.turn()
        assert "SyntaxError" in run.why


def fail(plain, times):
    for _ in range(times):
        start(plain, App(1), "reset").turn()


def test_an_update_out_of_a_rescue_is_started_and_judged():
    with Scratch() as root, Quiet():
        plain = Plain(root, SETTINGS)
        fail(plain, STARTS)
        take(plain.power_on("reset"), files(APP).bytes())
        app = App(health=True)
        run = start(plain, app, "reset")
        run.turn()
        assert run.why is None and app.turns == 1
        assert start(plain, App(), "reset").why is None, "the failed starts were another application's"


def test_no_pin_and_no_file_keeps_an_application_on_trial_from_its_verdict():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        take(plain.power_on(), files(APP).bytes())
        plain.settings["held"] = True
        run = start(plain, App(health=False), "reset", [Ram(files(APP).bytes())])
        raises(Reset, None, run.turn)
        run = start(plain, App(), "reset")
        assert runs(plain) == {} and run.why == "the pin is held"


def test_the_window_is_open_until_the_last_offer_was_refused():
    class Two(Ram):
        def other(self, code=""):
            more, self.data = self.data is not whole, whole
            return more

    whole = files(APP).bytes()
    delta = files(APP)
    delta.base = b"another tree"
    with Scratch() as root:
        raises(Reset, None, start, Plain(root, SETTINGS), App(), "power", [Two(delta.bytes())])


def test_an_application_that_ends_itself_goes_back_after_three_starts():
    class Ends(App):
        def step(self):
            raise SystemExit

    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        take(plain.power_on(), files(APP).bytes())
        for why in ("reset", ""):
            raises(SystemExit, None, start(plain, Ends(), why).turn)
        raises(Reset, None, start(plain, Ends(), "").turn)
        plain.power_on("reset")
        assert runs(plain) == {}
        for _ in range(STARTS + 1):
            raises(SystemExit, None, start(plain, Ends(), "").turn)


def test_a_tree_that_cannot_be_entered_is_no_application_to_keep():
    with Scratch() as root, Quiet():
        plain = Plain(root, SETTINGS)
        confirmed(plain, files(APP).bytes())
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        os.remove(root + "/ota/2/.mpota")
        raises(Reset, None, start, plain, None, "reset", [Ram(files(TWO).bytes())])
        plain.power_on("reset")
        assert runs(plain) == APP


def test_what_cannot_be_settled_leaves_no_application_behind():
    class NoWatchdog(Plain):
        def board(self, why):
            board = super().board(why)
            board.watch = self.none
            return board

        def none(self, ms=0):
            raise TypeError("extra keyword arguments given")

    with Scratch() as root:
        plain = NoWatchdog(root, SETTINGS)
        take(plain.power_on(), files(APP).bytes())
        plain.power_on("reset")
        assert isinstance(shim.error, TypeError) and shim.folder


def test_words_cut_inside_a_character_do_not_end_the_rescue():
    class Odd(Exception):
        def __repr__(self):
            return "x" * 59 + "\u00fc"

    class Dies(App):
        def step(self):
            raise Odd

    with Scratch() as root, Quiet():
        plain = Plain(root, SETTINGS)
        for _ in range(STARTS):
            start(plain, Dies(), "reset").turn()
        assert "xxx" in start(plain, App(), "reset").why


def test_all_records_at_their_longest_fit_a_journal_in_files():
    # On a trial, and while a package is half here.
    for more in ((("wakes", 2), ("soft", 1), ("doing", 6)), (("begun", 10),)):
        fits(more)


def fits(more):
    with Scratch() as root, Quiet():
        journal = Plain(root, SETTINGS).power_on().journal
        sizes = (("progress", 52), ("armed", 58), ("running", 58), ("failed", 58), ("reason", 72), ("floor", 8))
        for tag, n in sizes + more + (("given", 38),):
            journal.put(tag, b"x" * n)

        class Dies(App):
            def step(self):
                raise ValueError("y" * 500)

        with Quiet() as seen:
            start(Plain(root, SETTINGS), Dies()).turn()
        assert len(seen) == 1, "the failed start was noted"


def test_a_turn_says_what_the_agent_said():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        confirmed(plain, files(APP).bytes())
        assert start(plain, App()).turn() == "idle"
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        assert start(plain, App(health=None), "reset").turn() == "trial"


def test_the_agent_has_its_turns_in_an_event_loop():
    import asyncio

    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        run = start(plain, app := App())

        async def main():
            task = asyncio.create_task(run.task())
            while app.turns < 3:
                await asyncio.sleep(0)
            task.cancel()
            try:
                await task
            except asyncio.CancelledError:
                return "over"

        assert asyncio.run(main()) == "over"


def test_an_import_that_never_returned_is_named_where_a_trial_ends():
    class Hangs(BaseException):
        """The watchdog, which ends it."""

    def hangs():
        raise Hangs

    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        confirmed(plain, files(APP).bytes())
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        why = "reset"
        for _ in range(3):
            board = plain.power_on(why)
            raises(Hangs, None, Runner, board, Agent(board, [], None), hangs)
            why = "watchdog"
        assert plain.power_on(why).layout.failure()[1] == "watchdog; the import of the application did not return"
        assert runs(plain) == APP and plain.board("").journal.last("doing") is None


def test_an_import_that_returns_leaves_no_mark_and_without_a_trial_none_is_made():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        confirmed(plain, files(APP).bytes())
        number = plain.power_on().journal.number
        start(plain, App())
        assert plain.board("").journal.number == number
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        for _ in range(3):
            start(plain, App(health=None), "reset")
            assert plain.board("").journal.last("doing") is None
        assert plain.power_on("reset").layout.failure()[1] == "reset"


class Nothing:
    """A link that has nothing."""

    def open(self, at=0):
        return None

    def report(self, code, words):
        pass


class Network:
    """A Net; `hope`: for so many ms a network that is in the air is about to be joined."""

    def __init__(self, board, hope):
        self.board = board
        self.hope = hope
        self.looks = self.steps = 0

    def look(self):
        self.looks += 1

    def step(self):
        self.steps += 1
        return self.steps == 3

    def coming(self):
        return self.board.ms < self.hope


def test_the_window_waits_for_a_network_that_is_here_and_for_what_the_links_say_then():
    for window_ms, hope, least in ((1000, 4000, 4000), (1000, 0, 1000), (999, 4000, 999)):
        with Scratch() as root:
            board = Plain(root, dict(SETTINGS, window_ms=window_ms)).power_on()
            net = Network(board, hope)
            agent = Agent(board, [Nothing()], None)
            hurried = []
            agent.hurry = lambda hurried=hurried: hurried.append(1)
            Runner(board, agent, lambda: None, net)
            assert least - 10 <= board.ms <= least + 20, (board.ms, least)
            assert net.looks == (window_ms == 1000) and net.steps > 3 and hurried == [1]


def test_a_start_that_may_be_a_wake_holds_no_application_back_for_a_network():
    for why in ("power", "watchdog", "reset", "unknown", "wake", ""):
        with Scratch() as root:
            plain = Plain(root, dict(SETTINGS, window_ms=1000))
            board = plain.power_on(why)
            net = Network(board, 9000)
            asked = []
            link = Nothing()
            link.open = lambda at=0, asked=asked: asked.append(at)
            run = Runner(board, Agent(board, [link], None), lambda: None, net)
            holds = why in ("power", "watchdog")
            assert asked and net.looks == holds and (board.ms >= 9000) == holds, (why, board.ms)
            # The window is over as soon as a link has answered, but for a console.
            assert holds or board.ms <= (20 if why == "wake" else 1020), (why, board.ms)
            steps = net.steps
            run.turn()
            assert net.steps > steps


def test_a_wake_whose_link_has_nothing_to_say_yet_lasts_as_long_as_the_window():
    class Mute(Nothing):
        def opening(self, at=0, buf=None):
            while True:
                yield

    with Scratch() as root:
        board = Plain(root, dict(SETTINGS, window_ms=1000)).power_on("wake")
        started = []
        Runner(board, Agent(board, [Mute()], None), lambda: started.append(board.ms), Network(board, 9000))
        assert 1000 <= started[0] <= 1020


def test_a_trial_looks_for_no_network_and_still_has_its_steps():
    with Scratch() as root:
        plain = Plain(root, dict(SETTINGS, window_ms=1000))
        take(plain.power_on(), files(TWO, (1, 2, 0)).bytes())
        board = plain.power_on("reset")
        agent = Agent(board, [Nothing()], None, lambda: None)
        assert agent.trial
        net = Network(board, 60000)
        run = Runner(board, agent, lambda: None, net)
        assert net.looks == 0 and board.ms <= 1020 and net.steps
        steps = net.steps
        run.why = "a rescue"
        run.turn()
        assert net.steps == steps + 1
