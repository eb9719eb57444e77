"""A board's REPL over a serial port, through mpremote or through ampy: run a piece of Python there, put a file there.

Both tools give the same two things, so whatever is built on them works with either. Opening interrupts the application
by Ctrl-C; closing restarts it by a soft reset. Not every port can tell one from a real reset, so the board is told
before each: it costs a version on trial nothing.
Whatever goes wrong on the way is a LinkError of one sentence, with the last line of the board's own traceback.
"""

import contextlib
import io
import json
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Protocol

from mpota_boot import errors
from mpota_boot.errors import LinkError, OtaError
from mpota_host.board import raw
from mpota_host.board.errors import PushError
from mpota_host.board.push import SerialWire, Timed, free, tell


class Repl(Protocol):
    """What a tool must give: run code and return what it printed, and restart the application at the end."""

    def run(self, code: str) -> bytes:
        """Run code in the raw REPL, return what it printed."""

    def restart(self) -> None:
        """Restart MicroPython softly and stay in the raw REPL: boot.py runs, main.py does not."""

    def reset(self) -> None:
        """Reset the chip through its loader; the board says nothing after it."""

    def close(self) -> None:
        """Leave the raw REPL, and restart the application unless the chip was reset."""


def raised(traceback: str) -> OtaError:
    """The error that a board's traceback ends with: its own OtaError where it is one, else a LinkError."""
    lines = traceback.strip().splitlines()
    last = lines[-1] if lines else "an error without a word"
    name, _, text = last.partition(": ")
    if "no module named 'device" in last:
        return LinkError("board", "mpota is not on this board; `mpota flash --port ...` puts it there")
    own = getattr(errors, name.rpartition(".")[2], None)
    if isinstance(own, type) and issubclass(own, errors.OtaError):
        return own("board", f"the board says: {text}")
    return LinkError("board", f"the board says: {last}")


TRIES = 4
# Seconds for the way to the prompt, for one piece of code, and to give the application back.
CONNECT_S, RUN_S, LEAVE_S = 20.0, 60.0, 10.0
# Seconds without a byte after which a board has said all it had to say; one that prints without end is not heard out.
QUIET_S, HUSH_S = 0.06, 1.0
# What MicroPython says when a soft reset has begun; a Ctrl-C before it would be lost.
REBOOT = b"soft reboot\r\n"
RESET = "import machine\nmachine.reset()"
# Before a call of mpota/console.py, which is given the Board of the owner's wiring.
WITH_BOARD = "from wiring import Board\nfrom mpota import console\n"
# What a tool and its port raise; mpremote unpacks two bytes that may not have come.
TROUBLE = (OSError, struct.error)
RAW = b"raw REPL; CTRL-B to exit\r\n"


def hush(tool: Any) -> None:
    """Drop what a board that was in the middle of a restart still says, which would be taken for an answer."""
    end = time.monotonic() + HUSH_S
    time.sleep(QUIET_S)
    while tool.serial.in_waiting and time.monotonic() < end:
        tool.serial.read(tool.serial.in_waiting)
        time.sleep(QUIET_S)
    # Both tools read the prompt before they send code, so there has to be a fresh one.
    tool.serial.write(b"\x01")
    tool.read_until(1, RAW)


def _tell_first(board: Any) -> None:
    """The same over an ampy that has not entered the raw REPL yet, for it restarts the board when it does."""
    for keys in (b"\r\x03", b"\x03", b"\r\x01"):
        board.serial.write(keys)
        time.sleep(QUIET_S)
    if board.read_until(1, RAW, timeout=1).endswith(RAW):
        tell(board.exec_)


class Mpremote:
    """The REPL through mpremote's serial transport."""

    PIECE = 1024  # one exec each; mpremote's raw paste has its own flow control

    def __init__(self, port: str) -> None:
        from mpremote.transport import TransportError
        from mpremote.transport_serial import SerialTransport

        self.transport = SerialTransport(port)
        self.line = self.transport.serial = Timed(self.transport.serial, CONNECT_S)
        self.gone = False
        for tries in range(TRIES):
            try:
                with contextlib.redirect_stdout(io.StringIO()):  # mpremote prints what it could not use
                    self.transport.enter_raw_repl(soft_reset=False, timeout_overall=1 + tries)
                hush(self.transport)
                return
            except TransportError:
                # A board in the middle of its restart hears no Ctrl-C.
                if tries == TRIES - 1:
                    self.transport.close()
                    raise
            except TROUBLE:
                self.transport.close()
                raise

    def run(self, code: str) -> bytes:
        from mpremote.transport import TransportExecError

        self.line.allow(RUN_S)
        try:
            return self._run(code)
        except TransportExecError as e:
            raise raised(e.error_output) from e

    def _run(self, code: str) -> bytes:
        return raw.run(self.transport, code)

    def restart(self) -> None:
        self.line.allow(CONNECT_S)
        tell(self._run)
        self.transport.enter_raw_repl(soft_reset=True)

    def reset(self) -> None:
        self.line.allow(RUN_S)
        raw.start(self.transport, RESET)
        self.gone = True

    def close(self) -> None:
        self.line.allow(LEAVE_S)
        try:
            if not self.gone:
                tell(self._run)
                self.transport.exit_raw_repl()
                self.line.write(b"\x04")
                self.transport.read_until(1, REBOOT, timeout=1)
        finally:
            self.transport.close()


class Ampy:
    """The REPL through ampy's copy of pyboard.py, which restarts the board softly when it enters."""

    PIECE = 256  # ampy has no flow control, and a small UART's buffer is 256 bytes

    def __init__(self, port: str) -> None:
        from ampy.pyboard import Pyboard

        self.board = Pyboard(port)
        self.line = self.board.serial = Timed(self.board.serial, CONNECT_S)
        self.gone = False
        try:
            _tell_first(self.board)
            with contextlib.redirect_stdout(io.StringIO()):
                self.board.enter_raw_repl()
            hush(self.board)
        except BaseException:
            self.board.close()
            raise

    def run(self, code: str) -> bytes:
        from ampy.pyboard import PyboardError

        self.line.allow(RUN_S)
        try:
            return bytes(self.board.exec_(code))
        except PyboardError as e:
            raise raised(e.args[2].decode(errors="replace") if len(e.args) > 2 else str(e)) from e

    def restart(self) -> None:
        self.line.allow(CONNECT_S)
        tell(self.board.exec_)
        self.board.enter_raw_repl()

    def reset(self) -> None:
        self.line.allow(RUN_S)
        self.board.exec_raw_no_follow(RESET)
        self.gone = True

    def close(self) -> None:
        self.line.allow(LEAVE_S)
        try:
            if not self.gone:
                tell(self.board.exec_)
                self.board.exit_raw_repl()
                self.line.write(b"\x04")
                self.board.read_until(1, REBOOT, timeout=1)
        finally:
            self.board.close()


TOOLS: dict[str, Callable[[str], Mpremote | Ampy]] = {"mpremote": Mpremote, "ampy": Ampy}


def _connect(port: str, tool: str) -> Mpremote | Ampy:
    from ampy.pyboard import PyboardError
    from mpremote.transport import TransportError

    try:
        # A host that was killed in the middle of a push leaves a console to which Ctrl-C is data.
        _free(port)
        return TOOLS[tool](port)
    except (TransportError, PyboardError, *TROUBLE) as e:
        raise LinkError(
            "port", f"no MicroPython prompt at {port} ({e}); is it the board's port, and does no other program hold it?"
        ) from e


def _free(port: str) -> None:
    """End the session that an earlier push left behind."""
    import serial

    with contextlib.suppress(PushError), serial.Serial(port, 115200, write_timeout=10) as line:
        free(SerialWire(line))


@contextmanager
def open_board(port: str, tool: str = "mpremote") -> Iterator[Mpremote | Ampy]:
    """The board at `port`, interrupted; its application starts again at the end."""
    from ampy.pyboard import PyboardError
    from mpremote.transport import TransportError

    repl = _connect(port, tool)
    try:
        yield repl
        repl.close()
    except (TransportError, PyboardError, *TROUBLE) as e:
        raise LinkError("port", f"the board at {port} stopped answering ({e}); plug it in again and repeat") from e
    except BaseException:
        _leave(repl)
        raise


def _leave(repl: Mpremote | Ampy) -> None:
    """Give the application back to a board after an error, as far as the board still listens."""
    try:
        repl.close()
    except Exception as e:
        raise LinkError("port", f"the board stopped answering ({e}); plug it in again and repeat") from e


# The answer goes out in one piece between two characters of its own: what a thread prints stands before or behind it.
# The code has names of its own, for a thread of main.py prints by the `print` that the REPL sees.
FIRST, LAST = "\x1e", "\x1f"
FENCED = """
def say(*words):
 print('\\x1e' + ' '.join([str(word) for word in words]) + '\\x1f')
exec(%r, {'print': say})
del say
"""


def ask(repl: Repl, code: str) -> Any:
    """Run code that prints one JSON value as a text; return the value."""
    out = repl.run(FENCED % code).decode(errors="replace")
    answer = out.rpartition(FIRST)[2].partition(LAST)[0].strip()
    try:
        return json.loads(answer.splitlines()[-1])
    except (ValueError, IndexError) as e:
        raise LinkError("board", f"the board answered {out.strip()[-80:]!r}, wanted JSON") from e


def put(repl: Mpremote | Ampy, path: str, data: bytes) -> None:
    """Write a file on the board, in pieces that its line can take."""
    repl.run(f"f=open({path!r},'wb')\nw=f.write")
    for off in range(0, len(data), repl.PIECE):
        repl.run(f"w({data[off : off + repl.PIECE]!r})")
    repl.run("f.close()")
