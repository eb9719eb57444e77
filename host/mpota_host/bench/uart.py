"""A push over the UART of an ESP32, in virtual time: the share of the line that is payload, and what was lost.

Real are both ends of the link, the agent, the installer, the ESP32's layout, its journal in NVS and the flash's rules;
the clock, the line and the chip's times are mpota_host/sim/uart.py. The slot is in use, so every sector is erased; a
slot that was never used costs the same, since the installer erases it too.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mpota.agent import Agent
from mpota.layout.esp32 import table
from mpota_boot import shim
from mpota_host.bench.figure import AT_LEAST, Figure
from mpota_host.bench.material import PRODUCT, SLOT, Material
from mpota_host.bench.memory import DEFAULT_ROOM
from mpota_host.board.push import Report, Sender
from mpota_host.registry import part_of
from mpota_host.sim import uart
from mpota_host.sim.reset import PWRON

soc = part_of("esp32", "sim.soc")
# Percent of the line, by baud rate.
BARS = {115200: 90, 460800: 63}


@dataclass
class Push:
    """How a push ended. `share`: payload's part of the line between the first acknowledgement and the last."""

    report: Report | None
    share: float
    lost: int
    seconds: float
    image: bytes


def chip(old: bytes, product: str, keys: list[bytes] | None, slot: int) -> Any:
    """An ESP32 that runs `old` and has slots of so many bytes, each in use."""
    rows = soc.rows(slot)
    nvs = table.find(rows, table.DATA, table.NVS)
    flash = uart.Flash(max(row.offset + row.size for row in rows), overwrite=[(nvs.offset, nvs.size)])
    made = soc.Soc(rows, {"product": product, "room": 16384}, keys, flash)
    made.write(made.row("ota_0").offset, old)
    made.write(made.row("ota_1").offset, bytes(slot))
    return made


def push(made: Any, sender: Sender, line: uart.Line, pair: tuple[int, int] = (2048, 242)) -> Push:
    """As mpota/console.py, `push`, on this line; but progress is told at every step, which costs the line more."""
    seen: list[tuple[float, int]] = []
    sender.on_progress = lambda done, total: seen.append((line.now, done))
    board = made.power_on(PWRON)
    shim.boot(lambda: board)
    made.flash.work = line.work
    link = uart.Board(line, *pair)
    agent = Agent(board, [link], board.keys())
    agent.trial = None
    while agent.step() == "busy":
        link.progress(*agent.progress)
    link.bye()
    made.flash.work = lambda ms: None
    (began, first), (ended, last) = seen[0], seen[-1]
    share = (last - first) * line.byte_ms / (ended - began)
    return Push(sender.report, share, line.lost, line.now / 1000, made.image("ota_1", made.row("ota_1").size))


def measure(material: Material) -> list[Figure]:
    """The real firmware, not compressed."""
    package = material.offer("raw", DEFAULT_ROOM).path.read_bytes()
    found = []
    for baud, bar in BARS.items():
        sender = Sender(package)
        done = push(chip(material.old, PRODUCT, [material.public], SLOT), sender, uart.Line(sender, baud))
        if done.lost or done.report is None or done.report.code != "armed" or not done.image.startswith(material.new):
            raise RuntimeError(f"the board reports {done.report} and lost {done.lost} bytes, wanted armed and none")
        note = f"virtual time, {done.seconds:.0f} s, every sector erased, 0 bytes lost"
        found.append(Figure(f"ESP32's UART at {baud} baud", 100 * done.share, "%", AT_LEAST, bar, note))
    return found
