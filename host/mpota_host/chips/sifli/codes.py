"""The codes of a report that a SiFli chip alone has, by their class."""

from __future__ import annotations

from mpota_boot.errors import FlashError, OtaError

CODES: dict[type[OtaError], tuple[str, ...]] = {FlashError: ("page",)}
