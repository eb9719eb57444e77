"""Deflate, through the `deflate` module that MicroPython brings. One raw stream a chunk, window 2**wbits bytes."""

from deflate import RAW, DeflateIO


def open(src, part):
    """A Source of the inflated bytes; `src` is the chunk in RAM, so that reading it a byte at a time is cheap."""
    return DeflateIO(src, RAW, part.wbits)
