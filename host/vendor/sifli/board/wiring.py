"""The wiring of a SiFli board: its flash by a memory map, its eFuses, its links to phones. Yours to change."""

import json

import chip

import device.board
from device.layout.sifli.chip import Chip
from device.layout.sifli.desk import Desk
from device.layout.sifli.gate import Gate
from device.layout.sifli.progress import IDLE
from device.layout.sifli.session import Session


class Board(device.board.Board):
    """One Chip for everything in this program: its journal remembers where it writes next."""

    _chip = None

    def __init__(self):
        super().__init__()
        if Board._chip is None:
            with open("/memory_map.json") as f:
                Board._chip = Chip(chip.flash(), json.load(f), chip.efuse(), self.feed)
        self.journal = Board._chip.journal

    def port(self):
        found = Board._chip
        found.feed, found.root, found.protected = self.feed, self.root, self.protected
        return found


# So that `status` and `confirm` of a host find this board too.
device.board.Board = Board


def admits(fw):
    """Only firmware that is no older than what was confirmed: X * 1000000 + Y * 1000 + Z."""
    floor = Board().layout.floor()
    x, y, z = [int.from_bytes(floor[i : i + 2], "big") for i in (0, 2, 4)]
    return fw >= x * 1000000 + y * 1000 + z


def links(board, console=False, tcp=True):
    """The links that phones come by: the console's line, and a TCP port where the settings name one."""
    from device.layout.sifli import line

    found = []
    if console:
        import sys

        from micropython import kbd_intr

        kbd_intr(-1)
        found.append(line.Line(sys.stdin.buffer, sys.stdout.buffer))
    port = tcp and board.setting("phone_port", 0, 65535)
    if port:
        import socket

        board.connect()
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
        server.listen(1)
        server.setblocking(False)
        found.append(line.Tcp(server))
    return found


def desk(board, manager=False, why="", **given):
    """Where a phone is served; `why` as the loader says it."""
    gate = Gate(lambda found: True, admits)
    return Desk(Session(board.port(), gate, board, manager, why), links(board, **given), board)


def phone():
    """A phone at the console of the user program: until it has what it came for, or has gone without a word."""
    from micropython import kbd_intr

    board = Board()
    # main.py, which was interrupted, holds the port.
    at = desk(board, console=True, tcp=False)
    try:
        # A phone that is here answers at once, one that was refused goes, and the console is its owner's again.
        if at.stay(lambda: at.session.state == IDLE and board.since(at.heard) > (2000 if at.link else 10000)):
            board.reset()
    finally:
        kbd_intr(3)
