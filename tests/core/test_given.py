"""What was given up: the last four are remembered, and who missed only the network is tried again, ever later."""

from mpota.agent import Agent
from mpota.layout import contract, given
from mpota_boot.errors import FlashError, Refused
from mpota_boot.journal import Record
from mpota_host.chips.esp32.sim import soc
from tests.core.test_agent import ASK_MS, NEW, POLL_MS, boot, chip, steps, trial
from tests.core.test_contract import Memory, Port
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, version

HOUR_MS = 3600000
COUNT_MS = 360000


def release(n):
    return b"package%d" % n, bytes([n]) * 32, version(1, n)


def layout_that_gave_up(*whys):
    """A Layout that armed release 0, 1, ... and gave each up for its reason."""
    layout = contract.Layout(Port(), Memory(), 3)
    for n, why in enumerate(whys):
        give_up(layout, n, why)
    return layout


def give_up(layout, n, why):
    key, sha, number = release(n)
    record = layout.new(key, sha, number, 10, 1)
    layout.journal.put("armed", record.encode())
    layout.give_up(record, why)


def refused(layout, n):
    return layout.given_up(*release(n)[1:])


def counts(layout, n):
    """How many counts until release `n` is tried again."""
    for i in range(1000):
        if not refused(layout, n):
            return i
        layout.awake()
    return None


def test_the_last_four_are_refused_and_the_fifth_is_forgotten():
    layout = layout_that_gave_up(*["unhealthy"] * 5)
    assert [refused(layout, n) is not None for n in range(6)] == [False, True, True, True, True, False]
    assert "unhealthy" in refused(layout, 4) and "earlier" in refused(layout, 3)
    # Another image of that version, or another version of that image, is another release.
    assert layout.given_up(bytes(32), version(1, 4)) is None and layout.given_up(release(4)[1], version(9, 9)) is None
    layout.forget()
    assert not [n for n in range(5) if refused(layout, n)]


def test_who_missed_only_the_network_waits_longer_each_time():
    layout = layout_that_gave_up("no-link")
    for wait in (10, 40, 240, 240):
        assert "%d h awake" % (wait // 10) in refused(layout, 0)
        assert counts(layout, 0) == wait
        give_up(layout, 0, "no-link")
    give_up(layout, 0, "unhealthy")
    assert counts(layout, 0) is None and "pack a newer one" in refused(layout, 0)


def test_each_end_without_a_verdict_is_told_from_a_verdict():
    for why in ("no-link", "no verdict after 50 wakes from deep sleep", contract.ASKED % "watchdog"):
        assert counts(layout_that_gave_up(why), 0) == 10, why
    for why in ("unhealthy", "watchdog", "ValueError('no-link')", contract.IMPORT % "watchdog", "rolled back by hand"):
        assert counts(layout_that_gave_up(why), 0) is None, why


def test_a_release_that_waits_outlives_others_that_are_given_up():
    layout = layout_that_gave_up("no-link", "unhealthy", "no-link", "unhealthy")
    assert counts(layout, 2) == 10 and counts(layout, 0) == 0 and counts(layout, 1) is None


def test_nothing_is_written_while_nothing_waits():
    layout = layout_that_gave_up("unhealthy")
    before = dict(layout.journal.kept)
    layout.awake()
    refused(layout, 0)
    assert layout.journal.kept == before
    layout = layout_that_gave_up("no-link")
    assert counts(layout, 0) == 10
    before = dict(layout.journal.kept)
    layout.awake()
    assert layout.journal.kept == before
    contract.Layout(Port(), Memory(), 3).awake()


def test_a_count_that_passes_its_end_keeps_the_wait():
    layout = layout_that_gave_up("no-link")
    _, rows = given.known(layout.journal)
    key, armed, _, times = rows[0]
    layout.journal.put("given", given.encode(65530, [(key, armed, 65530, times)]))
    assert counts(layout, 0) == 10


def test_a_journal_whose_bytes_are_nonsense_refuses_nobody_for_them():
    layout = layout_that_gave_up()
    for data in (b"", b"x", b"\xff" * 10, b"\xa5" * 38, b"\0" * 128):
        layout.journal.put("given", data)
        assert refused(layout, 1) is None
        give_up(layout, 2, "unhealthy")
        assert refused(layout, 2)


def test_the_reason_of_what_was_given_up_stays_while_another_update_is_under_way():
    layout = layout_that_gave_up("rolled back by hand")
    key, sha, number = release(1)
    layout.journal.put("armed", layout.new(key, sha, number, 10, 1).encode())
    assert layout.failure()[1] == "rolled back by hand"
    # That of the same package goes: it is about to have another.
    layout.new(*release(0), 10, 1)
    assert layout.failure()[1] == "unknown"


def test_a_start_that_ended_while_the_network_was_asked_has_judged_nothing():
    for doing, why, words in (
        (b"link", "watchdog", "no-link (watchdog while the network was asked)"),
        (b"link", "unhealthy", "unhealthy"),
        (b"import", "reset", "reset; the import of the application did not return"),
        (b"import", "ImportError('x')", "ImportError('x')"),
    ):
        layout = contract.Layout(Port(), Memory(), 3)
        record = layout.new(*release(0), 10, 1)
        layout.journal.put("armed", record.encode())
        layout.journal.put("doing", doing)
        layout.give_up(record, why)
        assert layout.failure()[1] == words and not layout.journal.last("doing")


def test_a_watchdog_that_ends_a_question_to_the_network_is_no_verdict_and_a_hang_later_is_one():
    class Stuck(Ram):
        def open(self, at=0):
            raise KeyboardInterrupt

    for asks, why in ((True, "no-link (watchdog while the network was asked)"), (False, "watchdog")):
        c = chip()
        agent = trial(c, Stuck(Maker(NEW).bytes()))
        # The loader goes back by itself, at the reset that follows.
        raises(KeyboardInterrupt, None, agent.step)
        board = agent.board
        assert board.journal.last("doing") == b"link"
        if not asks:
            agent = Agent(board, [Ram(None)], None, lambda: None)
            assert agent.step() == "trial" and not board.journal.last("doing")
        board = boot(c, soc.WDT)
        while not board.layout.failure():
            # It is armed again as long as it has trials, and hangs where it did.
            board.journal.put("doing", b"link" if asks else b"")
            board = boot(c, soc.WDT)
        assert board.layout.failure()[1] == why


def test_an_answer_and_an_error_leave_no_mark():
    for link in (Ram(Maker(NEW).bytes()), Ram(None)):
        agent = trial(chip(), link)
        agent.step()
        assert not agent.board.journal.last("doing")


def test_a_board_counts_its_hours_awake_and_its_wakes():
    c = chip()
    agent = trial(c, None, lambda: None)
    agent.board.ms += 10 * ASK_MS * 100
    while agent.step() == "trial":
        agent.board.ms += ASK_MS
    board = boot(c)
    link = Ram(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    spent = 0
    while steps(agent) == "idle":
        assert isinstance(agent.error, Refused) and agent.error.code == "failed"
        board.ms += POLL_MS // 10
        spent += POLL_MS // 10
    # The start counted too; and a board asks every ten minutes.
    assert HOUR_MS - COUNT_MS <= spent <= HOUR_MS + POLL_MS, spent
    # A board that sleeps gets there by its wakes; each is as good as six minutes.
    c = chip()
    agent = trial(c, None, lambda: None)
    agent.board.ms += 10 * ASK_MS * 100
    while agent.step() == "trial":
        agent.board.ms += ASK_MS
    starts = 1
    boot(c)
    for _ in range(20):
        Agent(boot(c, soc.PWRON), [], None)
    while steps(Agent(c.run(soc.DEEPSLEEP), [Ram(Maker(NEW).bytes())], None)) == "idle":
        starts += 1
    assert 10 <= starts <= 11, starts


def test_a_count_that_the_journal_does_not_keep_stops_nobody():
    c = chip()
    agent = trial(c, None, lambda: None)
    agent.board.layout.retreat("no-link")
    board = boot(c)

    def full(tag, data):
        raise FlashError("journal", "full")

    board.journal.put = full
    agent = Agent(board, [], None)
    assert isinstance(agent.error, FlashError) and agent.step() == "idle"


def test_a_release_that_was_given_up_before_the_last_one_is_refused_by_the_board():
    c = chip()
    two = Maker(image(41232, 9))
    two.version = version(1, 2, 0)
    for data in (Maker(NEW).bytes(), two.bytes(), Maker(NEW).bytes()):
        agent = Agent(boot(c), [Ram(data)], None, lambda: False)
        if steps(agent) == "reset":
            assert Agent(boot(c), [], None, lambda: False).step() == "reset"
            boot(c)
    assert isinstance(agent.error, Refused) and "earlier" in str(agent.error)
    assert Record.decode(agent.board.journal.last("failed")).version == version(1, 2, 0)


def test_a_confirm_ends_the_wait_of_older_releases_and_of_no_newer_one():
    for confirmed, waits in ((5, False), (0, True)):
        layout = layout_that_gave_up("unhealthy", "no-link", "no-link")
        key, sha, number = release(confirmed)
        layout.kept(layout.new(key, sha, number, 10, 1))
        before = layout.journal.last("given")
        layout.awake()
        assert (layout.journal.last("given") != before) == waits
        assert [refused(layout, n) is not None for n in range(3)] == [True] * 3
