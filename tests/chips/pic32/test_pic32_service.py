"""The vendor's update service of a PIC32MZW1: its events in their order, its refusals, what it leaves in the store."""

from binascii import b2a_base64, hexlify
from hashlib import sha256
from io import BytesIO

from mpota.layout.pic32 import events
from mpota.layout.pic32.pipe import p256
from mpota.layout.pic32.service import Service
from mpota.layout.pic32.store import database
from mpota_boot.errors import FlashError, LinkError, Refused
from tests.chips.pic32 import pic32_maker as maker
from tests.chips.pic32.test_pic32_loader import GOLDEN, A, B, C, Deaf
from tests.expect import raises

URL = "http://h/manifest.json"
# RFC 6979, A.2.5: P-256 with SHA-256 over "sample".
KEY = bytes.fromhex(
    "60FED4BA255A9D31C961EB74C6356D68C049B8923B61FA6CE669622E60F29FB6"
    "7903FE1008B8BC99A41AE9E95628BC64F2F1B20C2D7E9F5177A3C294D4462299"
)
SIGNATURE = bytes.fromhex(
    "EFD48B2AACB6A8FD1140DD9CD45E81D69D2C877B56AAF991C34D0EA84EAF3716"
    "F7CB1C942D657C41D436C7A1B6E29F65F3E900DBB9AFF4064DC4AB2F843ACDA8"
)
TEXT = b2a_base64(SIGNATURE).strip()


# The names in the store of a Device at its start.
BEFORE = ["a.bin", "factory_reset.bin", "image_database.csv"]


class Net:
    """What `fetch` reaches: bodies by URL, and what was asked for."""

    def __init__(self, **files):
        self.files = files
        self.asked = []

    def fetch(self, url):
        self.asked.append(url)
        name = url.rpartition("/")[2]
        if name not in self.files:
            raise LinkError("http", "status 404 of " + url)
        return BytesIO(self.files[name])

    def offer(self, *entries):
        self.files["manifest.json"] = ('{"ota": [%s]}' % ", ".join(entries)).encode()
        return self


def entry(n, data, name="app.bin", more=""):
    digest = hexlify(sha256(data).digest()).decode()
    return '{"Version": %d, "URL": "http://h/%s", "Digest": "%s"%s}' % (n, name, digest, more)


class Device:
    """A chip that runs image 2 of the store, and its service with a list of its events. `options` are the service's."""

    def __init__(self, net, rows=(("a.bin", 2, "f8", A),), store=None, **options):
        self.chip = maker.chip(rows, store=store)
        self.net = net
        self.options = options
        self.on(self.chip.power_on())

    def on(self, board, health=None):
        self.board = board
        self.events = []
        self.service = Service(board, self.net.fetch, URL, health or (lambda: True))
        for name in self.options:
            setattr(self.service, name, self.options[name])
        self.service.control(events.REGISTER, self.events.append)
        return self

    def run(self):
        """Steps until it rests; the last word."""
        for _ in range(99):
            said = self.service.step()
            if said != "busy":
                return said
        raise AssertionError("it never rests")

    def reset(self, health=None):
        return self.on(self.chip.power_on("reset"), health)


class Open(Device):
    """One whose settings say `bare`: it takes images that nobody signed."""

    def on(self, board, health=None):
        super().on(board, health)
        self.service.bare = True
        return self


def app(data):
    return Net(**{"app.bin": data})


def test_an_update_tells_the_vendors_events_in_the_vendors_order():
    d = Open(app(B).offer(entry(3, B)))
    assert d.run() == "reset"
    assert d.events == [4, 6, 16, 17, 19, 20, 25]
    assert maker.rows(d.chip) == [("a.bin", "f8", "2"), ("image1.bin", "FE", "3")]
    d.reset()
    assert maker.holds(d.chip, B) and d.service.step() == "idle"
    assert maker.rows(d.chip)[1] == ("image1.bin", "f8", "3") and maker.page(d.chip).status == 0xF8
    assert d.run() == "idle" and d.events == [4, 7], "it is the newest"


def test_the_row_is_the_one_that_the_vendors_application_would_write():
    d = Open(app(B).offer(entry(12, B)))
    d.run()
    text = d.chip.store.files["image_database.csv"].decode()
    assert text.split("\n")[1] == "image1.bin,FE,12,0x01," + hexlify(sha256(B).digest()).decode()
    d.reset()
    assert maker.page(d.chip).version == 0x12


def test_equal_and_lower_versions_are_not_taken():
    for n in (1, 2):
        d = Open(app(B).offer(entry(n, B)))
        assert d.run() == "idle" and d.events == [4, 7] and d.net.asked == [URL]
        assert d.service.error is None, "no error, there is nothing new"


def test_an_image_that_takes_the_row_of_another_says_that_the_database_is_full():
    rows = (("a.bin", 2, "f8", A), ("b.bin", 1, "f8", B), ("c.bin", 3, "f0", C))
    d = Open(app(GOLDEN[:-1]).offer(entry(4, GOLDEN[:-1])), rows)
    assert d.run() == "reset" and d.events == [4, 6, 16, 17, 19, 20, 28, 25]
    assert maker.rows(d.chip)[2] == ("image1.bin", "FE", "4") and "c.bin" in d.chip.store.files
    # An image of a number that has a row takes that one, and two rows leave a place.
    for n, some in ((3, rows), (4, rows[:2])):
        d = Open(app(GOLDEN[:-1]).offer(entry(n, GOLDEN[:-1])), some)
        assert d.run() == "reset" and 28 not in d.events


def test_a_manifest_that_does_not_come_or_is_none_is_a_failed_check():
    for body in (None, b"<html>", b"{}", b"[" * 9000):
        d = Open(Net() if body is None else Net(**{"manifest.json": body}))
        assert d.run() == "idle" and d.events == [4, 5]
        assert isinstance(d.service.error, Refused if body else LinkError)


def test_a_wrong_entry_is_reported_and_the_others_count():
    d = Open(app(B).offer(entry(9, B).replace("Version", "Vers"), entry(3, B)))
    assert d.run() == "reset" and d.events[:2] == [4, 6]
    assert "entry 1: version is missing" in str(d.service.error)


class Cut(BytesIO):
    """A body whose line breaks at its end."""

    def readinto(self, buf):
        n = super().readinto(buf)
        if not n:
            raise LinkError("link", "the line is cut")
        return n


class Bad(Net):
    """One whose images break off after so many bytes."""

    most = 6000

    def fetch(self, url):
        body = super().fetch(url)
        return Cut(self.files["app.bin"][: self.most]) if url.endswith("app.bin") and self.most else body


def again(d):
    d.board.ms += 60000
    d.service.ask = True
    return d.run()


def test_a_bad_line_writes_the_same_bytes_into_the_store_once():
    d = Open(Bad(**{"app.bin": B}).offer(entry(3, B)))
    assert d.run() == "idle" and d.service.error.code == "link"
    ops = d.chip.store.ops
    assert ops > 0 and len(d.chip.store.files["image1.bin"]) == 4096
    for _ in range(20):
        assert again(d) == "idle" and d.service.error.code == "link"
    assert d.chip.store.ops == ops, "%d changes of the store" % (d.chip.store.ops - ops)
    d.net.most = None
    assert again(d) == "reset"
    d.reset()
    assert maker.holds(d.chip, B)


def test_an_image_is_whole_whatever_an_older_one_has_left():
    for at in (0, 255, 256, 4095, 4096, 9000):
        d = Open(Bad(**{"app.bin": B}).offer(entry(3, B)))
        d.net.most = len(B) - 1
        d.run()
        left = bytearray(d.chip.store.files["image1.bin"])
        left[min(at, len(left) - 1)] ^= 1
        d.chip.store.files["image1.bin"] = bytes(left)
        d.net.most = None
        assert again(d) == "reset" and d.chip.store.files["image1.bin"] == B, at


def test_bytes_of_a_longer_image_behind_the_end_cost_one_more_download():
    long = maker.image(1, 12000)
    d = Open(Bad(**{"app.bin": long}).offer(entry(3, long)))
    d.net.most = 13000
    assert d.run() == "idle" and len(d.chip.store.files["image1.bin"]) == 12288
    # Its beginning is the same.
    short = long[:9000]
    d.net.files["app.bin"], d.net.most = short, None
    d.net.offer(entry(3, short))
    assert again(d) == "idle" and d.service.error.code == "store" and "wanted 9000" in str(d.service.error)
    assert again(d) == "reset" and d.chip.store.files["image1.bin"] == short


def test_without_auto_update_it_waits_for_initiate():
    d = Open(app(B).offer(entry(3, B)), auto_update=False)
    assert d.run() == "idle" and d.events == [4, 6] and maker.rows(d.chip) == [("a.bin", "f8", "2")]
    assert d.service.control(events.INITIATE) == events.SUCCESS
    assert d.run() == "reset" and d.events == [4, 6, 16, 17, 19, 20, 25]


def test_without_auto_reset_it_waits_for_the_message_which_counts_after_success_only():
    d = Open(app(B).offer(entry(3, B)), auto_reset=False)
    assert d.service.control(events.RESET) == events.FAILURE
    assert d.run() == "idle" and d.events[-1] == 25
    assert d.service.step() == "idle", "no further check before the reset"
    assert d.service.control(events.RESET) == events.SUCCESS and d.service.step() == "reset"


def test_an_image_without_a_manifest_is_taken_by_its_parameters():
    d = Open(app(B), period_ms=0)
    d.service.ask = False
    assert d.run() == "idle" and d.events == []
    assert d.service.control(events.INITIATE) == events.FAILURE and d.events == [8]
    d.service.set_parameters("http://h/app.bin", 7, hexlify(sha256(B).digest()).decode())
    assert d.service.control(events.INITIATE) == events.SUCCESS
    assert d.service.control(events.CHECK) == events.FAILURE, "busy"
    assert d.run() == "reset" and d.events == [8, 16, 17, 19, 20, 25]
    raises(Refused, "manifest", d.service.set_parameters, "http://h/app.bin", 7, "no digest")


def test_an_image_that_ranks_below_the_one_that_runs_is_refused_before_it_is_fetched():
    d = Open(app(B), period_ms=0)
    d.service.set_parameters("http://h/app.bin", 1, hexlify(sha256(B).digest()).decode())
    d.service.control(events.INITIATE)
    assert d.run() == "idle" and d.events == [16, 18] and d.service.error.code == "number" and not d.net.asked


def test_a_check_comes_again_after_its_time_and_when_it_is_told_to():
    d = Open(Net().offer(), period_ms=60000)
    assert d.run() == "idle" and d.events == [4, 7]
    assert d.service.step() == "idle" and d.events == [4, 7]
    d.board.ms += 60000
    d.run()
    assert d.events == [4, 7] * 2
    assert d.service.control(events.CHECK) == events.SUCCESS
    d.run()
    assert d.events == [4, 7] * 3


def test_the_status_is_the_vendors():
    d = Open(Net(**{"app.bin": B}).offer(entry(3, B)))
    assert d.service.status == events.WAITING_FOR_TIME
    seen = []
    while d.service.step() == "busy":
        seen.append(d.service.status)
    assert seen[0] == events.CHECK_START and events.DOWNLOAD_START in seen and d.service.status == events.IDLE


def test_a_digest_that_is_another_leaves_nothing():
    d = Open(app(B).offer(entry(3, C)))
    assert d.run() == "idle" and d.events == [4, 6, 16, 17, 19, 21] and d.service.error.code == "digest"
    assert maker.rows(d.chip) == [("a.bin", "f8", "2")] and maker.page(d.chip).status == 0xF8
    assert sorted(d.chip.store.files) == BEFORE


def test_a_download_that_fails_or_is_no_image_is_said():
    for net, code in (
        (Net(), "http"),
        (app(b":10" + bytes(9000)), "hex"),
        (app(b"short"), "tiny"),
        (app(b"<html>" + bytes(9000)), "address"),
        (app(maker.image(5, maker.SLOT)), "size"),
    ):
        d = Open(net.offer(entry(3, B)))
        assert d.run() == "idle" and d.events == [4, 6, 16, 18] and d.service.error.code == code, code
        assert maker.rows(d.chip) == [("a.bin", "f8", "2")]


def test_an_image_that_was_given_up_is_not_taken_again():
    d = Open(app(B).offer(entry(3, B)))
    d.run()
    d.reset(lambda: False)
    assert d.service.step() == "reset"
    d.reset()
    assert maker.holds(d.chip, A) and d.run() == "idle"
    assert d.events == [4, 7] and d.service.error.code == "failed"
    assert d.board.layout.failure()[1] == "unhealthy"


def test_the_self_test_confirms_waits_and_goes_back():
    verdicts = [None, None, True]
    d = Open(app(B).offer(entry(3, B)))
    d.run()
    d.reset(lambda: verdicts.pop(0))
    assert [d.service.step() for _ in range(3)] == ["trial", "trial", "idle"]
    assert d.service.control(events.CHECK) == events.SUCCESS
    for test, why in ((lambda: 1 // 0, "ZeroDivisionError"), (lambda: None, "no-link")):
        d = Open(app(B).offer(entry(3, B)))
        d.run()
        d.reset(test)
        assert d.service.control(events.CHECK) == events.FAILURE, "on trial"
        d.board.ms += 600000
        assert d.service.step() == "reset"
        d.reset()
        assert maker.holds(d.chip, A) and why in d.board.layout.failure()[1]


def test_a_verdict_that_cannot_be_written_is_written_later():
    for verdict, word in ((True, "idle"), (False, "reset")):
        d = Open(app(B).offer(entry(3, B)))
        d.run()
        d.reset(lambda verdict=verdict: verdict)
        port = d.board.layout.port
        good, port.files = port.files, Deaf(port.files, (database.NEW, database.NAME))
        assert d.service.step() == "trial" and d.service.error.code == "store" and d.service.trial
        port.files = good
        assert d.service.step() == word


def test_whatever_a_link_or_a_listener_raises_is_an_error_and_the_next_check_comes():
    for name, seen in (("manifest.json", [4, 5]), ("app.bin", [4, 6, 16, 18])):
        d = Open(app(B).offer(entry(3, B)))
        fetch = d.net.fetch

        def broken(url, name=name, fetch=fetch):
            if name in url:
                raise OverflowError("a port of eleven digits")
            return fetch(url)

        d.service.fetch = broken
        assert d.run() == "idle" and d.events == seen and isinstance(d.service.error, OverflowError)
        assert maker.rows(d.chip) == [("a.bin", "f8", "2")]
        d.service.fetch = fetch

        def bad(event):
            raise KeyError(event)

        d.service.control(events.REGISTER, bad)
        d.service.control(events.CHECK)
        assert d.run() == "reset" and isinstance(d.service.error, KeyError)
        d.reset()
        assert maker.holds(d.chip, B)


def test_a_store_that_fails_in_a_check_is_a_failed_check():
    d = Open(Net().offer('{"Version": 2, "EraseVer": true}'))
    d.service.step()
    port = d.board.layout.port
    port.files = Deaf(port.files, (database.NEW, database.NAME))
    assert d.run() == "idle" and d.events == [4, 5] and d.service.error.code == "store"


def test_a_version_is_erased_and_one_that_is_not_there_is_said():
    d = Open(Net(), rows=(("a.bin", 2, "f8", A), ("c.bin", 10, "f8", C)))
    d.net.offer('{"Version": 2, "EraseVer": true}')
    assert d.run() == "idle" and d.events == [4, 27, 7]
    assert maker.rows(d.chip) == [("c.bin", "f8", "10")] and "a.bin" not in d.chip.store.files
    d.on(d.chip.power_on())
    d.net.offer('{"Version": 77, "EraseVer": true}')
    assert d.run() == "idle" and d.events == [4, 26, 7] and d.service.error.code == "erase"
    assert maker.holds(d.chip, C)


def test_rollback_and_factory_reset_are_told_and_done_at_the_next_boot():
    d = Open(app(B).offer(entry(3, B)))
    d.run()
    d.reset().service.step()
    assert d.service.control(events.ROLLBACK) == events.SUCCESS and d.events == [11]
    assert d.service.control(events.RESET) == events.SUCCESS
    d.reset()
    assert maker.holds(d.chip, A)
    assert d.service.control(events.FACTORY_RESET) == events.SUCCESS and d.events == [9]
    d.reset()
    assert maker.holds(d.chip, GOLDEN) and maker.rows(d.chip) is None
    assert d.service.control(events.FACTORY_RESET) == events.FAILURE and d.events == [10]
    assert d.service.control(events.ROLLBACK) == events.FAILURE and d.events == [10, 12]
    assert d.service.control(99) == events.FAILURE


def test_http_is_refused_where_tls_is_enforced():
    d = Open(app(B).offer(entry(3, B)), enforce_tls=True)
    assert d.run() == "idle" and d.events == [4, 5] and d.service.error.code == "tls" and not d.net.asked


def test_p256_takes_the_signature_of_the_rfc_and_no_other():
    digest = sha256(b"sample").digest()
    assert p256.verify(KEY, SIGNATURE, digest) and p256.verify_text(KEY, TEXT, digest)
    for bit in (0, 7, 200, 255, 256, 300, 511):
        bad = bytearray(SIGNATURE)
        bad[bit // 8] ^= 1 << bit % 8
        assert not p256.verify(KEY, bytes(bad), digest), bit
    assert not p256.verify(KEY, SIGNATURE, sha256(b"other").digest())
    assert not p256.verify(KEY[:-1] + b"\0", SIGNATURE, digest), "no point of the curve"
    order = p256.N.to_bytes(32, "big")
    for r, s in (
        (bytes(32), SIGNATURE[32:]),
        (SIGNATURE[:32], bytes(32)),
        (order, order),
        (b"\xff" * 32, b"\xff" * 32),
    ):
        assert not p256.verify(KEY, r + s, digest)
    for text in (b"", b"!!!!", b"AAAA", TEXT[:-4]):
        assert not p256.verify_text(KEY, text, digest)
    assert not p256.verify(KEY[:63], SIGNATURE, digest) and not p256.verify(KEY, SIGNATURE[:63], digest)


def test_points_add_as_on_the_curve():
    g = p256.G
    two = p256._double(g)
    assert p256._add(g, g) == two and p256._add(None, g) == g and p256._add(g, None) == g
    minus = g[0], p256.P - g[1], 1
    assert p256._add(g, minus) is None and p256._double(None) is None
    three = p256._add(two, g)
    left, right = p256._add(three, g), p256._double(two)
    for i, power in ((0, 2), (1, 3)):
        a = left[i] * pow(right[2], power, p256.P) % p256.P
        assert a == right[i] * pow(left[2], power, p256.P) % p256.P


def test_an_image_whose_number_is_120_above_is_tried_confirmed_and_left_as_any_other():
    for verdict in (True, False):
        d = Open(app(B).offer(entry(122, B)), jump=500)
        assert d.run() == "reset"
        d.reset(lambda verdict=verdict: verdict)
        assert maker.page(d.chip).status == 0xFC and d.service.trial
        for _ in range(5):
            d.run()
            d.reset()
        assert maker.rows(d.chip)[1][1] == ("f8" if verdict else "f0") and maker.holds(d.chip, B if verdict else A)
        told = d.board.layout.status()
        assert told["failed"] == (None if verdict else {"version": "0.0.0.122", "reason": "unhealthy"})
        assert told["version"] == ("0.0.0.122" if verdict else None) and told["trial"] is None


def test_an_image_whose_number_is_120_above_and_that_the_loader_refuses_counts_as_failed():
    d = Open(app(B).offer(entry(122, B)), jump=500)
    d.run()
    d.chip.store.files["image1.bin"] = B[:-1]
    d.reset()
    assert maker.holds(d.chip, A) and d.service.trial is None
    assert d.board.layout.failure()[0].sha == sha256(B).digest() and d.board.layout.record("running") is None


def test_a_number_of_the_manifest_outlives_a_cut_before_its_row():
    d = Open(app(B).offer(entry(300, B)), jump=500)
    d.run()
    store = d.chip.store
    # As after a cut between the journal's record and the row.
    store.put(database.NAME, database.encode([maker.row("a.bin", 2, A, "f8")]).encode())
    d.reset()
    assert maker.rows(d.chip)[1] == ("image1.bin", "FE", "300") and maker.page(d.chip).version == 0x300


def test_a_trial_whose_store_cannot_be_read_is_still_a_trial():
    d = Open(app(B).offer(entry(3, B)))
    d.run()
    d.reset()

    def get(name, most):
        raise OSError(5)

    d.chip.store.get = get
    raises(FlashError, "store", d.board.layout.rows)
    assert d.board.layout.on_trial().slot == d.board.layout.port.running
