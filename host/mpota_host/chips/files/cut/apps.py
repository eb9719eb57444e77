"""The applications of the campaign and what lies beside them, as the oracle knows them: without the device's code."""

from __future__ import annotations

from typing import Any

from mpota_host.chips.files.cut import own

# Where the trees are, and how a list of files and a stale one begin; mpota/store/FORMAT.md.
ROOT, LIST = "/ota", ".mpota"
PROTECTED = ("config.json", "cert")
OWN = {"config.json": b'{"name": "mine"}', "cert/ca.pem": b"-----BEGIN CERTIFICATE-----\n" * 20}
# Nobody's business but the owner's, whatever tree it lies in.
STRANGERS = {
    "/boot.py": b"boot\n",
    "/main.py": b"main\n",
    "/mpota.json": b"{}",
    "/keys/release.pub": b"\x81" * 384,
    "/data/log.csv": b"1;2;3\n" * 50,
    ROOT + "/1/own.txt": b"kept by hand\n",
    ROOT + "/1/lib/own.txt": b"in a folder of the application\n",
    ROOT + "/2/notes.txt": b"kept by hand too\n",
}


def _bytes(n: int, seed: int) -> bytes:
    return bytes((i * i * seed >> 3) % 251 for i in range(n))


# Five files each; one changes, one comes, one goes, one is empty, one lies in a folder, one is longer than a chunk.
APPS: tuple[dict[str, bytes], ...] = (
    {
        "app.py": b"VERSION = 0\n",
        "gone.py": b"pass\n" * 120,
        "lib/net.py": _bytes(700, 1),
        "lib/empty.txt": b"",
        "table.bin": _bytes(4500, 2),
    },
    {
        "app.py": b"VERSION = 1  # longer\n",
        "lib/net.py": _bytes(900, 3),
        "lib/deep/new.py": b"import os\n" * 60,
        "none.txt": b"",
        "table.bin": _bytes(4700, 4),
    },
    {
        "app.py": b"V = 2\n",
        "back.py": b"pass\n" * 10,
        "lib/net.py": _bytes(520, 5),
        "lib/empty.txt": b"",
        "table.bin": _bytes(4300, 6),
    },
)
FONT = "font.bin"
FONTS = (_bytes(600, 7), _bytes(4200, 8), _bytes(300, 9))


def app(n: int, story: Any) -> dict[str, bytes]:
    """What application `n` of a story consists of; `n` counts on behind the last one, which comes again."""
    n = min(n, len(APPS) - 1)
    files = {**APPS[n], FONT: FONTS[n]} if story.resource else dict(APPS[n])
    if story.updaters:
        # Another `app` in its lib, which an order of folders that is wrong would find first.
        files["lib/app.py"] = b"raise the other app\n"
        files |= own.copy(n, story.updaters[n], story.keeps)
    return files
