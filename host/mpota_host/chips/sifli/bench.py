"""What a line carries of an upgrade: a phone, a paced line, and a real board whose manager stores what comes.

The line is `PacedLine` at a baud rate, the board MicroPython's unix port behind its pty with the shipped modules as
.mpy. Time runs from the first packet to the last response; a lost packet is one that arrives damaged.
"""

from __future__ import annotations

import os
import tempfile
import time
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from mpota.layout.sifli.link import messages as m
from mpota_host.bench.figure import AT_LEAST, AT_MOST, Figure
from mpota_host.bench.material import Material
from mpota_host.board.push import FdWire
from mpota_host.chips.sifli import packer, workshop
from mpota_host.chips.sifli.phone import carry
from mpota_host.chips.sifli.phone.phone import Choice, Phone, split
from mpota_host.chips.sifli.sim import machine
from mpota_host.sim.board import VirtualBoard, create_for, mpota_files
from mpota_host.sim.line import PacedLine, open_pair

TITLE = "SiFli: what a line carries of an upgrade"
BAUD = 921600
BYTES = 300_000
# Category, flag, length: what a message has in front of it in its value.
AT = 4


@dataclass
class Figures:
    """`wire`: bytes of the phone, as a share of what the line could have carried; `payload`: those of the image."""

    seconds: float
    sent: int
    wire: float
    payload: float
    lost: int


class PacedWire(FdWire):
    """The far end of a paced line to a port; notes when the first packet left."""

    def __init__(self, port: str, baud: int) -> None:
        import tty

        self.near, far = open_pair()
        self.board = os.open(port, os.O_RDWR | os.O_NOCTTY)
        tty.setraw(self.board)
        self.line = PacedLine(self.near, self.board, baud)
        super().__init__(far)

    def close(self) -> None:
        """Leave the port."""
        self.line.close()
        for fd in (self.near, self.fd, self.board):
            os.close(fd)


def board(folder: Path) -> tuple[Path, workshop.Keys]:
    """A new board, and its keys."""
    keys = workshop.keys(folder / "keys")
    flash = folder / "board.bin"
    if not flash.exists():
        program = workshop.program(20000, 1)
        files = mpota_files({"product": "bench", "layout": "sifli"}, layout="sifli")
        create_for("sifli", flash, program, files, lambda f: machine.make(f, program, keys))
    return flash, keys


def package(folder: Path, size: int) -> tuple[bytes, bytes]:
    """(control packet, wire file) of a resource that is written in place."""
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    private: Any = load_pem_private_key((folder / "keys" / workshop.SIGNING_KEY).read_bytes(), None)
    public, sign = packer.signer(private)
    root = bytes.fromhex((folder / "keys" / workshop.ROOT_KEY).read_text())
    data = b"".join(sha256(b"%d" % i).digest() for i in range(size // 32))
    options = packer.Options(root, public, sign, dfu_id=1, fw_ver=1001000)
    files = packer.pack([packer.Given("res", data, 0, 3)], options)
    return files["ctrl_packet.bin"], files["outres.bin"]


class _Seen:
    """When the packets began and ended; of `loss` of them the middle one is spoiled."""

    def __init__(self, loss: int) -> None:
        self.loss = loss
        self.began = self.ended = 0.0
        self.lost = self.packets = 0

    def spoil(self, value: bytes) -> bool:
        if value[AT : AT + 2] != bytes((m.PACKET, 0)):
            return False
        self.began = self.began or time.perf_counter()
        self.packets += 1
        gone = self.loss > 0 and self.packets % self.loss == self.loss // 2
        self.lost += gone
        return gone

    def step(self, done: int, total: int) -> None:
        if done == total and not self.ended:
            self.ended = time.perf_counter()


def push(folder: Path, baud: int = BAUD, loss: int = 0, size: int = BYTES) -> Figures:
    """One upgrade; of `loss` packets the middle one arrives damaged."""
    flash, _ = board(folder)
    packet, wire = package(folder, size)
    seen = _Seen(loss)
    # A board that was measured before has this very package: a restart brings it again.
    choice = Choice(ahead=2, pause_ms=0, resume=False)
    phone = Phone(packet, [split(3, wire, 512)], lambda: int(time.monotonic() * 1000), choice)
    with VirtualBoard(flash) as running:
        running.wait("reset", image="user")
        drive = carry.Drive(phone, lambda: PacedWire(running.port, baud), baud, step=seen.step)
        drive.spoil = seen.spoil
        drive.run()
    assert phone.done and drive.link
    seconds, sent = seen.ended - seen.began, drive.link.sent
    line = seconds * baud / 10
    return Figures(seconds, sent, sent / line, size / line, seen.lost)


def _share(what: str, share: float, bar: int, note: str) -> Figure:
    return Figure(what, 100 * share, "%", AT_LEAST, bar, note)


def measure(_: Material) -> list[Figure]:
    """A clean line, and one that loses a packet in a hundred."""
    with tempfile.TemporaryDirectory() as folder:
        clean, bad = push(Path(folder)), push(Path(folder), loss=100)
    note = f"{clean.sent:,} bytes in {clean.seconds:.2f} s"
    more = f"{bad.lost} lost; {100 * (bad.sent / clean.sent - 1):.1f} % more bytes"
    return [
        _share(f"wire bytes of a line at {BAUD} baud", clean.wire, 97, note),
        _share(f"payload of a line at {BAUD} baud", clean.payload, 88, "20 packets a response"),
        Figure(
            "one packet lost in a hundred", 100 * (bad.seconds / clean.seconds - 1), "% more time", AT_MOST, 5, more
        ),
    ]
