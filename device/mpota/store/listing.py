"""The list at the head of a tree of files, and which paths an application may have.

    0 magic "MPFL"   4 files u16   6 bytes of the list with this head u32   10 bytes of all files u32
    14 entries: bytes of the file u32, 1 where a component of its own brings it u8, bytes of the path u8, path

A path that ends with "/" is a folder, which has 0 bytes; the list has those in which no file lies. Then the files, but
for those that come apart, back to back. The list is sorted by path without regard to case.
"""

from struct import pack

from mpota_boot.errors import Refused

MAGIC = b"MPFL"
# Magic, files, bytes of the list with this head, bytes of all files: 14 bytes.
HEAD = "<4sHII"
HEAD_SIZE = 14
# Bytes of the file, 1 where a component of its own brings it, bytes of the path that follows: 6 bytes.
ENTRY = "<IBB"
ENTRY_SIZE = 6
LIST = ".mpota"
# In a tree these would stand before the board's own, or be taken for them; a tree's `lib` is searched for modules too.
MODULES = ("mpota_boot", "wiring")
RESERVED = MODULES + ("boot", "main", LIST)
KEYS = "keys"
# The one part of a board that a release may bring: mpota itself, as this folder.
UPDATER = "mpota"


def entry(path, size, apart=False):
    """One entry of a list."""
    name = path.encode()
    return pack(ENTRY, size, apart, len(name)) + name


def _hides(low):
    """Would a file at this path stand before something of the board's own, or be taken for it?"""
    parts = low.split("/")
    in_lib = parts[0] == "lib" and len(parts) > 1
    if in_lib:
        parts = parts[1:]
    inside = len(parts) > 1 and parts[1]
    top = parts[0] if inside or parts[0] == LIST else parts[0].split(".")[0]
    if top == UPDATER:
        return in_lib or not inside
    if top == KEYS:
        return len(parts) > 1 and not in_lib
    return top in (MODULES if in_lib else RESERVED)


def judge(path, before, protected=()):
    """Refuse a path that leaves the tree, hides a module of the board, or that a file system cannot take or tell apart.

    Returns what the next path must come behind: a list is sorted without regard to case, as FAT sees it.
    """
    low = path.lower()
    parts = low.split("/")
    if len(parts) > 1 and not parts[-1]:
        parts.pop()  # a folder
    bad = [p for p in parts if not p or p[-1] in ". " or len(p) > 64] or [c for c in low if c in '\\:*?"<>|' or c < " "]
    if bad or _hides(low) or low <= before:
        raise Refused("path", "%r cannot be a file of an application" % path)
    for own in protected:
        own = own.lower().rstrip("/") + "/"
        if (low + "/").startswith(own) or own.startswith(low + "/"):
            raise Refused("protected", "%r is this board's own" % path)
    return low
