"""Attacks without a key, bad lines and single faults. Each test states what is right."""

import json

import pytest

from mpota.agent import Agent
from mpota.layout.esp32 import otadata, table
from mpota.layout.pic32.service import Service
from mpota.layout.sifli import loader as sifli_loader
from mpota.layout.sifli.layout import Layout as SifliLayout
from mpota.layout.sifli.link import messages as m
from mpota.layout.sifli.port import Chip as SifliChip
from mpota.link import frame, serial
from mpota.store import pair
from mpota.store.log import Log
from mpota.version import text
from mpota_boot.errors import OtaError
from mpota_host.board.errors import PushError
from mpota_host.chips.esp32.sim import soc
from mpota_host.sim.flash import SimFlash
from tests.cases import rig_hostile as rig
from tests.chips.files.test_files import APP, TWO, both, files, take
from tests.chips.files.test_files import NEW as NEW_FIRMWARE
from tests.chips.files.test_files import OLD as OLD_FIRMWARE
from tests.chips.files.test_files import Chip as FilesChip
from tests.chips.pic32 import pic32_maker
from tests.chips.pic32.test_pic32_layout import update
from tests.chips.pic32.test_pic32_loader import A, B, C
from tests.chips.sifli import sifli_maker
from tests.chips.sifli.test_sifli_session import CODE, FILES, OLD, RES, At
from tests.chips.sifli.test_sifli_session import NEW as SIFLI_NEW
from tests.core.test_agent import ASK_MS, NEW, POLL_MS, TRIAL_MS, boot, chip, steps
from tests.core.test_agent import trial as on_trial
from tests.firmware import image
from tests.host.command import call
from tests.packages import Maker, Ram, version
from tests.scratch import Scratch

DAY_MS = 86400000
MINUTE_MS = 60000


def fails_today(reason):
    """Mark a case that fails today; `reason` says what happens instead."""
    return pytest.mark.xfail(strict=True, raises=AssertionError, reason=reason)


def rows(values, failing, reason):
    """One parameter for each value, named by it; those in `failing` fail today."""
    return [pytest.param(one, id=str(one), marks=[fails_today(reason)] * (one in failing)) for one in values]


@pytest.fixture(autouse=True)
def _one_board_at_a_time(monkeypatch):
    rig.restored(monkeypatch)


# --- a server that drips --------------------------------------------------------------------------------------------

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 4000\r\n\r\n"
OFFER = {"product": "demo", "layout": "esp32", "version": "1.2.0", "file": "p"}
PACKAGE = Maker(image(41232, 3))
PACKAGE.version = version(1, 2, 0)


def _endless_line(request):
    while True:
        yield 1000, b"X"


def _endless_head(request):
    yield from rig.dripping(b"HTTP/1.1 200 OK\r\n", 1)
    while True:
        yield from rig.dripping(b"X-Field-Of-No-Use: 0123456789\r\n")


def _slow_manifest(request):
    yield 1, HEAD
    while True:
        yield 1000, b" "


def _slow_package(request):
    data = PACKAGE.bytes()
    if rig.path_of(request) == "/m.json":
        yield from rig.ok(rig.packages({**OFFER, "size": len(data)}))
    else:
        yield 1, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(data)
        yield from rig.dripping(data)


def _silent(request):
    yield 1 << 40, b"H"


DRIPS = [
    pytest.param(_endless_line, id="endless-line"),
    pytest.param(_endless_head, id="endless-head"),
    pytest.param(_slow_manifest, id="manifest"),
]
SILENT = pytest.param(_silent, id="silent")


def _esp32(world, cause=soc.PWRON, c=None, **settings):
    """A board whose main.py polls http://s/m.json."""
    c = c or chip()
    c.settings.update(settings, manifest="http://s/m.json")
    return world.on(boot(c, cause))


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize("server", [*DRIPS, SILENT])
def test_a_trial_comes_to_its_end_whatever_the_server_drips(monkeypatch, server):
    """hostile/r1_trial. Right: a trial is decided within `trial_ms`, also if the server sends one byte a second."""
    world = rig.World(monkeypatch, 3 * TRIAL_MS)
    c = chip()
    agent = Agent(boot(c, soc.PWRON), [Ram(Maker(NEW).bytes())], None)
    assert steps(agent) == "reset"
    board = _esp32(world, soc.HARD, c)
    assert c.started.name == "ota_1" and board.layout.on_trial()
    world.servers["s"] = server
    ended = rig.main(monkeypatch, board, rig.Application())
    assert ended == "reset", "after %d minutes the trial is still open" % (world.ms // MINUTE_MS)
    assert world.ms <= TRIAL_MS + 5 * MINUTE_MS
    boot(c)
    assert c.started.name == "ota_0"


@pytest.mark.case
@pytest.mark.parametrize(
    "server",
    [
        *[pytest.param(*one.values, id=one.id, marks=pytest.mark.first_aid) for one in (*DRIPS, SILENT)],
        pytest.param(_slow_package, id="package", marks=pytest.mark.boards),
    ],
)
def test_the_application_starts_whatever_the_server_drips(monkeypatch, server):
    """hostile/r1b_window. Right: the application starts soon after power-on; two minutes is the most allowed here."""
    world = rig.World(monkeypatch, 2 * MINUTE_MS)
    board = _esp32(world)
    world.servers["s"] = server
    app = rig.Application(lambda: world.wait(world.limit_ms))
    rig.main(monkeypatch, board, app)
    assert app.turns, "after two minutes the application has not started"


@pytest.mark.case
@pytest.mark.first_aid
def test_the_application_starts_though_each_manifest_offers_something_else(monkeypatch):
    """hostile/r21_manifest_loop. Right: the application starts, though the manifest changes with every answer."""
    world = rig.World(monkeypatch, 2 * MINUTE_MS)
    board = _esp32(world)
    stranger = Maker(image(9000, 1), product=b"neighbour").bytes()
    asked = []

    def server(request):
        if rig.path_of(request) != "/m.json":
            return rig.ok(stranger + bytes(5000))
        asked.append(request)
        if len(asked) > 50:
            raise rig.Late
        n = len(stranger) + len(asked)
        entry = {**OFFER, "version": "9.0.0"}
        return rig.ok(rig.packages({**entry, "file": "a", "size": n}, {**entry, "file": "b", "size": n + 1}))

    world.servers["s"] = server
    app = rig.Application(lambda: world.wait(world.limit_ms))
    rig.main(monkeypatch, board, app)
    assert app.turns, "after %d manifests the application has not started" % len(asked)


# --- what was given up, and what was not ----------------------------------------------------------------------------


@pytest.mark.case
@pytest.mark.boards
def test_a_release_that_only_missed_the_network_is_tried_again():
    """hostile/r2_given_up. Right: a trial that ended for lack of a network is repeated when the network is back."""
    c = chip()
    agent = on_trial(c, Ram(None))
    while agent.step() == "trial":
        agent.board.ms += ASK_MS
    board = boot(c)
    assert c.started.name == "ota_0"
    link = Ram(Maker(NEW).bytes())
    for _ in range(20):
        board = boot(c, soc.PWRON)
        agent = Agent(board, [link], None)
        for _ in range(DAY_MS // POLL_MS):
            if steps(agent) == "reset":
                board = boot(c)
                agent = Agent(board, [link], None)
            board.ms += POLL_MS
    assert c.started.name == "ota_1", "after 20 days with a good network: %r" % agent.error


@pytest.mark.case
@pytest.mark.first_aid
def test_a_set_boot_that_fails_once_costs_a_try(monkeypatch):
    """hostile/r19_setboot_once. Right: a set_boot that fails once costs one try, and the release still arrives."""
    c = chip()
    board = boot(c, soc.PWRON)
    real = _fails_in_set_boot(monkeypatch, 1)
    link = Ram(Maker(NEW).bytes())
    agent = Agent(board, [link], None)
    for _ in range(30):
        if steps(agent) == "reset":
            break
        board.ms += POLL_MS
    for _ in range(5):
        board = boot(c, soc.PWRON)
        agent = Agent(board, [link], None)
        steps(agent)
    assert real.calls > 0
    assert c.started.name == "ota_1", "after 30 polls and 5 power-ons: %r" % agent.error


@pytest.mark.case
@pytest.mark.first_aid
def test_a_set_boot_that_always_fails_comes_to_an_end(monkeypatch):
    """hostile/r19_setboot_once. Right: if set_boot always fails, the old image stays and the tries come to an end."""
    c = chip()
    board = boot(c, soc.PWRON)
    real = _fails_in_set_boot(monkeypatch, 1 << 30)
    agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
    for _ in range(100):
        if steps(agent) == "reset":
            board = boot(c)
            _fails_in_set_boot(monkeypatch, 1 << 30, real)
            agent = Agent(board, [Ram(Maker(NEW).bytes())], None)
        board.ms += POLL_MS
    assert 0 < real.calls <= 20 and boot(c).layout.on_trial() is None and c.started.name == "ota_0"


class _Calls:
    calls = 0


def _fails_in_set_boot(monkeypatch, n, counted=None):
    """Make esp32.Partition.set_boot of the running board fail `n` times with ESP-IDF's verify error."""
    import sys

    counted = counted or _Calls()
    partition = sys.modules["esp32"].Partition
    real = partition.set_boot

    def set_boot(self):
        counted.calls += 1
        if counted.calls <= n:
            raise OSError(-0x1503, "ESP_ERR_OTA_VALIDATE_FAILED")
        return real(self)

    monkeypatch.setattr(partition, "set_boot", set_boot)
    return counted


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("n", [1, 2, 4])
def test_what_was_given_up_stays_given_up(n):
    """hostile/r25_pingpong. Right: of `n` unhealthy releases that are offered in turn, each is installed once."""
    c = chip()
    made = []
    for i in range(n):
        maker = Maker(image(41232, 3 + i))
        maker.version = version(1, 1 + i, 0)
        made.append(maker.bytes())
    installed = 0
    cause = soc.PWRON
    for turn in range(20):
        agent = Agent(boot(c, cause), [Ram(made[turn % n])], None, lambda: False)
        cause = soc.HARD
        if steps(agent) != "reset":
            continue
        installed += 1
        agent = Agent(boot(c), [Ram(made[turn % n])], None, lambda: False)
        assert agent.step() == "reset"
    assert boot(c).layout.port.running == 0
    assert installed == n, "%d installs of %d releases" % (installed, n)


class _InTurn(Ram):
    """A link that offers its packages in turn and is cut in the second chunk of each."""

    def __init__(self, *made):
        super().__init__(None)
        self.made = list(made)

    def open(self, at=0):
        if not at:
            self.made.append(self.made.pop(0))
            self.data = self.made[0]
        self.dies = self.fetched + 6000
        return super().open(at)


@pytest.mark.case
@pytest.mark.boards
def test_a_bad_line_does_not_wear_out_a_slot():
    """hostile/r11_wear. Right: a sector (100,000 erases) outlives a year of two packages in turn and a bad line."""
    c = chip()
    board = boot(c, soc.PWRON)
    two = Maker(image(41232, 3))
    two.version = version(1, 2, 0)
    most = 100000 // 365
    worn = {}
    real = c.flash.erase

    def erase(off, n):
        for at in range(off, off + n, 4096):
            worn[at] = worn.get(at, 0) + 1
        real(off, n)

    c.flash.erase = erase
    agent = Agent(board, [_InTurn(Maker(NEW).bytes(), two.bytes())], None)
    while board.ms < DAY_MS and max([0, *worn.values()]) <= most:
        if agent.step() != "busy":
            board.ms += 1000
    slot = c.row("ota_1")
    hottest = max([n for at, n in worn.items() if slot.offset <= at < slot.offset + slot.size] or [0])
    assert hottest <= most, "%d erases of one sector in %d minutes" % (hottest, board.ms // MINUTE_MS)


@pytest.mark.case
@pytest.mark.format2
def test_a_board_that_slept_through_a_release_gets_its_firmware_too():
    """hostile/r7_skip. Right: 1.2.0 is an application that needs the firmware of 1.1.0, so a board gets both."""
    with Scratch() as root:
        c = FilesChip(root)
        c.boot(soc.PWRON)
        take(c.board, both(APP, OLD_FIRMWARE, (1, 0, 0)))
        c.boot()
        c.board.layout.confirm()
        c.boot()
        newest = files(TWO, (1, 2, 0), b"esp32")
        newest.fields = {b"Firm": version(1, 1, 0)}
        later, between = newest.bytes(), both(TWO, NEW_FIRMWARE, (1, 1, 0))
        for data in (later, between, later):
            try:
                take(c.board, data)
            except OtaError:
                continue
            c.boot()
            c.board.layout.confirm()
            c.boot()
        slot = "ota_%d" % c.board.layout.port.running
        assert text(c.board.layout.version()) == "1.2.0"
        assert c.soc.image(slot, len(NEW_FIRMWARE)) == NEW_FIRMWARE, "1.2.0 runs on the firmware of 1.0.0"


# --- requests -------------------------------------------------------------------------------------------------------

INJECTED = "POST /unlock HTTP/1.1\r\nHost: lock\r\nContent-Length: 8\r\n\r\ndoor=all"


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize(
    "name",
    [
        pytest.param("http://lock/x HTTP/1.1\r\nHost: lock\r\n\r\n" + INJECTED, id="another-host"),
        pytest.param("p HTTP/1.1\r\nHost: lock\r\n\r\n" + INJECTED, id="a-name"),
        pytest.param("/p HTTP/1.1\nHost: lock\n\n" + INJECTED, id="line-feeds"),
        pytest.param("//lock/x HTTP/1.1\r\nX: y\r\n\r\n" + INJECTED, id="no-scheme"),
    ],
)
def test_a_name_of_a_manifest_is_one_line_of_one_request(monkeypatch, name):
    """hostile/r3_crlf. Right: a name with line ends is refused, so a server cannot inject a second request."""
    world = rig.World(monkeypatch, 5 * MINUTE_MS)
    board = _esp32(world)
    world.servers["s"] = lambda request: rig.ok(rig.packages({**OFFER, "version": "9.9.9", "size": 99, "file": name}))
    world.servers["lock"] = lambda request: rig.ok(b"")
    rig.main(monkeypatch, board, rig.Application(lambda: world.wait(world.limit_ms)))
    assert world.sent, "the board sent no request"
    for request in world.sent:
        assert b"unlock" not in request, "the board sent %r" % request
        assert request.count(b"\r\n\r\n") == 1 and request.count(b"Host:") == 1


# --- PIC32MZW1 ------------------------------------------------------------------------------------------------------

ROWS = (("a.bin", 2, "f8", A),)


def _pic32(monkeypatch, rows=ROWS, minutes=10, key=True, **given):
    """(world, web server, chip, app) of a board. Each turn of its application takes a second."""
    world = rig.World(monkeypatch, minutes * MINUTE_MS)
    web = rig.Store(world, **given)
    return world, web, rig.pic32(rows, key), rig.Application(lambda: world.wait(1000))


@pytest.mark.case
@pytest.mark.first_aid
def test_a_board_without_a_key_takes_no_image_from_the_network(monkeypatch):
    """hostile/r4_pic32, part 1. Right: with the shipped settings (no key, plain HTTP) an unsigned image never runs."""
    evil = pic32_maker.image(66)
    world, web, c, app = _pic32(monkeypatch, key=False)
    web.files["app.bin"] = evil
    web.offer(rig.offered(3, evil, signed=False))
    rig.pic32_life(monkeypatch, world, c, app)
    assert not pic32_maker.holds(c, evil), "the unsigned image runs: %r" % (pic32_maker.rows(c),)
    assert pic32_maker.holds(c, A)


@pytest.mark.case
@pytest.mark.vendors
@pytest.mark.parametrize("how", ["moved", "signature-alone", "beside-the-next"])
def test_an_old_signed_image_under_a_high_number_ends_nothing(monkeypatch, how):
    """hostile/r4_pic32, part 2. Right: an old signed image offered as 999 does not run, and release 5 still arrives."""
    world, web, c, app = _pic32(monkeypatch, minutes=120)
    strange = {**rig.offered(3, B, name="old.bin"), "Version": 999}
    if how == "signature-alone":
        strange = {field: strange[field] for field in ("Version", "URL", "Digest", "Signature")}
    web.files["old.bin"] = B
    for n, data in ((3, B), (4, C), (999, B), (5, pic32_maker.image(77))):
        web.files["app.bin"] = data
        web.offer(*[strange] * (n == 999 or how == "beside-the-next"), *[rig.offered(n, data)] * (n != 999))
        world.limit_ms = world.ms + 10 * MINUTE_MS
        rig.pic32_life(monkeypatch, world, c, app)
        assert n != 999 or not pic32_maker.holds(c, B), "image 3 runs as 999: %r" % (pic32_maker.rows(c),)
    assert pic32_maker.holds(c, pic32_maker.image(77)), pic32_maker.rows(c)


@pytest.mark.case
@pytest.mark.vendors
def test_a_stranger_erases_no_image_of_the_store(monkeypatch):
    """hostile/r4_pic32, part 3. Right: EraseVer in an unsigned manifest does not delete the image to go back to."""
    world, web, c, app = _pic32(monkeypatch, (("a.bin", 2, "f8", A), ("old.bin", 1, "f8", C)))
    web.offer(rig.erased(1, signed=False))
    rig.pic32_life(monkeypatch, world, c, app)
    assert web.asked
    assert "old.bin" in c.store.files and len(pic32_maker.rows(c)) == 2, pic32_maker.rows(c)


@pytest.mark.case
@pytest.mark.first_aid
def test_a_wrong_digest_is_fetched_once_in_an_hour(monkeypatch):
    """hostile/r4_pic32, part 4. Right: an image with a wrong digest is not downloaded again in every period."""
    world, web, c, app = _pic32(monkeypatch, minutes=60)
    web.files["app.bin"] = B
    web.offer(rig.offered(3, B, digest_of=C))
    rig.pic32_life(monkeypatch, world, c, app)
    assert web.asked.count("manifest.json") > 50
    assert 1 <= web.asked.count("app.bin") <= 2, "%d downloads" % web.asked.count("app.bin")


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize("how", ["entry", "reset", "check"])
def test_what_failed_is_fetched_again_when_something_changed(monkeypatch, how):
    """hostile/r4_pic32, part 4. Right: a changed entry, a reset and CHECK each allow another download."""
    from mpota.layout.pic32 import events

    world, web, c, app = _pic32(monkeypatch, minutes=10)
    web.files["app.bin"] = C
    web.offer(rig.offered(3, B))
    rig.pic32_life(monkeypatch, world, c, app)
    assert web.asked.count("app.bin") and pic32_maker.holds(c, A)
    # Now the server has the right bytes, under the same entry or under a new one.
    web.files["app.bin"] = B
    if how == "entry":
        web.offer(rig.offered(4, B))
    world.limit_ms += 10 * MINUTE_MS
    if how == "check":
        board = world.on(c.power_on("reset"))
        service = Service(board, _fetch(web), rig.SERVICE)
        service.key = rig.PUBLIC
        assert service.control(events.CHECK) == events.SUCCESS
        while service.step() == "busy":
            pass
        c.power_on("reset")
    else:
        rig.pic32_life(monkeypatch, world, c, app)
    assert pic32_maker.holds(c, B), (pic32_maker.rows(c), web.asked)


def _fetch(web):
    from io import BytesIO

    def fetch(url):
        name = url.rpartition("/")[2]
        web.asked.append(name)
        return BytesIO(web.files[name])

    return fetch


@pytest.fixture(scope="module")
def fat_store():
    """What each offer did to an image store on MicroPython's FAT."""
    neighbour = pic32_maker.image(55)
    given = {"key": rig.PUBLIC.hex(), "signature": rig.packer.sign(neighbour, rig.PRIVATE)}
    return rig.on_port("unix_fat_store", given)


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize(
    "name",
    ("FACTORY_RESET.BIN", "OLD.bin", "A.bin", "IMAGE_~1.CSV"),
)
def test_a_name_from_the_network_overwrites_nothing_of_the_store(fat_store, name):
    """hostile/r5_fat. Right: an unsigned image changes no file of the store, whatever its name. FAT ignores case."""
    changed = fat_store["offers"][name]["changed"]
    assert not changed, "%s changed %s" % (name, ", ".join(changed))


@pytest.mark.case
@pytest.mark.first_aid
def test_a_board_whose_control_page_is_lost_still_starts(fat_store):
    """hostile/r5_fat. Right: after the unsigned offers the bootloader still finds an intact image to start."""
    assert fat_store["lost_page"]["starts"], fat_store["lost_page"]["did"]


@pytest.mark.case
@pytest.mark.first_aid
def test_a_neighbours_signed_image_does_not_stay_for_ever(fat_store):
    """hostile/r5b_brick. Right: a signed image of another product, which never confirms, is left after its trial."""
    boots = fat_store["neighbour"]
    assert len(boots) > 5 and boots[-1]["a"], boots[-1]


@pytest.mark.case
@pytest.mark.first_aid
def test_a_wrong_digest_does_not_wear_out_the_store(fat_store):
    """hostile/r24_wear. Right: ten periods with a wrong digest write no block more often than two downloads."""
    wear = fat_store["wear"]
    assert wear["once"] > 0
    assert wear["ten"] <= 2 * wear["once"] + 10, (
        "%(ten)d writes of one block; one download writes it %(once)d times" % wear
    )


@pytest.mark.case
@pytest.mark.vendors
def test_a_push_is_taken_after_an_image_of_the_service(monkeypatch):
    """hostile/r6_floor. Right: after image 3 of the manifest a board takes lamp-1.1.0 by `push`, as in the README."""
    world, web, c, app = _pic32(monkeypatch)
    web.files["app.bin"] = B
    web.offer(rig.offered(3, B))
    rig.pic32_life(monkeypatch, world, c, app)
    assert pic32_maker.holds(c, B) and pic32_maker.rows(c)[1][1] == "f8"
    error = None
    try:
        update(c.power_on(), C)
    except OtaError as e:
        error = e
    c.power_on("reset")
    assert error is None and pic32_maker.holds(c, C), repr(error)


BODIES = {
    "number": b"{1: 2}",
    "null": b"{null: 1}",
    "list": b'{"a": 1, [1]: 2}',
    "deep": b"[" * 400,
    "infinity": b'{"Version": 1e999}',
    "url": b'{"Version": 3, "URL": 5}',
    "utf-16": b"\xff\xfe{",
    "digest": b'{"URL":"http://h/a","Version":3,"Digest":"\xc3\xa9' + b"a" * 63 + b'"}',
    "signature": b'{"Signature":"\xc3", "URL":"http://h/a","Version":3,"Digest":"' + b"ab" * 32 + b'"}',
}


@pytest.fixture(scope="module")
def heard():
    """What main.py does on the unix port after each message."""
    given = {"key": rig.PUBLIC.hex(), "bodies": {name: body.hex() for name, body in BODIES.items()}}
    return rig.on_port("unix_mqtt", given)


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize("name", BODIES)
def test_no_message_of_a_broker_ends_main(heard, name):
    """hostile/r17_mqtt. Right: main.py survives any message. A broker repeats a retained one at every start."""
    assert heard[name]["published"], "the message was not read"
    assert heard[name]["died"] is None, heard[name]["died"]
    assert heard[name]["turns"] > 20


def _on_trial(monkeypatch, minutes, step=None):
    """(world, web server, chip, app) of a PIC32 that has just started image 3 on trial."""
    world, web, c, app = _pic32(monkeypatch, minutes=minutes)
    web.files["app.bin"] = B
    web.offer(rig.offered(3, B))
    assert rig.pic32_life(monkeypatch, world, c, app, 1) == ["reset"]
    return world, web, c, rig.Application(step) if step else app


@pytest.mark.case
@pytest.mark.vendors
def test_an_image_that_never_reaches_its_manifest_is_not_confirmed(monkeypatch):
    """hostile/r20_pic32_confirm. Right: without health() an image is confirmed only after the manifest answered."""
    world, _, c, app = _on_trial(monkeypatch, 60)
    del world.servers["h"]
    rig.pic32_life(monkeypatch, world, c, app)
    row = [row for row in pic32_maker.rows(c) if row[2] == "3"]
    assert pic32_maker.holds(c, A) and row[0][1] != "f8", pic32_maker.rows(c)


@pytest.mark.case
@pytest.mark.vendors
def test_an_application_that_raises_does_not_end_updates(monkeypatch):
    """hostile/r20_pic32_confirm. Right: if the application raises, the next image still arrives."""
    world, web, c, app = _on_trial(monkeypatch, 10)
    rig.pic32_life(monkeypatch, world, c, app)
    assert pic32_maker.rows(c)[1][1] == "f8"
    web.files["app.bin"] = C
    web.offer(rig.offered(4, C))
    world.limit_ms += 30 * MINUTE_MS
    said = rig.pic32_life(monkeypatch, world, c, rig.Application(lambda: 1 // 0))
    assert pic32_maker.holds(c, C), said


# --- SiFli ----------------------------------------------------------------------------------------------------------


@pytest.mark.case
@pytest.mark.first_aid
def test_a_start_that_brings_nothing_leaves_the_device_as_it_was():
    """hostile/r15_sifli. Right: START without a packet writes nothing, so the user program starts at the next reset."""
    at = At()
    assert sifli_loader.manage(at.chip) == ""
    user = At(at.chip, manager=False)
    assert user.init(FILES) == 0 and user.ask(m.INIT_DONE, 1) == [] and user.session.leave
    manager = At(at.chip, why=sifli_loader.manage(at.chip))
    before = sifli_maker.held(at.chip.place(3), len(RES))
    assert manager.start(FILES, 3)[0][1][0] == 0
    manager.session.lost()
    assert sifli_maker.held(at.chip.place(3), len(RES)) == before
    stays = [sifli_loader.manage(at.chip) for _ in range(3)]
    assert stays[-1] == "", "boots 1 to 3: %r" % stays


@pytest.mark.case
@pytest.mark.first_aid
def test_a_half_written_resource_keeps_the_manager_until_it_is_whole():
    """hostile/r15_sifli. Right: a half-written resource keeps the manager running until the rest has come."""
    at = At()
    user = At(at.chip, manager=False)
    assert user.init(FILES) == 0 and user.ask(m.INIT_DONE, 1) == []
    manager = At(at.chip, why=sifli_loader.manage(at.chip))
    assert manager.start(FILES, 3)[0][1][0] == 0
    manager.packets(FILES, 3, 1, 9)
    manager.session.lost()
    assert [sifli_loader.manage(at.chip) for _ in range(3)] == ["force"] * 3
    again = At(at.chip).begin(FILES)
    again.send(FILES, 3)
    again.ask(m.FINISH, 1)
    again.session.work()
    assert sifli_loader.manage(at.chip) == "" and sifli_maker.held(at.chip.place(3), len(RES)) == RES


def _shipped(monkeypatch, tmp_path, chip, floor):
    """The shipped wiring of a SiFli board over this chip; `floor` is its confirmed version."""
    import sys
    import types

    import mpota_boot.board

    module = types.ModuleType("chip")
    module.flash, module.efuse = lambda: chip.flash, lambda: chip.efuse
    monkeypatch.setitem(sys.modules, "chip", module)
    monkeypatch.setattr(mpota_boot.board.Board, "root", str(tmp_path))
    path = tmp_path / "memory_map.json"
    path.write_text(json.dumps(chip.places))
    source = (rig.ROOT / "device/mpota/layout/sifli/wiring.py").read_text()
    found = {"__name__": "wiring", "open": lambda name, *a: open(path if name == "/memory_map.json" else name, *a)}
    exec(compile(source, "wiring.py", "exec"), found)  # the file that a board runs
    board = found["Board"]()
    board._settings = {"product": "demo", "layout": "sifli"}
    board.cause = lambda: "reset"
    board.journal.put("floor", floor)
    monkeypatch.setattr(found["Board"], "settings", board._settings, raising=False)
    return found, board


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize(
    "fw",
    [
        pytest.param((1, 2, 0), id="same"),
        pytest.param((1, 1, 0), id="newer"),
        pytest.param((1, 3, 0), id="older"),
    ],
)
def test_a_strangers_public_update_is_not_let_in_by_itself(monkeypatch, tmp_path, fw):
    """hostile/r15_sifli. Right: a public file of 1.2.0 is refused unless somebody at the board allows it."""
    at = At()
    world = rig.World(monkeypatch, MINUTE_MS)
    found, board = _shipped(monkeypatch, tmp_path, at.chip, version(*fw))
    world.on(board)
    desk = found["server"](board)
    at.session = desk.session
    code = at.init(FILES)
    assert code != 0 and not desk.session.leave, "the board accepts the upgrade"


class _Glitch:
    """A flash; the first read of one sector returns a wrong byte."""

    def __init__(self, flash, first, wait=0):
        self.flash, self.first, self.left, self.wait = flash, first, 1, wait
        self.size, self.erase_size, self.prog_size, self.erased = flash.size, flash.erase_size, flash.prog_size, 255
        self.prog, self.erase = flash.prog, flash.erase

    def read(self, off, buf):
        self.flash.read(off, buf)
        if self.left and self.first <= off < self.first + 4096:
            self.left = 0
            buf[5] ^= 0x10


@pytest.mark.case
@pytest.mark.vendors
def test_one_wrong_read_does_not_bring_an_old_sifli_program_back():
    """hostile/r16_sifli_glitch. Right: one wrong read of the journal does not undo the confirmed 1.2.0."""
    at = At()
    at.begin(CODE)
    at.send(CODE, 0)
    at.ask(m.FINISH, 1)
    at.session.work()

    def fresh(flash=at.chip.flash):
        return SifliChip(flash, at.chip.places, at.chip.efuse, lambda: None)

    def runs(c):
        return sifli_maker.held(c.user, len(SIFLI_NEW)) == SIFLI_NEW

    c = fresh()
    assert sifli_loader.manage(c) == "" and runs(c)
    SifliLayout(c, c.journal, 3).confirm()
    c = fresh()
    assert sifli_loader.manage(c) == "" and runs(c)
    state = at.chip.places["state"][0] - at.chip.places["flash"]
    glitch = _Glitch(at.chip.flash, state + c.journal.number % 2 * 4096)
    sifli_loader.manage(fresh(glitch))
    assert not glitch.left
    c = fresh()
    sifli_loader.manage(c)
    assert text(SifliLayout(c, c.journal, 3).floor()) == "1.2.0" and runs(c)
    assert OLD != SIFLI_NEW


# --- what a board remembers -----------------------------------------------------------------------------------------


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("newest", [True, False])
def test_one_wrong_read_of_a_journal_in_flash_loses_no_record(newest):
    """hostile/r8_log. Right: if a sector's head reads wrong once at start, the next put() loses no record."""
    flash = SimFlash(8192)
    for run in (b"1.0", b"2.0"):
        journal = Log(flash)
        journal.put("running", b"version " + run)
        journal.put("floor", run)
    journal.put("failed", b"bad release 1.5")
    written = dict(Log(flash).records)
    glitch = _Glitch(flash, (journal.number + (not newest)) % 2 * 4096)
    journal = Log(glitch)
    assert not glitch.left
    journal.put("boots", b"\1")
    now = Log(flash).records
    assert {tag: now.get(tag) for tag in written} == written


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("how", ["error", "garbage"])
def test_one_wrong_read_of_a_journal_in_files_loses_no_record(monkeypatch, how):
    """hostile/r8b_pair. Right: if the newer file reads wrong once at start, the next put() loses no record."""
    with Scratch() as root:
        journal = pair.FileJournal(root + "/m")
        for tag, data in (("running", b"v1"), ("floor", b"1.0"), ("running", b"v2"), ("floor", b"2.0")):
            journal.put(tag, data)
        journal.put("failed", b"bad")
        written = dict(pair.FileJournal(root + "/m").records)
        bad = [root + "/m" + "ab"[journal.number & 1]]

        def once(path, mode="r"):
            if path not in bad or "r" not in mode:
                return open(path, mode)
            bad.remove(path)
            if how == "error":
                raise OSError(5)
            from io import BytesIO

            return BytesIO(b"\xee" * 512)

        monkeypatch.setattr(pair, "open", once, raising=False)
        journal = pair.FileJournal(root + "/m")
        assert not bad
        journal.put("boots", b"\1")
        monkeypatch.undo()
        now = pair.FileJournal(root + "/m").records
        assert {tag: now.get(tag) for tag in written} == written


@pytest.fixture
def lost_nvs():
    """A board that confirmed 2.0.0 (firmware and application) and then lost its NVS."""
    with Scratch() as root:
        c = FilesChip(root)
        c.boot(soc.PWRON)
        for tree, firmware, number in ((APP, OLD_FIRMWARE, (1, 0, 0)), (TWO, NEW_FIRMWARE, (2, 0, 0))):
            take(c.board, both(tree, firmware, number))
            c.boot()
            c.board.layout.confirm()
            assert c.boot(soc.PWRON)[1] == tree
        row = table.find(c.soc.rows, table.DATA, table.NVS)
        c.soc.flash.erase(row.offset, row.size)
        yield c


@pytest.mark.case
@pytest.mark.boards
def test_the_application_still_runs_when_nvs_is_lost(lost_nvs):
    """hostile/r18_nvs. Right: without NVS records the only intact application still runs."""
    assert lost_nvs.boot(soc.PWRON)[1] == TWO


@pytest.mark.case
@pytest.mark.boards
def test_an_older_release_is_refused_when_nvs_is_lost(lost_nvs):
    """hostile/r18_nvs. Right: the lowest accepted version has a second copy, so 1.0.0 is still refused."""
    lost_nvs.boot(soc.PWRON)
    refused = None
    try:
        take(lost_nvs.board, both(APP, OLD_FIRMWARE, (1, 0, 0)))
    except OtaError as e:
        refused = e
    assert refused is not None, "1.0.0 is installed over 2.0.0"


@pytest.mark.case
@pytest.mark.esp32
@pytest.mark.parametrize(
    ("first", "newer"), [(b"\x12" * 32, False), (b"\x12" * 32, True), (None, True)], ids=["corrupt", "newer", "seq-0"]
)
def test_updates_go_on_from_an_otadata_that_cannot_be_read(first, newer):
    """hostile/r12_otadata. Right: with corrupt entries, or a sequence number of 0, updates still work."""
    c = chip()
    if newer:
        c.write(c.row("ota_1").offset, NEW)
    entries = (b"\x12" * 32, b"\x34" * 32) if first else (otadata.encode(otadata.Entry(0, otadata.VALID)), None)
    for i, entry in enumerate(entries):
        c.flash.erase(soc.OTADATA_AT + 4096 * i, 4096)
        if entry:
            c.flash.prog(soc.OTADATA_AT + 4096 * i, entry)
    for k in range(3):
        maker = Maker(image(41232, 10 + k))
        maker.version = version(2, k, 0)
        link = Ram(maker.bytes())
        agent = Agent(boot(c, soc.PWRON), [link], None)
        assert steps(agent) == "reset", repr(agent.error)
        board = boot(c)
        assert Agent(board, [link], None).step() == "idle" and board.layout.version() == version(2, k, 0)


# --- applications ---------------------------------------------------------------------------------------------------


def _packed(tmp_path, names):
    """(exit status, package) of `pack --app` with these files, for a board without slots."""
    folder = tmp_path / "app"
    for name in ("app.py", *names):
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("VERSION = 2\ndef step(): pass\n# " + repr(name))
    out = tmp_path / "app.mpota"
    given = ("--layout", "files", "--product", "demo", "--version", "2.0.0", "--unsigned", "-o", out)
    return call("pack", "--app", folder, *given), out


CLASHES = [
    ("é.txt", "É.txt"),
    ("straße.txt", "STRASSE.txt"),
    ("\u0131.txt", "i.txt"),
    ("k.txt", "\u212a.txt"),
    ("s.txt", "\u017f.txt"),
    ("\u00b5.txt", "\u03bc.txt"),
    ("éa.txt", "Éb.txt"),
    ("longfilename.txt", "longfi~1.txt"),
    ("mpota~1",),
    ("a\x7fb",),
    (" boot.py",),
    ("x" * 64 + "/" + "y" * 64 + "/" + "z" * 64 + "/w",),
]


NAMED = [pytest.param(names, id="+".join(names)[:40].encode("unicode_escape").decode()) for names in CLASHES]


def _taken(tmp_path, names, fat):
    """Pack these files and install them on the unix port, on FAT or in a folder."""
    status, package = _packed(tmp_path, names)
    if status:
        assert status == 3
        return
    got = rig.on_port("unix_application", {"package": package.read_bytes().hex(), "fat": fat, "root": str(tmp_path)})
    assert got["kept"], "neither the old nor the new application runs: %r" % got
    assert got["runs"] == sorted(["app.py", *names]), got["said"]


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("names", NAMED)
def test_a_board_takes_what_pack_takes(tmp_path, names):
    """hostile/r13_names. Right: `pack` and the board agree about which names are allowed and which clash."""
    _taken(tmp_path, names, False)


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("names", NAMED)
def test_a_file_system_of_fat_takes_what_pack_takes(tmp_path, names):
    """hostile/r14_fatapp. Right: `pack` refuses names that FAT cannot store or cannot tell apart."""
    _taken(tmp_path, names, True)


SHADOWS = ("json", "socket", "cryptolib", "hashlib", "struct", "io", "select", "os", "deflate")


@pytest.mark.case
@pytest.mark.boards
@pytest.mark.parametrize("name", SHADOWS)
def test_a_file_of_an_application_stands_before_no_module_of_the_board(tmp_path, name):
    """hostile/r9_shadow. Right: `pack` refuses such a name, or mpota on the board is not affected by it."""
    status, _ = _packed(tmp_path, (name + ".py",))
    if status:
        assert status == 3
        return
    got = rig.on_port("unix_shadow", {"root": str(tmp_path / "app"), "name": name})
    assert got["said"] == "ok", "an application with %s.py: %s" % (name, got["said"])


# --- the console and the host ---------------------------------------------------------------------------------------


@pytest.mark.case
@pytest.mark.boards
def test_frames_that_bring_nothing_come_to_an_end(monkeypatch):
    """hostile/r23_serial. Right: if a host keeps sending empty frames, the board gives up after a while."""
    world = rig.World(monkeypatch, 10 * MINUTE_MS)
    link = serial.Serial(None, None, 64, 1)

    class Line:
        out = b""

        def readinto(self, buf):
            world.wait(20)
            self.out = self.out or frame.encode(7, link.run, 0, b"")
            n = min(len(buf), len(self.out))
            buf[:n] = self.out[:n]
            self.out = self.out[n:]
            return n

        def write(self, data):
            return len(data)

        def here(self):
            return True

    link.rx = link.tx = Line()
    link.feed = lambda: None
    link.start()
    link.run, link.at, link.size = 1, 100, 1000
    try:
        link.readinto(bytearray(10))
    except OtaError:
        return
    except rig.Late:
        pass
    raise AssertionError("readinto() has not returned after ten minutes of empty frames")


ESCAPES = {
    "title": (b"\x1b]0;owned\x07\x1b[2Jlamp", b"firmware"),
    "line": (b"lamp\nsignature: trusted", b"firmware"),
    "return": (b"lamp\rsignature: trusted", b"firmware"),
    "c1": (b"lamp\xc2\x9b2J", b"firmware"),
    "bidi": (b"demo", "fi\u202ermware".encode()),
    "name": (b"demo", b"\x1b[2J\x1b[H"),
    "markup": (b"[/red][link=file:///etc]", b"firmware"),
}


def _harmless(text):
    assert "\x1b" not in text and "\x9b" not in text and "\x07" not in text and "\r" not in text, repr(text)
    assert "\u202e" not in text, repr(text)
    assert not [line for line in text.splitlines() if line.strip() == "signature: trusted"], repr(text)
    assert "Traceback" not in text


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize(
    ("command", "what"),
    [
        *[("verify", what) for what in ESCAPES],
        *[("inspect", what) for what in ESCAPES],
    ],
)
def test_what_a_stranger_wrote_is_shown_harmless(tmp_path, capfd, what, command):
    """hostile/r10_host. Right: escapes, line ends and bidi marks of an unproven header never reach the terminal."""
    maker = Maker(image(9000, 1), product=ESCAPES[what][0])
    maker.name = ESCAPES[what][1]
    path = tmp_path / "x.mpota"
    path.write_bytes(maker.bytes())
    more = ()
    if command == "verify":
        assert call("keygen", tmp_path / "k.pem") == 0
        more = ("--key", tmp_path / "k.pub", "--product", "demo")
    capfd.readouterr()
    call(command, path, *more)
    said = capfd.readouterr()
    _harmless(said.out + said.err)


@pytest.mark.case
@pytest.mark.first_aid
def test_keygen_overwrites_no_public_key(tmp_path, capfd):
    """hostile/finding-C7. Right: `keygen` does not overwrite an existing .pub either."""
    (tmp_path / "r.pub").write_text("precious")
    call("keygen", tmp_path / "r.pem")
    assert (tmp_path / "r.pub").read_bytes() == b"precious"


FRAMES = {
    "pull-0": (serial._PULL, b""),
    "pull-2": (serial._PULL, b"\0\1"),
    "pull-9": (serial._PULL, bytes(9)),
    "pull-nothing": (serial._PULL, b"\0\0\0"),
    "pull-all": (serial._PULL, b"\xff\xff\xff"),
    "progress-1": (serial._PROGRESS, b"\1"),
    "progress-9": (serial._PROGRESS, bytes(9)),
    "report-0": (serial._REPORT, b""),
}


@pytest.mark.case
@pytest.mark.first_aid
@pytest.mark.parametrize("what", FRAMES)
def test_a_frame_of_a_wrong_length_is_no_traceback(what):
    """hostile/r22_hostside. Right: a frame of a wrong length is ignored or reported in one sentence."""
    from mpota_host.board.push import Sender

    kind, payload = FRAMES[what]
    sender = Sender(b"p" * 100000, None, lambda done, whole: None)
    wrong = None
    try:
        sender.feed(frame.encode(kind, 1, 0, payload))
        for _ in range(1000):
            if sender.take() is None:
                break
    except PushError:
        return
    except Exception as e:
        wrong = e
    assert wrong is None, repr(wrong)


@pytest.mark.case
@pytest.mark.first_aid
def test_a_report_of_a_board_is_shown_harmless(monkeypatch, tmp_path, capfd):
    """hostile/r22_hostside. Right: escapes and line ends in a board's report never reach the terminal."""
    import mpota_host.board.push as push

    evil = b"full\nx\n\x1b]0;owned\x07\x1b[2Jsignature: trusted\rdone"

    def speak(port, sender, baud=0, snippet=""):
        sender.feed(frame.encode(serial._REPORT, 1, 1, evil))
        return sender.report

    monkeypatch.setattr(push, "push", speak)
    path = tmp_path / "x.mpota"
    path.write_bytes(Maker(image(9000, 1)).bytes())
    call("push", path, "--port", "/dev/null")
    said = capfd.readouterr()
    assert "owned" in said.out + said.err, "the report was not shown"
    _harmless(said.out + said.err)
