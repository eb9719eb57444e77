"""What a package needs first, and who may have it, on both interpreters: refused before any erase, in words."""

from mpota.installer import install
from mpota.link.find import find
from mpota.link.http import Http
from mpota_boot import shim
from mpota_boot.errors import Refused
from mpota_host.chips.esp32.sim import soc
from tests.expect import raises
from tests.firmware import image
from tests.packages import Maker, Ram, version

SLOT = 0x10000
OLD, NEW = image(30000, 1), image(41232, 2)


class Bench:
    """A chip that runs OLD, and what it makes of packages."""

    def __init__(self, **settings):
        self.chip = soc.Soc(soc.rows(SLOT), dict(settings, product="demo"), None)
        self.chip.write(self.chip.row("ota_0").offset, OLD)
        self.board = self.chip.power_on()

    def made(self, number, n=2, **fields):
        maker = Maker(image(41232, n))
        maker.version = version(*number)
        maker.fields = {key.encode(): value for key, value in fields.items()}
        return maker.bytes()

    def take(self, data):
        for _ in install(self.board, Ram(data), None):
            pass

    def keep(self, data):
        self.take(data)
        self.board = self.chip.power_on(soc.HARD)
        self.board.layout.confirm()
        self.board = self.chip.power_on()

    def refuses(self, code, data):
        self.chip.flash.trace = []
        e = raises(Refused, code, self.take, data)
        assert not self.chip.flash.trace
        return str(e)


def test_a_board_takes_the_packages_of_its_own_channel():
    for mine in ("", "canary", "beta"):
        for theirs in ("", "canary", "beta"):
            bench = Bench(**({"channel": mine} if mine else {}))
            data = bench.made((1, 1, 0), **({"Chan": theirs.encode()} if theirs else {}))
            if mine == theirs:
                bench.take(data)
            else:
                words = bench.refuses("channel", data)
                assert repr(mine) in words and repr(theirs) in words


def test_a_release_that_must_not_be_left_out_is_named():
    bench = Bench()
    step, last = bench.made((1, 1, 0)), bench.made((1, 2, 0), 3, From=version(1, 1, 0))
    words = bench.refuses("needs", last)
    assert "install 1.1.0" in words and "unknown" in words
    bench.keep(step)
    bench.keep(last)
    assert bench.board.layout.version() == version(1, 2, 0)
    # A newer one than what is needed will do too.
    bench.keep(bench.made((1, 3, 0), 4, From=version(1, 1, 0)))
    words = bench.refuses("needs", bench.made((1, 5, 0), 5, From=version(1, 4, 0)))
    assert "1.4.0" in words and "1.3.0 runs" in words


def test_what_was_put_there_over_a_cable_counts_where_the_settings_name_it():
    for given, good in (("1.1.0", True), ("1.2.0", True), ("1.0.9", False), ("one", False), (7, False)):
        bench = Bench(version=given)
        data = bench.made((1, 2, 1), From=version(1, 1, 0))
        if good:
            bench.take(data)
        else:
            bench.refuses("needs", data)


def test_a_shim_that_is_too_old_is_brought_by_a_cable():
    bench = Bench()
    one = shim.NUMBER + 1
    assert "cable" in bench.refuses("needs", bench.made((1, 1, 0), Boot=one.to_bytes(2, "little")))
    bench.take(bench.made((1, 1, 0), Boot=shim.NUMBER.to_bytes(2, "little")))


def test_a_package_with_firmware_needs_none():
    bench = Bench()
    bench.take(bench.made((1, 1, 0), Firm=version(1, 0, 0)))


def test_the_firmware_that_runs_is_of_a_known_version_until_a_cable_brings_another():
    bench = Bench()
    assert bench.board.layout.firmware() is None
    bench.keep(bench.made((1, 1, 0)))
    assert bench.board.layout.firmware() == version(1, 1, 0)
    bench.chip.write(bench.chip.row("ota_1").offset, image(41232, 7))
    assert bench.chip.power_on().layout.firmware() is None


def test_a_need_of_another_size_is_refused():
    for name, value in (("From", b"1.2"), ("Firm", bytes(9)), ("Boot", b"\1")):
        Bench().refuses("format", Bench().made((1, 1, 0), **{name: value}))


def offered(link, *rows):
    """What `link` offers of these (version, size, channel) after a look at their manifest."""
    entries = [
        '{"product": "demo", "layout": "esp32", "version": "%s", "size": %d, "file": "%s"%s}'
        % (number, size, number, channel and ', "channel": "%s"' % channel)
        for number, size, channel in rows
    ]
    text = ('{"mpota": 1, "packages": [%s]}' % ",".join(entries)).encode()
    buf = bytearray(4096)
    buf[: len(text)] = text
    find(link, buf, len(text))
    return link.offer and (link.offer[2], link.offer[1])


def link_to(channel=""):
    link = Http("http://h/m", "demo", "esp32", lambda: version(1, 0, 0))
    link.channel = channel
    return link


def test_after_a_need_the_versions_below_are_offered_and_a_new_release_begins_anew():
    rows = (("1.2.0", 50, ""), ("1.2.0", 900, ""), ("1.1.0", 40, ""), ("1.1.0", 800, ""), ("1.0.5", 7, ""))
    link = link_to()
    seen = []
    for _ in range(4):
        seen.append(offered(link, *rows))
        assert link.other("needs")
    seen.append(offered(link, *rows))
    assert seen == [("1.2.0", 50), ("1.2.0", 900), ("1.1.0", 40), ("1.1.0", 800), ("1.0.5", 7)]
    assert not link.other("needs")
    # The same manifest again: there is nothing below, so the last one is asked for again.
    assert offered(link, *rows) == ("1.0.5", 7)
    assert offered(link, ("1.2.1", 5, ""), *rows) == ("1.2.1", 5)


def test_packages_of_another_channel_are_passed_over_unasked():
    rows = (("1.3.0", 9, "canary"), ("1.2.0", 8, ""), ("1.1.0", 7, "beta"))
    assert offered(link_to(), *rows) == ("1.2.0", 8)
    assert offered(link_to("canary"), *rows) == ("1.3.0", 9)
    assert offered(link_to("beta"), *rows) == ("1.1.0", 7)
    assert offered(link_to("other"), *rows) == ()
