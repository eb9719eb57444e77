"""An application's folder as one component: the list of its files, then the files, as mpota/store/listing.py says.

What a board would refuse as a path is refused here, with the device's own judge and a word of advice. Python files may
be compiled on the way; then names and line numbers stay in them, for the application's tracebacks. The same folder
gives the same bytes.
"""

from __future__ import annotations

import struct
import unicodedata
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

from mpota.store import listing
from mpota_boot.errors import Refused
from mpota_host.package.content import fat, secret

# What version control, Python and desktops leave in a folder, dot files aside.
LEFTOVERS = ("__pycache__", "CVS")
COMPILED = ".pyc"
# MicroPython runs these by their name, as source.
SCRIPTS = ("boot.py", "main.py")
# Control characters, ends of lines and paragraphs, halves of a pair: which FAT refuses, or which change what is shown.
UNSEEN = ("Cc", "Zl", "Zp", "Cs")
DIRECTION = "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
MOST_FILES = 65535
MOST_NAME, MOST_PATH = 64, 255
# What the header has room for.
MOST_RESOURCE = 16

Compiler = Callable[[bytes, str], bytes]


@dataclass(frozen=True)
class Row:
    """A line of the list: the path, the file's bytes, and whether a component of its own brings it."""

    path: str
    size: int
    apart: bool = False


@dataclass
class Tree:
    """The component's bytes, what is in them, and what a person should know."""

    data: bytes
    rows: list[Row]
    notes: list[str] = field(default_factory=list)
    # Those that do not come apart, by their paths.
    files: Mapping[str, bytes] = field(default_factory=dict)


def tree(
    folder: Path | None,
    resources: Mapping[str, bytes],
    compiler: Compiler | None = None,
    travels: bool = True,
    updater: Mapping[str, bytes] = MappingProxyType({}),
) -> Tree:
    """The archive of `folder` (None: no files of its own) and the list of the `resources` that come beside it.

    Nothing that travels may be a private key; a base does not travel. `updater`: mpota's own modules, which go along.
    """
    notes: list[str] = []
    files = dict(read(folder, notes)) if folder else {}
    want_no_updater([*files, *resources])
    if folder and not any(map(is_file, files)):
        raise Refused("files", f"there is no file in {folder} to pack")
    if travels:
        want_no_key({f"{folder}/{path}": data for path, data in files.items()})
        want_no_key({f"the resource {name!r}": data for name, data in resources.items()})
    if compiler:
        files = compiled(files, compiler, notes)
    files |= updater
    want_named(resources)
    both = sorted(files.keys() & resources.keys())
    if both:
        raise Refused("path", f"{both[0]!r} is in {folder} and a resource too: give it once")
    rows = [Row(path, len(data)) for path, data in files.items()]
    rows += [Row(path, len(data), True) for path, data in resources.items()]
    rows = ordered(rows)
    return Tree(archive(rows, files), rows, notes, files)


def want_no_key(files: Mapping[str, bytes]) -> None:
    """Refused, with the file's name, where one is a private key: a package is signed, and anybody can read it."""
    for name, data in files.items():
        what = secret.found(data)
        if what:
            raise Refused(
                "secret",
                f"{name} is or holds {what}, and everybody who gets the package could read it: take it out. A key of"
                " the board's own is put on the board by hand, at a path that `protected` in its /mpota.json names;"
                " no package can bring that",
            )


def want_named(resources: Iterable[str]) -> None:
    """Refused where a header has no room for the name of a resource."""
    for name in resources:
        size = len(name.encode())
        if size > MOST_RESOURCE:
            raise Refused("resource", f"the resource's name {name!r} has {size} bytes, wanted {MOST_RESOURCE}")


def want_no_updater(paths: Iterable[str]) -> None:
    """Refused where a path is one of mpota's own folder: nobody brings an updater by mistake."""
    for path in paths:
        top, inside, _ = lower(path).partition("/")
        if inside and top == listing.UPDATER:
            raise Refused(
                "path",
                f"{path!r} would be a part of mpota, the board's own updater: give the folder another name. A release"
                " brings mpota with --updater",
            )


def updaters(rows: Iterable[Row]) -> list[Row]:
    """The files of a list that are mpota itself."""
    return [row for row in rows if lower(row.path).startswith(listing.UPDATER + "/")]


def archive(rows: list[Row], files: Mapping[str, bytes]) -> bytes:
    """The list, then the files that do not come apart."""
    entries = b"".join(listing.entry(row.path, row.size, row.apart) for row in rows)
    whole = sum(row.size for row in rows)
    head = struct.pack(listing.HEAD, listing.MAGIC, len(rows), listing.HEAD_SIZE + len(entries), whole)
    return head + entries + b"".join(files[row.path] for row in rows if not row.apart)


def rows(data: bytes) -> list[Row]:
    """The list at the head of a component's bytes; Refused where a board would refuse it."""
    if len(data) < listing.HEAD_SIZE or data[:4] != listing.MAGIC:
        raise Refused("files", f"a list of files begins with {listing.MAGIC!r}, this with {data[:4]!r}")
    _, files, end, _ = struct.unpack_from(listing.HEAD, data)
    at, before = listing.HEAD_SIZE, ""
    found: list[Row] = []
    for _ in range(files):
        if at + listing.ENTRY_SIZE > len(data):
            raise Refused("files", f"the list of {files} files ends behind {len(found)} of them")
        size, apart, n = struct.unpack_from(listing.ENTRY, data, at)
        at += listing.ENTRY_SIZE
        path = data[at : at + n].decode("utf-8", "replace")
        at += n
        before = listing.judge(path, before)
        found.append(Row(path, size, bool(apart)))
    if at != end or at + sum(row.size for row in found if not row.apart) != len(data):
        raise Refused("files", f"the list of {files} files ends at byte {at}, wanted {end}, and is for other files")
    return found


def read(folder: Path, notes: list[str]) -> Iterator[tuple[str, bytes]]:
    """(path, bytes) of every file of an application, ("path/", b"") of every folder without one.

    Says in `notes` what it leaves out.
    """
    left: list[str] = []
    root = folder.resolve()
    for path, file in walk(folder, root, [root], left):
        yield path, file.read_bytes() if is_file(path) else b""
    if left:
        more = f" and {len(left) - 3} more" if len(left) > 3 else ""
        notes.append(f"left out of {folder}: {', '.join(left[:3])}{more}")


def walk(folder: Path, root: Path, inside: list[Path], left: list[str], above: str = "") -> Iterator[tuple[str, Path]]:
    """(path in the tree, file) of every file in `folder`, or ("path/", folder) of one that has none.

    `inside` are the folders that it lies in.
    """
    for one in sorted(folder.iterdir()):
        path = above + one.name
        if one.name.startswith(".") or one.name in LEFTOVERS or one.name.endswith(COMPILED):
            left.append(path)
            continue
        real = one.resolve()
        if one.is_symlink() and not (real.exists() and real.is_relative_to(root)):
            raise Refused("link", f"{path} is a link to {real}, which is not in {root}: put the file itself there")
        if real.is_file():
            yield path, one
        elif not real.is_dir():
            raise Refused("files", f"{path} is neither a file nor a folder: remove it")
        elif real in inside:
            raise Refused("link", f"{path} is a link to a folder that it lies in: remove it")
        else:
            found = list(walk(one, root, [*inside, real], left, path + "/"))
            yield from found or [(path + "/", one)]


def is_file(path: str) -> bool:
    return not path.endswith("/")


def compiled(files: Mapping[str, bytes], compiler: Compiler, notes: list[str]) -> dict[str, bytes]:
    """The same files, Python as .mpy but for what MicroPython runs as source."""
    done: dict[str, bytes] = {}
    n = 0
    for path, data in files.items():
        if path.endswith(".py") and path.rpartition("/")[2] not in SCRIPTS:
            name = path[:-3] + ".mpy"
            if name in files:
                raise Refused("path", f"{path} would be compiled to {name}, which is there too: remove one of them")
            done[name] = compiler(data, path)
            n += 1
        else:
            done[path] = data
    notes.append(f"{n} Python {'file' if n == 1 else 'files'} compiled to .mpy")
    return done


def ordered(rows: list[Row]) -> list[Row]:
    """The rows in the order of the list; Refused, with the path, where a board would not take one."""
    if len(rows) > MOST_FILES:
        raise Refused("files", f"{len(rows):,} files, a list has room for {MOST_FILES:,}")
    rows = sorted(rows, key=lambda row: lower(row.path))
    for row in rows:
        want_visible(row.path)
    before = ""
    folders = {lower(row.path[:i]): row.path for row in rows for i, c in enumerate(row.path) if c == "/"}
    for row in rows:
        low = lower(row.path)
        if low in folders:
            raise Refused("path", f"{row.path!r} is a file, and the folder of {folders[low]!r}: rename one")
        if low == before:
            raise Refused(
                "path", f"{row.path!r} is there twice for a file system that tells no case, as FAT: rename one"
            )
        try:
            before = listing.judge(row.path, before)
        except Refused as e:
            raise Refused("path", f"{e}: {advice(row.path)}") from None
        names = row.path.rstrip("/").encode("utf-8", "replace").split(b"/")
        # The device counts in characters; a file system counts in bytes.
        if max(map(len, names)) > MOST_NAME or sum(map(len, names)) + len(names) - 1 > MOST_PATH or before != low:
            raise Refused("path", f"{row.path!r} cannot be a file of an application: {advice(row.path)}")
    want_apart([row.path for row in rows])
    return rows


def want_visible(path: str) -> None:
    """Refused where a character drives a terminal, turns the direction of writing, or is none at all."""
    bad = next((c for c in path if unicodedata.category(c) in UNSEEN or c in DIRECTION), None)
    if bad:
        raise Refused("path", f"{path!r} has the character {bad!a}, which FAT refuses or no screen shows: rename it")


def want_apart(paths: list[str]) -> None:
    """Refused where two names of one folder are one for FAT, by case or by the short name of a long one."""
    folders: dict[str, list[str]] = {"": [listing.LIST]}
    for path in paths:
        above = ""
        for name in path.rstrip("/").split("/"):
            folders.setdefault(above, []).append(name)
            above += name + "/"
    for above, names in folders.items():
        both = fat.clash(names)
        if both:
            one, other = (repr(above + name) for name in both)
            raise Refused("path", f"{one} and {other} are one name for a FAT file system: rename one")


def lower(path: str) -> str:
    """As MicroPython does it, which knows the case of ASCII letters only."""
    return "".join(c.lower() if c.isascii() else c for c in path)


def advice(path: str) -> str:
    """What to do about a path that no application may have."""
    tops = [part.split(".")[0].lower() or part for part in path.removeprefix("lib/").split("/")[:1]]
    if path == "main.py":
        return "mpota's own main.py imports your application as `app`: call it app.py"
    if tops[0] in (*listing.RESERVED, listing.UPDATER, listing.KEYS):
        return "at the top of a tree it would stand before the board's own; give it another name"
    if max(len(part.encode("utf-8", "replace")) for part in path.split("/")) > MOST_NAME:
        return f"a name may have {MOST_NAME} bytes"
    if len(path.encode("utf-8", "replace")) > MOST_PATH:
        return f"a path may have {MOST_PATH} bytes"
    if lower(path) != path.lower():
        return "MicroPython and FAT do not agree on capital letters outside of ASCII; write it small"
    return "give it a name that FAT and littlefs take, in the folder"
