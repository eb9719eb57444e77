"""Boards and networks as they are: ports that tell resets differently, radios, servers, a serial line."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cases.marks import good
from tests.cases.rig import (
    PACKAGE,
    PUSH,
    SIZE,
    Bare,
    FdWire,
    PacedLine,
    Pty,
    Rogue,
    Sender,
    VirtualBoard,
    ask_link,
    bounded,
    chunked,
    create_for,
    entry,
    head,
    link_text,
    manifest,
    micropython,
    mpota_files,
    need,
    open_pair,
    speak,
    whole,
)

pytestmark = pytest.mark.case

PORTS = ("esp32", "rp2", "esp8266", "mimxrt", "samd", "stm32")
OLD = "def step():\n    print('old')\n"
HEALTHY = "def step():\n    print('new')\ndef health():\n    return True\n"
MANIFEST = "http://10.0.0.9/m.json"
# What a board asks where it is the name server that fails.
NAMED = "http://updates.example/m.json"
URLS = {"hole": NAMED, "noname": NAMED}
UNDECIDED = {"app.py": "def step():\n    print('new')\n"}
EMPTY = json.dumps({"mpota": 1, "packages": []})
# A server that has nothing for anybody.
NOTHING = {"*": f"HTTP/1.1 200 OK\r\nContent-Length: {len(EMPTY)}\r\n\r\n{EMPTY}"}


# --- resets, wakes and the end of a trial ---------------------------------------------------------------------------


@pytest.mark.first_aid
@pytest.mark.parametrize("port", PORTS)
def test_a_release_that_resets_itself_is_given_up(tmp_path: Path, port: str) -> None:
    """boards/ports.py. Right: `machine.reset()` counts towards the end of a trial on every port."""
    board = Bare(tmp_path / "board", port, OLD)
    board.release({"app.py": "import machine\ndef step():\n    print('new')\n    machine.reset()\n"})
    life = board.live((2000, "stop"), first="reset", boots=12)
    assert life.runs()[-1] == ["old"], f"after 12 boots the release still runs: {life.runs()}"


@pytest.mark.first_aid
def test_a_soft_reset_costs_an_esp32_no_trial(tmp_path: Path) -> None:
    """boards/ports.py. Right: Ctrl-D, which tools press all the time, is no failed start where the port can tell."""
    board = Bare(tmp_path / "board", "esp32", OLD)
    board.release(UNDECIDED)
    life = board.live(*[(2000, "soft")] * 6, (2000, "stop"), first="reset")
    assert life.runs() == [["new"]] * 7


@pytest.mark.first_aid
@pytest.mark.board
@pytest.mark.timeout(90)
def test_the_status_command_costs_no_trial_on_an_rp2(tmp_path: Path) -> None:
    """boards/ports.py, row "rp2 soft reset". Right: a soft reset that mpota's own host makes costs no trial.

    The virtual board has an RP2040's answers: its reset_cause() stays what the last hard reset made it.
    """
    store = Bare(tmp_path / "store", "rp2", OLD)
    store.release({"app.py": HEALTHY.replace("True", "None")})
    files = mpota_files({"product": "lamp"}, layout="files")
    files = {**files, "/mpota.json": json.dumps(store.settings).encode(), "/app.py": OLD.encode()}
    for path in (store.folder / "ota").rglob("*"):
        if path.is_file():
            files["/" + path.relative_to(store.folder).as_posix()] = path.read_bytes()
    files["/boot.py"] = RP2.encode() + files["/boot.py"]
    flash = create_for("files", tmp_path / "flash.bin", b"", files)
    said = []
    with VirtualBoard(flash) as board:
        board.wait("reset")
        for _ in range(4):
            seen = bounded(20, "status", "--port", board.port, "--json")
            need(seen.code == 0, seen)
            said.append(json.loads(seen.text)["trial"])
    assert all(said), f"the trial that each of four looks saw: {said}"


RP2 = """
import sys
class Rp2:
    PWRON_RESET, WDT_RESET = 1, 3
    # WATCHDOG.REASON after machine.reset(): FORCE.
    mem32 = {0x40058008: 2}
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        if name in ("HARD_RESET", "DEEPSLEEP_RESET", "SOFT_RESET"):
            raise AttributeError(name)
        return getattr(self.real, name)
    def reset_cause(self):
        return 3
class Sys:
    platform = "rp2"
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return getattr(self.real, name)
import machine
sys.modules["machine"] = Rp2(machine)
sys.modules["sys"] = Sys(sys)
"""


@pytest.mark.first_aid
@pytest.mark.parametrize("port", PORTS)
def test_a_release_that_sleeps_between_its_turns_is_given_up(tmp_path: Path, port: str) -> None:
    """boards/sleeper.py. Right: a trial whose link is down ends on a board that sleeps, too.

    It is awake for 60 ms each time and sleeps for a second; trial_ms is 8 s.
    """
    app = "import machine, time\ndef step():\n    print('new')\n    time.sleep_ms(60)\n    machine.deepsleep(1000)\n"
    board = Bare(tmp_path / "board", port, OLD, manifest=MANIFEST, trial_ms=8000)
    board.release({"app.py": app})
    life = board.live((2000, "stop"), first="reset", boots=64, server="refuses")
    assert life.runs()[-1] == ["old"], f"after {len(life.runs())} starts the release is still on trial"


ENDS = {
    "deep sleep": "machine.deepsleep(20000)",
    "machine.reset()": "machine.reset()",
    "soft reset": "raise SystemExit",
}


@pytest.mark.first_aid
@pytest.mark.parametrize("port, end", [(port, end) for port in PORTS if port != "rp2" for end in ENDS])
def test_a_healthy_application_is_never_switched_off(tmp_path: Path, port: str, end: str) -> None:
    """boards/rescue.py. Right: deep sleep, resets and soft resets are no failed starts on any port."""
    never_rescued(tmp_path, port, end)


@pytest.mark.first_aid
@pytest.mark.parametrize("end", list(ENDS))
def test_a_healthy_application_is_never_switched_off_on_an_rp2(tmp_path: Path, end: str) -> None:
    """boards/rescue.py, rows rp2. Right: what cannot be told from a watchdog never counts towards rescue."""
    never_rescued(tmp_path, "rp2", end)


def never_rescued(tmp_path: Path, port: str, end: str) -> None:
    app = "import machine, time\ndef step():\n    print('old')\n    time.sleep_ms(5000)\n    " + ENDS[end] + "\n"
    board = Bare(tmp_path / "board", port, app, window_ms=1)
    # A soft reset keeps the answer of the reset before it.
    life = board.live((30000, "stop"), first="reset" if end == "soft reset" else "power", boots=7)
    assert life.runs() == [["old"]] * 7, f"{port}, {end}: starts without the application: {life.runs()}"


# --- an ESP8266 -----------------------------------------------------------------------------------------------------

ESP8266 = """
import sys
class Implementation:
    name = "micropython"
    version = (1, 28, 0, "")
    _machine = "ESP module (1M) with ESP8266"
    _mpy = 0x2b06
class Sys:
    platform = "esp8266"
    implementation = Implementation()
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return getattr(self.real, name)
sys.modules["sys"] = Sys(sys)
"""


@pytest.mark.first_aid
@pytest.mark.board
@pytest.mark.timeout(60)
def test_an_esp8266_is_refused_by_flash_by_name(tmp_path: Path) -> None:
    """boards/e8266.py. Right: mpota needs features that no ESP8266 firmware has, so `flash` says so and writes nothing.

    Its port has no str.partition, no binascii.crc32 and 38 KiB of heap.
    """
    flash = create_for("files", tmp_path / "flash.bin", b"", {"/boot.py": ESP8266.encode()})
    with VirtualBoard(flash) as board:
        board.wait("reset")
        done = bounded(30, "flash", "--port", board.port, "--layout", "files", "--product", "lamp", "--dry-run")
    assert done.code not in (0, None), f"flash would go on: {done.text[:300]}"
    assert "ESP8266" in done.text


# --- servers, seen from a board -------------------------------------------------------------------------------------


@pytest.mark.boards
@pytest.mark.parametrize("server", ["drops", "hole", "silent", "drips", "refuses", "noname"])
def test_an_outage_is_no_verdict_on_a_release(tmp_path: Path, server: str) -> None:
    """boards/blackhole.py and feedgap.py. Right: while a server or a name server does not answer, the watchdog is fed.

    drops: no answer to a SYN. hole: no answer of a name server. The board is an RP2040, whose watchdog has 8.3 s.
    """
    board = Bare(tmp_path / "board", "rp2", OLD, manifest=URLS.get(server, MANIFEST))
    board.release(UNDECIDED)
    life = board.live((60000, "stop"), first="reset", server=server)
    assert life.bites() == [], f"the watchdog reset the board at {life.bites()} ms"


@pytest.mark.boards
@pytest.mark.parametrize("server", ["drops", "hole", "silent", "drips", "refuses", "noname"])
def test_a_server_takes_no_turns_from_the_application(tmp_path: Path, server: str) -> None:
    """boards/stall.py. Right: a step returns within 250 ms, and the application keeps 95 % of its turns."""
    alone = Bare(tmp_path / "alone", "esp32", OLD).live((60000, "stop")).says("old")
    board = Bare(tmp_path / "board", "esp32", OLD, manifest=URLS.get(server, MANIFEST))
    life = board.live((60000, "stop"), server=server)
    turns = life.says("old")
    need(life.all("connect") if server not in URLS else life.all("look-up"), "the server was never asked")
    assert len(turns) >= 0.95 * len(alone), f"{len(turns)} turns in a minute, {len(alone)} without a server"
    gap = max(after - before for before, after in pairwise(turns))
    assert gap <= 250, f"{gap} ms without a turn"


@pytest.mark.first_aid
def test_a_server_that_drips_does_not_keep_the_application_from_starting(tmp_path: Path) -> None:
    """boards/web.py, row "one byte of the status line every 0.9 s". Right: an answer's header has a deadline."""
    life = Bare(tmp_path / "board", "esp32", OLD, manifest=MANIFEST).live((600_000, "stop"), server="drips")
    assert life.says("old")[:1] and life.says("old")[0] <= 120_000, f"no turn in the first two minutes: {life}"


@pytest.mark.first_aid
def test_a_trial_ends_although_a_server_drips(tmp_path: Path) -> None:
    """boards/web.py, the same row on a trial. Right: trial_ms ends a trial whatever a server does."""
    board = Bare(tmp_path / "board", "esp32", OLD, manifest=MANIFEST, trial_ms=30000)
    board.release(UNDECIDED)
    life = board.live((600_000, "stop"), first="reset", server="drips")
    assert life.says("old"), f"ten minutes with trial_ms 30000, and still on trial: {life}"


@pytest.mark.boards
def test_a_server_that_says_when_to_come_back_is_not_asked_before(tmp_path: Path) -> None:
    """boards/web.py, row "503 Retry-After". Right: Retry-After is obeyed."""
    busy = {"*": "HTTP/1.1 503 Busy\r\nRetry-After: 600\r\nContent-Length: 0\r\n\r\n"}
    life = Bare(tmp_path / "board", "esp32", OLD, manifest=MANIFEST, poll_ms=60000).live((590_000, "stop"), server=busy)
    assert len(life.all("asked")) == 1, f"asked {len(life.all('asked'))} times in ten minutes"


OFFER = manifest(entry())


def told(body: bytes = OFFER, *fields: str) -> bytes:
    """The answer of a manifest."""
    return head("200 OK", "Content-Type: application/json", *fields, length=len(body)) + body


def moved(url: str) -> bytes:
    return head("302 Found", "Location: " + url, length=0)


PLAIN = head("200 OK", length=SIZE) + PACKAGE
LONG = {n: "/blob?sig=" + "a" * (n - 10) for n in (1200, 1262)}
SERVERS = {
    "plain": {"/m.json": told(), "/package": PLAIN},
    "a newline before the manifest": {"/m.json": told(b"\n" + OFFER), "/package": PLAIN},
    "keep-alive that does not close": {"/m.json": [told(), 3], "/package": [PLAIN, 3]},
    "chunked that does not close": {"/m.json": [chunked(OFFER, 100), 3], "/package": [chunked(PACKAGE, 5000), 3]},
    "no path": {"/": told(), "/package": PLAIN},
    **{f"Location of {n} bytes": {"/m.json": told(), "/package": moved(path), path: PLAIN} for n, path in LONG.items()},
}


@pytest.mark.boards
@pytest.mark.parametrize("name", list(SERVERS))
def test_an_odd_server_is_read_all_the_same(name: str) -> None:
    """boards/web.py, the rows that hold. Right: what a careless server says is read. Cases 10 to 12 of esp32 fail."""
    with Rogue(SERVERS[name]) as server:
        assert ask_link(server.url("" if name == "no path" else "/m.json")) == whole()


@pytest.mark.boards
def test_a_release_on_two_hosts_is_found() -> None:
    """boards/github.py. Right: a relative name is resolved against the manifest's own URL, as GitHub Releases need it.

    The release host redirects both files to an asset host, where they have other names.
    """
    path = "/u/r/releases/latest/download/"
    with Rogue({"/blob/uuid?sig=x": told(), "/blob/uuid-pkg?sig=y": PLAIN}) as assets:
        rules = {path + "m.json": moved(assets.url("/blob/uuid?sig=x"))}
        with Rogue({**rules, path + "package": moved(assets.url("/blob/uuid-pkg?sig=y"))}) as releases:
            out = ask_link(releases.url(path + "m.json"))
        assert out == whole(), f"{out}; the asset host was asked for {[one[0] for one in assets.asked]}"


# A label of a name has 63 bytes at most (RFC 1035), so no name server needs to be asked.
NO_NAME = "x" * 64 + ".invalid"


@pytest.mark.boards
@pytest.mark.parametrize(
    "url",
    [
        pytest.param(f"https://{NO_NAME}/m.json", id="https, no such name"),
        pytest.param("https://127.0.0.1:1/m.json", id="https, refused"),
        pytest.param(f"http://{NO_NAME}/m.json", id="http, no such name"),
        pytest.param("http://127.0.0.1:1/m.json", id="http, refused"),
    ],
)
def test_a_failed_look_up_or_connection_is_not_blamed_on_the_certificate(url: str) -> None:
    """boards/dns.py. Right: name look-up, refused connection, certificate and clock have a sentence each."""
    out = ask_link(url, ca="ca.pem")
    need(isinstance(out, dict), out)
    assert "CA" not in link_text(out) and "clock" not in link_text(out), out


# --- radio and wire -------------------------------------------------------------------------------------------------


@pytest.mark.boards
def test_a_board_without_a_stored_network_starts_its_application_at_once(tmp_path: Path) -> None:
    """boards/connect.py, "no ssid stored". Right: an Ethernet board, or one whose application joins, is not held up."""
    board = Bare(tmp_path / "board", "esp32", OLD, ssid=False, manifest=MANIFEST)
    life = board.live((60000, "stop"), radio="none", server="refuses")
    assert life.says("old")[0] <= 3000, f"the first turn came after {life.says('old')[0]} ms"


@pytest.mark.boards
@pytest.mark.parametrize("radio", ["raises", "missing", "absent"])
def test_a_radio_that_fails_ends_neither_agent_nor_application(tmp_path: Path, radio: str) -> None:
    """boards/connect.py. Right: WLAN() that raises, no WLAN and no `network` at all leave main.py at work."""
    life = Bare(tmp_path / "board", "esp32", OLD, manifest=MANIFEST).live((60000, "stop"), radio=radio)
    assert life.says("old"), f"main.py is over: {life}"


@pytest.mark.boards
@pytest.mark.parametrize("port", ["esp32", "rp2", "mimxrt"])
def test_a_router_that_comes_late_is_joined(tmp_path: Path, port: str) -> None:
    """boards/connect.py. Right: a board that was quicker than its router after a mains failure joins it later.

    The ESP32's driver joins again by itself; the CYW43's looks once for each `connect()`.
    """
    board = Bare(tmp_path / "board", port, OLD, manifest=MANIFEST)
    life = board.live((300_000, "stop"), radio="late", late_ms=60000, server=NOTHING)
    assert life.all("asked"), f"the router is there after a minute, the server is never asked: {life}"


@pytest.mark.boards
def test_a_wired_board_is_brought_up_by_its_settings(tmp_path: Path) -> None:
    """boards/connect.py, on a board with Ethernet. Right: the setting `lan` brings the interface up."""
    wires = {"mdc": 16, "mdio": 17, "phy_type": "PHY_RTL8201", "phy_addr": 0}
    board = Bare(tmp_path / "board", "esp32", OLD, ssid=False, manifest=MANIFEST, lan=wires)
    life = board.live((60000, "stop"), radio="none", server=NOTHING)
    assert life.all("lan"), f"network.LAN was never called: {life}"


# --- the watchdog after a trial -------------------------------------------------------------------------------------


def kept(tmp_path: Path, port: str, app: str) -> Bare:
    """A board whose release confirms itself in its first turn."""
    board = Bare(tmp_path / "board", port, OLD)
    board.release({"app.py": app})
    return board


@pytest.mark.boards
@pytest.mark.parametrize(
    "port, then",
    [
        good(port, then, id=f"{port}, {word}")
        for port in PORTS
        if port != "esp8266"
        for then, word in (("prompt", "prompt"), ("soft", "soft reset"))
        if port != "esp32" or then == "prompt"
    ],
)
def test_nobody_is_reset_by_the_watchdog_of_a_trial_that_is_over(tmp_path: Path, port: str, then: str) -> None:
    """boards/longstep.py. Right: a watchdog that cannot be relaxed is fed on, at the prompt and after a soft reset."""
    board = kept(tmp_path, port, HEALTHY)
    plan = [(5000, "prompt 60000")] if then == "prompt" else [(5000, "soft"), (60000, "stop")]
    life = board.live(*plan, first="reset", boots=4)
    assert life.bites() == [], f"reset at {life.bites()} ms: {life}"


@pytest.mark.boards
def test_an_esp32_is_not_reset_a_day_after_a_trial(tmp_path: Path) -> None:
    """boards/longstep.py. Right: a watchdog that outlives a soft reset is fed, or far away."""
    app = "import time\ndef step():\n    time.sleep_ms(20000)\ndef health():\n    return True\n"
    life = kept(tmp_path, "esp32", app).live((50_000, "soft"), (25 * 3_600_000, "stop"), first="reset", boots=4)
    assert life.bites() == [], f"reset {life.bites()[0] / 3_600_000:.1f} h after the start"


# --- the serial line ------------------------------------------------------------------------------------------------

ON_ESP32 = """
import json, sys
class Sys:
    platform = "esp32"
    def __init__(self, real):
        self.real = real
    def __getattr__(self, name):
        return getattr(self.real, name)
class Machine:
    PWRON_RESET, HARD_RESET, WDT_RESET, DEEPSLEEP_RESET, SOFT_RESET = 1, 2, 3, 4, 5
    def reset_cause(self):
        return 5
    def reset(self):
        raise SystemExit
    class WDT:
        def __init__(self, id=0, timeout=5000):
            pass
        def feed(self):
            pass
sys.modules["machine"] = Machine()
sys.modules["sys"] = Sys(sys)
"""


@contextmanager
def esp32_console(folder: Path) -> Iterator[int]:
    """A board that takes a push with the settings of an ESP32, on a line of 115200 baud; the host's end of it."""
    env = {"MICROPYPATH": ":.frozen:lib", "PATH": ""}
    with Pty([micropython(), "-c", ON_ESP32 + PUSH], env, str(folder)) as board:
        near, far = open_pair()
        line = PacedLine(near, board.master, 115200)
        try:
            yield far
        finally:
            line.close()


@pytest.mark.boards
def test_push_fills_the_line_with_the_settings_of_an_esp32(tmp_path: Path, release_key: Path) -> None:
    """boards/serial_rate.py. Right: 90 % of 115200 baud with the frames that an ESP32 really asks for."""
    store = Bare(tmp_path / "board")
    store.write("keys/k.pub", release_key.with_suffix(".pub").read_bytes())
    package = store.signed({"app.py": OLD, "data": bytes(range(256)) * 60}, release_key, compress="none")
    seen: list[tuple[float, int]] = []
    with esp32_console(store.folder) as far:
        sender = Sender(package, lambda done, total: seen.append((time.perf_counter(), done)))
        said = speak(FdWire(far), sender, 20)
    need(said and said.code == "armed", said)
    # From the first acknowledgement to the last: the start of the board is not the line's.
    (began, first), (ended, last) = seen[0], seen[-1]
    share = (last - first) * 10 / 115200 / (ended - began)
    assert share >= 0.9, f"{share:.2f} of the line"
