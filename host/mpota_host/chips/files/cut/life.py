"""Boards with an application in files, for power campaigns: one that has nothing else, and an ESP32 with all three.

A board leaves the workshop with an application that it has confirmed (or with its owner's files at the root), with
files that no package owns, and with settings of its own that every application finds. The campaign starts boards from
here and never looks inside; what an application must consist of is said here once more, without the device's code.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from mpota.agent import Agent
from mpota_boot import shim, updater
from mpota_boot.errors import Refused
from mpota_host.chips.files.cut.apps import APPS, FONT, OWN, PROTECTED, ROOT, STRANGERS, app
from mpota_host.chips.files.cut.drive import FilesLife
from mpota_host.chips.files.cut.oracle import FilesOracle
from mpota_host.chips.files.cut.own import board as boards
from mpota_host.chips.files.cut.own import started
from mpota_host.chips.files.sim.soc import Plain
from mpota_host.cut.drive import Offer
from mpota_host.cut.imports import Imports
from mpota_host.cut.imports import leave as leave_imports
from mpota_host.cut.medium.cells import CutFlash
from mpota_host.cut.medium.medium import Medium, Misread
from mpota_host.cut.medium.world import World
from mpota_host.cut.releases import PRODUCT, Releases
from mpota_host.cut.rig import VERDICTS as SHARED
from mpota_host.cut.rig import Area, Scenario
from mpota_host.package import format as fmt
from mpota_host.package.assemble import Head, Part, assemble
from mpota_host.package.encode.piece import pieces
from mpota_host.registry import part_of
from mpota_host.sim.fs import Disk, Fat, LittleFs
from mpota_host.sim.plain import leave
from mpota_host.sim.reset import SOFT, Reset
from mpota_host.sources import program

# What a release's own copy of mpota may do besides: own.py says what.
COPIES = ("broken", "half", "blind")
VERDICTS = (*SHARED, *COPIES)
# The boards with a flash too are ESP32s, as their own campaign has them.
CHIP = part_of("esp32", "cut.life")
TRIALS = 3
CHUNK = 4096
# Entries of the journal's page that are left when its update begins.
MOVES_AT = 35


@dataclass(frozen=True)
class Files(Scenario):
    """A board and a story. `begins`: "tree", with an application from a package, or "root", with its owner's."""

    fat: bool = False
    begins: str = "tree"
    resource: bool = False
    # Blocks of 4 KiB of its file system; 0 is plenty. "tight": with one less no update goes through, cut or not;
    # on FAT two more, for the words of an error that a cut may cause (mpota_tried, two files).
    blocks: int = 0
    # With firmware: the builds of a chip.
    chip: Any = None
    # Somebody presses Ctrl-D when an update waits for its reset.
    soft: bool = False
    # The kind of mpota (own.py) that each application brings, in stories in which one does.
    updaters: tuple[str, ...] = ()
    # Is there a file that asks for a rescue?
    rescue: bool = False

    @property
    def keeps(self) -> str:
        """The layout of the board."""
        return "esp32" if self.chip else "files"


def _scenarios() -> dict[str, Files]:
    found = []
    for fat in (False, True):
        end = "-fat" if fat else ""
        found += [
            Files("update" + end, fat=fat),
            Files("unhealthy" + end, "unhealthy", fat=fat),
            Files("hang" + end, "hangs", fat=fat),
            Files("dies" + end, "dies", fat=fat),
            Files("no-link" + end, "no-link", fat=fat),
            Files("first" + end, fat=fat, begins="root"),
            Files("first-hang" + end, "hangs", fat=fat, begins="root"),
            Files("resource" + end, fat=fat, resource=True),
            Files("tight" + end, fat=fat, blocks=39 + 2 * fat),
            Files("tight-unhealthy" + end, "unhealthy", fat=fat, resource=True, blocks=40 + 2 * fat),
        ]
        chips = [CHIP.Esp32("both"), CHIP.Esp32("both-unhealthy", "unhealthy"), CHIP.Esp32("both-hang", "hangs")]
        chips.append(CHIP.Esp32("both-hang-unprotected", "hangs", bootloader=False))
        # The page of the journal is full in the first run of an image that hangs, and its records lie on it.
        chips.append(CHIP.Esp32("both-move", "hangs", bootloader=False, left=MOVES_AT))
        found += [Files(chip.name + end, chip.verdict, fat=fat, resource=True, chip=chip) for chip in chips]
        found += _selfish(fat, end, chips[0])
        found.append(Files("soft" + end, "hangs", fat=fat, soft=True))
        found.append(Files("both-soft" + end, "hangs", fat=fat, resource=True, chip=chips[0], soft=True))
    return {s.name: s for s in found}


def _selfish(fat: bool, end: str, chip: Any) -> list[Files]:
    """Releases that bring mpota itself."""
    return [
        Files("self" + end, fat=fat, updaters=("", "good", "good")),
        Files("self-ends" + end, fat=fat, updaters=("good", "good", "")),
        Files("self-broken" + end, "broken", fat=fat, updaters=("good", "broken", "good")),
        Files("self-half" + end, "half", fat=fat, updaters=("", "half", "good")),
        Files("self-hang" + end, "hangs", fat=fat, updaters=("good", "hangs", "")),
        Files("self-blind" + end, "blind", fat=fat, updaters=("good", "blind", "good")),
        Files("self-deaf" + end, "no-link", fat=fat, updaters=("", "good", "good")),
        Files("self-rescue" + end, fat=fat, updaters=("good", "good", "good"), rescue=True),
        Files("self-rot" + end, fat=fat, updaters=("broken", "good", "")),
        Files("both-self" + end, fat=fat, resource=True, chip=chip, updaters=("good", "good", "")),
        Files("both-self-broken" + end, "broken", fat=fat, resource=True, chip=chip, updaters=("", "broken", "good")),
    ]


SCENARIOS: dict[str, Files] = _scenarios()
EXHAUSTIVE = tuple(name for name, s in SCENARIOS.items() if not s.chip)
EDGES = ("both",)
DEEP = ("update", "update-fat", "hang", "hang-fat")
QUICK = ("update-fat", "hang", "unhealthy-fat", "first")
# Bugs of what brings mpota itself name their story.
HUNT = (
    *(name for name in EXHAUSTIVE if name not in QUICK and not SCENARIOS[name].updaters),
    *("both", "both-unhealthy", "both-hang-fat"),
)
# Forged releases, faults of a flash and other geometries are tried on chips: nothing here is of a file system alone.
ROOMY = ""
# Here a read of the journal's files goes wrong.
FAULTY = ("unhealthy-fat", "hang", "update")
UNITS, ERASES = (1,), (4096,)
# Distinct states that a full campaign tries.
STATES = 35200
SHARE = 8
THOROUGH = True
# What a board is offered next belongs to its story, and so to its state.
BY_STORY = True
# Who drives such a board, and who judges it.
Life, Oracle = FilesLife, FilesOracle


def archive(files: Mapping[str, bytes], apart: tuple[str, ...] = ()) -> bytes:
    """The list and the files behind it, byte by byte as mpota/store/FORMAT.md says."""
    names = sorted(files, key=str.lower)
    rows = b"".join(struct.pack("<IBB", len(files[n]), n in apart, len(n)) + n.encode() for n in names)
    head = struct.pack("<4sHII", b"MPFL", len(names), 14 + len(rows), sum(map(len, files.values())))
    return head + rows + b"".join(files[n] for n in names if n not in apart)


def own(firmware: bytes, table_file: bytes | None) -> Files:
    """There is none: the oracle knows the applications of the campaign by heart."""
    raise Refused("image", "the campaign of application files has no place for an image of your own")


class Rig(Releases):
    """A board: its `disk`, and the `flash` of its chip, which is of 0 bytes where there is none beside the files."""

    layout = "files"
    trials = TRIALS
    # What boot.py named last.
    folder = ""
    main = program("main.py").read_text()

    def __init__(self, scenario: Files) -> None:
        super().__init__(scenario)
        s = scenario
        self.disk: Disk = (Fat if s.fat else LittleFs)(s.blocks)
        self.inner = CHIP.Rig(s.chip) if s.chip else None
        if self.inner:
            self.inner.housed = True
        self.flash = self.inner.flash if self.inner else CutFlash(0)
        self.world = World(self.disk, self.flash)
        self.areas: list[Area] = self.inner.areas if self.inner else []
        self.images = self.inner.images if self.inner else [archive(app(n, s)) for n in range(len(APPS))]
        settings = {"product": PRODUCT, "room": CHUNK, "trials": TRIALS, "protected": list(PROTECTED)}
        self.plain = Plain("", settings)
        if self.inner:
            self.inner.chip.settings.update(settings)
        self.cause = "power"
        with self.world:
            self._fill()

    def misread(self, fault: Misread | None) -> None:
        """A read of the journal's files, or of the chip's journal, goes wrong once."""
        disk: Any = self.disk
        disk.misread = fault
        if self.inner:
            self.inner.misread(fault)

    @property
    def medium(self) -> Medium:
        return self.world

    def _fill(self) -> None:
        """As it leaves the workshop."""
        own = "" if self.scenario.begins == "root" else ROOT + "/1"
        files = dict(STRANGERS)
        if self.scenario.updaters:
            files |= boards(self.scenario.keeps, self.scenario.rescue) | {"/main.py": self.main.encode()}
            for path, data in files.items():
                self._put(path, data)
        if own:
            self._install()
            if self.inner and self.scenario.chip.left:
                self.inner.fill_up()
        files.update({f"{own}/{name}": data for name, data in OWN.items()})
        if not own:
            files.update({"/" + name: data for name, data in app(0, self.scenario).items()})
        for path, data in files.items():
            self._put(path, data)
        self.strangers = {path for path in files if not path.startswith(own + "/") or path in STRANGERS}

    def _put(self, path: str, data: bytes) -> None:
        at = path.find("/", 1)
        while at > 0:
            self.disk.dirs.add(path[:at])
            at = path.find("/", at + 1)
        self.disk.files[path] = data

    def _install(self) -> None:
        """Release 0, by the board's own means."""
        for cause in ("power", "reset", "reset"):
            self.power_on(cause)
            try:
                shim.boot(self.board)
            except Reset:
                continue
            self.leave()
            board = self.board()
            agent = Agent(board, [Offer(self.package(0))], board.keys())
            while agent.step() == "busy":
                pass
        self.world.load(self.world.shot())

    def _pack(self, n: int, base: bytes | None) -> bytes:
        """Application `n`, or the last one once more; on a chip with its firmware."""
        s = self.scenario
        files = app(n, s)
        apart = (FONT,) if s.resource else ()
        parts = [self._part(fmt.FIRMWARE, "firmware", self.installed(n))] if self.inner else []
        parts += [self._part(fmt.FILES, "files", archive(files, apart))]
        parts += [self._part(fmt.RESOURCE, name, files[name]) for name in apart]
        head = Head(PRODUCT, "esp32" if self.inner else "files", struct.pack(">4H", 1, n, 0, 0), CHUNK)
        return assemble(head, parts, None)

    def _part(self, kind: int, name: str, data: bytes) -> Part:
        return Part(kind, name, data, pieces(data, CHUNK))

    def power_on(self, cause: str) -> bool:
        """Through the loader, where there is one, or for "" past it: a soft reset."""
        self.cause = cause
        # An interpreter of its own: no folder, no watchdog, no journal that remembers.
        self.plain.forget()
        self._interpreter()
        if self.inner and not cause:
            self.inner.cause, self.inner.runs = SOFT, False
            return True
        return self.inner.power_on(cause) if self.inner else True

    def _text(self, path: str) -> str | None:
        return self.disk.files[path].decode() if path in self.disk.files else None

    def _interpreter(self) -> None:
        """Where the boot code imports; of mpota a model, in stories in which a release brings it."""
        if not self.scenario.updaters:
            leave_imports(shim, updater, sys)
            return
        self.imports = Imports(self._text, lambda path: path in self.disk.dirs, self.board)
        self.imports.stand(shim, updater)
        for name in started(self.scenario.keeps):
            self.imports.import_(name)

    def board(self) -> Any:
        """What `Board()` gives in boot.py, and then once more in main.py."""
        if self.inner is None:
            return self.plain.board(self.cause)
        board = self.inner.board()
        board.root = ROOT
        return board

    def leave(self) -> None:
        """boot.py is over; what it told the interpreter goes."""
        self.folder = shim.folder
        leave()
        shim.folder = self.folder

    def started(self) -> int:
        """The flash offset of the firmware that the loader started."""
        return self.inner.started() if self.inner else 0

    def waver(self, on: bool) -> None:
        """Of the chip."""
        if self.inner:
            self.inner.waver(on)

    def intact(self) -> str:
        """What of the board's secrets in NVS is gone."""
        return self.inner.intact() if self.inner else ""
