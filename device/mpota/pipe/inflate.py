"""Deflate, through the `deflate` module that MicroPython brings. One raw stream a chunk, window 2**wbits bytes."""

from deflate import RAW, DeflateIO


def stage(chunks):
    """Opens Sources of the inflated bytes; a chunk lies in RAM, so that reading it a byte at a time is cheap."""
    return lambda src: DeflateIO(src, RAW, chunks.part.wbits)
