"""`mpota mip`: what is in its folders, and how stock `mpremote mip install` makes a blank board update itself."""

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from mpota import setup
from mpota_boot.errors import Refused
from mpota_host import __version__
from mpota_host.board import flash, repl
from mpota_host.command import mip
from mpota_host.demo import Shop
from mpota_host.package import keys
from mpota_host.package.content import modules
from mpota_host.package.serve import offers, write_manifest
from mpota_host.sim.board import VirtualBoard, create, native_arch
from mpota_host.sources import DEVICE, name_of, program
from tests.chips.esp32 import image_maker
from tests.host.command import call

WISH = mip.MipOptions()
NATIVE = {"mpota/pipe/delta.mpy", "mpota/pipe/xtensa.mpy"}
APP = b"def step():\n    pass\ndef health():\n    return True\n"


def listed(folder):
    return json.loads((folder / "package.json").read_bytes())


def test_a_folder_has_what_flash_puts_on_a_board_and_what_setup_needs():
    files = mip.contents("xtensawin", WISH)
    modules = {flash.on_board(path).removeprefix("/lib/") for path in flash.modules("esp32")}
    assert len(modules) >= 25 and NATIVE <= modules
    more = {"mpota/setup.mpy", "mpota/files.json", "mpota/shipped/boot.py", "mpota/shipped/main.py"}
    assert modules | more <= set(files) and not set(files) - modules - more - {"mpota/shipped/wiring.py"}
    for name in ("boot.py", "main.py"):
        assert files[f"mpota/shipped/{name}"] == program(name).read_bytes()
    assert "mpota/setup.mpy" not in modules


def test_boards_without_native_code_get_a_folder_without_the_modules_that_need_it():
    plain, native = mip.contents("none", WISH), mip.contents("armv6m", WISH)
    assert set(native) - set(plain) == NATIVE
    assert not [name for name, data in plain.items() if name.endswith(".mpy") and data[2] >> 2]
    other = mip.contents("rv32imc", WISH)
    assert {name for name in native if native[name] != other[name]} == NATIVE | {"mpota/files.json"}


def test_lzma_comes_with_its_option_alone():
    assert "mpota/pipe/lzma.mpy" in mip.contents("xtensawin", mip.MipOptions(lzma=True))
    assert "mpota/pipe/lzma.mpy" not in mip.contents("none", mip.MipOptions(lzma=True))


@pytest.mark.parametrize("layout", ["esp32", "files"])
def test_the_record_has_the_hash_of_every_file_and_of_the_programs(layout):
    files = mip.contents("none", mip.MipOptions(layout))
    record = json.loads(files.pop("mpota/files.json"))
    whole = {"/lib/" + name: data for name, data in files.items()} | {"/boot.py": files["mpota/shipped/boot.py"]}
    assert {path: record[path] for path in whole} == {path: [flash.digest(data)] for path, data in whole.items()}
    assert {path.split("/")[4] for path in record if path.startswith(setup.LAYOUTS) and path.count("/") > 4} == {layout}


def test_setup_has_the_same_words_for_processors():
    assert setup.ARCHES == [mip.BYTECODE, *modules.ARCHES[1:]]


def test_package_json_names_every_file_by_a_relative_name(tmp_path):
    assert call("mip", tmp_path / "m", "--arch", "none", "--arch", "xtensawin") == 0
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["none", "xtensawin"]
    for arch in ("none", "xtensawin"):
        folder = tmp_path / "m" / arch
        package = listed(folder)
        assert package["version"] == __version__ and package["deps"] == []
        there = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
        assert {target for target, _ in package["urls"]} == there - {"package.json"}
        assert all(target == url for target, url in package["urls"])


def test_without_arch_there_is_a_folder_for_each_processor_and_one_for_all(capsys, tmp_path):
    assert call("mip", tmp_path, "--json") == 0
    rows = json.loads(capsys.readouterr().out)
    assert [row["arch"] for row in rows] == list(mip.ARCHES) and len(rows) >= 10
    assert {"xtensawin", "armv6m", "armv7emsp", "rv32imc", "none"} <= {path.name for path in tmp_path.iterdir()}


def test_a_second_run_replaces_its_own_folder_and_no_other(tmp_path, capsys):
    for _ in range(2):
        assert call("mip", tmp_path, "--arch", "none") == 0
    (tmp_path / "x64").mkdir()
    (tmp_path / "x64" / "mine.txt").write_bytes(b"mine")
    capsys.readouterr()
    assert call("mip", tmp_path, "--arch", "xtensawin", "--arch", "x64") == 3
    said = capsys.readouterr().err
    assert said.count("\n") == 1 and "x64 is there" in said and "give another FOLDER" in said
    assert sorted(path.name for path in tmp_path.iterdir()) == ["none", "x64"]


def test_what_it_cannot_make_is_refused_in_a_sentence(tmp_path, capsys):
    assert call("mip", tmp_path, "--arch", "z80") == 2 and "known are x86" in capsys.readouterr().err
    with pytest.raises(Refused, match=r"loads \.mpy version 9"):
        mip.write(tmp_path / "m", ["none"], mip.MipOptions(mpy_version="9"))
    assert not list(tmp_path.iterdir())


def frozen(**options):
    """What device/manifest.py freezes, run as MicroPython's tools/manifestfile.py runs it: in its own folder."""
    found, before = set(), os.getcwd()

    def package(name, files=None, base_path=".", opt=None):
        found.update(f"{name}/{file}" for file in files)

    given = type("Options", (), {"defaults": lambda self, **kw: vars(self).update({**kw, **options})})()
    os.chdir(DEVICE)
    try:
        exec((DEVICE / "manifest.py").read_text(), {"options": given, "package": package})
    finally:
        os.chdir(before)
    return found


@pytest.mark.parametrize("layout", ["esp32", "files", "sifli"])
def test_the_manifest_freezes_what_a_board_of_the_layout_needs(layout):
    names = frozen(layout=layout)
    assert all((DEVICE / name).is_file() for name in names)
    platform = "esp32" if layout == "esp32" else ""
    assert {name_of(path) for path in flash.modules(layout, lzma=True, platform=platform)} <= names
    assert {name.split("/")[2] for name in names if name.count("/") > 2 and "/layout/" in name} == {layout}
    assert not names & {"mpota/setup.py", "boot.py", "main.py"} and not [n for n in names if n.endswith("wiring.py")]
    assert {"mpota_boot/__init__.py", "mpota/__init__.py"} <= names


@pytest.mark.parametrize(
    ("given", "tables"),
    [
        ({"layout": "files"}, {"esp32", "mark", "mimxrt", "other", "pyboard", "rp2", "samd"}),
        ({"layout": "files", "platform": "rp2"}, {"mark", "rp2"}),
        ({"layout": "files", "platform": "nrf"}, {"mark", "other"}),
        ({}, {"mark", "esp32"}),
    ],
)
def test_a_frozen_mpota_has_the_table_of_its_platform(given, tables):
    assert {name.split("/")[2][:-3] for name in frozen(**given) if "/ports/" in name} == tables | {"__init__"}


def test_the_manifest_is_for_an_esp32_unless_it_is_told_otherwise():
    assert frozen() == frozen(layout="esp32")


@contextmanager
def web(folder):
    """Any static web server."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def mpremote(board, *args):
    """Stock mpremote, a process of its own; what it printed."""
    command = [sys.executable, "-m", "mpremote", "connect", board.port, *args]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, (args, done.stdout, done.stderr)
    return done.stdout


def release(folder, shelf):
    """A signed package of an application, on the shelf."""
    (folder / "app").mkdir()
    (folder / "app" / "app.py").write_bytes(APP)
    key = keys.generate(folder / "release.pem")
    args = ["--app", folder / "app", "--product", "lamp", "--version", "1.0.0", "--key", folder / "release.pem"]
    assert call("pack", *args, "-o", shelf / "1.0.0.mpota") == 0
    write_manifest(shelf, offers(shelf)[0])
    return key


@pytest.mark.board
@pytest.mark.slow  # 40 files go over the line twice, then the board restarts for the update and for its trial
def test_mip_and_setup_make_a_blank_board_one_that_updates_itself(tmp_path):
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    release(tmp_path, shelf)
    shop = Shop(shelf)
    settings = {
        "product": "lamp",
        "poll_ms": 200,
        "manifest": shop.url + "/manifest.json",
        "report": shop.url + "/report",
    }
    (tmp_path / "mpota.json").write_text(json.dumps(settings))
    arch = native_arch()
    other = "armv6m" if arch != "armv6m" else "x64"
    mip.write(tmp_path / "mip", [arch, other], WISH)
    path = create(tmp_path / "board.bin", image_maker.image(), files={}, nvs={"wifi": {"ssid": "any"}})
    with VirtualBoard(path) as board, web(tmp_path / "mip") as url:
        mpremote(board, "mip", "install", f"{url}/{other}/package.json")
        said = mpremote(board, "exec", "import mpota.setup")
        assert f"the folder {arch} of `mpota mip`" in said and "Nothing was written." in said
        assert "Done" in mpremote(board, "mip", "install", f"{url}/{arch}")
        said = mpremote(board, "exec", "import mpota.setup")
        assert "/boot.py was written." in said and "mpota.json are missing" in said and "No key" in said
        mpremote(board, "cp", str(tmp_path / "mpota.json"), ":/mpota.json")
        mpremote(board, "mkdir", ":/keys", "+", "cp", str(tmp_path / "release.pub"), ":/keys/")
        assert "Restart the board" in mpremote(board, "exec", "import mpota.setup")
        mpremote(board, "reset")
        assert shop.wait("confirmed", 60)["text"]
        with repl.open_board(board.port) as line:
            plan = flash.make_plan(line, flash.FlashOptions())
    # `flash` knows every file as its own: it would change none, and take away what only `mip` needs.
    assert not plan.todo() or [c.path for c in plan.todo()] == [flash.RECORD]
    gone = {c.path for c in plan.stale()}
    assert {"/lib/mpota/setup.mpy", "/lib/mpota/shipped/boot.py", "/lib/mpota/shipped/main.py"} <= gone
    # `mip` does not know the board's port.
    assert all(path.startswith(("/lib/mpota/setup", "/lib/mpota/shipped/", "/lib/mpota_boot/ports/")) for path in gone)
    assert not [c for c in plan.changes if c.action == "keep" and c.path != flash.SETTINGS], plan.changes
