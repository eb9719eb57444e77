"""Installs against plain loops over the same bytes and the same Flash object, in turns, for the unix port.

A loop does what any updater has to: take the bytes from a file, hash them, erase, write, and read back and hash what
was written. It knows no package, no key, no chunk and no journal. Runs from .mpy on MicroPython alone.
"""
# mypy: ignore-errors

import gc
from hashlib import sha256
from time import ticks_diff, ticks_us

from deflate import RAW, DeflateIO
from small import Small, key

from mpota.installer import install
from mpota.link.file import File
from mpota.pipe.package import Package
from mpota.pipe.trust import verify

PIECE = 4096


def fill(src, buf):
    """Fill `buf`; a decoder may give less than it was asked for. The bytes that came."""
    view = memoryview(buf)
    n = 0
    while n < len(buf):
        got = src.readinto(view[n:])
        if not got:
            break
        n += got
    return n


def loop(flash, src, buf):
    """Write `src` to `flash` and read it back; True when both hashes agree."""
    written = sha256()
    off = 0
    while True:
        n = fill(src, buf)
        if not n:
            break
        piece = memoryview(buf)[:n]
        written.update(piece)
        flash.erase(off, PIECE)
        flash.prog(off, piece)
        off += n
    seen = sha256()
    at = 0
    while at < off:
        piece = memoryview(buf)[: min(PIECE, off - at)]
        flash.read(at, piece)
        seen.update(piece)
        at += len(piece)
    return seen.digest() == written.digest()


def plain(flash, path, wbits):
    """Microseconds of the loop over a file, or over a deflate stream that hangs on it."""
    gc.collect()
    buf = bytearray(PIECE)
    began = ticks_us()
    with open(path, "rb") as f:
        if not loop(flash, DeflateIO(f, RAW, wbits) if wbits else f, buf):
            raise ValueError("the loop read back what it did not write")
    return ticks_diff(ticks_us(), began)


def updated(flash, path, keys):
    """Microseconds of an install, from the offer to armed."""
    flash.records.clear()
    gc.collect()
    began = ticks_us()
    for _ in install(flash, File(path), keys):
        pass
    return ticks_diff(ticks_us(), began)


def signature(path, keys):
    """Microseconds of the RSA check alone."""
    head = bytearray(4096)
    with open(path, "rb") as f:
        end = Package.read(f, keys, head).end
    digest = sha256(head[: end - 384]).digest()
    gc.collect()
    began = ticks_us()
    good = verify(keys[0], head[end - 384 : end], digest)
    us = ticks_diff(ticks_us(), began)
    if not good:
        raise ValueError("the signature is not good")
    return us


def run(package, room, peer, wbits, rounds):
    """Print a line for each round: microseconds of the install, of the signature in it, of the loop."""
    keys = [key()]
    with open("slot.bin", "r+b") as slot:
        flash = Small(slot, room)
        # Here time counts and not the heap: one write a sector, for both.
        flash.blank = b"\xff" * PIECE
        updated(flash, package, keys)
        plain(flash, peer, wbits)
        for _ in range(rounds):
            print(updated(flash, package, keys), signature(package, keys), plain(flash, peer, wbits))
