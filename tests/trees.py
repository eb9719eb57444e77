"""Trees of files for tests on both interpreters: an application, its archive, and what lies in a folder."""

import os
from hashlib import sha256

from mpota.store import listing

APP = {
    "app.py": b"VERSION = 1\n",
    "empty.txt": b"",
    "lib/big.bin": bytes((i * i >> 5) & 0xFF for i in range(9001)),
    "lib/deep/er/a.py": b"pass\n" * 7,
    "zero": b"\0" * 256,
}


def archive(files, entries=None, content=b""):
    """The bytes of a component: the list, then the files; or of these entries and this content."""
    if files is not None:
        names = sorted(files, key=lambda name: name.lower())
        entries = [listing.entry(name, len(files[name])) for name in names]
        content = b"".join([files[name] for name in names])
    rows = b"".join(entries)
    return (
        listing.pack(listing.HEAD, listing.MAGIC, len(entries), listing.HEAD_SIZE + len(rows), len(content))
        + rows
        + content
    )


class Part:
    """What the trees ask of a component."""

    def __init__(self, data, kind=2, name="files"):
        self.kind = kind
        self.name = name
        self.size = len(data)
        self.sha = sha256(data).digest()


def write(path, data):
    with open(path, "wb") as f:
        f.write(data)


def files_of(folder, below=""):
    """{path: bytes} of everything in a folder."""
    found = {}
    for name in os.listdir(folder):
        path = folder + "/" + name
        if os.stat(path)[0] & 0x4000:
            found.update(files_of(path, below + name + "/"))
        else:
            with open(path, "rb") as f:
                found[below + name] = f.read()
    return found
