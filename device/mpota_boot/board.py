"""This board, behind words that the other modules use: its settings, journal, layout, watchdog and clock.

Hardware modules are imported inside functions, so that importing this file touches nothing. A port without `esp32` has
no NVS: its journals are files.
"""

import json
import os
import sys
import time

# Where boot.py started: the root on most ports, /flash or a card on some.
HOME = os.getcwd().rstrip("/")
SETTINGS = HOME + "/mpota.json"
try:
    # The table of this platform.
    port = __import__("mpota_boot.ports." + sys.platform, None, None, ("x",))
except ImportError:
    from mpota_boot.ports import other as port


class Board:
    """This board: its settings, its journal, its layout, its watchdog and its clock."""

    # Shared by every Board of a run: there is one watchdog, and each Board has to feed it.
    _dog = None  # type: ignore[var-annotated]
    # The timer that feeds a watchdog after its trial, where it cannot be stopped.
    _feeder = None  # type: ignore[var-annotated]
    # Why this run began, where the port needs a mark to tell.
    _why = None
    _port = port
    # Why the NVS does not open, a sentence; None where it does.
    fault = None
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
        self._layout = self._settings = self._ring = None
        if self._why is None and self._port.DOG_MS:
            self._begin()
        self.journal = self.memory("mpota")

    def memory(self, name):
        """A journal by its name: an NVS namespace, or two files below `root`. No package reaches either."""
        try:
            from esp32 import NVS
        except ImportError:
            from mpota.store.pair import FileJournal

            if name not in self._memories:
                self._memories[name] = FileJournal(self.root + "/" + name)
            return self._memories[name]
        from mpota_boot.nvs import NvsJournal

        try:
            nvs = NVS(name)
        except OSError as e:
            nvs = None
            Board.fault = "NVS: %r" % e
        return NvsJournal(nvs, self if name == "mpota" else None)

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
        """A whole number of the settings, 1 to `most`; `default` where the setting is missing or anything else."""
        n = self.settings.get(name)
        return n if isinstance(n, int) and 0 < n <= most else default

    @property
    def layout(self):
        """The Layout that the settings name, made once; ImportError where this board does not carry it."""
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
        """What a package has to be for: the setting `product`, "" where there is none."""
        return str(self.settings.get("product", ""))

    @property
    def channel(self):
        """The channel whose packages this board takes: the setting `channel`, "" for the stable one."""
        return str(self.settings.get("channel", ""))

    @property
    def room(self):
        """The room for a stored chunk, in bytes, that this board has the heap for."""
        return self.setting("room", 4096, 16384)

    def keys(self):
        """The public keys that this board trusts, 384 bytes each: every file in /keys. Without one it takes nothing.

        With roots in /keys/roots: a Keyring, which proves them.
        """
        keys = []
        folder = self.home + "/keys/"
        try:
            names = os.listdir(folder[:-1])
        except OSError:
            return keys
        if "roots" in names:
            if not self._ring:
                from mpota.keyring import Keyring

                self._ring = Keyring(self, folder + "roots")
            return self._ring
        for name in names:
            try:
                with open(folder + name, "rb") as f:
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
        if self._why is not None:
            return self._why
        import machine

        return self._port.cause(machine.reset_cause())

    def _begin(self):
        """The first Board of a run: was this start a soft reset, and does the watchdog of the run before go on?"""
        if self._port.MARK:
            from mpota_boot.ports.mark import begin

            Board._why, runs = begin(self)
        else:
            Board._why = self.cause()
            # An ESP32 does not say whether it runs.
            runs = not self._why
        if runs:
            from mpota_boot import dog

            dog.resume(self)

    def reset(self):
        """Reset through the loader; does not return."""
        import machine

        machine.reset()

    def watch(self, ms=0):
        """Start the watchdog, or change its time. It cannot be stopped again and outlives a soft reset."""
        from mpota_boot import dog

        dog.watch(self, ms)

    def relax(self):
        """After a trial: a person at the REPL is not reset by the watchdog that runs."""
        if self._dog:
            from mpota_boot import dog

            dog.relax(self)

    def id(self):
        """Bytes that no other board has."""
        from machine import unique_id

        return unique_id()

    def feed(self):
        """Feed the watchdog, where one runs."""
        if self._dog:
            self._dog.feed()

    def ticks_ms(self):
        """Milliseconds of a clock that wraps; since() reads them."""
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
