"""A static web server for packages, with Range, and the manifest beside them; any other static server does as well.

    {"mpota": 1, "packages": [{"product", "layout", "version", "file", "size", "id", "channel"}, ...]}

The manifest is replaced whole or not at all, so a board never reads half of one. Only the manifest and the files that
it names are served: the folder may hold the private key. What boards POST to /report becomes a line of the log.
"""

import errno
import json
import os
import shlex
import socket
from collections.abc import Awaitable, Callable, Collection, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from aiohttp import web

from mpota.link import url
from mpota.link.http import MANIFEST
from mpota.link.login import unquote
from mpota.version import parse
from mpota_boot.errors import OtaError, Refused
from mpota_host.package.output import want_own
from mpota_host.package.read import explain, package_facts
from mpota_host.package.report import harmless

NAME = "manifest.json"
# Bytes of a report that are read; a board's has a few dozen.
REPORT = 1024
FIELDS = ("product", "layout", "version", "file", "size", "id")
# Packages of one such triple are for the same boards.
FOR = ("product", "layout", "channel")


Log = Callable[[str], None]


def offers(folder: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """An entry for each package of `folder` and what a person should know of them; an OtaError where one is broken."""
    found = []
    for path in sorted(folder.glob("*.mpota")):
        try:
            found.append({**package_facts(path.read_bytes()), "file": _as_file(path.name)})
        except OtaError as e:
            raise type(e)(e.code, f"{path} is no whole package: {e}") from e
    if not found:
        raise Refused("empty", f"there is no package (*.mpota) in {folder}; {_vendors(folder)}")
    notes = [note for group in _versions(found) for note in _doubts(group)]
    rows, more = fitting([_entry(one) for one in found], _steps(found))
    return rows, notes + more


def _vendors(folder: Path) -> str:
    """What to do with a folder without packages: a vendor's manifest needs no server of mpota's."""
    try:
        report = explain((folder / NAME).read_bytes())
    except (OSError, OtaError):
        return "make one with `pack`"
    command = f"python -m http.server 8000 -d {shlex.quote(str(folder))}"
    return f"{NAME} is {report.text}. Any web server serves it: {command}"


def _as_file(name: str) -> str:
    """The `file` of a manifest by which boards ask for this name. They take %41 for a character that is quoted."""
    return name if _path(name) == name else name.replace("%", "%25")


def _path(file: str) -> str:
    """The path that a board asks a server for, by the `file` of a manifest at the server's root."""
    path: str = url.split(url.beside("http://host/" + NAME, file))[2]
    return bytes(unquote(path[1:])).decode(errors="replace")


def _for(row: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(row.get(name, "") for name in FOR)


def _steps(found: list[dict[str, Any]]) -> set[tuple[str, ...]]:
    """The releases that another one needs first, as what they are for and a version."""
    words = {(*_for(one), words) for one in found for what, words in one["needs"].items() if what != "mpota_boot"}
    return {(*_for(one), one["version"]) for one in found} & words


def fitting(
    rows: list[dict[str, Any]], steps: Collection[tuple[str, ...]] = ()
) -> tuple[list[dict[str, Any]], list[str]]:
    """As many of the entries as a manifest holds: all, or else the newest version for the same boards and `steps`."""
    if len(manifest(rows)) < MANIFEST:
        return rows, []
    newest: dict[tuple[str, ...], bytes] = {}
    for row in rows:
        newest[_for(row)] = max(newest.get(_for(row), b""), _version(row))
    kept = [row for row in rows if _version(row) == newest[_for(row)] or (*_for(row), row["version"]) in steps]
    size = len(manifest(kept))
    if size >= MANIFEST:
        words = f"{len(kept)} packages make a manifest of {size} bytes and a board reads {MANIFEST - 1}"
        raise Refused("manifest", f"{words}: take some deltas or products out of the folder")
    left = len(rows) - len(kept)
    return kept, [f"a board reads {MANIFEST - 1} bytes of a manifest: left {left} packages of older versions out of it"]


def _version(row: Mapping[str, Any]) -> bytes:
    return bytes(parse(row["version"]))


def _versions(found: list[dict[str, Any]]) -> list[list[dict[str, Any]]]:
    """Packages of one product, layout and version together."""
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for one in found:
        groups.setdefault((*_for(one), one["version"]), []).append(one)
    return list(groups.values())


def _doubts(group: list[dict[str, Any]]) -> Iterator[str]:
    """What looks wrong with the packages of one version."""
    name = f"{group[0]['product']} {group[0]['version']}"
    if all(any(part["base"] for part in one["components"]) for one in group):
        yield f"{name} has deltas and no full package: a board that runs something else cannot take it"
    held = {tuple((part["kind"], part["name"], part["sha256"]) for part in one["components"]) for one in group}
    if len(held) > 1:
        files = ", ".join(one["file"] for one in group)
        yield f"{name} is not the same in every package ({files}): give what differs another version"


def write_manifest(folder: Path, entries: Iterable[Mapping[str, Any]]) -> Path:
    """Write `folder`/manifest.json with these entries, newest first. ValueError for what a board would refuse."""
    data = manifest([_entry(entry) for entry in entries])
    if len(data) >= MANIFEST:
        raise ValueError(f"the manifest has {len(data)} bytes and a board reads {MANIFEST - 1}: offer fewer packages")
    path = folder / NAME
    want_own([path], "manifest of mpota's", _is_manifest)
    fresh = folder / (NAME + ".new")
    fresh.write_bytes(data)
    os.replace(fresh, path)
    return path


def _is_manifest(data: bytes) -> bool:
    try:
        return "mpota" in json.loads(data)
    except (ValueError, TypeError):
        return False


def manifest(rows: list[dict[str, Any]]) -> bytes:
    """The manifest's text: a line for each package, the newest first, of one version the smallest."""
    rows = sorted(rows, key=lambda row: -row["size"])
    rows.sort(key=lambda row: (*_for(row), _version(row)))
    lines = ",\n ".join(json.dumps(row) for row in reversed(rows))
    return f'{{"mpota": 1, "packages": [\n {lines}\n]}}\n'.encode()


def read_manifest(folder: Path) -> list[dict[str, Any]]:
    """The entries of `folder`/manifest.json, none where there is no such file."""
    path = folder / NAME
    if not path.exists():
        return []
    rows: list[dict[str, Any]] = json.loads(path.read_bytes())["packages"]
    return rows


def urls(host: str, port: int) -> list[str]:
    """The manifest's addresses: this machine's own and by its name, where the server listens on every address."""
    names = ["127.0.0.1", socket.gethostname()] if host in ("0.0.0.0", "::", "") else [host]
    return [f"http://{f'[{name}]' if ':' in name else name}:{port}/{NAME}" for name in names]


def serve(
    folder: Path, host: str = "0.0.0.0", port: int = 8000, log: Log | None = None, began: Log | None = None
) -> None:
    """Serve the packages of `folder` until Ctrl-C; `log` gets a line for each request, `began` one once it listens."""
    try:
        web.run_app(application(folder, log), host=host, port=port, print=began, access_log=None)
    except OSError as e:
        if e.errno != errno.EADDRINUSE:
            raise
        raise OSError(e.errno, "another program listens there; give another --port", f"port {port}") from e


def application(folder: Path, log: Log | None = None, heard: Log | None = None) -> web.Application:
    """The server as an aiohttp application: GET and HEAD of the manifest and what it names, with Range.

    `heard` gets the body of each report that a board POSTs.
    """

    async def give(request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"]
        path = folder / name
        if name not in _offered(folder) or not path.is_file():
            raise web.HTTPNotFound
        return web.FileResponse(path)

    async def hear(request: web.Request) -> web.Response:
        body = (await request.content.read(REPORT)).decode("utf-8", "replace")
        if heard:
            heard(body)
        if log:
            log(f"{request.remote} reports {harmless(body)}")
        return web.Response()

    app = web.Application(middlewares=[_logged(log)] if log else [])
    app.router.add_get("/{name:.+}", give)
    app.router.add_post("/report", hear)
    return app


def _logged(log: Log) -> Any:
    """A middleware that logs each request but a report, which logs itself, when its answer is known."""

    @web.middleware
    async def middleware(
        request: web.Request, handler: Callable[[web.Request], Awaitable[web.StreamResponse]]
    ) -> web.StreamResponse:
        status = 500
        try:
            answer = await handler(request)
            status = 206 if "Range" in request.headers and answer.status == 200 else answer.status
            return answer
        except web.HTTPException as e:
            status = e.status
            raise
        finally:
            if request.method != "POST":
                asked = harmless(f"{request.path} {request.headers.get('Range', '')}".strip())
                log(f"{request.remote} {request.method} {asked}: {status}")

    return middleware


def _offered(folder: Path) -> set[str]:
    return {NAME, *(_path(str(row["file"])) for row in read_manifest(folder))}


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    missing = [name for name in FIELDS if name not in entry]
    if missing:
        raise ValueError(f"a manifest's entry needs {', '.join(missing)}")
    parse(entry["version"])
    if not isinstance(entry["size"], int) or entry["size"] < 1:
        raise ValueError(f"size {entry['size']!r} is no package's")
    channel = {"channel": entry["channel"]} if entry.get("channel") else {}
    return {name: entry[name] for name in FIELDS} | channel
