"""The unix port killed with SIGKILL in the middle of real updates, over a real socket and a real pty.

Nothing is simulated here but the chip: a virtual board runs as a process of its own, on a flash that is a file. It is
killed at random moments, started again, and killed again; then it is left alone, and has to come to the newest release,
whole and confirmed, every time. Kills on a trial use it up, so the board has more trials than there are kills.
"""

from __future__ import annotations

import contextlib
import io
import tempfile
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from random import Random

from mpota_host.board.errors import PushError
from mpota_host.board.push import Sender, push
from mpota_host.board.repl import WITH_BOARD
from mpota_host.cut.explore import Failure
from mpota_host.cut.hostile import make_keys
from mpota_host.cut.rig import life_of
from mpota_host.package import keys
from mpota_host.package.pack import Options, pack
from mpota_host.package.read import package_facts
from mpota_host.package.serve import write_manifest
from mpota_host.sim.board import VirtualBoard, create, mpota_files
from mpota_host.sim.shop import Shop

PRODUCT = "campaign"
IMAGE = 700_001
# What a board takes from power-on to the confirm on a quiet machine, by a web server and pushed, and to rest after it.
HTTP_S, PUSH_S, REST_S = 2.4, 3.0, 2.5
# On a busy one it takes longer: each rest of a board that is not there yet is longer than the last by this factor.
LONGER = 1.3
# Kills before a release is left alone.
KILLS = (1, 6)
PATIENCE_S = 100.0
APP = b"def step():\n    pass\n\ndef health():\n    return True\n"
PUSH = WITH_BOARD + "console.push(Board())"
SLOTS = {"ota_0": 0x10000, "ota_1": 0x190000}


@dataclass
class Killed:
    """How often a board was killed, by its link, the updates that completed, and those that did not."""

    kills: dict[str, int] = field(default_factory=dict)
    updates: dict[str, int] = field(default_factory=dict)
    resumed: int = 0
    bad: list[Failure] = field(default_factory=list)

    def add(self, other: Killed) -> None:
        self.kills |= other.kills
        self.updates |= other.updates
        self.resumed += other.resumed
        self.bad += other.bad


class Bench:
    """One board and what publishes to it."""

    def __init__(self, folder: Path, rng: Random, layout: str = "esp32") -> None:
        self.folder = folder
        self.rng = rng
        self.image = life_of(layout).image
        self.key = make_keys().trusted
        self.flash = folder / "flash.bin"
        shelf = folder / "shelf"
        shelf.mkdir(parents=True)
        self.shop = Shop(shelf)
        self.release = 0
        self.kills = 0

    def make(self, http: bool) -> None:
        """A board as it leaves the workshop."""
        settings: dict[str, object] = {"product": PRODUCT, "trials": 250, "poll_ms": 200, "room": 4096}
        if http:
            settings |= {"manifest": self.shop.url + "/manifest.json", "report": self.shop.url + "/report"}
        files = mpota_files(settings, {"campaign": keys.public_bytes(self.key)}) | {"/app.py": APP}
        create(self.flash, self.image(IMAGE, 1), "4MiB-ota", files, {"wifi": {"ssid": "campaign", "psk": "secret"}})

    def publish(self) -> tuple[bytes, bytes]:
        """The next release: its image and its package, which is on the shelf now."""
        self.release += 1
        image = self.image(IMAGE + self.release % 5 * 4096, 100 + self.release)
        version = f"1.{self.release}.0"
        data = pack(image, Options(PRODUCT, version, compress="none"), self.key).data
        path = self.shop.folder / f"{version}.mpota"
        path.write_bytes(data)
        self.shop.reports.clear()
        write_manifest(self.shop.folder, [{**package_facts(data), "file": path.name}])
        return image, data

    def holds(self, image: bytes) -> str:
        """The slot in which the image lies, whole; "" for none."""
        with self.flash.open("rb") as f:
            for name, off in SLOTS.items():
                f.seek(off)
                if f.read(len(image)) == image:
                    return name
        return ""

    def kill_some(self, board: VirtualBoard, n: int) -> None:
        """Power comes and goes, n times."""
        for _ in range(n):
            time.sleep(self.rng.uniform(0.05, HTTP_S))
            self.kill(board)

    def kill(self, board: VirtualBoard) -> None:
        board.kill()
        self.kills += 1
        board.on()


def over_http(bench: Bench, n: int, result: Killed) -> None:
    """The board asks a web server for updates until it was killed `n` times."""
    bench.make(True)
    with VirtualBoard(bench.flash) as board:
        while bench.kills < n:
            image, _ = bench.publish()
            bench.kill_some(board, min(bench.rng.randint(*KILLS), n - bench.kills))
            _settled(bench, board, image, "http", result)
    result.kills["http"] = bench.kills
    result.resumed += sum(1 for asked in bench.shop.ranges if not asked.startswith("bytes=0-"))


def over_pty(bench: Bench, n: int, result: Killed) -> None:
    """A host pushes, and pushes again, until the board was killed `n` times under it."""
    bench.make(False)
    with VirtualBoard(bench.flash) as board:
        while bench.kills < n:
            image, data = bench.publish()
            for _ in range(min(bench.rng.randint(*KILLS), n - bench.kills)):
                timer = threading.Timer(bench.rng.uniform(PUSH_S / 3, PUSH_S), board.kill)
                timer.start()
                result.resumed += _push(board, data)
                timer.join()
                bench.kills += 1
                board.on()
            _push_until_there(bench, board, image, data)
            _settled(bench, board, image, "pty", result)
    result.kills["pty"] = bench.kills


def _push(board: VirtualBoard, data: bytes) -> bool:
    """Push once, whatever comes of it. Did the board resume?"""
    seen = [0]
    sender = Sender(data, lambda done, total: seen.append(done))
    with contextlib.suppress(PushError, OSError, TypeError), contextlib.redirect_stdout(io.StringIO()):
        push(board.port, sender, 115200, PUSH)
    # After the header it goes on where it stopped: a step that no window of frames has.
    return any(b - a > 8 * 4096 for a, b in pairwise(seen))


def _push_until_there(bench: Bench, board: VirtualBoard, image: bytes, data: bytes) -> None:
    """Push, and let the board run for a while: a host at the prompt holds up main.py, and with it the verdict."""
    end, rest = time.monotonic() + PATIENCE_S, REST_S
    while not bench.holds(image) and time.monotonic() < end:
        _push(board, data)
        time.sleep(rest)
        if not bench.holds(image):
            board.off()
            board.on()
            time.sleep(rest)
        rest *= LONGER


def _settled(bench: Bench, board: VirtualBoard, image: bytes, link: str, result: Killed) -> None:
    """Left alone, the board comes to start this image at two power-ons, one after the other: it is confirmed."""
    end, rest = time.monotonic() + PATIENCE_S, REST_S
    started: list[str] = []
    while time.monotonic() < end:
        board.off()
        board.on()
        started.append(str(board.wait("reset")["image"]))
        time.sleep(rest)
        rest *= LONGER
        slot = bench.holds(image)
        if slot and started[-2:] == [slot, slot]:
            result.updates[link] = result.updates.get(link, 0) + 1
            return
    where = bench.holds(image) or "no slot"
    text = f"release {bench.release} is whole in {where}, and {started[-2:]} start; {bench.shop.reports[-2:]}"
    result.bad.append(Failure("processes", f"{link}={bench.release}", "completes", text))


def campaign(n: int, seed: int) -> Killed:
    """`n` kills in all, half of them over either link, both links at the same time."""
    result = Killed()
    with tempfile.TemporaryDirectory(prefix="mpota-cut-") as folder, ThreadPoolExecutor(len(LINKS)) as pool:
        shares = {"http": n - n // 2, "pty": n // 2}
        done = [pool.submit(_share, Path(folder, name), name, shares[name], seed) for name in LINKS if shares[name]]
        for one in done:
            result.add(one.result())
    return result


def _share(folder: Path, name: str, n: int, seed: int) -> Killed:
    result = Killed()
    LINKS[name](Bench(folder, Random(f"{seed}/{name}")), n, result)
    return result


LINKS = {"http": over_http, "pty": over_pty}
