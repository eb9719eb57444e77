"""Whole installs in turns, the time of each stage alone, and the peer of a delta, for the unix port.

The peer decodes the same chunks with the same delta stage, but its DeflateIO hangs on the file, as an updater has it
that knows no chunks in RAM. Runs from .mpy on MicroPython alone.
"""
# mypy: ignore-errors

import gc
from hashlib import sha256
from io import BytesIO
from struct import unpack
from time import ticks_diff, ticks_us

from deflate import RAW, DeflateIO
from race import PIECE, loop, signature, updated
from small import Small, key

from mpota.pipe.package import Chunks, Package
from mpota.stream import pull

# A stored chunk begins with the SHA-256, the length and the sectors of the next one (FORMAT.md).
LINK = "<32sHB"


def opened(f, flash):
    """The Chunks of the first component, ready to load; nothing is signed or checked here."""
    head = bytearray(PIECE)
    package = Package.read(f, None, head)
    if package.recipients:
        from mpota.pipe.decrypt import unlock

        unlock(package, flash.secrets(), head)
    part = package.components[0]
    if part.base_size:
        part.base = flash.running(part)
    return Chunks(package, 0, f, head)


def alone(flash, path):
    """Microseconds of (fetch and prove, the last stage), all chunks together; stages before it fill a BytesIO first."""
    gc.collect()
    proven = decoded = 0
    view = memoryview(bytearray(PIECE))
    with open(path, "rb") as f:
        chunks = opened(f, flash)
        *before, last = chunks.stages or [lambda src: src]
        while chunks.length:
            began = ticks_us()
            left = chunks.load()
            proven += ticks_diff(ticks_us(), began)
            src = chunks.ram
            for stage in before:
                src = stage(src)
            if before:
                src = BytesIO(src.read())
            began = ticks_us()
            src = last(src)
            while left:
                left -= src.readinto(view[:left])
            decoded += ticks_diff(ticks_us(), began)
    return proven, decoded


def sha(flash, path):
    """SHA-256 of what a package decodes to, in hex; beside it the one that was signed."""
    seen = sha256()
    with open(path, "rb") as f:
        chunks = opened(f, flash)
        while chunks.length:
            left = chunks.load()
            while left:
                n = pull(chunks, chunks.buf)
                seen.update(memoryview(chunks.buf)[:n])
                left -= n
    return seen.digest().hex(), chunks.part.sha.hex()


class Hung:
    """A Source: the chunks of a package, each through a DeflateIO that hangs on the file, then the delta stage."""

    def __init__(self, f, flash):
        self.f = f
        self.chunks = opened(f, flash)
        self.at = self.chunks.at
        self.length, self.sectors = self.chunks.length, self.chunks.sectors
        self.left = 0

    def readinto(self, buf):
        chunks = self.chunks
        if not self.left:
            if not self.length:
                return 0
            self.f.seek(self.at)
            self.at += self.length
            chunks.start, chunks.out = chunks.out, min(chunks.out + (self.sectors << 12), chunks.part.size)
            chunks.left = self.left = chunks.out - chunks.start
            _, self.length, self.sectors = unpack(LINK, self.f.read(35))
            self.src = chunks.stages[-1](DeflateIO(self.f, RAW, chunks.part.wbits))
        n = self.src.readinto(memoryview(buf)[: self.left])
        self.left -= n
        return n


def hung(flash, path):
    """Microseconds of the plain loop over such a Source."""
    gc.collect()
    buf = bytearray(PIECE)
    began = ticks_us()
    with open(path, "rb") as f:
        if not loop(flash, Hung(f, flash), buf):
            raise ValueError("the loop read back what it did not write")
    return ticks_diff(ticks_us(), began)


def board(slot, room):
    """A board on which time counts and not the heap: one write a sector, for all."""
    flash = Small(slot, room)
    flash.blank = b"\xff" * PIECE
    return flash


def turns(names, peer, room, rounds):
    """A line a round: microseconds of the signature, of the peer over package `peer`, of the install of each name."""
    keys = [key()]
    with open("slot.bin", "r+b") as slot:
        flash = board(slot, room)
        for round in range(rounds + 1):
            took = [signature(names[0], keys), hung(flash, peer)] + [updated(flash, name, keys) for name in names]
            # The first one warms up.
            if round:
                print(*took)


def stages(names, room, rounds):
    """A line a round: microseconds of (prove, decode) for each name."""
    with open("slot.bin", "r+b") as slot:
        flash = board(slot, room)
        for round in range(rounds + 1):
            took = [us for name in names for us in alone(flash, name)]
            if round:
                print(*took)


def check(name, room):
    """Print both hashes of a package."""
    with open("slot.bin", "r+b") as slot:
        print(*sha(board(slot, room), name))
