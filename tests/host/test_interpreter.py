"""A Ctrl-C interrupts a virtual board as it interrupts a chip, and no interpreter outlives its supervisor."""

from __future__ import annotations

import ast
import os
import random
import signal
import subprocess
import sys
import textwrap
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import serial

from mpota_host.sim import supervisor
from mpota_host.sim.board import VirtualBoard, create
from mpota_host.sim.supervisor import CTRL_C, Options, Supervisor, Uart, port_environment, unix_port
from mpota_host.sources import CHECKOUT as ROOT
from tests.chips.esp32 import image_maker
from tests.host.test_board import alive, listen

pytestmark = pytest.mark.board

IMAGE = image_maker.image(body=b"old " * 16)
RAW = b"raw REPL; CTRL-B to exit\r\n>"


def new_board(folder: Path, main: bytes, **files: bytes) -> Path:
    named = {f"/{name}.py": text for name, text in files.items()}
    return create(folder / "board.bin", IMAGE, files={"/main.py": main, **named})


# What the handler of interpreter.py does between any two bytecodes, done here by hand.
HOLDS = """
import sys, uctypes
from mpota_host.sim.inside import Interrupts, Wire
shared, word, value = bytearray(3), bytearray(8), 0x1234
i = Interrupts(uctypes.addressof(shared), uctypes.addressof(word), value)
due = value.to_bytes(8, sys.byteorder)
def state():
    return word == due, bytes(shared)
# Nothing came.
i.hold(); i.release(); print(state())
# It was pending already: gone inside, back behind.
word[:] = due; i.hold(); print(state()); i.release(); print(state())
# Nested: only the outermost gives it back.
i.hold(); i.hold(); i.release(); print(state()); i.release(); print(state())
# It came inside, or between hold and release of an inner one.
word[:] = bytes(8); i.hold(); shared[1] += 1; print(state()); i.release(); print(state())
word[:] = bytes(8); i.hold(); i.hold(); shared[1] += 1; i.release(); print(state()); i.release(); print(state())
# Set from outside just when a hold ends, which has nothing to give: it stays.
i.hold(); i.release(); print(state())
word[:] = bytes(8); print(state())
# A method that raises gives it back too.
class Device:
    def readblocks(self):
        raise OSError(5)
Wire(b"", i).shield(Device, "readblocks")
word[:] = due
try:
    Device().readblocks()
except OSError as e:
    print(e.errno, state())
"""


def test_an_interrupt_is_held_back_and_given_once() -> None:
    command = [unix_port(), "-c", HOLDS]
    done = subprocess.run(command, env=port_environment(), cwd=ROOT, capture_output=True, text=True, timeout=20)
    assert done.stdout.splitlines() == [
        r"(False, b'\x00\x00\x00')",
        r"(False, b'\x01\x00\x00')",
        r"(True, b'\x00\x00\x00')",
        r"(False, b'\x01\x00\x00')",
        r"(True, b'\x00\x00\x00')",
        r"(False, b'\x01\x01\x00')",
        r"(True, b'\x00\x01\x01')",
        r"(False, b'\x01\x02\x02')",
        r"(True, b'\x00\x02\x02')",
        r"(True, b'\x00\x02\x02')",
        r"(False, b'\x00\x02\x02')",
        r"5 (True, b'\x00\x02\x02')",
    ], done.stderr


def test_neither_method_of_a_hold_has_a_jump_at_which_the_exception_could_be_raised() -> None:
    text = (ROOT / "host/mpota_host/sim/inside.py").read_text()
    body = text[text.index("    def hold(self):") : text.index("class NoInterrupts")]
    jumps = (ast.If, ast.While, ast.For, ast.BoolOp, ast.IfExp, ast.Assert, ast.Try, ast.comprehension, ast.With)
    tree = ast.parse(textwrap.dedent(body))
    assert len([n for n in ast.walk(tree) if isinstance(n, ast.FunctionDef)]) == 2
    assert not [n for n in ast.walk(tree) if isinstance(n, jumps)]


# Writes, renames and imports until it is interrupted; what it finds afterwards says whether a file system was left
# halfway: each file is whole, each module is found.
WRITER = b"""
import os, sys
def work():
    n = 0
    while True:
        n += 1
        with open("/new.txt", "w") as f:
            f.write("%d\\n" % n * 400)
        os.rename("/new.txt", "/old.txt")
        sys.modules.pop("words", None)
        import words
        assert len(words.WORDS) == 100
caught = 0
print("begin")
while True:
    try:
        work()
    except KeyboardInterrupt:
        caught += 1
        print("caught", caught)
"""


def test_a_ctrl_c_in_the_middle_of_the_file_system_breaks_nothing_and_is_never_lost(tmp_path: Path) -> None:
    seed = random.SystemRandom().randrange(10**6)
    rng = random.Random(seed)
    path = new_board(tmp_path, WRITER, words=b"WORDS = [n for n in range(100)]\n" + b"# filling\n" * 300)
    with VirtualBoard(path) as board:
        listen(board.port, b"begin\r\n")
        with serial.Serial(board.port, timeout=0.05) as line:
            out = b""
            for n in range(1, 101):
                time.sleep(rng.random() * 0.02)
                line.write(CTRL_C)
                end = time.monotonic() + 10
                while b"caught %d\r\n" % n not in out:
                    assert time.monotonic() < end and b"Error" not in out, (seed, n, out[-300:])
                    out += line.read(4096)
        assert out.count(b"caught") == 100, seed
        assert [e["event"] for e in board.events] == ["ready", "reset"]


# What a board may be doing when Ctrl-C comes, and what stands in its answer.
STATES = {
    "busy": b"print('begin')\nwhile True:\n    pass\n",
    "asleep": b"import time\nprint('begin')\ntime.sleep(600)\n",
    "waiting": b"import select, sys\nprint('begin')\np = select.poll()\np.register(sys.stdin, 1)\np.poll(600000)\n",
    "listening": b"import network, socket\nw = network.WLAN(0)\nw.active(1)\nw.connect('any')\n"
    b"while not w.isconnected():\n    pass\ns = socket.socket()\ns.bind(socket.getaddrinfo('127.0.0.1', 0)[0][-1])\n"
    b"s.listen(1)\nprint('begin')\ns.accept()\n",
    "reading": b"import sys\nprint('begin')\nsys.stdin.read(100)\n",
}


@pytest.mark.parametrize("state", STATES)
def test_a_ctrl_c_interrupts_whatever_the_program_does(state: str, tmp_path: Path) -> None:
    with VirtualBoard(new_board(tmp_path, STATES[state])) as board:
        listen(board.port, b"begin\r\n")
        out = listen(board.port, b">>> ", CTRL_C)
        assert b"KeyboardInterrupt" in out and b'File "main.py", line ' in out


def test_a_ctrl_c_typed_while_the_chip_starts_interrupts_what_starts(tmp_path: Path) -> None:
    """And a line typed behind it stays for the prompt."""
    path = new_board(tmp_path, b"print('main ran')\nwhile True:\n    pass\n", boot=b"import time\ntime.sleep(600)\n")
    with VirtualBoard(path) as board:
        assert b"main ran" not in listen(board.port, b"\r\n42\r\n>>> ", b"\r\x03print(6 * 7)\r")


def test_what_is_typed_before_a_soft_reset_is_over_is_not_lost(tmp_path: Path) -> None:
    main = b"import sys\nprint('begin')\nprint('read', sys.stdin.readline())\nwhile True:\n    pass\n"
    with VirtualBoard(new_board(tmp_path, main)) as board:
        listen(board.port, b"begin\r\n")
        # The soft reset, a line for the program that starts then, and a Ctrl-C, all at once.
        out = listen(board.port, b"read typed", b"\r\x03\r\x04typed\n")
        assert b"soft reboot" in out
        assert b"KeyboardInterrupt" in listen(board.port, b">>> ", CTRL_C)
        out = listen(board.port, RAW, b"\r\x04\r\x03\r\x01")
        assert b"soft reboot" in out
        listen(board.port, b"42\r\n\x04\x04>", b"print(6 * 7)\x04")


def test_a_ctrl_c_is_a_character_where_a_program_wants_characters(tmp_path: Path) -> None:
    main = b"import micropython, sys\nmicropython.kbd_intr(-1)\nprint('begin')\nprint(ord(sys.stdin.read(1)))\n"
    main += b"print(sys.stdin.readline())\nmicropython.kbd_intr(3)\nprint('again')\nwhile True:\n    pass\n"
    with VirtualBoard(new_board(tmp_path, main)) as board:
        listen(board.port, b"begin\n")
        listen(board.port, b"3\n", CTRL_C)
        # Those that nobody read before it was switched back are data still.
        listen(board.port, b"again\r\n", b"x\n")
        assert b"KeyboardInterrupt" in listen(board.port, b">>> ", CTRL_C)


def test_the_buffer_knows_which_ctrl_c_was_not_read() -> None:
    uart = Uart()
    try:
        uart.put(b"ab")
        uart.put_ctrl_c()
        uart.put(b"cd")
        assert uart.loose() and uart.far.recv(2) == b"ab" and uart.loose()
        uart.withdraw()
        assert not uart.loose() and uart.far.recv(10) == b"cd"
        uart.put_ctrl_c()
        uart.put(b"e")
        assert uart.far.recv(1) == CTRL_C and not uart.loose() and uart.far.recv(10) == b"e"
        uart.put(b"rest")
        uart.input = b"more"
        uart.clear()
        uart.put(b"new")
        assert uart.far.recv(10) == b"new" and uart.input == b""
    finally:
        uart.close()


@pytest.fixture
def another_port(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Supervisor]:
    """A board in this process whose unix port is a program, as MICROPYTHON may name one."""
    monkeypatch.setattr(supervisor, "library", lambda: None)
    main = b"import time\nprint('begin')\nwhile True:\n    time.sleep(0.05)\n"
    board = Supervisor(new_board(tmp_path, main), Options(), lambda event: None)
    thread = threading.Thread(target=board.run)
    thread.start()
    yield board
    board.stop()
    thread.join(10)


@pytest.mark.skipif(sys.platform != "linux", reason="looks in /proc whether the port's code runs")
def test_another_unix_port_is_interrupted_by_a_signal(another_port: Supervisor) -> None:
    port = another_port.cable.port
    listen(port, b"begin\r\n")
    assert b"KeyboardInterrupt" in listen(port, b">>> ", CTRL_C)
    raw = listen(port, RAW, b"\r\x03\x01")
    assert raw.endswith(RAW)
    listen(port, b"42\r\n\x04\x04>", b"print(6 * 7)\x04")
    listen(port, b"begin\r\n", b"\x02\x04")


def test_where_nobody_says_whether_another_port_runs_code_there_is_no_board(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor, "library", lambda: None)
    monkeypatch.setattr(sys, "platform", "darwin")
    with pytest.raises(supervisor.BoardError, match="or Linux"):
        Supervisor(tmp_path / "board.bin", Options(), lambda event: None)


def gone(path: Path) -> None:
    end = time.monotonic() + 10
    while alive(path):
        assert time.monotonic() < end, "the chip outlived its supervisor"
        time.sleep(0.01)


# What the chip does when its supervisor is killed, and what it has printed by then.
LIVES: dict[str, tuple[bytes, bytes]] = {
    "at the prompt": (b"print('begin')\n", b">>> "),
    "in a loop": (b"import time\nprint('begin')\nwhile True:\n    time.sleep(0.01)\n", b"begin"),
    "busy": (STATES["busy"], b"begin"),
    "asleep": (STATES["asleep"], b"begin"),
    "printing": (b"while True:\n    print('begin')\n", b"begin"),
    "deaf": (b"import micropython\nmicropython.kbd_intr(-1)\nprint('begin')\nwhile True:\n    pass\n", b"begin"),
    "catching all": (
        b"print('begin')\nwhile True:\n    try:\n        while True:\n            pass\n"
        b"    except BaseException:\n        pass\n",
        b"begin",
    ),
    # Its first words may be out before anyone listens.
    "starting": (b"", b""),
}


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
@pytest.mark.parametrize("life", LIVES)
def test_a_killed_supervisor_takes_its_chip_along_and_the_flash_is_free(life: str, tmp_path: Path) -> None:
    main, said = LIVES[life]
    path = new_board(tmp_path, main)
    with VirtualBoard(path) as board:
        listen(board.port, said)
        board.kill()
        # The flash can be opened at once.
        board.on()
        board.wait("reset", cause=supervisor.PWRON)
    gone(path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_host_board_that_is_killed_leaves_nothing(number: int, tmp_path: Path) -> None:
    path = new_board(tmp_path, STATES["busy"])
    command = [sys.executable, "-m", "mpota_host", "board", "--flash", str(path)]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert "The board is at" in process.stdout.readline() and "starts" in process.stdout.readline()
        process.send_signal(number)
        assert process.wait(10) == (-number if number == signal.SIGKILL else 0)
    gone(path)


@pytest.mark.skipif(sys.platform != "linux", reason="looks for the process in /proc")
def test_a_test_that_is_killed_leaves_no_board(tmp_path: Path) -> None:
    path = new_board(tmp_path, STATES["busy"])
    code = (
        "import sys, time\nfrom mpota_host.sim.board import VirtualBoard\nboard = VirtualBoard(sys.argv[1])\n"
        "board.on()\nboard.wait('reset')\nprint('on', flush=True)\ntime.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code, str(path)], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline() == b"on\n"
        process.kill()
    gone(path)


def test_a_board_that_does_not_end_is_killed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mpota_host.sim.board.END_S", 0.5)
    path = new_board(tmp_path, b"")
    board = VirtualBoard(path)
    board.on()
    assert board._process
    os.kill(board._process.pid, signal.SIGSTOP)
    board.off()
    board.on()
    board.wait("reset")
    board.off()
