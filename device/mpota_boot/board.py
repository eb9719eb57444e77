"""This board, behind words that the other modules use: its settings, journal, layout, watchdog, clock and network.

Hardware modules are imported inside functions, so that importing this file touches nothing. A port without `esp32` has
no NVS: its journals are files.
"""

import json
import os
import sys
import time

from mpota_boot.journal import NvsJournal

# Where boot.py started: the root on most ports, /flash on some.
HOME = os.getcwd().rstrip("/")
SETTINGS = HOME + "/mpota.json"
KEYS = HOME + "/keys"


class Board:
    """This board: its settings, its journal, its layout, its watchdog and its clock."""

    # One for all: there is one watchdog, and whoever makes a second Board has to feed it too.
    _dog = None
    # Did an RP2's watchdog end the run before? Asked by the first Board of a run.
    bitten = None
    # Journals in files, one object each.
    _memories = {}  # type: ignore[var-annotated]  # by name
    # Where applications that packages bring are kept.
    root = HOME + "/ota"
    home = HOME
    # The slot that runs, for a layout that has none.
    running = 0
    # Why the settings cannot be read.
    unread = None

    def __init__(self):
        self.journal = self.memory("mpota")
        self._layout = self._settings = None
        if sys.platform == "rp2" and Board.bitten is None:
            Board.bitten = self._bitten()

    def memory(self, name):
        """The blobs of an NVS namespace, or of two files, which no package reaches."""
        try:
            from esp32 import NVS
        except ImportError:
            from mpota.store.pair import FileJournal

            if name not in self._memories:
                self._memories[name] = FileJournal(self.root + "/" + name)
            return self._memories[name]
        return NvsJournal(NVS(name))

    @property
    def settings(self):
        """The dict of /mpota.json; {} where there is none, or where it cannot be read: `unread` says why."""
        if self._settings is None:
            self._settings = {}
            try:
                with open(SETTINGS, "rb") as f:
                    data = f.read()
                # Editors of Windows begin a file with a byte order mark.
                found = json.loads(data[3:] if data[:3] == b"\xef\xbb\xbf" else data)
                if not isinstance(found, dict):
                    raise ValueError("no JSON object")
                self._settings = found
            except Exception as e:
                if getattr(e, "errno", 0) != 2:  # ENOENT
                    self.unread = repr(e)
        return self._settings

    def setting(self, name, default, most):
        """A number of the settings, 1 to `most`; the default where there is none, or nonsense."""
        n = self.settings.get(name)
        return n if isinstance(n, int) and 0 < n <= most else default

    @property
    def layout(self):
        if self._layout is None:
            name = "mpota.layout." + str(self.settings.get("layout", "esp32"))
            self._layout = __import__(name, None, None, ("make",)).make(self)
        return self._layout

    @property
    def protected(self):
        """Paths in an application's folder that are this board's own."""
        paths = self.settings.get("protected")
        found = [str(path).strip("/") for path in paths] if isinstance(paths, list) else []
        # "", "." and ".." would be all of the folder, or none of it.
        return [path for path in found if all(part.strip(".") for part in path.split("/"))]

    @property
    def product(self):
        return str(self.settings.get("product", ""))

    @property
    def chunk(self):
        """The largest chunk, in bytes, that this board has the heap for."""
        return self.setting("chunk", 16384, 65536)

    def keys(self):
        """The public keys that this board trusts: every file in /keys. Without one it trusts nobody."""
        keys = []
        try:
            names = os.listdir(KEYS)
        except OSError:
            return keys
        for name in names:
            try:
                with open(KEYS + "/" + name, "rb") as f:
                    keys.append(f.read(384))
            except OSError:
                pass
        return keys

    def secrets(self):
        """The device keys of this board, four at most."""
        return list(filter(None, map(self.memory("mpota_keys").last, "0123")))

    def cause(self):
        """Why this start, in a word: "power", "watchdog", "reset", "wake" from deep sleep, "" for a soft reset.

        "unknown" where the port cannot tell: it counts towards the end of a trial, and never towards a rescue.
        """
        import machine as m

        words = {"PWRON": "power", "WDT": "watchdog", "DEEPSLEEP": "wake", "SOFT": ""}
        # Not every port has every one of them.
        names = {getattr(m, key + "_RESET", key): words[key] for key in words}
        word = names.get(m.reset_cause(), "reset")
        if getattr(m, "HARD_RESET", 0) != 2:
            # rp2, mimxrt, samd, esp8266: machine.reset() has no number of its own, and a soft reset leaves the old one.
            if word not in ("power", "wake"):
                word = "watchdog" if Board.bitten else "unknown"
        elif not (word or m.SOFT_RESET):
            # stm32: what does not set PINRSTF reads like a soft reset.
            word = "unknown"
        return word

    def _bitten(self):
        # WATCHDOG.REASON, bit 0: TIMER (pico-sdk, hardware/regs/watchdog.h). A soft reset leaves it as it is, and the
        # clock too, which begins at 0 after every other reset.
        from machine import mem32

        return self.ticks_ms() < 1500 and mem32[0x400D8008 if "RP2350" in os.uname()[4] else 0x40058008] & 1

    def reset(self):
        """Reset through the loader; does not return."""
        import machine

        machine.reset()

    def watch(self, ms=0):
        """Start the watchdog, or change its time. It cannot be stopped again and outlives a soft reset."""
        from machine import WDT

        try:
            Board._dog = WDT(timeout=ms or self.setting("wdt_ms", 60000, 3600000))
        except ValueError:
            # An RP2040 counts to 8.3 s.
            Board._dog = WDT(timeout=8300)

    def relax(self):
        """The trial is over: a watchdog that runs gets a day, so that a person at the REPL is not reset."""
        if self._dog:
            self.watch(86400000)

    def id(self):
        """Bytes that no other board has."""
        from machine import unique_id

        return unique_id()

    def feed(self):
        if self._dog:
            self._dog.feed()

    def ticks_ms(self):
        return time.ticks_ms()

    def since(self, then):
        """Milliseconds since `then`, a value of ticks_ms() up to six days old."""
        return time.ticks_diff(time.ticks_ms(), then)

    def pause(self):
        """Let others have their turn."""
        time.sleep_ms(10)

    def held(self):
        """Is the button pressed that asks for a rescue? It pulls the pin `rescue_pin` of the settings to ground."""
        n = self.settings.get("rescue_pin")
        if not isinstance(n, int):
            return False
        from machine import Pin

        return not Pin(n, Pin.IN, Pin.PULL_UP).value()

    def connect(self, wait_ms=15000):
        """Join the Wi-Fi of the NVS namespace `wifi` (ssid, psk). True when joined."""
        from network import STA_IF, WLAN

        wlan = WLAN(STA_IF)
        names = list(filter(None, map(self.memory("wifi").last, ("ssid", "psk"))))
        began = self.ticks_ms()
        try:
            wlan.active(True)
            if names and not wlan.isconnected():
                wlan.connect(*names)  # type: ignore[arg-type]  # bytes do as well as text
            while not wlan.isconnected() and self.since(began) < wait_ms:
                self.feed()
                time.sleep_ms(100)
        except (OSError, RuntimeError):
            pass  # after a soft reset the radio may still be joining from before
        return wlan.isconnected()
