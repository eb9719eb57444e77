"""Other updaters of application files under the same power cuts, on the same models of LittleFS and FAT.

    python -m mpota_host.chips.files.cut.peers [FOLDER]    fetches them with pip, once; prints a table

Each brings five changed files, one of them in a folder, the way its own code does; only the network and the serial
line are stand-ins. The power goes before, inside and after every operation of the file system. Then the peer's own code
for a start runs. Broken: what lies there is neither the old application nor the new one. Lost: the same update, brought
again, does not end with the new one either. Nothing of this is needed by any test.
"""

from __future__ import annotations

import binascii
import hashlib
import importlib
import subprocess
import sys
import tarfile
import zipfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

from mpota_host.sim.flash import PowerCut
from mpota_host.sim.fs import Disk, Fat, LittleFs, Stand
from mpota_host.sources import root

# Name and version on PyPI; pip takes the first as it is, the second for the Python that it asks for.
WANTED = (("micropython-senko==2.0.4", ()), ("otampy==4.9.3", ("--only-binary=:all:", "--python-version", "3.13")))
# On PyPI too, and not run: no project that pip installs; a client of one vendor's own server.
NOT_RUN = (
    "micropython-ota 2.1.0: pip finds no project in its sdist",
    "micropython-otaupdatemanager: one vendor's server",
)
NAMES = ("app.py", "config_page.py", "lib/net.py", "main.py", "table.py")
OLD = {name: f"# {name}, old\n" + "pass\n" * (40 * i) for i, name in enumerate(NAMES)}
NEW = {name: f"# {name}, new and longer\n" + "pass\n" * (45 * i) for i, name in enumerate(NAMES)}


@dataclass
class Peer:
    """`update()` is one run of it, `start()` what its code does at a boot; `modules` open files."""

    name: str
    modules: list[Any]
    update: Callable[[], object]
    start: Callable[[], object]


@dataclass
class Figure:
    """What came of one peer on one file system."""

    cuts: int = 0
    broken: int = 0
    lost: int = 0


def fetch(folder: Path) -> None:
    """The peers' own code, by pip, unpacked in `folder`."""
    folder.mkdir(parents=True, exist_ok=True)
    for wanted, options in WANTED:
        name = wanted.partition("==")[0].replace("-", "_")
        if any(f.name.replace("-", "_").startswith(name) for f in folder.iterdir()):
            continue
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", *options, "-d", str(folder), wanted]
        subprocess.run(command, check=True)
    for file in folder.iterdir():
        if file.suffix == ".whl":
            zipfile.ZipFile(file).extractall(folder)
        elif file.name.endswith(".tar.gz"):
            with tarfile.open(file) as tar:
                tar.extractall(folder, filter="data")


def module(name: str, **has: Any) -> None:
    """A stand-in for a module of MicroPython."""
    made = ModuleType(name)
    made.__dict__.update(has)
    sys.modules[name] = made


def senko(folder: Path) -> Peer:
    """Fetches each file whose hash differs and writes it over the one that is there."""
    sys.path.insert(0, str(next(folder.glob("micropython-senko-*/"))))
    module("uhashlib", sha1=hashlib.sha1)
    module("urequests", get=lambda url, headers: SimpleNamespace(status_code=200, text=NEW[url.partition("/app/")[2]]))
    code = importlib.import_module("senko.senko")
    agent = code.Senko(user="user", repo="repo", working_dir="app", files=list(NAMES))
    return Peer("senko 2.0.4", [code], agent.update, lambda: None)


class Line:
    """otampy's transport: a host that sends one update and hears the answers."""

    def __init__(self) -> None:
        self.packets: list[bytes] = []

    def offer(self) -> None:
        """What its host sends: the manifest, each file in pieces, the commit."""
        self.packets = [b"UPDATE_START:%d:%d" % (len(NEW), sum(map(len, NEW.values())))]
        for name, text in NEW.items():
            data = text.encode()
            digest = hashlib.sha256(data).hexdigest()
            self.packets.append(f"FILE_START:{name}:{len(data)}:{digest}".encode())
            for i in range(0, len(data), 128):
                piece = binascii.b2a_base64(data[i : i + 128]).strip()
                self.packets.append(b"CHUNK:%d:" % (i // 128) + piece)
            self.packets.append(b"FILE_END")
        self.packets.append(b"UPDATE_COMMIT")

    def read(self) -> bytes:
        return self.packets.pop(0) if self.packets else b"UPDATE_ABORT"

    def reply(self, data: bytes) -> None:
        """Nobody listens."""

    send = reply


class Silence:
    """A logger."""

    def debug(self, text: str) -> None:
        """Nobody reads it."""

    info = warning = error = debug


def otampy(folder: Path) -> Peer:
    """Stages every file beside its target, then renames them all, with a journal that a start finishes or undoes."""
    sys.path.insert(0, str(folder / "otampy" / "device" / "lib"))
    for name in [name for name in sys.modules if name.partition(".")[0] == "otampy"]:
        del sys.modules[name]
    module("machine", reset=lambda: None)
    boot, restore = (importlib.import_module(f"otampy.{name}") for name in ("boot", "restore"))
    for code in (boot, restore):
        vars(code)["os"] = vars(code)["_os"]
    line = Line()
    core = SimpleNamespace(transport=line, config=SimpleNamespace(), logger=Silence())

    def update() -> None:
        line.offer()
        boot._run_default_update_loop(core)

    return Peer("otampy 4.9.3", [boot, restore], update, lambda: restore.repair(core))


class Bench:
    """One peer on one file system."""

    def __init__(self, peer: Peer, disk: Disk) -> None:
        self.peer = peer
        self.disk = disk
        disk.dirs.add("/lib")
        for name, text in OLD.items():
            disk.files["/" + name] = text.encode()
        self.begin = disk.state()

    def whole(self, *apps: dict[str, str]) -> bool:
        """Does one of these applications lie there?"""
        held = self.disk.files
        return any(all(held.get("/" + name) == text.encode() for name, text in app.items()) for app in apps)

    def run(self) -> Figure:
        """Show every cut of one update, then start from each."""
        found: list[Any] = []
        self.disk.load(self.begin)
        self.disk.watch = lambda op, path, shapes: found.extend(self.disk.left(change) for _, change in shapes)
        self.peer.update()
        self.disk.watch = None
        if not self.whole(NEW):
            raise RuntimeError(f"{self.peer.name} does not bring the update at all")
        figure = Figure()
        for state in [self.begin, *found]:
            figure.cuts += 1
            self.disk.load(state)
            self._quietly(self.peer.start)
            figure.broken += not self.whole(OLD, NEW)
            self._quietly(self.peer.update)
            figure.lost += not self.whole(NEW)
        return figure

    def _quietly(self, call: Callable[[], object]) -> None:
        try:
            call()
        except PowerCut:
            raise
        except Exception as e:
            print(f"  {self.peer.name}: {e!r}", file=sys.stderr)


def figures(folder: Path) -> dict[str, dict[str, Figure]]:
    """{peer: {file system: what came of it}}."""
    fetch(folder)
    found: dict[str, dict[str, Figure]] = {}
    for make in (senko, otampy):
        peer = make(folder)
        for model in (LittleFs, Fat):
            disk = model()
            stand = Stand(disk, peer.modules)
            for code in peer.modules:
                if hasattr(code, "_os"):
                    code._os = disk.os
            found.setdefault(peer.name, {})[disk.NAME] = Bench(peer, disk).run()
            stand.end()
    return found


def main(folder: Path) -> None:
    print("peer            file system   broken / cuts   lost")
    for name, by in figures(folder).items():
        for kind, f in by.items():
            print(f"{name:15} {kind:12} {f.broken:6} / {f.cuts:<6} {f.lost:6}")
    for line in NOT_RUN:
        print(f"not run: {line}")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else root() / "build" / "peers")
