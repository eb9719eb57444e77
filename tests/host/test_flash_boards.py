"""`flash` on boards that are no plain ESP32: it works, or it refuses before a byte is written."""

import json
import subprocess
import sys
from contextlib import contextmanager

import pytest

from mpota_boot.errors import Refused
from mpota_host.board import flash, ready
from mpota_host.package import keys
from mpota_host.registry import programs, wired
from mpota_host.sim.board import VirtualBoard, create, create_for, mpota_files
from mpota_host.sim.machine import layouts, machine_of
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.esp32 import image_maker
from tests.host.test_flash import on_board, run, sha

pytestmark = pytest.mark.board
WIRED = tuple(layout for layout in layouts() if wired(layout))
PLACES = json.dumps(machine_of("sifli").PLACES).encode()


@contextmanager
def virtual(tmp_path, layout, files):
    """A running board of a layout that holds `files` and nothing else."""
    image = machine_of(layout).firmware(None)
    path = create_for(layout, tmp_path / "board.bin", image, files)
    with VirtualBoard(path) as board:
        yield board


def map_of(layout):
    """What the owner of a SiFli board has to put there: where its flash has what."""
    return {"/memory_map.json": PLACES} if layout == "sifli" else {}


def test_the_layouts_that_have_a_wiring_are_those_of_vendors():
    assert {"bk7238", "pic32", "sifli"} <= set(WIRED) and not {"esp32", "files"} & set(WIRED)
    for layout in WIRED:
        found = programs(layout)
        assert b"from wiring import Board" in found["/boot.py"] and b"from wiring import Board" in found["/main.py"]
        assert b"mpota_boot.board import" not in found["/boot.py"] + found["/main.py"]
    for layout in ("esp32", "files"):
        found = programs(layout)
        assert set(found) == {"/boot.py", "/main.py", "/wiring.py"}
        assert {found["/" + name] == (ROOT / name).read_bytes() for name in ("boot.py", "main.py")} == {True}


# Forty files go over a REPL, and the second run asks for the hash of each.
@pytest.mark.slow
@pytest.mark.parametrize("layout", WIRED)
def test_a_blank_board_of_a_vendors_layout_gets_its_wiring_and_says_its_status(tmp_path, layout):
    with virtual(tmp_path, layout, map_of(layout)) as board:
        done = run(board, "--layout", layout, "--product", "plug", "--json")
        assert done.returncode == 0, done.stderr
        said = json.loads(done.stdout)["status"]
        assert (said["product"], said["layout"], said["boot_error"]) == ("plug", layout, None)
        there = on_board(board)
        assert {path: there[path] for path in programs(layout)} == {p: sha(d) for p, d in programs(layout).items()}
        again = run(board, "--product", "plug")
        assert again.returncode == 0 and "nothing to write" in again.stdout, again.stdout + again.stderr
        assert on_board(board) == there


def test_a_blank_board_without_a_product_knows_its_layout_too(tmp_path):
    with virtual(tmp_path, "bk7238", {}) as board:
        done = run(board, "--layout", "bk7238", "--json")
        assert done.returncode == 0, done.stderr
        assert json.loads(done.stdout)["status"]["layout"] == "bk7238"


def test_the_owners_wiring_stays_and_forms_the_board(tmp_path):
    own = programs("bk7238")["/wiring.py"] + b"\n# mine\n"
    with virtual(tmp_path, "bk7238", {"/wiring.py": own}) as board:
        done = run(board, "--layout", "bk7238", "--product", "plug")
        assert done.returncode == 0, done.stderr
        assert "--force" not in done.stdout + done.stderr
        there = on_board(board)
    assert there["/wiring.py"] == sha(own) and there["/boot.py"] == sha(programs("bk7238")["/boot.py"])


def refused_untouched(board, words, *args):
    """The command ends with 3 and one sentence that has `words`, and the board holds what it held."""
    before = on_board(board)
    done = run(board, *args)
    assert done.returncode == 3, (done.returncode, done.stdout, done.stderr)
    assert done.stderr.count("\n") == 1 and all(word in done.stderr for word in words), done.stderr
    assert on_board(board) == before


def test_a_sifli_board_without_its_map_is_refused_before_a_byte(tmp_path):
    with virtual(tmp_path, "sifli", {}) as board:
        refused_untouched(board, ("/memory_map.json", "wiring.py", "Board"), "--layout", "sifli", "--product", "x")


@pytest.mark.parametrize("layout", WIRED)
def test_force_is_refused_on_a_vendors_board_and_never_offered(tmp_path, layout):
    path = create_for(
        layout,
        tmp_path / "board.bin",
        machine_of(layout).firmware(None),
        mpota_files({"product": "plug", "layout": layout}, layout=layout) | {"/main.py": b"from wiring import Board\n"},
    )
    with VirtualBoard(path) as board:
        for args in (("--layout", layout), ()):
            refused_untouched(board, ("--force", layout), "--force", *args)
        done = run(board, "--layout", layout)
        assert done.returncode == 0 and "--force" not in done.stdout + done.stderr
        assert "/main.py" in done.stdout


def test_a_boot_file_without_the_wiring_is_refused_with_what_the_board_needs(tmp_path):
    own = {"/boot.py": b"import machine\n# wiring is for later\nprint('mine')\n"}
    with virtual(tmp_path, "bk7238", own) as board:
        words = ("/boot.py", "wiring.py", "from wiring import Board", "main.py")
        refused_untouched(board, words, "--layout", "bk7238", "--product", "plug")


def test_a_boot_file_of_the_owner_that_imports_no_wiring_is_refused_before_a_byte(tmp_path):
    files = mpota_files({"product": "plug", "layout": "bk7238"}, layout="bk7238")
    files["/mine.py"] = files.pop("/wiring.py")
    for name in ("/boot.py", "/main.py"):
        files[name] = files[name].replace(b"from wiring", b"from mine")
    path = create_for("bk7238", tmp_path / "board.bin", machine_of("bk7238").firmware(None), files)
    with VirtualBoard(path) as board:
        refused_untouched(board, ("/boot.py", "from wiring import Board"), "--lzma")


def test_the_layout_of_the_boards_settings_is_kept(tmp_path):
    with virtual(tmp_path, "files", {"/mpota.json": b'{"product": "x", "layout": "files"}'}) as board:
        refused_untouched(board, ("'files'", "bk7238"), "--layout", "bk7238")
        done = run(board)
        assert done.returncode == 0 and "files, no firmware" in done.stdout, done.stderr


@pytest.mark.parametrize("settings", [b"[1]", b'{"product": "other"}', b'{"layout": "toaster"}'])
def test_settings_that_would_name_another_layout_are_refused_before_a_byte(tmp_path, settings):
    with virtual(tmp_path, "files", {"/mpota.json": settings}) as board:
        refused_untouched(board, ("/mpota.json",), "--product", "x", *([] if b"toaster" in settings else FILES))


FILES = ("--layout", "files")


def test_the_layout_of_an_esp32_is_for_an_esp32(tmp_path):
    with virtual(tmp_path, "files", {}) as board:
        refused_untouched(board, ("esp32", "--layout files"), "--product", "x")


SYS = """
import sys
class Sys: pass
other = Sys()
for name in dir(sys):
    setattr(other, name, getattr(sys, name))
class Implementation: pass
kind = other.implementation = Implementation()
for name in dir(sys.implementation):
    setattr(kind, name, getattr(sys.implementation, name))
other.platform = {platform!r}
kind._machine = {machine!r}
sys.modules["sys"] = other
"""


@pytest.mark.parametrize(
    "platform,machine,words",
    [
        ("esp8266", "ESP module with ESP8266", ("ESP8266", "str.partition")),
        ("samd", "Seeed Xiao with SAMD21G18A", ("SAMD21", "deflate")),
    ],
)
def test_a_port_that_cannot_run_mpota_is_refused_by_name_before_a_byte(tmp_path, platform, machine, words):
    boot = SYS.format(platform=platform, machine=machine).encode()
    with virtual(tmp_path, "files", {"/boot.py": boot}) as board:
        for args in ((*FILES, "--product", "x"), (*FILES, "--dry-run"), ("--product", "x", "--force")):
            refused_untouched(board, words, *args)


def test_a_samd51_is_not_refused_by_its_name(tmp_path):
    boot = SYS.format(platform="samd", machine="ItsyBitsy M4 Express with SAMD51G19A").encode()
    with virtual(tmp_path, "files", {"/boot.py": boot}) as board:
        done = run(board, *FILES, "--product", "x", "--dry-run")
        assert done.returncode == 0, done.stderr


class Says:
    """A board that answers with these facts."""

    def __init__(self, **facts):
        self.facts = facts

    def run(self, code):
        return json.dumps(self.facts).encode()


def test_the_name_of_the_port_comes_before_the_advice_of_a_newer_firmware():
    old = {"mpy": 0, "version": "1.9", "machine": "ESP module with ESP8266", "platform": "esp8266", "free": 1}
    with pytest.raises(Refused, match="ESP8266"):
        flash.ask_facts(Says(**old, home="", esp32=False))


def test_a_wiring_that_needs_what_the_firmware_has_not_is_refused(tmp_path):
    with virtual(tmp_path, "files", {}) as board:
        words = ("`chip`", "wiring.py", "from wiring import Board")
        refused_untouched(board, words, "--layout", "bk7238", "--product", "x")


def test_what_a_wiring_asks_of_its_board_is_read_out_of_it():
    assert ready.asks(b"import json\nimport chip\nfrom mpota_boot import board\nopen('/a')\nopen(name)\n") == (
        ["chip", "json"],
        ["/a"],
    )


def test_a_wiring_of_the_owners_without_a_board_is_refused_before_a_byte(tmp_path):
    own = {"/boot.py": b"import wiring\n", "/wiring.py": b"x = 1\n"}
    path = create(tmp_path / "board.bin", image_maker.image(), files=own)
    with VirtualBoard(path) as board:
        refused_untouched(board, ("/wiring.py", "defines no Board"), "--product", "x", "--force")


@contextmanager
def command_board(path, layout, *more):
    """`mpota board`, and the port that it prints."""
    argv = [sys.executable, "-u", "-m", "mpota_host", "board", "--layout", layout, "--flash", str(path), *more]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, cwd=path.parent) as host:
        try:
            words = host.stdout.readline().split()
            assert words[:4] == ["The", "board", "is", "at"], words
            yield words[4].rstrip(".")
        finally:
            host.terminate()
            host.wait(20)


@pytest.mark.parametrize("layout", layouts())
def test_a_blank_board_of_any_layout_is_ready_after_one_flash_and_starts_again(tmp_path, layout):
    keys.generate(tmp_path / "release.pem")
    flash = ["--layout", layout, "--product", "lamp", "--key", "release.pub"]
    for more, command in ((["--blank"], ["flash", *flash]), ([], ["status"])):
        with command_board(tmp_path / "board.bin", layout, *more) as port:
            for words in (command, ["status"]):
                argv = [sys.executable, "-m", "mpota_host", words[0], "--port", port, *words[1:]]
                done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=90)
                assert done.returncode == 0, done.stderr
            assert "ready" in done.stdout, done.stdout
    again = [sys.executable, "-m", "mpota_host", "board", "--flash", "board.bin", "--layout", layout]
    side = tmp_path / "board.bin.json"
    for text, more in ((side.read_text(), ["--blank"]), ('{"size": 4096}', []), ("no JSON", [])):
        side.write_text(text)
        done = subprocess.run([*again, *more], cwd=tmp_path, capture_output=True, text=True, timeout=60)
        assert done.returncode == 3, "a board that is there is never made blank, and no other file is a board"
