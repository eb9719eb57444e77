"""`make demo LAYOUT=bk7238`: an RBL made, signed, fetched, judged; the power goes in the loader's install.

The board is in this process: the shipped agent, layout and loader on a simulated 2 MiB flash. Its application is a real
firmware's bytes, linked where a BK7238 wants them, which nothing here executes.
"""

from __future__ import annotations

import struct
import time
from typing import Any

from rich.console import Console

from device import shim
from device.agent import Agent
from device.errors import Corrupt
from device.layout.bk7238 import rbl
from device.store.journal import trial
from device.version import text
from host import keys
from host.pack import Options as Outer
from host.pack import pack as sign
from host.sim import bk7238 as sim
from host.sim import soc
from host.sim.board import real_firmware
from host.sim.cut.drive import Offer
from host.sim.cut.hostile import make_keys
from host.sim.flash import PowerCut
from host.vendor.bk7238 import packer, verdict

PRODUCT = "plug"
IMAGE = 700001
out = Console(highlight=False, soft_wrap=True)


def app(seed: int) -> bytes:
    """An application of real code, with the word at 32 that says where it is linked."""
    data = bytearray(real_firmware("0831").read_bytes()[0x10000 + seed * 4096 :][:IMAGE])
    data[32:36] = struct.pack("<I", 0x10000 + 0x100 * seed)
    return bytes(data)


def package(data: bytes, n: int, compress: str, **more: Any) -> bytes:
    """The RBL of release `n`."""
    given = {"crypt": "aes", "key": rbl.KEY.decode(), "iv": rbl.IV.decode(), "time": 1700000000 + n, **more}
    return packer.pack(data, packer.Options(f"1.0.{n}", "app", compress, **given))


def boot(chip: Any, cause: int) -> Any:
    """Reset through the loader to main.py."""
    board = chip.power_on(cause)
    out.print(f"  reset: the loader says: {chip.started.why}")
    shim.boot(lambda: board)
    return chip.run(cause)


def update(board: Any, release: bytes) -> Any:
    """Steps of the shipped agent up to a reset or a refusal."""
    agent = Agent(board, [Offer(release)], board.keys())
    state = agent.step()
    while state == "busy":
        state = agent.step()
    if state != "reset":
        out.print(f"  refused, nothing was staged: {agent.error}")
    return agent


def play(chip: Any, private: Any) -> None:
    """The story."""
    first, second = app(0), app(1)
    chip.write_loader()
    chip.write(first)

    def outer(data: bytes, n: int) -> bytes:
        return sign(data, Outer(PRODUCT, f"1.0.{n}", "bk7238", compress="none"), private).data

    out.rule("1. The vendor's packer, its letters, and what its loader will say", align="left")
    good = package(second, 1, "lzma")
    out.print(f"  {len(second):,} bytes of application, {len(good):,} as an RBL (lzma, aes)")
    for name, wrong in verdict.checks_for(good):
        out.print(f"  {name:10} {wrong or 'right'}")
    out.rule("2. A package with another key: it would 'succeed', and nothing would change", align="left")
    board = boot(chip, soc.PWRON)
    agent = update(board, outer(package(second, 1, "lzma", iv="F" * 16), 1))
    if not isinstance(agent.error, Corrupt):
        raise AssertionError(f"it was not found: {agent.error!r}")
    out.rule("3. The update, and a power cut in the middle of the loader's install", align="left")
    update(boot(chip, soc.HARD), outer(good, 2))
    flash = chip.flash.flash
    # Behind the erases, among the writes.
    flash.ops, flash.cut = 0, IMAGE // 3000
    try:
        chip.boot()
    except PowerCut:
        out.print("  power cut: the application is half erased; power on again")
    flash.cut = None
    flash.power_on()
    board = boot(chip, soc.PWRON)
    if chip.image(len(second)) != second:
        raise AssertionError("the new application is not whole")
    agent = Agent(board, [Offer(None)], board.keys(), lambda: True)
    agent.step()
    if trial(board.journal) is not None:
        raise AssertionError(f"it was not confirmed: {agent.error!r}")
    out.print(f"  healthy and confirmed: version {text(board.layout.version())} runs")
    out.rule("4. What status finds", align="left")
    for line in board.layout.status()["findings"]:
        out.print(f"  {line}")


def main() -> None:
    """Run it."""
    began = time.monotonic()
    pair = make_keys()
    chip = sim.Chip({"product": PRODUCT}, [keys.public_bytes(pair.trusted)])
    play(chip, pair.trusted)
    out.rule(f"{time.monotonic() - began:.1f} s", align="left")
