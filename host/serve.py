"""A static web server for packages, with Range, and the manifest beside them; any other static server does as well.

    {"mpota": 1, "packages": [{"product", "layout", "version", "file", "size", "id"}, ...]}

The manifest is replaced whole or not at all, so a board never reads half of one.
"""

import json
import os
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from device.link.http import MANIFEST, encode

NAME = "manifest.json"
FIELDS = ("product", "layout", "version", "file", "size", "id")


def write_manifest(folder: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """Write `folder`/manifest.json with these entries, newest first. ValueError for what a board would refuse."""
    rows = [_entry(entry) for entry in entries]
    rows.sort(key=lambda row: (row["product"], row["layout"], bytes(encode(row["version"]))), reverse=True)
    data = (json.dumps({"mpota": 1, "packages": rows}, indent=1) + "\n").encode()
    if len(data) >= MANIFEST:
        raise ValueError(f"the manifest has {len(data)} bytes and a board reads {MANIFEST - 1}: offer fewer packages")
    path = folder / NAME
    fresh = folder / (NAME + ".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
    return path


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """The entries of `folder`/manifest.json, none where there is no such file."""
    path = folder / NAME
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())["packages"]
    return rows


def add_entry(folder: Path, entry: Mapping[str, Any]) -> Path:
    """Put `entry` into the manifest; it takes the place of one for the same product, layout and version."""
    key = ("product", "layout", "version")
    rows = [row for row in read_manifest(folder) if any(row[k] != entry[k] for k in key)]
    return write_manifest(folder, [*rows, entry])


def serve(folder: Path, host: str = "0.0.0.0", port: int = 8000) -> None:
    """Serve the files of `folder` until Ctrl-C."""
    web.run_app(application(folder), host=host, port=port, print=None)


def application(folder: Path) -> web.Application:
    """The server as an aiohttp application: GET and HEAD of the files in `folder`, with Range."""
    app = web.Application()
    app.router.add_static("/", folder)
    return app


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in FIELDS if name not in entry]
    if missing:
        raise ValueError(f"a manifest's entry needs {', '.join(missing)}")
    encode(entry["version"])
    if not isinstance(entry["size"], int) or entry["size"] < 1:
        raise ValueError(f"size {entry['size']!r} is no package's")
    return {name: entry[name] for name in FIELDS}
