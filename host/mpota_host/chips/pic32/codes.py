"""The codes of a report that a PIC32MZW1 alone has, by their class."""

from __future__ import annotations

from mpota_boot.errors import FlashError, LinkError, OtaError

CODES: dict[type[OtaError], tuple[str, ...]] = {FlashError: ("store",), LinkError: ("mqtt",)}
