"""What goes into a slot: an image of the toy chip, as its own tool made it."""

from __future__ import annotations

from mpota.layout.toy import image
from mpota_boot.errors import Refused
from mpota_host.package.rom import Rom

# There is no place for files, and nothing else to pack.
ALONE = True


def prepare(firmware: bytes) -> tuple[bytes, list[str], dict[str, object]]:
    """The image, no notes, no facts. Refused where the loader would not start it."""
    seen = image.length(firmware[: image.SIZE])
    if seen != len(firmware):
        what = f"an image of {seen:,} bytes in a file of {len(firmware):,}" if seen else "no image of a toy chip"
        raise Refused("image", f"this is {what}: give the file that the chip's own tool wrote")
    if not image.whole(Rom(firmware, 0, len(firmware)), int):
        raise Refused("image", "the program's CRC-32 is not that of its header: copy the file again")
    return firmware, [], {}
