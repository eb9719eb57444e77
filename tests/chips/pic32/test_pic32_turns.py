"""The service of a PIC32MZW1 as an agent: how an image on trial is judged, and an application that fails beside it."""

from hashlib import sha256

from mpota.layout.pic32 import service as home
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import database
from mpota_boot.errors import FlashError, LinkError
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.pic32_signer import erased
from tests.chips.pic32.test_pic32_hostile import signed
from tests.chips.pic32.test_pic32_json import run_main
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C
from tests.chips.pic32.test_pic32_mqtt import CONNACK, SUBACK, Wire
from tests.chips.pic32.test_pic32_service import KEY, URL, Device, Net, Open, app, entry

ERROR = ValueError("the sensor is gone")


def on_trial(d=None):
    """A Device whose image 3 is on trial, judged as a board without health() judges it."""
    d = d or Open(app(B).offer(entry(3, B)))
    assert d.run() == "reset"
    d.chip.power_on("reset")
    return plain(d, d.chip.power_on("reset"))


def plain(d, board, url=URL):
    """Another start, without health()."""
    d.on(board)
    d.service = Service(board, d.net.fetch, url)
    for name in d.options:
        setattr(d.service, name, d.options[name])
    d.service.control(0, d.events.append)
    return d


def steps(d, n=20):
    return [d.service.step() for _ in range(n)]


def test_without_health_an_image_is_good_once_the_manifest_has_answered():
    d = on_trial()
    said = steps(d)
    assert said[0] == "idle" and d.service.trial is None and maker.rows(d.chip)[1][1] == "f8"
    assert d.events[:2] == [4, 7], "and the next look follows at once"


def test_a_link_that_is_dead_or_brings_no_manifest_confirms_nothing():
    for body in (None, b"<html>", b"{}", b"x" * 9000):
        d = on_trial()
        if body is None:
            del d.net.files["manifest.json"]
        else:
            d.net.files["manifest.json"] = body
        for _ in range(9):
            d.board.ms += 60000
            assert set(steps(d, 9)) == {"trial"}, body
        assert d.service.control(1) == 1, "no message is taken on trial"
        d.board.ms += 60000
        assert d.service.step() == "reset" and d.service.step() == "reset"
        plain(d, d.chip.power_on("reset"))
        assert maker.holds(d.chip, A) and d.board.layout.failure()[1] == "no-link"


def test_what_nobody_could_judge_is_tried_again_after_an_hour_awake():
    d = on_trial()
    text = d.net.files.pop("manifest.json")
    d.board.ms += 600000
    assert d.service.step() == "reset"
    plain(d, d.chip.power_on("reset"))
    d.net.files["manifest.json"] = text
    d.service.bare = True
    assert d.run() == "idle" and d.service.error.code == "failed" and "after 1 h" in str(d.service.error)
    for _ in range(10):
        d.board.ms += home.AWAKE_MS
        said = d.run()
    assert said == "reset" and maker.rows(d.chip) == [("a.bin", "f8", "2"), ("image2.bin", "FE", "3")]
    # What was judged stays out.
    d = on_trial()
    d.service.health = lambda: False
    assert d.service.step() == "reset"
    plain(d, d.chip.power_on("reset"))
    d.service.bare = True
    for _ in range(300):
        d.board.ms += home.AWAKE_MS
        assert d.run() == "idle"
    assert "unhealthy" in str(d.service.error) and maker.rows(d.chip)[1][1] == "f0"


def test_without_a_service_a_broker_that_answers_is_the_link():
    for wire, confirmed in ((Wire(CONNACK + SUBACK), True), (Wire(b""), False)):
        d = Device(Net())
        update(d.board, B)
        d.on(d.chip.power_on("reset"))
        run_main({"mqtt": {"host": "broker", "topic": "ota"}, "trial_ms": 432000000}, wire, 20, d)
        assert (maker.rows(d.chip)[1][1] == "f8") == confirmed
    d = plain(Device(Net()), d.chip.power_on("reset"), None)
    assert d.service.links == [] and d.service.step() == "trial"


def test_an_application_that_dies_on_trial_is_a_verdict():
    d = on_trial()
    assert d.service.failed(ERROR) is True and maker.rows(d.chip)[1][1] == "f0"
    plain(d, d.chip.power_on("reset"))
    assert maker.holds(d.chip, A) and d.board.layout.failure()[1] == repr(ERROR)


def test_an_application_that_died_before_too_says_nothing_of_the_image():
    d = Open(app(B).offer(entry(3, B)))
    d.board.journal.put("boots", b"\1" + repr(ERROR).encode())
    on_trial(d)
    assert d.service.failed(ERROR) is False and steps(d) and d.service.trial is None
    # With an application of its own it does.
    d = on_trial()
    d.board.journal.put("boots", b"\1" + repr(ERROR).encode())
    record = d.service.trial
    record.tree = 0x12
    d.board.layout.on_trial = lambda: record
    assert not Service(d.board, d.net.fetch, URL).ailing
    record.tree = 0x11
    assert Service(d.board, d.net.fetch, URL).ailing


def test_an_image_given_up_for_an_application_that_dies_without_it_too_is_tried_again():
    d = on_trial()
    assert d.service.failed(ERROR) is True
    plain(d, d.chip.power_on("reset")).service.bare = True
    assert d.run() == "idle" and d.service.error.code == "failed"
    # Another error is none of its.
    assert d.service.failed(ValueError("another")) is False and d.board.layout.failure()
    assert d.service.failed(ERROR) is False and d.board.layout.failure() is None and d.board.layout.on_trial() is None
    assert maker.rows(d.chip) == [("a.bin", "f8", "2")]
    d.board.journal.put("boots", b"\1" + repr(ERROR).encode())
    d.board.ms += 60000
    assert d.run() == "reset"
    plain(d, d.chip.power_on("reset"))
    assert maker.holds(d.chip, B) and d.service.failed(ERROR) is False
    steps(d)
    assert maker.rows(d.chip)[1][1] == "f8"
    # What the owner withdrew stays withdrawn.
    d = Device(Net().offer(erased(3)), (("a.bin", 2, "f8", A), ("b.bin", 3, "f8", B)), key=KEY)
    d.run()
    plain(d, d.chip.power_on("reset"))
    assert d.service.failed(ERROR) is False and d.board.layout.failure()[1] == "withdrawn by the manifest"


def test_a_store_that_fails_ends_no_start_and_no_excuse():
    d = on_trial()
    d.service.failed(ERROR)
    plain(d, d.chip.power_on("reset"))

    def get(name, most):
        raise OSError(5)

    real, d.chip.store.get = d.chip.store.get, get
    d.board.layout.failure = lambda: (d.service.layout.record("failed"), repr(ERROR))
    d.board.layout.record = lambda tag: type("R", (), {"tree": 0, "sha": b""})
    assert d.service.failed(ERROR) is False and isinstance(d.service.error, FlashError)
    d.chip.store.get = real
    c = maker.chip((("a.bin", 2, "f8", A),))
    c.store.files["a.bin"] = b""
    board = c.power_on("reset")
    assert maker.holds(c, GOLDEN)
    c.store.get = get
    assert board.layout.heal() is None


def test_a_start_by_the_reset_puts_right_what_the_loader_could_not_read():
    c = maker.chip((("a.bin", 2, "f8", A),))
    real = c.store.open

    def open(name, mode):
        if name == "a.bin":
            raise OSError(5)
        return real(name, mode)

    c.store.open = open
    board = c.power_on("reset")
    assert maker.holds(c, GOLDEN)
    c.store.open = real
    Service(board, Net().offer().fetch, URL)
    c.power_on("reset")
    assert maker.holds(c, A)


def test_the_owner_says_when_no_update_may_begin_and_the_network_when_to_ask():
    d = Open(app(B).offer(entry(3, B)))
    d.board.later = lambda: "the door is open"
    assert d.run() == "idle" and d.events == [] and d.service.error.code == "later"
    d.board.later = bool
    assert d.run() == "idle" and d.events == []
    d.board.ms += 60000
    assert d.run() == "reset"
    d = Open(app(B).offer(entry(3, B)))
    fetch = d.net.fetch

    def none(url):
        raise LinkError("network", "no Wi-Fi")

    d.service.fetch = none
    assert d.run() == "idle" and d.events == [4, 5]
    d.service.hurry()
    d.service.fetch = fetch
    assert d.run() == "reset"
    # What waits for another reason does not.
    d = Open(Net().offer())
    assert d.run() == "idle"
    d.service.hurry()
    assert d.run() == "idle" and d.events == [4, 7]


def test_boards_of_one_house_ask_at_moments_of_their_own():
    c = maker.chip((("a.bin", 2, "f8", A),), {"spread_ms": 30000})
    c.power_on()
    d = Open(app(B).offer(entry(3, B)))
    board = c.power_on()
    board.id = lambda: b"seven"
    found = Service(board, d.net.fetch, URL)
    assert 0 < found.wait_ms < 30000 and found.step() == "idle"
    board.ms += found.wait_ms
    assert found.step() == "busy"


def test_a_signed_release_comes_after_one_that_is_confirmed_by_the_manifest():
    d = on_trial(Device(app(B).offer(signed(3, B)), key=KEY))
    d.net.files["app.bin"] = C
    d.net.offer(signed(4, C))
    said = steps(d, 40)
    assert said[-1] == "reset" and [row[2] for row in maker.rows(d.chip)] == ["2", "3", "4"]
    assert sha256(C).digest() == database.load(d.chip.store)[2].digest


def test_an_excuse_that_is_cut_is_made_again():
    for what in (maker.cuts_of_store, maker.cuts_of_flash):
        d = on_trial()
        d.service.failed(ERROR)
        d.chip.power_on("reset")
        c = d.chip
        try:
            for how in what(c, lambda c=c: c.power_on().layout.excuse(repr(ERROR))):
                board = c.power_on()
                assert maker.holds(c, A) and board.layout.on_trial() is None, how
                board.layout.excuse(repr(ERROR))
                assert board.layout.failure() is None and maker.rows(c) == [("a.bin", "f8", "2")], how
        except AssertionError as e:
            # It writes the store alone.
            assert what is maker.cuts_of_flash and "nothing to cut" in str(e)
