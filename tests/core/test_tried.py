"""Why there is no update: what an attempt that failed leaves in memory, in the journal, in `status`, on the console."""

import sys

from mpota import console, tried
from mpota.agent import Agent
from mpota.link.http import Http
from mpota_boot.errors import FlashError, LinkError, NotNow, Refused, UpToDate
from mpota_host.chips.files.sim.soc import Plain
from tests.core.test_agent import chip
from tests.core.test_runner import SETTINGS, App, Quiet, start
from tests.scratch import Scratch

GONE = LinkError("http", "status 404 of http://s/x")


class Asked:
    """A link that fails as it is told, and says what it asked."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.reports = []

    def asked(self):
        return "http://s/m.json"

    def open(self, at=0):
        error = self.errors.pop(0)
        if error:
            raise error

    def other(self, code=""):
        return False

    def report(self, code, text):
        self.reports.append((code, text))


def polls(board, *errors):
    agent = Agent(board, [Asked(*errors)], None)
    for _ in errors:
        agent.wait_ms = 0
        agent.step()
    return agent


def test_status_says_when_what_was_asked_code_sentence_and_how_often():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        polls(board, GONE, GONE, GONE)
        facts = console.status(board)["tried"]
        assert facts.pop("seconds") == 0
        assert facts == {"asked": "http://s/m.json", "code": "http", "text": "status 404 of http://s/x", "count": 3}
        assert tried.words() == "mpota: http: status 404 of http://s/x (3 times in a row), asked http://s/m.json"


def test_another_error_counts_from_one_and_an_attempt_that_ends_well_forgets_all():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        polls(board, GONE, GONE, LinkError("dns", "no name"))
        assert tried.last[2:] == ["dns", "no name", 1]
        for well in (None, UpToDate("current", "runs already")):
            polls(board, GONE, well)
            assert console.status(board)["tried"] is None and board.memory("mpota_tried").last("said") is None


def test_after_a_reset_the_journal_knows_it_and_an_attempt_that_ends_well_forgets_that_too():
    with Scratch() as root:
        plain = Plain(root, SETTINGS)
        polls(plain.power_on(), GONE, GONE)
        tried.begin()
        board = plain.power_on()
        known = {"seconds": None, "asked": "http://s/m.json", "code": "http", "text": "status 404 of http://s/x"}
        known["count"] = None
        assert tried.facts(board) == known
        polls(board, None)
        assert tried.facts(plain.power_on()) is None


def test_the_journal_is_written_when_the_error_changes_and_not_for_each_attempt():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        polls(board, GONE)
        number = board.memory("mpota_tried").number
        polls(board, *[GONE] * 9)
        assert board.memory("mpota_tried").number == number
        polls(board, None, None, None)
        assert board.memory("mpota_tried").number == number + 2
        polls(board, NotNow("later", "the battery is low"))
        assert board.memory("mpota_tried").number == number + 2, "what waits for its hour is in memory alone"
        assert console.status(board)["tried"]["code"] == "later"


def test_an_error_without_a_code_and_a_link_that_does_not_say_what_it_asked_are_named():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        tried.failed(board, object(), ValueError("seven"))
        assert tried.words() == "mpota: ValueError: seven" and tried.last[1] == ""


def test_a_sentence_longer_than_a_record_is_cut_in_the_journal_alone():
    with Scratch() as root:
        board = Plain(root, SETTINGS).power_on()
        for _ in range(2):
            tried.failed(board, Asked(), LinkError("link", "\xe9" * 200))
        assert tried.last[3] == "\xe9" * 200
        number = board.memory("mpota_tried").number
        tried.begin()
        assert tried.facts(board)["text"].startswith("\\xc3\\xa9") and number <= 2


def test_what_cannot_be_kept_stops_nobody():
    agent = polls(chip().power_on(), None)

    def full(tag, data):
        raise FlashError("journal", "full")

    real = agent.board.memory

    def memory(name):
        found = real(name)
        found.put = full
        return found

    agent.board.memory = memory
    agent.links[0].errors = [GONE]
    agent.wait_ms = 0
    assert agent.step() == "idle" and agent.failures == 1 and tried.last[4] == 1


def test_a_url_comes_without_its_secrets():
    link = Http("http://me:secret@s/m.json?token=1", "lamp", "files", lambda: None)
    assert link.asked() == "http://s/m.json?..."
    link.ticks = lambda: 0
    link.connect = lambda to: iter(())
    next(link.asking("http://me:secret@s/p?key=2"))
    assert link.asked() == link.url == "http://s/p?..."


def test_each_attempt_that_failed_is_a_line_of_the_console():
    class Err:
        def __init__(self):
            self.said = []

        def write(self, text):
            self.said.append(text)

    with Scratch() as root, Quiet():
        runner = start(Plain(root, SETTINGS), App())
        runner.agent.links = [Asked(GONE, GONE, None)]
        mine = Err()
        tried.sys = type("Sys", (), {"stderr": mine})
        try:
            for _ in range(3):
                runner.agent.wait_ms = 0
                runner.turn()
                runner.turn()
        finally:
            tried.sys = sys
        assert ["404" in line and line[-1] == "\n" for line in mine.said] == [True, True]
        assert "2 times in a row" in mine.said[1] and "2 times" not in mine.said[0]


def test_the_next_report_tells_what_nobody_could_be_told():
    agent = polls(chip().power_on(), GONE, GONE, Refused("product", "for a lamp"), Refused("floor", "too old"))
    told = agent.links[0].reports
    assert told[0] == (
        "product",
        "for a lamp; before: http: status 404 of http://s/x (2 times in a row), asked http://s/m.json",
    )
    assert told[1] == ("floor", "too old")
