"""`mpota flash`: mpota onto a virtual board, by both tools, without touching what is the user's.

The board is the real thing as far as a PC has one: MicroPython behind a pty, a littlefs in a simulated flash.
"""

import hashlib
import json
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

from mpota_boot.errors import LinkError, Refused
from mpota_host.bench.line.serial import micropython
from mpota_host.board import carried, flash, repl, status
from mpota_host.board.flash import Facts, FlashOptions, Plan, first_settings
from mpota_host.sim.board import VirtualBoard, create, native_arch
from mpota_host.sources import CHECKOUT as ROOT
from mpota_host.sources import name_of
from tests.chips.esp32 import image_maker

KEY = bytes(range(256)) + bytes(128)
WISHES = {"settings": {"product": "lamp", "manifest": "http://127.0.0.1:1/manifest.json"}, "keys": {"release": KEY}}


@pytest.fixture(scope="module")
def image():
    return image_maker.image()


@contextmanager
def fresh(tmp_path, image, files=None):
    """A running board that has only `files`."""
    path = create(tmp_path / "board.bin", image, files=files or {})
    with VirtualBoard(path) as board:
        yield board


def run(board, *args):
    """The command itself, as a person starts it."""
    command = [sys.executable, "-m", "mpota_host", "flash", "--port", board.port, *args]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert "Traceback" not in done.stderr, done.stderr
    return done


def plan_of(board, **wishes):
    with repl.open_board(board.port) as line:
        return flash.make_plan(line, FlashOptions(**wishes))


def apply(board, **wishes):
    with repl.open_board(board.port) as line:
        plan = flash.make_plan(line, FlashOptions(**wishes))
        flash.apply(line, plan)
    return plan


def actions(plan):
    return {c.path: c.action for c in plan.changes}


def on_board(board):
    """path -> SHA-256 of every file there."""
    with repl.open_board(board.port) as line:
        return {path: digest for path, (_, digest) in repl.ask(line, flash.ASK_FILES).items()}


def sha(data):
    return hashlib.sha256(data).hexdigest()


@pytest.mark.parametrize("tool", ["mpremote", "ampy"])
def test_a_bare_board_gets_everything_and_says_its_status(tmp_path, image, tool):
    key = tmp_path / "release.pub"
    key.write_bytes(KEY)
    with fresh(tmp_path, image) as board:
        done = run(board, "--tool", tool, "--product", "lamp", "--key", str(key), "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)
        assert said["status"]["product"] == "lamp"
        assert said["status"]["running"] == "ota_0"
        there = on_board(board)
    expected = {flash.on_board(p) for p in carried.modules("esp32", platform=sys.platform)}
    assert not [p for p in there if "/ports/" in p and not p.endswith(("/other.mpy", "/ports/__init__.mpy"))]
    assert len(expected) >= 15
    assert expected <= set(there)
    assert there["/boot.py"] == sha((ROOT / "boot.py").read_bytes())
    assert there["/keys/release.pub"] == sha(KEY)
    assert not [p for p in there if p.endswith(".new") or "loader" in p or "verify" in p]


def test_a_second_run_changes_nothing(tmp_path, image):
    with fresh(tmp_path, image) as board:
        apply(board, **WISHES)
        before = on_board(board)
        again = plan_of(board, **WISHES)
        assert not again.todo() and not again.stale()
        assert "nothing to write" in flash.sentence(again)
        assert set(actions(again).values()) == {"same"}
        assert on_board(board) == before


def test_a_dry_run_lists_and_changes_nothing(tmp_path, image):
    with fresh(tmp_path, image) as board:
        before = on_board(board)
        done = run(board, "--dry-run", "--product", "lamp")
        assert done.returncode == 0, done.stderr
        assert re.search(r"new +/lib/mpota/installer\.mpy", done.stdout)
        assert "dry run" in done.stderr
        assert on_board(board) == before


def test_the_users_own_files_settings_and_keys_are_never_replaced(tmp_path, image):
    own = {
        "/main.py": b"print('mine')\n",
        "/boot.py": b"import app\n",
        "/mpota.json": b'{"product": "mine"}',
        "/keys/release.pub": b"\1" * 384,
        "/secrets.json": b"{}",
        "/lib.py": b"x = 1\n",
    }
    own["/app.py"] = b"def step(): pass\n"
    with fresh(tmp_path, image, own) as board:
        plan = apply(board, **WISHES)
        there = on_board(board)
    assert {path: there[path] for path in own} == {path: sha(data) for path, data in own.items()}
    kept = {c.path: c.note for c in plan.changes if c.action == "keep"}
    assert set(kept) == {"/main.py", "/boot.py", "/mpota.json", "/keys/release.pub"}
    assert "--force" in kept["/boot.py"] and "shim.boot(Board)" in kept["/boot.py"]
    assert "product is 'mine'" in kept["/mpota.json"]
    assert "remove it first" in kept["/mpota.json"] and "remove it first" in kept["/keys/release.pub"]


def test_settings_that_are_missing_are_added_and_none_is_changed(tmp_path, image):
    own = b'{"product": "lamp", "poll_ms": 5000}'
    with fresh(tmp_path, image, {"/mpota.json": own}) as board:
        change = {c.path: c for c in plan_of(board, **WISHES).changes}["/mpota.json"]
        assert change.action == "update" and change.note.startswith("manifest added")
        assert json.loads(change.data) == {
            "product": "lamp",
            "poll_ms": 5000,
            "manifest": WISHES["settings"]["manifest"],
        }
    with fresh(tmp_path / "odd", image, {"/mpota.json": b"[1]"}) as board:
        change = {c.path: c for c in plan_of(board, **WISHES).changes}["/mpota.json"]
        assert change.action == "keep" and "no JSON object" in change.note


def test_force_replaces_a_boot_file_but_no_settings_and_no_key(tmp_path, image):
    own = {"/main.py": b"print('mine')\n", "/mpota.json": b'{"product": "mine"}', "/keys/release.pub": b"\1" * 384}
    with fresh(tmp_path, image, own) as board:
        apply(board, force=True, **WISHES)
        there = on_board(board)
    assert there["/main.py"] == sha((ROOT / "main.py").read_bytes())
    assert there["/mpota.json"] == sha(own["/mpota.json"])
    assert there["/keys/release.pub"] == sha(own["/keys/release.pub"])


def test_micropythons_own_empty_boot_file_is_not_the_users(tmp_path, image):
    stock = b"# This file is executed on every boot\n#import esp\n\n#esp.osdebug(None)\n"
    with fresh(tmp_path, image, {"/boot.py": stock}) as board:
        assert actions(plan_of(board, **WISHES))["/boot.py"] == "update"


def test_only_what_changed_is_written_and_what_is_stale_goes(tmp_path, image):
    with fresh(tmp_path, image) as board:
        apply(board, **WISHES)
        with repl.open_board(board.port) as line:
            repl.put(line, "/lib/mpota_boot/shim.mpy", b"an older one")
            repl.put(line, "/lib/mpota/agent.py", b"raise RuntimeError('I would be run first')\n")
            repl.put(line, "/lib/mpota/stream.mpy.new", b"left by a plug that was pulled")
        plan = apply(board, **WISHES)
        todo = {c.path: c.action for c in plan.changes if c.action != "same"}
        assert todo == {
            "/lib/mpota_boot/shim.mpy": "update",
            "/lib/mpota/agent.py": "remove",
            "/lib/mpota/stream.mpy.new": "remove",
            "/lib/mpota/files.json": "update",
        }
        there = on_board(board)
    assert there["/lib/mpota_boot/shim.mpy"] == sha(
        flash.compile_mpy(ROOT / "device/mpota_boot/shim.py", native_arch())
    )
    assert "/lib/mpota/agent.py" not in there and "/lib/mpota/stream.mpy.new" not in there


def test_an_older_main_of_ours_is_updated_by_the_record_on_the_board(tmp_path, image):
    with fresh(tmp_path, image) as board:
        apply(board, **WISHES)
        older = b"# an older main.py of mpota's\n" + b"x = 1\n" * 9
        with repl.open_board(board.port) as line:
            repl.put(line, "/main.py", older)
        assert actions(plan_of(board, **WISHES))["/main.py"] == "keep"
        with repl.open_board(board.port) as line:
            repl.put(line, flash.RECORD, json.dumps({"/main.py": [sha(older)]}).encode())
        assert actions(plan_of(board, **WISHES))["/main.py"] == "update"


def test_a_file_that_arrives_damaged_changes_nothing(tmp_path, image, monkeypatch):
    with fresh(tmp_path, image) as board:
        before = on_board(board)
        put = repl.put
        monkeypatch.setattr(
            repl, "put", lambda line, path, data: put(line, path, data[:-1] if "shim" in path else data)
        )
        with pytest.raises(LinkError, match="did not arrive whole"):
            apply(board, **WISHES)
        left = {path: digest for path, digest in on_board(board).items() if not path.endswith(".new")}
        assert left == before


def test_a_board_without_room_is_refused_before_a_byte_is_written(tmp_path):
    plan = Plan(Facts("m", "1.29.0", "6.3", "", 4096), [flash.Change("/boot.py", "new", bytes(4097))])
    with pytest.raises(Refused, match="4096 bytes free and this needs 8192"):
        flash.check_room(plan)


def names(layout, lzma=False):
    return {name_of(path) for path in carried.modules(layout, lzma)}


def test_a_board_gets_what_its_layout_needs_and_lzma_only_if_asked_for():
    esp32, files = names("esp32"), names("files")
    assert {
        "mpota/" + n for n in ("layout/esp32/port.py", "layout/esp32/settle.py", "store/tree.py", "pipe/delta.py")
    } <= esp32
    assert {
        "mpota/" + n for n in ("store/pair.py", "layout/files/__init__.py", "store/tree.py", "pipe/delta.py")
    } <= files
    # The journal of files, and the second copy of an ESP32's.
    assert "mpota/store/pair.py" in esp32 and "mpota_boot/spare.py" in esp32
    assert not [name for name in files if "layout/esp32" in name] and not [
        name for name in esp32 if "layout/files" in name
    ]
    layouts = ("esp32", "files", "pic32", "bk7238", "sifli")
    for name in ("mpota/store/log.py", "mpota/store/claim.py"):
        assert [layout for layout in layouts if name in names(layout)] == ["bk7238", "sifli"]
    for layout in ("esp32", "files"):
        assert names(layout, True) - names(layout) == {"mpota/pipe/lzma.py"}


def tables(layout, platform):
    """Which tables of ports, and what else only some ports need."""
    found = {name_of(path) for path in carried.modules(layout, platform=platform)}
    return {Path(name).stem for name in found if "/ports/" in name or name == "mpota_boot/nvs.py"}


def test_a_board_carries_the_table_of_its_own_port():
    for platform in ("rp2", "pyboard", "mimxrt", "samd"):
        assert tables("files", platform) == {platform, "mark"}
    for layout in ("esp32", "files"):
        assert tables(layout, "esp32") == {"esp32", "nvs"}
        assert tables(layout, "nrf") == tables(layout, "linux") == {"other", "nvs"}
        # Neither is the name of a port.
        assert tables(layout, "mark") == tables(layout, "__init__") == {"other", "nvs"}
    # `mip` does not know the port.
    assert tables("files", "") == {"esp32", "rp2", "pyboard", "mimxrt", "samd", "other", "mark", "nvs"}
    assert tables("esp32", "") == {"esp32", "other", "nvs"}


def test_a_board_without_native_code_goes_without_the_decoders_that_need_it():
    got = flash.wanted(Facts("m", "1.24.0", "6.3", "", 4096), FlashOptions(lzma=True))
    assert "/lib/mpota/pipe/package.mpy" in got
    assert {f"/lib/mpota/pipe/{name}.mpy" for name in ("delta", "xtensa", "lzma")}.isdisjoint(got)
    assert "/lib/mpota/pipe/delta.mpy" in flash.wanted(Facts("m", "1.24.0", "6.3", "armv6m", 4096), FlashOptions())


def test_lzma_comes_with_its_option_and_goes_without_it(tmp_path, image):
    with fresh(tmp_path, image) as board:
        for more, there in ((["--lzma"], True), ([], False)):
            done = run(board, "--product", "lamp", "--json", *more)
            assert done.returncode == 0, done.stderr
            assert ("lzma" in json.loads(done.stdout)["status"]["stages"]) == there
            assert ("/lib/mpota/pipe/lzma.mpy" in on_board(board)) == there


class Folder:
    """The REPL of a board that is no ESP32: the unix port, its root in a folder named flash."""

    PIECE = 1024

    def __init__(self, path, card=""):
        """`card`: the folder of a card that is in: /sdcard of an i.MX RT, /sd of an STM32."""
        self.flash = path / "flash"
        self.home = path / card if card else self.flash
        # sys.path as ports/mimxrt/modules/_boot.py and ports/stm32/main.c leave it.
        late = [self.flash, self.flash / "lib"]
        self.path = {"sdcard": [*late, self.home], "sd": [self.home, self.home / "lib", *late]}.get(card, late)
        # The application's come first, once there is one.
        self.path = [self.home / "ota/1", self.home / "ota/1/lib", *self.path]
        self.flash.mkdir(parents=True)
        self.cwd = self.home / "app"
        self.cwd.mkdir(parents=True, exist_ok=True)
        self.lines = ""

    def restart(self):
        self.cwd = self.home

    def run(self, code):
        # What was said before stands, as in a REPL. The application has gone to a folder of its own.
        before = f"import sys\nsys.path[:] = {['', '.frozen', *map(str, self.path)]!r}\n"
        if code.startswith(("f=", "w(", "f.close")):
            self.lines += code + "\n"
            if not code.startswith("f.close"):
                return b""
            code, self.lines = self.lines, ""
        done = subprocess.run([micropython(), "-c", before + code], cwd=self.cwd, capture_output=True, timeout=60)
        assert done.returncode == 0, (code, done.stdout, done.stderr)
        return done.stdout


def test_a_board_that_is_no_esp32_gets_its_layout_in_the_folder_where_boot_lies(tmp_path):
    board = Folder(tmp_path)
    settings = {"product": "lamp", "layout": "files"}
    wishes = FlashOptions(settings, {"release": KEY}, "files")
    flash.apply(board, flash.make_plan(board, wishes))
    again = flash.make_plan(board, wishes)
    assert not again.todo() and again.facts.home == str(board.home)
    assert json.loads((board.home / "mpota.json").read_bytes()) == settings
    assert (board.home / "keys/release.pub").read_bytes() == KEY and not list(board.home.rglob("*.new"))
    board.restart()
    facts = repl.ask(board, status.STATUS)
    assert facts["layout"] == "files" and facts["product"] == "lamp"
    report = status.as_report(facts)
    lines = dict(report.tables[0].rows)
    assert lines["takes"] == "application files, no firmware" and "not lzma" in lines["decodes"]
    read = "from wiring import Board\nfrom mpota.network.net import Net\nprint(Net(Board()).names)"
    pairs = [("x" * 31 + str(i), "y" * 63) for i in range(4)]
    flash.set_wifi(board, *pairs[0], *pairs[1:])
    assert eval(board.run(read)) == [(ssid.encode(), psk.encode()) for ssid, psk in pairs]
    flash.set_wifi(board, "workshop", "it's secret", ("shed", ""))
    assert eval(board.run(read)) == [(b"workshop", b"it's secret"), (b"shed",)]
    with pytest.raises(Refused, match="4 Wi-Fi networks, 5 were given"):
        flash.set_wifi(board, "workshop", "", *[("shed", "")] * 4)


@pytest.mark.parametrize("card", ["sdcard", "sd"])
def test_a_board_with_a_card_starts_from_it_and_finds_its_modules(tmp_path, card):
    board = Folder(tmp_path, card)
    wishes = FlashOptions({"product": "lamp", "layout": "files"}, {"release": KEY}, "files")
    flash.apply(board, flash.make_plan(board, wishes))
    assert not flash.make_plan(board, wishes).todo()
    assert {"boot.py", "main.py", "wiring.py", "mpota.json"} <= {path.name for path in board.home.iterdir()}
    lib = board.home / "lib" if card == "sd" else board.flash / "lib"
    assert (lib / "mpota_boot/shim.mpy").is_file()
    other = board.flash if card == "sd" else board.home
    assert not (other / "lib").exists() and not list(board.flash.glob("*.py"))
    board.restart()
    facts = repl.ask(board, status.STATUS)
    assert facts["product"] == "lamp" and facts["boot_error"] is None


def test_status_says_what_a_board_decodes_runs_and_is_saved_from():
    facts = {
        **{"running": "ota_0", "version": "1.2.3", "trial": None, "updates": None, "floor": "0.0.0", "failed": None},
        **{"state": "valid", "boots": "ota_0", "slots": [], "product": "lamp"},
    }
    plain = dict(status.as_report(facts).tables[0].rows)
    assert {"decodes", "application", "rescue", "failed starts"}.isdisjoint(plain)
    starts = {"number": 2, "reason": "OSError(5,)"}
    more = {"stages": ["inflate", "delta"], "tree": "/ota/1", "rescue": None, "failed_starts": starts}
    lines = dict(status.as_report({**facts, **more}).tables[0].rows)
    assert lines["decodes"] == "inflate,delta (not decrypt, lzma, xtensa)" and lines["application"] == "/ota/1"
    assert lines["failed starts"] == "2, the last one of OSError(5,)" and "rescue" not in lines
    lines = dict(status.as_report({**facts, **more, "tree": None, "rescue": "the pin is held"}).tables[0].rows)
    assert "the pin is held" in lines["rescue"] and "owner" in lines["application"]


def test_modules_are_compiled_for_the_version_and_architecture_asked_for():
    path = ROOT / "device/mpota/pipe/trust.py"
    assert flash.compile_mpy(path, "xtensawin")[:2] == b"M\x06"
    old = flash.compile_mpy(path, "", "6.1")
    assert old[:2] == b"M\x06"
    assert flash.compile_mpy(path, "", "5")[:2] == b"M\x05"
    with pytest.raises(Refused, match=r"loads \.mpy version 9"):
        flash.compile_mpy(path, "", "9")


def test_a_board_that_loads_no_mpy_is_told_so():
    class Old:
        def run(self, code):
            return json.dumps({"mpy": 0, "version": "1.9", "machine": "old board", "free": 1}).encode()

    with pytest.raises(Refused, match="old board cannot load"):
        flash.ask_facts(Old())


def test_no_board_at_the_port_is_one_sentence():
    command = [sys.executable, "-m", "mpota_host", "flash", "--port", os.devnull]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 4
    assert done.stderr.count("\n") == 1 and "no MicroPython prompt" in done.stderr


def test_wifi_goes_to_nvs_and_an_impossible_one_nowhere(tmp_path, image):
    with fresh(tmp_path, image) as board:
        assert run(board, "--product", "lamp").returncode == 0
        with repl.open_board(board.port) as line:
            flash.set_wifi(line, "workshop", "it's secret")
            for ssid, psk in (("", "12345678"), ("x" * 33, ""), ("workshop", "short")):
                with pytest.raises(Refused, match="Wi-Fi"):
                    flash.set_wifi(line, ssid, psk)
        read = "from esp32 import NVS; b = bytearray(64); n = NVS('wifi').get_blob({!r}, b); print(bytes(b[:n]))"
        assert board.run(read.format("ssid")).strip() == "b'workshop'"
        assert board.run(read.format("psk")).strip() == 'b"it\'s secret"'


@pytest.mark.parametrize(
    "url", ["my.server:8000/manifest.json", "ftp://h/m.json", "http://h:x/m.json", "http:///m", "x"]
)
def test_a_url_that_no_board_can_ask_for_is_refused_before_a_board_is_touched(url):
    with pytest.raises(Refused, match=r"--manifest: .*(http://host/path|a port is 1)"):
        first_settings("lamp", url)


def test_a_url_of_any_form_that_boards_read_is_taken():
    for url in ("http://my.server:8000/manifest.json", "https://u:p@[::1]/my shelf/m.json?x=1", "HTTP://h"):
        assert first_settings("lamp", url) == {"product": "lamp", "manifest": url}
    assert first_settings(None, None) == {}
