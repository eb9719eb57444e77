"""Deltas from `pack` to a board that boots them: real firmwares, the real web server, the board's own link and agent.

The board is one chip in this process; what it fetched is told by the server's log.
"""

import asyncio
import sys
import threading
import time

import pytest
from aiohttp import web

from mpota.agent import Agent
from mpota.pipe import lzma
from mpota_boot import shim
from mpota_host.chips.esp32.sim import soc
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.command import cli
from mpota_host.package import keys, serve
from mpota_host.package.encode import lzma_chunk
from mpota_host.registry import prepare
from mpota_host.sim.board import real_firmware
from tests.chips.esp32 import image_maker
from tests.host.streams import Http
from tests.trees import files_of

SLOT = 0x180000
FULL, DELTA = "lamp-1.1.0.mpota", "lamp-1.1.0-from-"


@pytest.fixture(scope="module")
def pair():
    """The application images of two successive real firmwares."""
    return tuple(bytes(prepare("esp32", real_firmware(name).read_bytes())[0]) for name in ("0608", "0831"))


def pack(folder, *args):
    with pytest.MonkeyPatch.context() as at:
        at.chdir(folder)
        cli.cli(
            [str(a) for a in ("pack", *args, "--key", "../release.pem", "--product", "lamp")], standalone_mode=False
        )


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A folder with the release key, above the shelves."""
    path = tmp_path_factory.mktemp("home")
    keys.generate(path / "release.pem")
    return path


@pytest.fixture(scope="module")
def shelves(home):
    """Folders with the full package and a delta of the real pair, by what their boards decode."""
    path = home
    old, new = (real_firmware(name) for name in ("0608", "0831"))
    for name, more in (("deflate", ()), ("lzma", ("--decodes", "+lzma"))):
        (path / name).mkdir()
        pack(path / name, new, "--payload", "--base", old, "--version", "1.1.0", *more)
    # Full for every board, a delta for those that have LZMA.
    (path / "mixed").mkdir()
    (path / "mixed" / FULL).write_bytes((path / "deflate" / FULL).read_bytes())
    delta = next((path / "lzma").glob(DELTA + "*"))
    (path / "mixed" / delta.name).write_bytes(delta.read_bytes())
    return path


class Shop:
    """The server of `serve` over a folder; `asked` are the files that were fetched, with their ranges."""

    def __init__(self, folder):
        rows, notes = serve.offers(folder)
        assert not notes
        serve.write_manifest(folder, rows)
        self.lines = []
        self.loop = asyncio.new_event_loop()
        self.runner = web.AppRunner(serve.application(folder, self.lines.append))
        self.loop.run_until_complete(self.runner.setup())
        self.loop.run_until_complete(web.TCPSite(self.runner, "127.0.0.1", 0).start())
        self.url = f"http://127.0.0.1:{self.runner.addresses[0][1]}/manifest.json"
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self.thread.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        asyncio.run_coroutine_threadsafe(self.runner.cleanup(), self.loop).result(5)
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join(5)
        self.loop.close()

    @property
    def asked(self):
        names = [line.split(" GET /")[1].rpartition(":")[0] for line in self.lines if " GET /" in line]
        return [name for name in names if name != "manifest.json"]


def chip(home, image):
    """A board that runs `image` and trusts the release key."""
    c = soc.Soc(soc.rows(SLOT), {"product": "lamp"}, [keys.load_public(home / "release.pub")])
    c.write(c.row("ota_0").offset, image)
    return c


def agent(board, shop):
    return Agent(board, [Http(shop.url, "lamp", board.layout.NAME, board.layout.version)], board.keys())


def update(board, shop):
    """Let the agent run until it asks for the reset; what it refused on the way."""
    one = agent(board, shop)
    end = time.monotonic() + 60
    while time.monotonic() < end:
        state = one.step()
        if state == "reset":
            return one
        assert state == "busy" or one.job is None, (state, one.error)
    raise AssertionError(one.error)


def runs(c, image):
    c.power_on(soc.HARD)
    return c.started.name == "ota_1" and c.image("ota_1", len(image)) == image


def deltas(asked):
    return [name for name in asked if name.startswith(DELTA)]


@pytest.mark.parametrize("decodes", ["deflate", "lzma"])
def test_a_board_fetches_the_delta_alone_and_runs_the_new_firmware(shelves, pair, decodes, monkeypatch):
    monkeypatch.setattr(
        lzma, "stage", lzma_chunk.stage
    )  # the device's own is slow on CPython, and has tests of its own
    old, new = pair
    c = chip(shelves, old)
    with Shop(shelves / decodes) as shop:
        update(c.power_on(), shop)
        (asked,) = shop.asked
    assert asked.startswith(DELTA) and (shelves / decodes / asked).stat().st_size < 0.19 * len(new)
    assert runs(c, new)


def test_a_board_that_runs_another_image_takes_the_full_package_by_itself(shelves, pair):
    c = chip(shelves, image_maker.image(body=b"another " * 4000))
    with Shop(shelves / "deflate") as shop:
        update(c.power_on(), shop)
        asked = shop.asked
    assert len(asked) == 2 and deltas(asked) == asked[:1] and asked[1] == FULL
    assert runs(c, pair[1])


def test_a_board_whose_running_image_is_rotten_takes_the_full_package_by_itself(shelves, pair):
    old, new = pair
    at = next(i for i in range(700_000, len(old)) if old[i])
    c = chip(shelves, old)
    board = c.power_on()
    off = c.row("ota_0").offset + at // 4096 * 4096
    sector = bytearray(old[at // 4096 * 4096 :][:4096])
    sector[at % 4096] &= sector[at % 4096] - 1
    c.write(off, bytes(sector))
    c.flash.trace = []
    with Shop(shelves / "deflate") as shop:
        one = agent(board, shop)
        while not one.refusals:
            assert one.step() == "busy" and one.error is None
        assert not c.flash.trace and deltas(shop.asked), "refused before the first erase, and not a word of it"
        update(board, shop)
        assert shop.asked[-1] == FULL
    assert runs(c, new)


def test_a_board_without_a_stage_takes_the_package_that_needs_none(shelves, pair, monkeypatch):
    old, new = pair
    c = chip(shelves, old)
    with Shop(shelves / "mixed") as shop:
        monkeypatch.setitem(sys.modules, "mpota.pipe.lzma", None)
        update(c.power_on(), shop)
        asked = shop.asked
    assert len(asked) == 2 and deltas(asked) == asked[:1] and asked[1] == FULL
    assert runs(c, new)


def test_a_delta_goes_on_where_the_power_went(shelves, pair):
    old, new = pair
    c = chip(shelves, old)
    with Shop(shelves / "deflate") as shop:
        for steps in (30, 90):
            one = agent(c.power_on(), shop)
            seen = set()
            while len(seen) <= steps:
                assert one.step() == "busy"
                seen.add(one.progress)
        update(c.power_on(), shop)
        assert len(shop.asked) == 5 and deltas(shop.asked) == shop.asked
        assert [" bytes=" in name for name in shop.asked] == [False, False, True, False, True]
    assert runs(c, new)


def test_firmware_files_and_a_resource_go_together_as_one_delta(home, tmp_path, monkeypatch):
    body = bytes(i * i >> 7 & 0xFF for i in range(30000))
    for n, more in (("1.0.0", b""), ("1.1.0", b"one more\n")):
        folder = tmp_path / n
        (folder / "lib").mkdir(parents=True)
        (folder / "app.py").write_bytes(b"import lib.a\n" + more)
        (folder / "lib" / "a.py").write_bytes(b"x = 1\n" * 3000 + more)
        (tmp_path / f"{n}.bin").write_bytes(image_maker.image(body=body + (more * 4)[:8]))
        (tmp_path / f"{n}.dat").write_bytes(body[::-1] + more)
    shelf = home / "shelf"
    shelf.mkdir()
    for n, base in (("1.0.0", []), ("1.1.0", ["--base", "lamp-1.0.0.mpota"])):
        given = ["--app", tmp_path / n, "--resource", f"data.bin={tmp_path / n}.dat", "--version", n]
        pack(shelf, tmp_path / f"{n}.bin", *given, *base)
    first = shelf / "lamp-1.0.0.mpota"
    later = list(shelf.glob("*1.1.0*"))
    away = {path: path.read_bytes() for path in later}
    for path in later:
        path.unlink()
    c = chip(home, image_maker.image(body=b"as it came from the factory" * 8))
    root = str(tmp_path / "board")

    def power_on(cause=soc.PWRON):
        board = c.power_on(cause)
        board.root = root
        return board

    with Shop(shelf) as shop:
        update(power_on(), shop)
    board = power_on(soc.HARD)
    board.layout.confirm()
    for path, data in away.items():
        path.write_bytes(data)
    with Shop(shelf) as shop:
        update(board, shop)
        assert shop.asked == ["lamp-1.1.0-from-1.0.0.mpota"] and first.exists()
    board = power_on(soc.HARD)
    board.layout.confirm()
    (tree,) = [path for path in (tmp_path / "board").iterdir() if path.is_dir() and any(path.iterdir())]
    files = files_of(str(tree))
    files.pop(".mpota")
    expected = files_of(str(tmp_path / "1.1.0")) | {"data.bin": (tmp_path / "1.1.0.dat").read_bytes()}
    assert files == expected
    new = (tmp_path / "1.1.0.bin").read_bytes()
    assert c.image(c.started.name, len(new)) == new


def runs_files(plain, folder):
    """Does the application of `folder` run now? It is confirmed."""
    plain.power_on("reset").layout.confirm()
    found = files_of(shim.folder)
    found.pop(".mpota")
    return found == files_of(str(folder))


def test_an_application_on_any_board_goes_on_by_deltas_and_whole_where_somebody_changed_a_file(home, tmp_path):
    table = bytes(i * i >> 7 & 0xFF for i in range(40000))
    for n in range(4):
        (tmp_path / f"1.{n}.0" / "lib").mkdir(parents=True)
        (tmp_path / f"1.{n}.0" / "app.py").write_bytes(b"VERSION = %d\n" % n)
        (tmp_path / f"1.{n}.0" / "lib" / "table.bin").write_bytes(bytes([n]) + table)
    shelf = home / "files"
    shelf.mkdir()
    plain = Plain(str(tmp_path / "board"), {"product": "lamp"}, [keys.load_public(home / "release.pub")])
    asked = []
    for n in range(4):
        base = ["--base", f"lamp-1.{n - 1}.0.mpota"] if n else []
        pack(shelf, "--app", tmp_path / f"1.{n}.0", "--layout", "files", "--version", f"1.{n}.0", *base)
        if n == 3:
            with open(shim.folder + "/app.py", "r+b") as f:
                f.write(b"version")
        with Shop(shelf) as shop:
            update(plain.power_on(), shop)
            asked.append(shop.asked)
        assert runs_files(plain, tmp_path / f"1.{n}.0")
    delta = "lamp-1.{}.0-from-1.{}.0.mpota"
    assert asked == [
        ["lamp-1.0.0.mpota"],
        [delta.format(1, 0)],
        [delta.format(2, 1)],
        [delta.format(3, 2), "lamp-1.3.0.mpota"],
    ]
    assert (shelf / delta.format(2, 1)).stat().st_size < 0.1 * (shelf / "lamp-1.2.0.mpota").stat().st_size
