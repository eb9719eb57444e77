"""The vendor's .bin: a boot control page of 4096 bytes as the build has it, and the code behind it."""

from __future__ import annotations

import struct

from mpota.layout.pic32.store import control

PAGE = control.PAGE
# Physical start and size of the slot, and what the vendor's releases call them.
LAYOUTS = {"3.7": (0x10020000, 0xDF000), "3.6.1": (0x10018000, 0xE5000)}


def build_page(address: int, status: int = control.BLANK) -> bytes:
    """The page of a build that starts at `address`: status, slot, order FF, type 03, no size, version 1, zeros, F8."""
    head = struct.pack(control.FMT, status, 0xFF, 0xFF, control.FACTORY, control.NO_SIZE, 1, address, bytes(32))
    return head + bytes(PAGE - len(head) - 1) + b"\xf8"


def binary(code: bytes, address: int) -> bytes:
    """A whole .bin."""
    return build_page(address) + code


def factory(code: bytes, address: int, size: int) -> bytes:
    """What the bootloader keeps as the factory image: the whole slot, status F8."""
    data = build_page(address, control.VALID) + code
    return data + b"\xff" * (size - len(data))
