"""The least heap on which the unix port completes a signed update, found by bisection to 1 KiB.

A run counts when the port says that it armed and the slot's file holds the image; a run fails for want of memory or the
bench stops. The heap in use before the first call (interpreter, imports, the harness of small.py) is told apart.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from mpota_host.bench.figure import AT_MOST, Figure
from mpota_host.bench.material import PRODUCT, Material, Offer

# DEFAULT_ROOM is what `pack` and boards take when they are not told; WIDE_ROOM has twice as much.
DEFAULT_ROOM, WIDE_ROOM = 4096, 8192
# Unsigned, the same way: micropython-esp32-ota by glenn20 needs 41 and 74 KB.
BARS = {
    ("raw", DEFAULT_ROOM): 41,
    ("deflate", WIDE_ROOM): 52,
    ("delta + deflate + AES", WIDE_ROOM): 64,
    ("predicted delta + deflate", DEFAULT_ROOM): 54,
    ("predicted delta + deflate", WIDE_ROOM): 58,
}
# What is measured in which rooms; HTTP beside the bars of the full image.
BOTH = DEFAULT_ROOM, WIDE_ROOM
KINDS = {
    "raw": BOTH,
    "deflate": (*BOTH, 16384),
    "deflate + AES": BOTH,
    "delta + deflate": BOTH,
    "delta + deflate + AES": BOTH,
    "predicted delta + deflate": (*BOTH, 16384),
    "predicted delta + deflate + AES": BOTH,
    "LZMA": BOTH,
    "predicted delta + LZMA": (*BOTH, 16384),
}
HTTP_MORE = 14
LOW, HIGH = 16, 256
SURE = 6
KIB = 1024
LAYOUT = """
import gc, small
gc.collect()
before = gc.mem_alloc()
import mpota.layout.esp32.layout
gc.collect()
print(gc.mem_alloc() - before)
"""


def completes(material: Material, source: str, room: int, heap: int) -> bool:
    """Does the update end on `heap` KiB? RuntimeError where it fails of anything but memory."""
    material.erase()
    done = material.port(f"import small; small.run({source!r}, {room})", f"{heap}k")
    if done.returncode == 0 and done.stdout.endswith("armed\n"):
        if material.slot.read_bytes()[: len(material.new)] != material.new:
            raise RuntimeError(f"{source} was armed, but the slot does not hold the image")
        return True
    if "MemoryError" not in done.stdout + done.stderr and "memory" not in done.stderr:
        raise RuntimeError(f"{source} failed on {heap} KiB: {(done.stderr or done.stdout).strip()[-500:]}")
    return False


def least(material: Material, source: str, room: int) -> int:
    """KiB, the least on which the update of `source` completes, and on the next SURE - 1 sizes above it too."""
    low, high = LOW, HIGH
    if not completes(material, source, room, high):
        raise RuntimeError(f"{source} does not complete on {high} KiB")
    while high - low > 1:
        middle = (low + high) // 2
        if completes(material, source, room, middle):
            high = middle
        else:
            low = middle
    # More heap may fail where less did not, as objects then lie elsewhere: one lucky size is no answer.
    size = high
    while size < high + SURE:
        if not completes(material, source, room, size):
            high = size + 1
        size += 1
    return high


def taken(material: Material, source: str, room: int) -> float:
    """KiB in use before the update's first call."""
    return int(material.told(f"import small; small.run({source!r}, {room})", f"{HIGH}k").split()[0]) / KIB


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A board that is short of memory hangs up; the board's own output says why."""


@contextmanager
def web(material: Material, offer: Offer) -> Iterator[str]:
    """A static web server with a manifest of this one package; gives the manifest's URL."""
    entry: dict[str, object] = {"product": PRODUCT, "layout": "esp32", "version": "2.0.0", "file": offer.path.name}
    entry |= {"size": offer.path.stat().st_size, "id": ""}
    (material.folder / "manifest.json").write_text(json.dumps({"mpota": 1, "packages": [entry]}))
    server = _Server(("127.0.0.1", 0), partial(_Quiet, directory=str(material.folder)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/manifest.json"
    finally:
        server.shutdown()
        server.server_close()


def figure(material: Material, offer: Offer, bar: int = 0) -> Figure:
    """One package over the file link."""
    name = offer.path.name
    need, imports = least(material, name, offer.room), taken(material, name, offer.room)
    return Figure(
        f"{offer.words}",
        need,
        "KB",
        AT_MOST if bar else "",
        bar,
        f"imports {imports:.1f}, peak {need - imports:.1f}",
        {"imports": imports, "peak": need - imports, "package": offer.path.stat().st_size, "image": len(material.new)},
    )


def over_http(material: Material, offer: Offer, by_file: int) -> Figure:
    """What HTTP takes above the file link, on the same package."""
    with web(material, offer) as url:
        need, imports = least(material, url, offer.room), taken(material, url, offer.room)
    return Figure(
        f"{offer.words}, HTTP adds",
        need - by_file,
        "KB",
        AT_MOST,
        HTTP_MORE,
        f"{need}: imports {imports:.1f}, peak {need - imports:.1f}",
        {"least": need, "imports": imports, "peak": need - imports},
    )


def layout(material: Material) -> Figure:
    """What small.py leaves out: the modules that judge, arm and settle on an ESP32."""
    return Figure("the ESP32 layout, imported", int(material.told(LAYOUT)) / KIB, "KB", note="not in what is above")


def measure(material: Material) -> list[Figure]:
    """Every kind in its rooms, then HTTP beside raw and deflate where there is a bar."""
    found, web_found = [], []
    for kind, rooms in KINDS.items():
        for room in rooms:
            offer = material.offer(kind, room)
            bar = BARS.get((kind, room), 0)
            found.append(figure(material, offer, bar))
            if bar and kind in ("raw", "deflate"):
                web_found.append(over_http(material, offer, int(found[-1].value)))
    return [*found, *web_found, layout(material)]
