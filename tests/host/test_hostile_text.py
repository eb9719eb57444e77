"""What others wrote never drives the terminal: escapes, line ends, marks of direction, and the printer's own markup.

Each command is fed the same evil text by the way that it has from outside: a file, a folder, a board, a web client.
"""

import asyncio
import json
import re
import struct
import zlib

import pytest
from aiohttp.test_utils import TestClient, TestServer

from mpota.layout.bk7238 import rbl
from mpota.layout.esp32 import table
from mpota.store import listing
from mpota_host.command import show
from mpota_host.package import keys, serve
from mpota_host.package.assemble import Head, assemble, lock
from mpota_host.package.choose import Content, EncodeOptions, smallest, whole
from mpota_host.package.pack import version_bytes
from mpota_host.package.report import Report, Table, harmless
from mpota_host.sim.board import VirtualBoard, create, mpota_files, print_event
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.bk7238 import rbl_maker
from tests.chips.esp32 import image_maker
from tests.host.command import call

# A title, a cleared screen, a bell, a return, a line that lies, C1, DEL, a turned direction, a separator, markup.
EVIL = "\x1b]0;owned\x07\x1b[2J\r\nsignature: trusted\x9b2J\x7f\u202etxt\u2066\u2028[/red][link=file:///etc]x[/link]"
# A header has room for 32 bytes.
SHORT = "\x1b[2J\a\r\nforged\x7f\u202e[red]x"
MARKS = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069\u2028\u2029\ufeff"


def clean(text):
    """No character of `text` does anything, and no line is a forged one."""
    bad = {c for c in text if (c < " " and c != "\n") or "\x7f" <= c <= "\x9f" or c in MARKS}
    assert not bad, (bad, text)
    assert not re.search(r"^\s*(signature: trusted|forged)", text, re.M), text
    return text


def said(capsys, status, *args):
    """All that a command printed, which must be harmless."""
    capsys.readouterr()
    seen = call(*args)
    text = "".join(capsys.readouterr())
    assert seen == status, text
    assert "Traceback" not in text
    return clean(text)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("evil")
    keys.generate(path / "release.pem")
    return path


def package(folder, product=SHORT, name="files", path="app.py"):
    """A signed package whose every text is evil, which our own packer would not make."""
    means = EncodeOptions()
    body = b"def step(): pass\n"
    entries = listing.entry(path, len(body))
    head = struct.pack(listing.HEAD, listing.MAGIC, 1, listing.HEAD_SIZE + len(entries), len(body))
    part, _ = smallest(whole(Content(2, name, head + entries + body), means), means)
    head = Head(product, "files", version_bytes("1.2.3"), 16384)
    return assemble(*lock(head, [part], ()), keys.load_private(folder / "release.pem"))


def test_what_can_be_seen_is_left_alone_and_the_rest_is_shown_as_an_escape():
    assert harmless("plain, ümlaut, 灯, [red] C:\\new") == "plain, ümlaut, 灯, [red] C:\\new"
    assert harmless("\x1b[2J\r\n\x07") == "\\x1b[2J\\r\\n\\x07"
    assert harmless("\u202e\u2028\x9b\x7f") == "\\u202e\\u2028\\x9b\\x7f"
    assert harmless("\ud800") == "\\ud800" and harmless(harmless(EVIL)) == harmless(EVIL)
    for number in range(0x110000):
        assert harmless(chr(number)).isprintable()


def test_everything_that_is_shown_passes_one_place(capsys):
    report = Report("x", EVIL, {"key" + EVIL: EVIL}, [Table(EVIL, (EVIL, "b"), [(EVIL, "2"), ("new", EVIL)])])
    show.report(report, False)
    show.report(report, True)
    show.say(EVIL)
    show.note(EVIL)
    text = clean("".join(capsys.readouterr()))
    assert text.count("[link=file:///etc]") == 10


def test_no_command_prints_around_that_place():
    found = []
    for path in sorted((ROOT / "host").rglob("*.py")):
        name = path.relative_to(ROOT).as_posix()
        if name == "host/mpota_host/command/show.py" or "demo" in name or "/bench/" in name:
            continue
        text = path.read_text()
        found += [name for word in ("out.print(", "err.print(") if word in text]
    assert not found


@pytest.mark.parametrize("as_json", [(), ("--json",)])
def test_inspect_and_verify_of_an_evil_package(capsys, folder, tmp_path, as_json):
    path = tmp_path / "evil.mpota"
    path.write_bytes(package(folder, name="\x1b[2J\u202e", path="a\x7f\u202e[red]"))
    text = said(capsys, 0, "inspect", path, *as_json)
    assert "[red]" in text
    assert "[red]" in said(capsys, 0, "verify", path, "--key", folder / "release.pub", *as_json)
    said(capsys, 3, "verify", path, "--key", folder / "release.pub", "--product", "lamp", *as_json)
    path.write_bytes(path.read_bytes()[:-3])
    said(capsys, 5, "inspect", path, *as_json)


def test_inspect_of_the_vendors_evil_files(capsys, tmp_path):
    path = tmp_path / "evil"
    rows = [(0, 0x10, 0x10000, 0x100000, "\x1b[2J\r\nforged", 0), (1, 0, 0xE000, 0x2000, "\u202e[red]", 0)]
    path.write_bytes(table.encode(rows))
    assert "\\x1b[2J" in said(capsys, 0, "inspect", path)
    head = bytearray(rbl_of(b"\x1b[2J[red]", b"1\r\nforged\x07"))
    path.write_bytes(head)
    assert "[red]" in said(capsys, 5, "inspect", path)
    path.write_bytes(json.dumps({"ota": [{"Version": 2, "URL": "http://h/" + EVIL, "Digest": EVIL}]}).encode())
    call("inspect", path)
    clean("".join(capsys.readouterr()))


def rbl_of(part, version):
    """An RBL header with these texts and a right CRC-32."""
    data = bytearray(rbl_maker.package(rbl_maker.application(4000)))
    data[rbl.SIZE :] = b""
    struct.pack_into("<16s24s", data, 12, part, version)
    struct.pack_into("<I", data, rbl.SIZE - 4, zlib.crc32(data[: rbl.SIZE - 4]))
    return data


def test_a_store_with_evil_rows(capsys, tmp_path):
    (tmp_path / "image_database.csv").write_bytes(b"\x1b[2J,\x9b,[red]\x07\r\n")
    call("inspect", tmp_path)
    text = clean("".join(capsys.readouterr()))
    assert "image store" in text


def test_names_of_files_are_shown_as_harmless_as_their_content(capsys, folder, tmp_path):
    name = "\x1b[2J\u202e[red]"
    lamp = tmp_path / ("lamp" + name)
    lamp.mkdir()
    (lamp / "app.py").write_bytes(b"def step(): pass\n")
    (lamp / (".hidden" + name)).touch()
    out = tmp_path / (name + ".mpota")
    args = ("pack", "--app", lamp, "--product", "lamp", "--version", "1.2.3")
    text = said(capsys, 0, *args, "--key", folder / "release.pem", "-o", out)
    assert text.count("[red]") >= 2 and "left out" in text
    said(capsys, 3, *args, "--key", lamp / "app.py")
    said(capsys, 1, *args, "--unsigned", "-o", lamp / "app.py" / (name + ".mpota"))
    said(capsys, 2, "inspect", tmp_path / ("nothing" + name))
    said(capsys, 2, name)
    said(capsys, 4, "status", "--port", "/dev/" + name)
    said(capsys, 4, "push", out, "--port", "/dev/" + name)
    assert "[red]" in said(capsys, 0, "keygen", tmp_path / (name + ".pem"))
    assert "[red]" in said(capsys, 0, "keygen", "--device", tmp_path / (name + ".devkey"))


def test_a_product_that_cannot_be_seen_is_not_packed(capsys, folder, tmp_path):
    (tmp_path / "app.py").write_bytes(b"def step(): pass\n")
    for product in (SHORT, "la\u202emp", "lamp\n"):
        args = ("--product", product, "--version", "1.2.3", "--key", folder / "release.pem", "-o", tmp_path / "x.mpota")
        text = said(capsys, 3, "pack", "--app", tmp_path, *args)
        assert "printable" in text


def test_serve_shows_packages_and_clients_harmless(capsys, folder, tmp_path):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    (shelf / "\x1b[2J\r\nforged[red].mpota").write_bytes(package(folder))
    entries, notes = serve.offers(shelf)
    for entry in entries:
        show.say(f"{entry['product']}: {entry['file']}")
    for note in notes:
        show.note(note)
    serve.write_manifest(shelf, entries)

    async def play():
        async with TestClient(TestServer(serve.application(shelf, show.note))) as client:
            await client.get("/%1b%5b2J%0d%0aforged%e2%80%ae[red]", headers={"Range": "bytes=1-"})
            await client.post("/report", data=EVIL.encode())
            await client.post("/report", data=b"\xff\xfe\x1b[2J")

    asyncio.run(play())
    text = clean("".join(capsys.readouterr()))
    assert text.count("\n") == 4 + len(notes) and text.count("[red]") == 3


def test_a_broken_package_in_the_shelf_is_named_harmless(capsys, folder, tmp_path):
    (tmp_path / "\x1b[2J\u202e[red].mpota").write_bytes(package(folder)[:100])
    assert "[red]" in said(capsys, 4, "serve", tmp_path)


# The answer of a board is one line, and a text with this character is two.
TOLD = EVIL.replace("\u2028", "")
# Stands for console.py on a board that somebody else has flashed.
CONSOLE = """
from mpota_boot.errors import Refused
from mpota.link import serial
EVIL = %a
ONE_LINE = %a
def status(board):
    return {"product": EVIL, "running": EVIL, "version": EVIL, "trial": None, "updates": EVIL, "floor": EVIL,
        "failed": {"version": EVIL, "reason": EVIL}, "state": EVIL, "boots": EVIL, "stages": [EVIL], "tree": EVIL,
        "slots": [{"label": EVIL, "size": 1}], "boot_error": EVIL, "findings": [EVIL + ": " + EVIL], "rescue": EVIL,
        "settings_note": EVIL, "settings_error": None,
        "tried": {"asked": EVIL, "code": EVIL, "text": EVIL, "seconds": 1, "count": 2}}
def confirm(board):
    raise Refused("x", ONE_LINE)
rollback = forget = confirm
def push(board):
    link = serial.console()
    link.open(0)
    link.progress(5, 10)
    link.report(EVIL, EVIL)
    link.bye()
"""


@pytest.fixture(scope="module")
def board(tmp_path_factory):
    """A board whose every word is evil."""
    files = mpota_files({"product": "lamp"})
    del files["/lib/mpota/console.mpy"]
    files["/lib/mpota/console.py"] = (CONSOLE % (TOLD, TOLD.replace("\r\n", ""))).encode()
    files["/lib/mpota/\x1b[2J[red].new"] = b"x"
    # At its prompt at once: nothing here is about a board that starts.
    del files["/main.py"]
    files["/boot.py"] = b"import sys\nclass Sys: pass\nother = Sys()\nfor name in dir(sys):\n"
    files["/boot.py"] += b"    setattr(other, name, getattr(sys, name))\nkind = other.implementation = Sys()\n"
    files["/boot.py"] += b"for name in dir(sys.implementation):\n"
    files["/boot.py"] += b"    setattr(kind, name, getattr(sys.implementation, name))\n"
    files["/boot.py"] += b"kind._machine = %a\nsys.modules['sys'] = other\n" % TOLD
    path = create(tmp_path_factory.mktemp("board") / "board.bin", image_maker.image(), files=files)
    with VirtualBoard(path) as made:
        yield made


@pytest.mark.parametrize("tool", ["mpremote", "ampy"])
@pytest.mark.board
def test_what_a_board_says_of_itself_is_shown_harmless(capsys, board, tool):
    text = said(capsys, 0, "status", "--port", board.port, "--tool", tool)
    assert text.count("[link=file:///etc]") > 9
    said(capsys, 0, "status", "--port", board.port, "--tool", tool, "--json")
    for args in (("confirm",), ("rollback",), ("rollback", "--forget")):
        assert "[link=file:///etc]" in said(capsys, 3, *args, "--port", board.port, "--tool", tool)


@pytest.mark.board
def test_what_a_board_reports_to_a_push_is_shown_harmless(capsys, board, folder, tmp_path):
    path = tmp_path / "x.mpota"
    path.write_bytes(package(folder))
    assert "[link=file:///etc]" in said(capsys, 3, "push", path, "--port", board.port)
    said(capsys, 3, "push", path, "--port", board.port, "--json")


@pytest.mark.board
def test_the_plan_of_flash_is_shown_harmless(capsys, board):
    text = said(capsys, 0, "flash", "--dry-run", "--port", board.port)
    assert "[red].new" in text and "[link=file:///etc]" in text
    said(capsys, 0, "flash", "--dry-run", "--port", board.port, "--json")


def test_a_virtual_boards_events_are_shown_harmless(capsys):
    print_event({"event": "reset", "image": EVIL, "behaviour": "fine"})
    assert clean(capsys.readouterr().out).count("\n") == 1


def test_a_bar_shows_no_markup_of_a_files_name(capsys, monkeypatch):
    from rich.console import Console

    monkeypatch.setattr(show, "err", Console(stderr=True, force_terminal=True, width=200, color_system=None))
    with show.progress("push " + SHORT, 100) as step:
        step(50, 100)
    text = capsys.readouterr().err
    assert "\\x1b[2J" in text and "[red]x" in text
