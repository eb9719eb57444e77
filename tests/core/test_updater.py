"""Which copy of mpota runs: the choice over a model of MicroPython's import, and what the agent makes of it."""

import os
import sys

from mpota.agent import Agent
from mpota.runner import Runner
from mpota.store.tree import folders
from mpota_boot import shim, updater
from mpota_boot.board import Board
from mpota_boot.errors import LinkError
from mpota_boot.rescue import FILE, renewed
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.cut import imports
from mpota_host.sim.reset import Reset
from tests.chips.files.test_files import TWO, files, take
from tests.expect import raises
from tests.packages import Ram
from tests.scratch import Scratch
from tests.trees import APP, write

SETTINGS = {"product": "demo", "room": 16384, "trials": 3, "window_ms": 1}
MAIN = b"# \xff\nfrom mpota.agent import Agent\nfrom mpota.link.http import Http\nfrom wiring import Board\n"
OWN = {
    "mpota/agent.py": b"import mpota.store.pair",
    "mpota/runner.py": b"",
    "mpota/store/pair.py": b"",
    "mpota/link/http.py": b"",
}


def text(path):
    try:
        with open(path) as f:
            return f.read()
    except OSError:
        return None


def is_folder(path):
    try:
        return bool(os.stat(path)[0] & 0x4000)
    except OSError:
        return False


def put(path, data):
    folders(path)
    write(path, data)


def armed(plain, *releases):
    """Take these releases one after the other, each but the last confirmed, with no boot of this process's modules."""
    for n, tree in enumerate(releases):
        if n:
            plain.forget()
            plain.board("reset").layout.confirm()
        plain.forget()
        take(plain.board("power"), files(tree, (1, n + 1, 0)).bytes())
    plain.forget()
    return plain.board("reset")


class World:
    """A board whose confirmed release brought mpota; lib has a copy too. Boot code imports by the model."""

    def __init__(self, root, own, held=False):
        self.root = root
        self.plain = Plain(root, SETTINGS)
        for name, data in OWN.items():
            put(root + "/lib/" + name, data)
        write(root + "/wiring.py", b"import mpota.store.pair")
        write(root + "/main.py", MAIN)
        tree = dict(APP)
        tree.update(own)
        armed(self.plain, tree).layout.confirm()
        if held:
            write(root + "/" + FILE, b"")

    def boot(self, why="power", opened=("wiring", "mpota.store.pair")):
        """Where each module of a run comes from, after the imports of main.py. `opened` are there before the choice."""
        self.plain.forget()
        model = imports.Imports(text, is_folder, lambda: self.plain.board(why), self.root)
        model.stand(shim, updater)
        try:
            for name in opened:
                model.import_(name)
            shim.boot(lambda: self.plain.board(why))
            for name in ("mpota.agent", "mpota.link.http", "wiring"):
                model.import_(name)
        finally:
            imports.leave(shim, updater, sys)
        self.model = model
        return {one.place.rpartition("/mpota")[0] for name, one in model.modules.items() if name[:5] == "mpota"}


def test_a_copy_in_the_tree_runs_with_all_of_its_modules_and_the_wiring_has_them():
    with Scratch() as root:
        world = World(root, OWN)
        assert world.boot() == {shim.folder} and shim.own is True
        assert world.model.modules["wiring"].took == [shim.folder + "/mpota/store/pair.py"]
        assert world.model.path[:2] == [shim.folder, shim.folder + "/lib"]


def test_journals_in_files_are_opened_again_by_the_copy_that_runs():
    with Scratch() as root:
        world = World(root, OWN)
        Board._memories["wifi"] = None
        world.boot()
        assert "wifi" not in Board._memories


def test_without_a_copy_lib_s_runs():
    with Scratch() as root:
        world = World(root, {})
        assert world.boot() == {root + "/lib"} and shim.own is None and shim.folder


def test_a_copy_that_raises_or_is_not_whole_leaves_lib_s_and_the_application_runs():
    half = dict(OWN)
    del half["mpota/link/http.py"]
    broken = dict(OWN)
    broken["mpota/runner.py"] = b"raise SyntaxError"
    for own in (broken, half, {"mpota/notes.txt": b""}):
        with Scratch() as root:
            world = World(root, own)
            assert world.boot() == {root + "/lib"}
            assert isinstance(shim.own, ImportError) and shim.folder and shim.error is None
            assert world.model.path[:2] == [shim.folder, shim.folder + "/lib"]


def test_in_a_rescue_lib_s_copy_is_open_before_the_tree_is_in_front():
    with Scratch() as root:
        world = World(root, OWN, held=True)
        # An ESP32 that has settled nothing has opened nothing of mpota's either.
        write(root + "/wiring.py", b"")
        for opened in ((), ("wiring", "mpota.store.pair")):
            assert world.boot(opened=opened) == {root + "/lib"} and shim.own is None and shim.folder


def test_the_third_start_that_a_watchdog_ended_is_a_rescue_for_the_shim_too():
    with Scratch() as root:
        world = World(root, OWN)
        board = world.plain.board("watchdog")
        board.journal.put("boots", b"\x02the watchdog")
        assert world.boot("reset") == {shim.folder}
        assert world.boot("watchdog") == {root + "/lib"}
        assert world.boot("power") == {shim.folder}


def test_what_cannot_be_asked_leaves_lib_s():
    with Scratch() as root:
        world = World(root, OWN)
        world.plain.settings["rescue_pin"] = 4
        board = world.plain.board

        def held(why):
            one = board(why)
            one.held = lambda: 1 // 0
            return one

        world.plain.board = held
        assert world.boot() == {root + "/lib"} and isinstance(shim.own, ZeroDivisionError)


def test_a_copy_that_cannot_run_is_taken_back_by_lib_s_runner():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        board = armed(plain, APP, TWO)
        shim.own = ImportError("no module named 'mpota.link.http'")
        try:
            raises(Reset, None, lambda: Runner(board, Agent(board, [], None), lambda: None))
        finally:
            shim.own = None
        assert "mpota.link.http" in plain.power_on("reset").layout.failure()[1]


class Link(Ram):
    """One that raises this whenever it is opened."""

    def __init__(self, error=None):
        super().__init__(None)
        self.error = error

    def open(self, at=0):
        self.opened.append(at)
        if self.error:
            raise self.error
        return None


def judged(root, link, health=lambda: True, before=APP, now=None):
    """What became of a trial of a release that says it is healthy: "idle" where it is confirmed, or the reason."""
    plain = Plain(root, SETTINGS)
    tree = dict(APP)
    tree.update(OWN)
    board = armed(plain, before, now or tree)
    assert renewed(board) == (now is None or before is not APP)
    agent = Agent(board, [link] if link else [], None, health)
    for _ in range(400):
        state = agent.step()
        if state == "reset":
            return plain.board("reset").layout.failure()[1]
        if not agent.trial:
            return state
        board.ms += 5000
    raise AssertionError("no verdict")


def test_an_mpota_on_trial_is_confirmed_once_a_link_has_answered():
    with Scratch() as root:
        link = Link()
        assert judged(root, link) == "idle" and link.opened == [0]


def test_an_mpota_that_reaches_no_link_is_no_verdict():
    for code in ("network", "http", "portal", "link"):
        with Scratch() as root:
            link = Link(LinkError(code, "nothing comes"))
            assert judged(root, link) == "no-link" and len(link.opened) > 3


def test_an_mpota_that_cannot_read_what_came_is_given_up_for_it():
    for error in (LinkError("manifest", "this is none"), ImportError("no module"), ValueError("format")):
        with Scratch() as root:
            why = judged(root, Link(error))
            assert why.startswith("updater: ") and type(error).__name__ in why, why


def test_what_an_application_says_against_itself_counts_at_once():
    with Scratch() as root:
        link = Link(LinkError("network", "nothing comes"))
        assert judged(root, link, lambda: False) == "unhealthy" and len(link.opened) < 2


def test_without_links_the_application_alone_decides():
    with Scratch() as root:
        assert judged(root, None) == "idle"


def test_a_release_without_mpota_after_one_with_it_has_to_reach_a_link_too():
    own = dict(APP)
    own.update(OWN)
    with Scratch() as root:
        assert judged(root, Link(LinkError("network", "nothing comes")), before=own, now=TWO) == "no-link"


def test_a_release_that_brings_no_mpota_is_judged_by_its_application_alone():
    with Scratch() as root:
        link = Link(LinkError("manifest", "this is none"))
        assert judged(root, link, now=TWO) == "idle" and not link.opened
