"""What goes into a staging area: the compressed form of a user program, padded as the vendor pads it."""

from __future__ import annotations

from mpota.layout.sifli.pipe import com
from mpota_boot.errors import Refused
from mpota_host.chips.sifli.packer import Options, compressed, pad

# SRAM of the SF32LB52x and 55x as their programs see it, for the stack that a vector table begins with.
SRAM = range(0x20000000, 0x20500001)


def prepare(firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The compressed form of a bare application, notes, facts; refused where no chip could start it."""
    if len(firmware) < 16:
        raise Refused("tiny", f"{len(firmware)} bytes; give app.bin, the application")
    if firmware[:1] == b"<":
        raise Refused("html", "a web page; give app.bin, the application")
    stack, start = (int.from_bytes(firmware[at : at + 4], "little") for at in (0, 4))
    if stack not in SRAM or not start & 1:
        words = f"it begins with a stack at {stack:08x} and code at {start:08x}"
        raise Refused("magic", f"no application of a Cortex-M: {words}; give app.bin")
    whole = pad(firmware, True)
    made = compressed(whole, Options(b"", b"", lambda data: b""))
    notes = [f"compressed to {len(made):,} bytes in chunks of {com.CHUNK:,}, as the manager installs it"]
    return made, notes, {"start": f"{start:08x}", "program": len(whole)}
