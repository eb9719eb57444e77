"""The wiring of a SiFli board: its flash by a memory map, its eFuses, its links to phones. Yours to change."""

import json

import chip

import mpota_boot.board
from mpota.layout.sifli.link.server import Server
from mpota.layout.sifli.link.session import Session
from mpota.layout.sifli.policy import Policy, newer
from mpota.layout.sifli.port import Chip
from mpota.layout.sifli.store.control import version
from mpota.layout.sifli.store.progress import IDLE
from mpota.network.net import Net

# The values of the setting `phones`, and who is let in.
PHONES = {
    True: "let in with firmware newer than the one that runs",
    "again": "let in with newer firmware, by `sifli push --restart` with the version that runs",
}
CLOSED = 'none is let in but by cable; `"phones": true` in /mpota.json lets them in'


class Board(mpota_boot.board.Board):
    """One Chip for everything in this program: its journal remembers where it writes next."""

    _chip = None
    # The network, where a setting wants one.
    net = None

    def __init__(self):
        super().__init__()
        if Board._chip is None:
            with open("/memory_map.json") as f:
                Board._chip = Chip(chip.flash(), json.load(f), chip.efuse(), self.feed)
        self.journal = Board._chip.journal

    def port(self):
        found = Board._chip
        found.feed, found.root, found.protected = self.feed, self.root, self.protected
        found.phones = PHONES.get(self.phones(), CLOSED)
        return found

    def phones(self):
        """The setting `phones`; any value that is not known lets no phone in."""
        word = self.settings.get("phones")
        return word if word is True or word == "again" else None


class Served(Server):
    """A Server whose turns keep the board's network too."""

    def turn(self):
        if self.board.net:
            self.board.net.step()
        return super().turn()


def floor():
    """The lowest version that this board takes: the one that was confirmed, in 8 bytes."""
    return Board().layout.floor()


def links(board, console=False, tcp=True):
    """The links that phones come by: the console's line, and a TCP port where the settings name one."""
    from mpota.layout.sifli.link import line

    found = []
    if console:
        import sys

        from micropython import kbd_intr

        kbd_intr(-1)
        found.append(line.Line(sys.stdin.buffer, sys.stdout.buffer))
        found[0].cable = True
    port = tcp and board.setting("phone_port", 0, 65535)
    if port:
        import socket

        board.net = Net(board)
        # A port's sockets begin with its radio.
        board.net.step()
        server = socket.socket()
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(socket.getaddrinfo("0.0.0.0", port)[0][-1])
        server.listen(1)
        server.setblocking(False)
        found.append(line.Tcp(server))
    return found


def server(board, manager=False, why="", **given):
    """Where a phone is served; `why` as the loader says it.

    Whoever is in radio range can send an upgrade that was published. So a phone is let in only if this board's owner
    says so: by the setting `phones`, or with a cable in hand. A button or a bond would be asked for in `accept`.
    """
    chip = board.port()
    word = board.phones()

    def cable():
        return getattr(at.link, "cable", False)

    def accept(found):
        return word is not None or cable()

    def again(fw):
        return (word == "again" or cable()) and version(fw) >= floor()

    policy = Policy(accept, newer(chip, floor), again=again)
    at = Served(Session(chip, policy, board, manager, why), links(board, **given), board)
    return at


def phone():
    """A phone at the console of the user program: until it has what it came for, or has gone without a word."""
    from micropython import kbd_intr

    board = Board()
    # main.py, which was interrupted, holds the port.
    at = server(board, console=True, tcp=False)
    try:
        # A phone that is here answers at once, one that was refused goes, and the console is its owner's again.
        if at.stay(lambda: at.session.state == IDLE and board.since(at.heard) > (2000 if at.link else 10000)):
            board.reset()
    finally:
        kbd_intr(3)
