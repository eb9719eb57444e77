"""The codes of a report that an ESP32 alone has, by their class."""

from __future__ import annotations

from mpota_boot.errors import Corrupt, FlashError, OtaError

CODES: dict[type[OtaError], tuple[str, ...]] = {Corrupt: ("checksum", "sha256"), FlashError: ("otadata",)}
