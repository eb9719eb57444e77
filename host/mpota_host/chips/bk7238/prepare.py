"""What goes into `download`: an RBL that the loader will install, looked at with the vendor's table and key.

A signed package carries the RBL as it is. A board of another key or table says so before its first erase, or before its
restart; here the key is tried and not demanded.
"""

from __future__ import annotations

from mpota.layout.bk7238 import rbl
from mpota_boot.errors import Refused
from mpota_host.chips.bk7238 import verdict
from mpota_host.chips.bk7238.look import others

# What a package holds is that RBL: there is no place for files, and none for what a delta would stand on.
ALONE = True


def prepare(firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The RBL, notes, and its facts. Refused where no loader of this family would install it."""
    notes = []
    if not firmware.startswith(rbl.MAGIC):
        other = others.named(firmware)
        if other and other.kind != "application":
            raise Refused("rbl", f"this is {other.text}")
        raise Refused("rbl", "this is no RBL: make one with `mpota bk7238 pack -f APPLICATION -o X.rbl ...` first")
    for size in (0x200000, 0x400000):
        found = verdict.checks_for(firmware, size=size)
        wrong = next(((name, text) for name, text in found if text), None)
        if wrong is None:
            break
    failed = {name for name, text in found if text}
    # What was not compressed decodes with any key, to noise.
    noise = {"hash", "linked"} <= failed and rbl.Header.decode(firmware[: rbl.SIZE]).compression == rbl.NONE
    if wrong and wrong[0] != "decode" and not noise:
        raise Refused("rbl", f"{wrong[0]}: {wrong[1]}")
    if wrong:
        notes.append("it does not open with the vendor's key and IV: only a board with the right ones can look into it")
    return firmware, notes, verdict.facts(firmware)
