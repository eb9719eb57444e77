"""A push: which files make an upgrade, what plays the phone, and how it went in a sentence."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from mpota.layout.sifli.pipe import signed, wire
from mpota.layout.sifli.store import control
from mpota_boot.errors import Corrupt, FlashError, LinkError, NotNow, OtaError, Refused
from mpota_host.chips.sifli.phone import carry
from mpota_host.chips.sifli.phone.phone import Choice as Choice
from mpota_host.chips.sifli.phone.phone import Phone, Wire, split

CONTROL = "ctrl_packet.bin"
# What the vendor's apps take a file to be by its name.
IDS = {"app": 0, "hcpu": 0, "lcpu": 1, "patch": 2, "res": 3, "font": 4, "ex": 5, "root": 5, "tiny_font": 7}
NAME = re.compile(r"^(out|enc)_?(com_)?(?P<name>.+)$", re.IGNORECASE)
# By what the caller should do next, as every command has it.
KINDS: dict[int, type[OtaError]] = {8: Corrupt, 10: NotNow, 12: NotNow, 14: NotNow, 16: FlashError}


@dataclass
class Upgrade:
    """A control packet and its images."""

    packet: bytes = field(repr=False)
    images: list[Wire]

    @property
    def size(self) -> int:
        """Bytes that travel as images."""
        return sum(image.size for image in self.images)


def named(texts: Sequence[str]) -> dict[str, int]:
    """{"clock": 8} of clock=8."""
    found = {}
    for text in texts:
        name, equals, id = text.partition("=")
        if not (equals and id.isascii() and id.isdecimal() and int(id) < 256):
            raise Refused("id", f"--id {text} is no NAME=ID with an ID up to 255")
        found[name] = int(id)
    return found


def load(folder: Path, ids: dict[str, int]) -> Upgrade:
    """Every image file of a folder, by its name; Refused where they are not those of the control packet's length."""
    folder = folder if folder.is_dir() else folder.parent
    path = folder / CONTROL
    if not path.is_file():
        raise Refused("control", f"{folder} has no {CONTROL}: `mpota sifli pack ... -o {folder}` makes it")
    packet = path.read_bytes()
    n, odd = divmod(len(packet) - 32 - control.HEAD_SIZE - signed.SIZE, control.IMAGE_SIZE)
    if odd or not 0 < n <= control.MOST:
        raise Refused("control", f"{path} has {len(packet)} bytes, which no control packet has")
    images = []
    for file in sorted(folder.glob("*.bin")):
        found = NAME.match(file.stem)
        if found:
            name = found["name"]
            id = {**IDS, **ids}.get(name, ids.get(file.stem))
            if id is None:
                raise Refused("id", f"the name of {file.name} says no image id: add --id {name}=ID")
            images.append(split(id, file.read_bytes(), block_of(file.read_bytes())))
    if len(images) != n or len({image.id for image in images}) != n:
        raise Refused("images", f"{path} is of {n} images, {folder} has {[image.id for image in images]}")
    return Upgrade(packet, images)


def block_of(data: bytes) -> int:
    """The block of a wire file, told by where its second record says that it lies."""
    for block in (1 << i for i in range(4, 12)):
        at = block + wire.HEAD_SIZE
        if data[at + 32 : at + 36] == block.to_bytes(4, "little"):
            return block
    return 2048 if len(data) > 512 + wire.HEAD_SIZE else 512


@dataclass
class Way:
    """How a chip is reached."""

    port: str | None
    ble: str | None = None
    baud: int = 921600


@dataclass
class Said:
    """What became of a push."""

    phone: Phone
    seconds: float
    sent: int = 0

    def facts(self) -> dict[str, object]:
        """For JSON."""
        return {
            "done": self.phone.done,
            "resumed": self.phone.resumed,
            "skipped": self.phone.skipped,
            "packets": self.phone.total,
            "seconds": round(self.seconds, 3),
        }

    def sentence(self) -> str:
        """For people."""
        how = ", gone on with where it was" if self.phone.resumed else ""
        return f"installed: {self.phone.total:,} packets in {self.seconds:.1f} s{how}; the chip starts its program"


def push(
    upgrade: Upgrade, choice: Choice, way: Way, note: Callable[[str], None], step: Callable[[int, int], None]
) -> Said:
    """Play the phone to the end; an OtaError says what went wrong."""
    began = time.monotonic()
    if way.port:
        # A line loses nothing of itself and keeps the order: nobody has to wait until it has come to rest.
        choice.ahead, choice.pause_ms = 2, 0
    phone = Phone(upgrade.packet, upgrade.images, lambda: int(time.monotonic() * 1000), choice)
    size = upgrade.size

    def told(done: int, total: int) -> None:
        step(size * done // total if total else size, size)

    if way.port:
        carry.Drive(phone, carry.opener(way.port, way.baud), way.baud, note, told).run()
    else:
        from mpota_host.chips.sifli.phone import radio

        radio.by_bluetooth(phone, way.ble or "", note, told)
    if not phone.done:
        raise _why(phone)
    return Said(phone, time.monotonic() - began)


def _why(phone: Phone) -> OtaError:
    if not phone.code:
        return LinkError("link", phone.error or "the link was lost")
    return KINDS.get(phone.code, Refused)(f"result-{phone.code}", f"the chip says {phone.code:02}: {phone.error}")
