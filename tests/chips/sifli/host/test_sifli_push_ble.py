"""`push --ble` and a board as the guide makes it, both as they are shipped, over virtual controllers."""

import json
import sys
import types

import pytest

import mpota_boot.board
from mpota.layout.sifli.link.ble import Ble
from mpota_host.chips.sifli import sample, workshop
from mpota_host.chips.sifli.sim import machine
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sources import DEVICE
from tests.chips.sifli import sifli_maker as maker
from tests.chips.sifli.host.sifli_air import Air
from tests.chips.sifli.host.test_sifli_board import NEW, OLD, held, look, pack, until, version
from tests.host.command import call

# Each test runs a board through two programs, whose radio is heard while they sleep.
pytestmark = pytest.mark.slow
NAME, ADDRESS = "SIFLI_APP-f0f1f2f3f4f5", "F0:F1:F2:F3:F4:F5"
RES = workshop.program(20000, 3)


@pytest.fixture(scope="module")
def keys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("keys")
    return folder, workshop.keys(folder)


@pytest.fixture
def air(monkeypatch):
    with Air() as air:
        monkeypatch.setenv("MPOTA_AIR", air.name)
        monkeypatch.setitem(sys.modules, "bleak", air.bleak())
        yield air


def made(tmp_path, keys, **more):
    """A board as `board --layout sifli` makes one, whose program confirms itself."""
    files = mpota_files({"product": "watch", "layout": "sifli", **more}, layout="sifli") | {"/app.py": sample.APP}
    flash = tmp_path / "board.bin"
    create_for("sifli", flash, OLD, files, lambda f: machine.make(f, OLD, keys[1]))
    return flash


def all_there(flash):
    until(flash, lambda chip: version(chip) == "1.1.0")
    assert look(flash, lambda chip: held(chip.user, len(NEW))) == NEW
    assert look(flash, lambda chip: held(chip.place(3), len(RES))) == RES


@pytest.mark.parametrize(("who", "more"), [(NAME, []), (ADDRESS, ["--older"])])
def test_an_upgrade_by_bluetooth_ends_in_a_confirmed_program(who, more, air, tmp_path, keys, capsys):
    flash = made(tmp_path, keys)
    up = pack(tmp_path, keys, ("app", NEW, 16, 0), ("res", RES, 0, 3))
    with VirtualBoard(flash) as board:
        board.wait("reset", image="user")
        assert call("sifli", "push", up, "--ble", who, *more) == 0, capsys.readouterr().err
        all_there(flash)
    # The user program's link, and the manager's.
    assert air.connections == 2


@pytest.mark.timeout(300)
def test_the_guides_own_board_takes_the_guides_own_upgrade_by_bluetooth(air, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "watch"
    assert call("sample", "sifli", folder) == 0
    monkeypatch.chdir(folder)
    # A part of each: a virtual radio is slow, since it is heard only while the board sleeps.
    (folder / "app.bin").write_bytes((folder / "app.bin").read_bytes()[:40000])
    (folder / "res.bin").write_bytes((folder / "res.bin").read_bytes()[:12000])
    keys = ["--key=sifli-root.key", "--sigkey=sifli-sign.pem"]
    assert (
        call("sifli", "pack", "--img_para", "app", "16", "0", "res", "0", "3", *keys, "--fw_ver=1.1.0", "-o", "up") == 0
    )
    with VirtualBoard(folder / sample.BOARD) as board:
        board.wait("reset", image="user")
        assert call("sifli", "push", "up", "--ble", NAME) == 0, capsys.readouterr().err
        board.wait("reset", image="user")
        assert call("confirm", "--port", board.port) == 0
        until(folder / sample.BOARD, lambda chip: version(chip) == "1.1.0")


def test_a_link_that_is_lost_is_found_again_and_gone_on_with(air, tmp_path, keys, capsys):
    flash = made(tmp_path, keys)
    up = pack(tmp_path, keys, ("app", NEW, 16, 0), ("res", RES, 0, 3))
    # Values until the link is gone: in the middle of the resource.
    air.cut = 80
    with VirtualBoard(flash) as board:
        board.wait("reset", image="user")
        assert call("sifli", "push", up, "--ble", NAME, "--json") == 0
        said = capsys.readouterr()
        assert (
            "the link was lost: the link is gone" in said.err and json.loads(said.out[said.out.index("{") :])["resumed"]
        )
        all_there(flash)
    assert air.connections == 3 and air.cut is None


def test_a_board_lets_no_phone_in_by_bluetooth_that_its_owner_did_not_let_in(air, tmp_path, keys, capsys):
    flash = made(tmp_path, keys, phones=False)
    up = pack(tmp_path, keys, ("app", NEW, 16, 0))
    with VirtualBoard(flash) as board:
        board.wait("reset", image="user")
        assert call("sifli", "push", up, "--ble", NAME) == 3
        said = capsys.readouterr().err
        assert "11" in said and '"phones": true' in said
        assert look(flash, version) == "1.0.0"


def wired(monkeypatch, tmp_path, settings, bluetooth):
    """(the wiring's names, its Board) of a board with these settings, whose firmware has this `bluetooth`."""
    chip = maker.chip()
    module = types.SimpleNamespace(flash=lambda: chip.flash, efuse=lambda: chip.efuse)
    monkeypatch.setitem(sys.modules, "chip", module)
    monkeypatch.setitem(sys.modules, "bluetooth", bluetooth)
    monkeypatch.setattr(mpota_boot.board.Board, "root", str(tmp_path))
    path = tmp_path / "memory_map.json"
    path.write_text(json.dumps(chip.places))
    source = (DEVICE / "mpota/layout/sifli/wiring.py").read_text()
    found = {"__name__": "wiring", "open": lambda name, *a: open(path if name == "/memory_map.json" else name, *a)}
    exec(compile(source, "wiring.py", "exec"), found)  # the file that a board runs
    board = found["Board"]()
    board._settings = {"product": "watch", "layout": "sifli", **settings}
    return found, board


class Silent:
    """A bluetooth.BLE with nobody in range."""

    def __getattr__(self, name):
        return lambda *args, **given: (0, b"\0" * 6) if name == "config" else ((0, 1),)


class Broken(Silent):
    def active(self, on):
        raise OSError(19)


def module(radio):
    return types.SimpleNamespace(BLE=radio, UUID=str)


@pytest.mark.parametrize("word", [None, False, "yes", 1, []])
def test_the_radio_is_used_only_where_the_setting_says_so(word, monkeypatch, tmp_path):
    found, board = wired(monkeypatch, tmp_path, {} if word is None else {"ble": word}, module(Silent))
    assert found["links"](board) == []
    assert board.port().phones == found["CLOSED"]


def test_the_radio_is_a_link_beside_the_others(monkeypatch, tmp_path):
    found, board = wired(monkeypatch, tmp_path, {"ble": True, "phones": True}, module(Silent))
    (link,) = found["links"](board)
    assert isinstance(link, Ble)
    # The console's owner has it for himself.
    assert found["links"](board, tcp=False) == []
    board.ticks_ms, board.since = lambda: 0, lambda then: 0
    assert [type(one) for one in found["server"](board).links] == [Ble]


@pytest.mark.parametrize(("radio", "words"), [(None, "bluetooth"), (module(Broken), "19")])
def test_a_firmware_without_a_radio_goes_on_and_status_says_why(radio, words, monkeypatch, tmp_path):
    found, board = wired(monkeypatch, tmp_path, {"ble": True, "phones": True}, radio)
    assert found["links"](board) == []
    said = board.port().phones
    assert said.startswith(found["PHONES"][True]) and "no Bluetooth: " in said and words in said
