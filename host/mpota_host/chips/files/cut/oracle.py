"""Judges a board by the files that lie in its file system; shares no code with mpota's store, layout or installer.

The rules, each with a name that a report quotes: the folder that boot.py names holds one accepted application, every
byte and nothing else but the board's own and strangers' files; with firmware, it is the one that came with it; every
module of mpota's comes from one root, its own where it can run and no rescue is wanted; what was confirmed does not go
back; strangers' files are as they were; one of the journal's two files is whole; at rest the
application before is gone, and a boot writes nothing.
"""

from __future__ import annotations

import struct
import zlib
from typing import Any

from mpota_host.chips.files.cut import apps, own
from mpota_host.cut.oracle import Bad, Oracle


def journal(data: bytes) -> int:
    """The number of a journal's file, 0 where it is not whole: FORMAT.md, "Application files"."""
    if len(data) != 512 or data[:4] != b"MPJ1":
        return 0
    number, n, crc = struct.unpack_from("<IHI", data, 4)
    return int(number) if zlib.crc32(data[:10] + data[14 : 14 + n]) == crc and 14 + n <= 512 else 0


class FilesOracle(Oracle):
    """Rules over one rig of mpota_host/chips/files; those of a flash hold for the chip beside the files."""

    rig: Any

    def __init__(self, rig: Any) -> None:
        super().__init__(rig)
        # May a cut take bytes of a file that were there before?
        self.tears = rig.disk.IN_PLACE
        self.strangers = {path: rig.disk.files[path] for path in rig.strangers}

    def started(self, confirmed: int) -> int:
        """Which application boot.py chose; raise Bad unless it is exactly one that this board accepted."""
        self.lasting()
        i = self._application(self.rig.folder)
        if self.rig.inner:
            firmware = self.holds(self.rig.started())
            if firmware != i:
                raise Bad("mixed", f"firmware {firmware} runs with the files of application {i}")
        if i < confirmed:
            raise Bad("kept", f"application {i} runs after {confirmed} was confirmed")
        return i

    def _application(self, folder: str) -> int:
        s = self.rig.scenario
        if folder not in ("", apps.ROOT + "/1", apps.ROOT + "/2") or (s.begins == "tree" and not folder):
            raise Bad("folder", f"boot.py names the folder {folder!r}")
        if not folder:
            return 0
        seen = {
            path[len(folder) + 1 :]: data for path, data in self.rig.disk.files.items() if path.startswith(folder + "/")
        }
        seen.pop(apps.LIST, None)
        for path in self.strangers:
            if path.startswith(folder + "/"):
                del seen[path[len(folder) + 1 :]]
        nearest = ""
        for i in range(len(apps.APPS)):
            wanted = {**apps.app(i, s), **apps.OWN}
            if seen == wanted:
                return i
            differ = sorted(n for n in seen.keys() | wanted.keys() if seen.get(n) != wanted.get(n))
            if not nearest or len(differ) < nearest.count(",") + 1:
                nearest = f"unlike application {i} in {', '.join(differ)}"
        raise Bad("whole", f"{folder} runs and is no accepted application, {nearest}")

    def imported(self, i: int, confirmed: int) -> None:
        """Judge where the modules of a run come from, after the imports of main.py."""
        found = self.rig.imports.modules
        roots = own.roots(found)
        if len(set(roots.values())) != 1:
            raise Bad("roots", f"mpota's modules come from {sorted(set(roots.values()))}: {roots}")
        root, folder = next(iter(roots.values())), self.rig.folder
        copies = folder and self.rig.scenario.updaters[min(i, len(apps.APPS) - 1)] in own.RUNS
        held = own.RESCUE in self.strangers
        # Who is on trial is not known here: a cut may have come after the confirm.
        may = {"/lib"} if not copies or (held and i <= confirmed) else {folder, "/lib"} if held else {folder}
        if root not in may:
            raise Bad("updater", f"mpota of {root} runs with application {i} in {folder}, wanted {' or '.join(may)}")
        if folder and found["app"].file != folder + "/app.py":
            raise Bad("order", f"`import app` finds {found['app'].file}")

    def lasting(self) -> None:
        """What holds whenever the power returns."""
        files = self.rig.disk.files
        for path, data in self.strangers.items():
            if files.get(path) != data:
                raise Bad("strangers", f"{path}, which no package owns, {'changed' if path in files else 'is gone'}")
        if not self.rig.inner:
            pair = [files.get(apps.ROOT + "/mpota" + name) for name in "ab"]
            # The very first record of a board may be cut: then there is no second file yet.
            begun = self.rig.scenario.begins == "tree" or None not in pair
            if begun and not any(journal(data or b"") for data in pair):
                raise Bad("journal", "neither of the journal's two files is whole")

    def end(self, cut: bool = False) -> None:
        """Judge a board at rest: the application before this one is gone. `cut`: the power went before."""
        super().end()
        if self.rig.inner and cut:
            # A chip does not go on freeing where a cut stopped it; its next update does.
            return
        other = f"{apps.ROOT}/{2 if self.rig.folder.endswith('1') else 1}"
        own = {f"{other}/{name}" for name in apps.OWN}
        left = [
            p for p in self.rig.disk.files if p.startswith(other + "/") and p not in self.strangers and p not in own
        ]
        if left:
            raise Bad("freed", f"after the confirm there is still {', '.join(sorted(left))}")

    def quiet(self, cause: str, ops: int) -> None:
        """A boot with nothing to do writes nothing."""
        if ops:
            raise Bad("quiet", f"a boot with nothing to do ({cause or 'soft reset'}) wrote {ops} times")

    def map(self, when: str = "when the power returned") -> list[str]:
        """What the file system holds: each file, its length, and whose bytes these are; then the flash of a chip."""
        out = [f"The file system {when}:"]
        wanted = [apps.app(i, self.rig.scenario) for i in range(len(apps.APPS))]
        for path, data in sorted(self.rig.disk.files.items()):
            name = path.split("/", 3)[-1] if path.startswith(apps.ROOT + "/") else path[1:]
            whose = [str(i) for i, app in enumerate(wanted) if app.get(name) == data]
            note = f"as in application {' and '.join(whose)}" if whose else ""
            out.append(f"  {path:28} {len(data):6} bytes  {note or repr(data[:24])}")
        return out + (super().map(when) if self.rig.inner else [])
