"""The virtual board behaves as an ESP32 does: to stock mpremote and ampy, over resets, and when its power goes."""

import hashlib
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from mpota_host.board.repl import open_board
from mpota_host.chips.esp32.sim.tables import TABLES
from mpota_host.command.cli import PUSH
from mpota_host.sim import supervisor
from mpota_host.sim.board import BoardError, Options, VirtualBoard, create, mpota_files, write_files
from mpota_host.sim.supervisor import HARD, PWRON, SOFT, WDT, Cook, Mode, Tap
from tests.chips.esp32 import image_maker

OLD, NEW = image_maker.image(body=b"old " * 16), image_maker.image(body=b"new " * 16)
SLOT = {"ota_0": 0x10000, "ota_1": 0x190000}

# What an application does to a new image: write the other slot, flip, reset.
STAGE = """
import esp32, machine
other = esp32.Partition(esp32.Partition.RUNNING).get_next_update()
image = bytes.fromhex("%s")
for i in range(0, len(image), 4096):
    block = image[i : i + 4096]
    other.writeblocks(i // 4096, block + b"\\xff" * (4096 - len(block)))
other.set_boot()
"""
FACTS = "import machine, esp32; print(machine.reset_cause(), esp32.Partition(1).info()[4])"
WAIT = b"import time\nwhile True:\n    time.sleep(0.05)\n"


def sha(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def new_board(folder: Path, **kw: object) -> Path:
    return create(folder / "board.bin", OLD, **kw)  # type: ignore[arg-type]


def client(*command: str) -> str:
    """A stock tool, run as its user runs it; what it printed."""
    tool = str(Path(sys.executable).with_name(command[0]))
    done = subprocess.run([tool, *command[1:]], capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def listen(port: str, until: bytes, send: bytes = b"", timeout: float = 10) -> bytes:
    """What a terminal shows until it shows `until`."""
    with serial.Serial(port, timeout=0.05) as line:
        line.write(send)
        out, end = b"", time.monotonic() + timeout
        while until not in out:
            assert time.monotonic() < end, out
            out += line.read(4096)
        return out


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Iterator[VirtualBoard]:
    """One board for all tests that leave it as it was."""
    files = {"boot.py": b"print('boot ran')\n", "main.py": b"print('main ran')\n" + WAIT, "/lib/one.py": b"ONE = 1\n"}
    with VirtualBoard(new_board(tmp_path_factory.mktemp("board"), files=files)) as board:
        board.wait("reset", cause=PWRON, image="ota_0")
        yield board


def test_mpremote_lists_copies_runs_and_removes(board: VirtualBoard, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text("import one\nprint('hello', one.ONE)\n" + "# filling\n" * 500)
    connect = ("mpremote", "connect", board.port)
    assert "boot.py" in client(*connect, "fs", "ls")
    assert client(*connect, "run", str(script)) == "hello 1\n"
    client(*connect, "fs", "cp", str(script), ":copy.py")
    back = tmp_path / "back.py"
    client(*connect, "fs", "cp", ":copy.py", str(back))
    assert back.read_bytes() == script.read_bytes()
    client(*connect, "fs", "rm", ":copy.py")
    assert "copy.py" not in client(*connect, "resume", "fs", "ls")


def test_mpremote_resets_softly_and_hard(board: VirtualBoard) -> None:
    connect = ("mpremote", "connect", board.port)
    client(*connect, "soft-reset")
    board.wait("soft")
    assert client(*connect, "resume", "exec", FACTS).split() == [str(SOFT), "ota_0"]
    client(*connect, "reset")
    board.wait("reset", cause=HARD)
    assert client(*connect, "resume", "exec", FACTS).split() == [str(HARD), "ota_0"]


def test_mpremote_mounts_a_folder_of_the_pc(board: VirtualBoard, tmp_path: Path) -> None:
    (tmp_path / "far.py").write_text("print('from afar')\n")
    out = client("mpremote", "connect", board.port, "mount", str(tmp_path), "exec", "import far")
    assert "from afar\n" in out


def test_ampy_puts_gets_runs_and_resets(board: VirtualBoard, tmp_path: Path) -> None:
    script = tmp_path / "hello.py"
    script.write_text("print('hello')\n")
    ampy = ("ampy", "-p", board.port)
    client(*ampy, "put", str(script), "put.py")
    assert client(*ampy, "get", "put.py").strip() == script.read_text().strip()
    assert client(*ampy, "run", str(script)) == "hello\n"
    client(*ampy, "reset", "--hard")
    board.wait("reset", cause=HARD)


def test_ctrl_d_keeps_the_mode_the_client_is_in(board: VirtualBoard) -> None:
    listen(board.port, b"raw REPL; CTRL-B to exit\r\n>", b"\r\x03\x03\r\x01")
    raw = listen(board.port, b"raw REPL; CTRL-B to exit\r\n>", b"\x04")
    # Raw mode: boot.py runs, main.py does not, and the friendly banner is never seen.
    assert raw == b"OK\r\nMPY: soft reboot\r\nboot ran\r\nraw REPL; CTRL-B to exit\r\n>"
    friendly = listen(board.port, b"main ran\r\n", b"\x02\x04")
    assert friendly.endswith(b"MPY: soft reboot\r\nboot ran\r\nmain ran\r\n")


def test_ctrl_c_ends_main_in_the_friendly_repl(board: VirtualBoard) -> None:
    listen(board.port, b"main ran", b"\r\x03\x02\x04")
    out = listen(board.port, b">>> ", b"\x03")
    assert b"KeyboardInterrupt" in out and b'File "main.py", line ' in out


def test_a_port_lost_between_two_prompts_returns_to_the_repl(board: VirtualBoard) -> None:
    for _ in range(3):
        listen(board.port, b"main ran", b"\r\x03\x02\x04")
        assert b">>> " in listen(board.port, b">>> ", b"\x03\x03\x03\x03\x03\r")
    assert board.run("print(6 * 7)") == "42\n"


def test_binary_bytes_pass_unchanged_while_the_interrupt_is_off(board: VirtualBoard) -> None:
    code = (
        "import micropython, sys\nmicropython.kbd_intr(-1)\nsys.stdout.buffer.write(b'go')\n"
        "buf = bytearray(256)\nn = 0\nwhile n < 256:\n    n += sys.stdin.buffer.readinto(memoryview(buf)[n:])\n"
        "sys.stdout.buffer.write(buf)\nmicropython.kbd_intr(3)\nprint('end')\n"
    )
    every = bytes(range(256))
    listen(board.port, b"raw REPL; CTRL-B to exit\r\n>", b"\r\x03\r\x01")
    listen(board.port, b"OKgo", code.encode() + b"\x04")
    assert listen(board.port, b"end\r\n\x04\x04>", every).startswith(every + b"end\r\n")
    listen(board.port, b">>> ", b"\x02")


def test_the_modules_of_an_esp32_are_there(board: VirtualBoard) -> None:
    code = """
import binascii, esp, esp32, machine, network, os, socket, sys, time
P = esp32.Partition
print([p.info()[4] for t in (P.TYPE_APP, P.TYPE_DATA) for p in P.find(t)], os.statvfs('/')[2])
head = bytearray(4); esp.flash_read(0x8000, head); print(bytes(head), esp.flash_size())
nvs = esp32.NVS('t'); nvs.set_i32('n', 7); nvs.commit(); print(nvs.get_i32('n'))
def found():
    try:
        return len(socket.getaddrinfo('127.0.0.1', 80)) > 0
    except OSError as e:
        return e.errno
wlan = network.WLAN(network.STA_IF); wlan.active(True); print(wlan.isconnected(), found())
wlan.connect('any', 'word')
while not wlan.isconnected(): time.sleep_ms(10)
print(found(), esp32.raw_temperature(), machine.unique_id(), sys.path)
print([m for m in sys.modules if m.startswith('mpota')])
"""
    assert board.run(code).splitlines() == [
        "['ota_0', 'ota_1', 'nvs', 'otadata', 'phy_init', 'vfs'] 240",
        "b'\\xaaP\\x01\\x02' 4194304",
        "7",
        "False -202",
        "True 128 b'\\x02mpota' ['', '.frozen', '/lib']",
        "[]",
    ]


def test_a_new_image_is_tried_and_a_reset_without_confirm_goes_back(tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path)) as board:
        board.wait("repl")
        board.run(STAGE % NEW.hex())
        client("mpremote", "connect", board.port, "reset")
        board.wait("reset", cause=HARD, image="ota_1")
        assert board.run(FACTS).split() == [str(HARD), "ota_1"]
        client("mpremote", "connect", board.port, "reset")
        board.wait("reset", cause=HARD, image="ota_0")
        # Confirmed this time; a soft reset in between is no reset to the loader.
        board.run(STAGE % NEW.hex())
        client("mpremote", "connect", board.port, "reset")
        board.wait("reset", image="ota_1")
        board.wait("repl")
        client("mpremote", "connect", board.port, "soft-reset")
        board.run("import esp32; esp32.Partition.mark_app_valid_cancel_rollback()")
        client("mpremote", "connect", board.port, "reset")
        board.wait("reset", image="ota_1")


def test_without_rollback_in_the_bootloader_nothing_goes_back(tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path), Options(rollback=False)) as board:
        board.wait("repl")
        board.run(STAGE % NEW.hex())
        for _ in range(2):
            client("mpremote", "connect", board.port, "reset")
            board.wait("reset", image="ota_1")
            board.wait("repl")


@pytest.mark.parametrize(
    ("app", "idf", "state"), [(True, "5.5.2", 0), (False, "5.5.2", 0xFFFFFFFF), (True, "master", 0)]
)
def test_the_running_build_and_not_the_bootloader_says_new_or_undefined(
    app: bool, idf: str, state: int, tmp_path: Path
) -> None:
    path = new_board(tmp_path)
    with VirtualBoard(path, Options(app_rollback=app, idf=idf)) as board:
        board.wait("repl")
        board.run(STAGE % NEW.hex())
    # The first boot of a blank otadata wrote sector 0, so the staged entry is in sector 1.
    entry = path.read_bytes()[0xE000:0xE020]
    assert (int.from_bytes(entry[:4], "little"), int.from_bytes(entry[24:28], "little")) == (2, state)


def test_an_image_that_dies_before_boot_py_is_left(tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path)) as board:
        board.behave(NEW, "dies")
        board.wait("repl")
        board.run(STAGE % NEW.hex())
        client("mpremote", "connect", board.port, "reset")
        board.wait("reset", image="ota_1", behaviour="dies")
        board.wait("abort")
        board.wait("reset", cause=HARD, image="ota_0", behaviour="fine")


def test_an_image_that_hangs_is_reset_by_the_watchdog_its_boot_py_armed(tmp_path: Path) -> None:
    files = {
        "boot.py": b"import machine\nmachine.WDT(0, 300)\n",
        "main.py": b"from machine import WDT\nd = WDT(0, 300)\n"
        b"import time\nwhile True:\n    d.feed()\n    time.sleep_ms(10)\n",
    }
    with VirtualBoard(new_board(tmp_path, files=files)) as board:
        board.behave(OLD, "hangs")
        board.off()
        board.on()
        board.wait("reset", cause=WDT, behaviour="hangs")
        board.behave(OLD, "fine")
        board.wait("reset", cause=WDT, behaviour="fine")
        # Fed, it stays; a soft reset does not stop the dog, which then bites because nobody feeds it in the raw REPL.
        time.sleep(0.5)
        assert [e["event"] for e in board.events[-1:]] == ["reset"]
        client("mpremote", "connect", board.port, "exec", "pass")
        board.wait("soft")
        board.wait("reset", cause=WDT)


def test_an_unhealthy_image_is_hot_and_one_without_network_never_joins(tmp_path: Path) -> None:
    code = (
        "import esp32, network, time; w = network.WLAN(0); w.active(1); w.connect('any'); time.sleep_ms(300);"
        "print(esp32.raw_temperature(), w.isconnected())"
    )
    path = new_board(tmp_path)
    for behaviour, wanted in (("unhealthy", "255 True\n"), ("no-network", "128 False\n")):
        with VirtualBoard(path) as board:
            board.behave(OLD, behaviour)
            board.off()
            board.on()
            board.wait("repl")
            assert board.run(code) == wanted


def test_main_runs_only_if_boot_raised_nothing_and_system_exit_is_a_soft_reset(tmp_path: Path) -> None:
    path = new_board(tmp_path, files={"boot.py": b"1 / 0\n", "main.py": b"print('main ran')\n"})
    with VirtualBoard(path) as board:
        board.wait("repl")
        # The prompt of the run before may still be on its way.
        out = listen(board.port, b"ZeroDivisionError", b"\x04")
        out += listen(board.port, b">>> ", b"\r")
        assert b"ZeroDivisionError" in out and b"main ran" not in out
    write_files(
        path, {"boot.py": b"", "main.py": b"import machine, sys\nif machine.reset_cause() != 5:\n    sys.exit()\n"}
    )
    with VirtualBoard(path) as board:
        board.wait("soft")
        board.wait("repl")
        assert board.run(FACTS).split()[0] == str(SOFT)


def test_writing_what_runs_aborts_the_chip(tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path)) as board:
        board.wait("repl")
        listen(board.port, b"raw REPL; CTRL-B to exit\r\n>", b"\r\x03\r\x01")
        out = listen(board.port, b"rst:", b"import esp\ntry:\n    esp.flash_erase(16)\nexcept:\n    print('no')\n\x04")
        assert b"abort() was called" in out and b"no\r" not in out
        board.wait("reset", cause=HARD)


def test_deep_sleep_wakes_what_slept_without_the_loader(tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path)) as board:
        board.wait("repl")
        board.run(STAGE % NEW.hex())
        listen(board.port, b"rst:0x5", b"\r\nimport machine; machine.deepsleep(200)\r\n")
        board.wait("reset", cause=4, image="ota_0")
        assert board.run("import machine; print(machine.reset_cause(), machine.wake_reason())") == "4 4\n"


def alive(flash: Path) -> bool:
    """Whether any process has the flash open."""
    for fd in Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if fd.readlink() == flash:
                return True
        except OSError:
            continue
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_sigkill_takes_the_chip_along_and_the_flash_keeps_what_was_written(tmp_path: Path) -> None:
    # It writes until it is killed: block 60 and those behind it again and again.
    main = (
        b"import esp32, time\np = esp32.Partition(1).get_next_update()\ni = 0\nwhile True:\n"
        b"    p.writeblocks(i if i < 60 else 60 + i % 8, bytes((i & 255,)) * 4096)\n    print('block', i)\n    i += 1\n"
        b"    time.sleep_ms(5)\n"
    )
    path = new_board(tmp_path, files={"main.py": main})
    with VirtualBoard(path) as board:
        out = listen(board.port, b"block 40\r\n")
        board.kill()
        end = time.monotonic() + 5
        while alive(path):
            assert time.monotonic() < end, "the chip outlived its power"
        flash = path.read_bytes()
        last = int(out.rpartition(b"\r\n")[0].split(b"block ")[-1])
        for i in range(min(last, 60)):
            off = SLOT["ota_1"] + i * 4096
            assert flash[off : off + 4096] == bytes((i & 255,)) * 4096
        assert last >= 40 and flash[SLOT["ota_1"] + 68 * 4096 :][:4096] == b"\xff" * 4096
        board.on()
        board.wait("reset", cause=PWRON, image="ota_0")


HELD = """
import sys
from mpota_host.sim.flash import Held
flash = Held(8192, path=sys.argv[1])
flash.hold = 4100
for off in 0, 4096, 4104:
    print(off, flush=True)
    flash.prog(off, b"12345678")
"""


def test_a_bootloader_that_is_held_has_written_there_and_ends_with_the_power(tmp_path: Path) -> None:
    path = tmp_path / "flash.bin"
    path.write_bytes(b"\xff" * 8192)
    done = subprocess.run([sys.executable, "-c", HELD, str(path)], input="", capture_output=True, text=True, timeout=30)
    assert (done.stdout.split(), done.returncode) == (["0", "4096"], 1), done.stderr
    assert path.read_bytes()[4096:4106] == b"12345678\xff\xff"


def test_two_boards_never_open_one_flash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = new_board(tmp_path)
    with VirtualBoard(path) as board:
        board.wait("repl")
        with pytest.raises(BoardError, match="belongs to a board that runs"):
            VirtualBoard(path).on()
        monkeypatch.setattr(supervisor, "LOCK_S", 0.0)
        with pytest.raises(BoardError, match="belongs to a board that runs"):
            write_files(path, {})


def test_no_image_that_starts_means_resets_for_ever(tmp_path: Path) -> None:
    path = create(tmp_path / "board.bin", b"no image")
    with VirtualBoard(path) as board:
        for cause in (PWRON, HARD, HARD):
            board.wait("reset", cause=cause, image=None)
        assert b"No bootable app partitions" in listen(board.port, b"partitions")


def test_a_board_refuses_what_it_cannot_be(tmp_path: Path) -> None:
    path = new_board(tmp_path)
    for call, words in (
        (lambda: create(path, OLD), "there already"),
        (lambda: create(tmp_path / "x", OLD, table="5MiB"), "no table '5MiB'"),
        (lambda: create(tmp_path / "x", bytes(0x180001)), "holds 1572864"),
        (lambda: VirtualBoard(path).behave(OLD, "odd"), "behave 'odd'"),
        (lambda: VirtualBoard(tmp_path / "none").on(), "create the board first"),
    ):
        with pytest.raises(BoardError, match=words):
            call()


@pytest.mark.parametrize("name", ["4MiBplus", "arduino-nano"])
def test_other_tables_boot_and_have_a_file_system(name: str, tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path, table=name, files={"note.txt": b"kept"})) as board:
        board.wait("repl")
        out = board.run("import esp32; print(open('/note.txt').read(), esp32.Partition(1).info()[4])")
        assert out.split() == ["kept", {"4MiBplus": "factory", "arduino-nano": "app0"}[name]]


def test_the_tables_are_those_that_espressifs_tool_made() -> None:
    import json

    from mpota.layout.esp32 import table

    vectors = Path(__file__).parents[1] / "vectors" / "esp32_partition_tables.json"
    made = [bytes.fromhex(t["hex"]) for t in json.loads(vectors.read_text())["tables"].values()]
    for size, rows in TABLES.values():
        data = table.encode(rows)
        assert any(data.startswith(blob) for blob in made)
        assert max(row[2] + row[3] for row in rows) <= size


def test_the_tap_takes_words_out_of_the_bytes_wherever_they_are_cut() -> None:
    mark = b"\x00MARK123"
    stream = b"one\x00MA" + mark + b"wdt 5 1\n" + b"\x00" + mark + b"feed\n" + b"end"
    for step in range(1, len(stream)):
        tap, words, out = Tap(mark), [], b""
        for i in range(0, len(stream), step):
            for part in tap.feed(stream[i : i + step]):
                if isinstance(part, str):
                    words.append(part)
                else:
                    out += part
        assert words == ["wdt 5 1", "feed"] and out == b"one\x00MA\x00end"


def test_the_tap_keeps_no_byte_for_ever_but_a_word() -> None:
    tap = Tap(b"\x00MARK123")
    assert list(tap.feed(b"answer\x00")) == [b"answer"] and tap.flush() == b"\x00"
    assert list(tap.feed(b"\x00MARK123wd")) == [] and tap.flush() == b""
    assert list(tap.feed(b"t 5 1\n")) == ["wdt 5 1"] and tap.flush() == b""


def test_a_lone_line_feed_gets_its_carriage_return_wherever_it_is_cut() -> None:
    stream = b"\na\r\nb\n\nc\rd\r"
    for step in range(1, len(stream) + 1):
        cook = Cook()
        out = b"".join(cook.feed(stream[i : i + step]) for i in range(0, len(stream), step))
        assert out == b"\r\na\r\nb\r\n\r\nc\rd\r"


def test_the_mode_is_the_last_prompt_and_a_hard_reset_forgets_it() -> None:
    for step in (1, 5, 1000):
        mode = Mode()
        for prompt, raw in ((supervisor.RAW_PROMPT, True), (supervisor.FRIENDLY_PROMPT, False)) * 2:
            text = b"x" + prompt + b"y"
            for i in range(0, len(text), step):
                mode.watch(text[i : i + step])
            assert mode.raw == raw
        mode.watch(supervisor.RAW_PROMPT)
        mode.friendly()
        mode.watch(b"z")
        assert not mode.raw


def test_a_push_whose_host_died_is_ended_by_the_watchdog(tmp_path: Path) -> None:
    files = mpota_files({"product": "virtual", "wdt_ms": 2000})
    with VirtualBoard(new_board(tmp_path, files=files)) as board:
        listen(board.port, b">>> ", b"\x03")
        listen(board.port, b"raw REPL; CTRL-B to exit\r\n>", b"\r\x03\x03\r\x01")
        # The board asks for a package, and a host that has begun a frame says no more.
        listen(board.port, b"\xf5\x4d", PUSH.encode() + b"\x04")
        listen(board.port, b"", b"\xf5\x4d\x07")
        board.wait("reset", cause=WDT)
        with open_board(board.port) as line:
            assert line.run("print(6 * 7)") == b"42\r\n"
