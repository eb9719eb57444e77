"""Reads what old packers compressed with QuickLZ (level 3) or FastLZ (levels 1 and 2); nothing here writes them.

Both stand in a row of blocks, each with its length before it in 4 bytes, big-endian, and each made of 4096 bytes. A
length whose first byte is not 0 is padding. Runs on both interpreters.
"""

# How many bytes from the end QuickLZ stops looking for matches.
TAIL = 10
# A block is made from 4096 bytes; one that says it has so many more is broken.
MOST = 0x10000


def blocks(data: bytes) -> list[bytes]:
    """The compressed blocks in `data`."""
    found = []
    at = 0
    while at + 4 <= len(data) and not data[at]:
        n = int.from_bytes(data[at : at + 4], "big")
        at += 4
        if at + n > len(data):
            raise ValueError(f"a block of {n} bytes, {len(data) - at} are left")
        found.append(data[at : at + n])
        at += n
    return found


def quicklz(block: bytes) -> bytes:
    """One QuickLZ block: flags, compressed and raw size (1 or 4 bytes each), then words of flags and what they name."""
    wide = 4 if block[0] & 2 else 1
    size = int.from_bytes(block[1 + wide : 1 + 2 * wide], "little")
    at = 1 + 2 * wide
    if not block[0] & 1:
        return block[at : at + size]
    if block[0] >> 2 & 3 != 3:
        raise ValueError(f"QuickLZ of another level: first byte 0x{block[0]:02x}")
    out = bytearray()
    flags = 1
    while len(out) < size:
        if flags == 1:
            flags = int.from_bytes(block[at : at + 4], "little")
            at += 4
        if flags & 1 and len(out) < size - TAIL:
            at += _match(out, int.from_bytes(block[at : at + 4], "little"))
        else:
            out.append(block[at])
            at += 1
        flags >>= 1
    return bytes(out)


def _match(out: bytearray, word: int) -> int:
    """Append what `word` refers to; returns the bytes that it takes."""
    if not word & 3:
        n, off, length = 1, (word & 0xFF) >> 2, 3
    elif not word & 2:
        n, off, length = 2, (word & 0xFFFF) >> 2, 3
    elif not word & 1:
        n, off, length = 2, (word & 0xFFFF) >> 6, (word >> 2 & 15) + 3
    elif word & 127 != 3:
        n, off, length = 3, word >> 7 & 0x1FFFF, (word >> 2 & 31) + 2
    else:
        n, off, length = 4, word >> 15, (word >> 7 & 255) + 3
    _repeat(out, off, length)
    return n


def _repeat(out: bytearray, off: int, length: int) -> None:
    if not 0 < off <= len(out) or len(out) + length > MOST:
        raise ValueError(f"a match of {length} bytes {off} back, {len(out)} are there")
    for _ in range(length):
        out.append(out[-off])


def fastlz(block: bytes) -> bytes:
    """One FastLZ block; its level is in the first byte's high three bits."""
    level = (block[0] >> 5) + 1
    if level > 2:
        raise ValueError(f"FastLZ of level {level}")
    out = bytearray()
    first = block[0] & 31
    at = 1
    while True:
        if first < 32:
            out += block[at : at + first + 1]
            at += first + 1
        else:
            at = _again(out, block, at, first if level == 1 else first | 256)
        if at >= len(block):
            return bytes(out)
        first = block[at]
        at += 1


def _again(out: bytearray, block: bytes, at: int, first: int) -> int:
    """A match of FastLZ; bit 8 of `first` says level 2."""
    length = (first >> 5 & 7) + 2
    if length == 9:
        more = 255
        while more == 255:
            more = block[at]
            at += 1
            length += more
            if not first & 256:
                break
    off = (first & 31) << 8 | block[at]
    at += 1
    if first & 256 and off == 31 << 8 | 255:
        off = (block[at] << 8 | block[at + 1]) + 8191
        at += 2
    _repeat(out, off + 1, length)
    return at


def unpack(data: bytes, kind: str) -> bytes:
    """The image in a body that was decrypted; `kind` is "quicklz" or "fastlz"."""
    read = {"quicklz": quicklz, "fastlz": fastlz}[kind]
    try:
        return b"".join([read(block) for block in blocks(data)])
    except IndexError:
        raise ValueError("a block ends in the middle") from None
