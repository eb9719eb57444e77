"""Code for the raw REPL over mpremote's serial transport, where threads of the board print between its answers.

mpremote itself takes each byte of the raw-paste mode for the board's answer, so one line of a thread ends it.
"""

import time
from typing import Any

PASTE = b"\x05A\x01"
# The board's answers: it can, it cannot, it does not know the mode and shows its banner again.
CAN, CANNOT, BANNER = b"R\x01", b"R\x00", b"raw REPL; CTRL-B to exit\r\n"
MORE, END = b"\x01", b"\x04"
# What stands between the two ends of an answer when the code raised.
TRACEBACK = b"Traceback (most recent call last)"


def start(board: Any, code: str) -> None:
    """Have the board run code; whoever wants its output reads on."""
    _until(board, b">")
    if board.use_raw_paste:
        board.serial.write(PASTE)
        board.use_raw_paste = _until(board, CAN, CANNOT, BANNER).endswith(CAN)
    (_paste if board.use_raw_paste else _type)(board, code.encode())


def run(board: Any, code: str) -> bytes:
    """What the code printed, with what threads printed beside it; TransportExecError where it raised."""
    from mpremote.transport import TransportExecError

    start(board, code)
    out, err = _until(board, END)[:-1], _until(board, END)[:-1]
    if TRACEBACK in err:
        raise TransportExecError(out, err[err.index(TRACEBACK) :].decode(errors="replace"))
    return out


def _until(board: Any, *ends: bytes) -> bytes:
    from mpremote.transport import TransportError

    data: bytes = board.read_until(1, ends)
    if not data.endswith(ends):
        raise TransportError(f"the board says {data[-80:]!r}, wanted {ends[0]!r}")
    return data


def _paste(board: Any, code: bytes) -> None:
    """As much at once as the board has room for; it asks for more by one byte."""
    head = _until(board, MORE)
    if head[-2:-1] == b"\0" and head[-3:-2] < b" ":
        # A window of 256 bytes has that byte in it.
        head += _until(board, MORE)
    window = int.from_bytes(head[-3:-1], "little")
    room = window
    while code:
        if not room:
            if _until(board, MORE, END).endswith(END):
                # It wants no more, for example after a Ctrl-C.
                board.serial.write(END)
                return
            room = window
        board.serial.write(code[:room])
        code, room = code[room:], max(0, room - len(code))
    board.serial.write(END)
    _until(board, END)


def _type(board: Any, code: bytes) -> None:
    """For a board without the raw-paste mode, as slowly as mpremote does it."""
    for off in range(0, len(code), 256):
        board.serial.write(code[off : off + 256])
        time.sleep(0.01)
    board.serial.write(END)
    _until(board, b"OK")
