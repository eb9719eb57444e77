"""The only file that names hardware: what an ESP32 gives to the agent, behind words that the other modules use.

Hardware modules are imported inside functions, so that importing this file touches nothing.
"""

import json
import os
import time

from device.store.journal import NvsJournal

SETTINGS = "/mpota.json"
KEYS = "/keys"


def _nvs(name):
    """The blobs of an NVS namespace, which no package reaches."""
    from esp32 import NVS

    return NvsJournal(NVS(name))


class Partition:
    """An `esp32.Partition` as a Flash; ESP-IDF resets whoever writes to the running one."""

    erase_size = 4096
    # Flash encryption takes whole 32-byte units; without it any length would do.
    prog_size = 32
    erased = 0xFF

    def __init__(self, part):
        self.part = part
        self.size, self.label = part.info()[3:5]

    def _do(self, call, *args):
        try:
            bad = call(*args)
        except OSError as e:
            bad = e
        if bad:
            from device.errors import FlashError

            raise FlashError("flash", "partition %s: %r" % (self.label, bad))

    def read(self, off, buf):
        self._do(self.part.readblocks, off >> 12, buf, off & 4095)

    def prog(self, off, buf):
        self._do(self.part.writeblocks, off >> 12, buf, off & 4095)

    def erase(self, off, n):
        for block in range(off >> 12, (off + n) >> 12):
            self._do(self.part.ioctl, 6, block)

    def boot(self):
        """Make this image the one that boots: ESP-IDF verifies it and writes otadata."""
        self._do(self.part.set_boot)


class Port:
    """The partitions that layout/esp32 works on, found by type and subtype: labels differ between boards."""

    def __init__(self, feed):
        from esp32 import Partition as P

        self.find = P.find
        self.mark_valid = P.mark_app_valid_cancel_rollback
        self.feed = feed
        running = P(P.RUNNING)  # type: ignore[arg-type]  # the stubs know labels only
        self.current = Partition(running)
        subtype = running.info()[1]
        self.running = subtype - 16 if subtype >= 16 else -1
        self.slots = []
        # As ESP-IDF counts: a gap ends the row of slots.
        while part := P.find(P.TYPE_APP, 16 + len(self.slots)):
            self.slots.append(Partition(part[0]))
        data = P.find(P.TYPE_DATA, 0)
        self.otadata = Partition(data[0]) if data else None

    def set_boot(self, slot):
        """Boot `slot` next; -1 is the factory image, which has subtype 0."""
        (Partition(self.find(0, 0)[0]) if slot < 0 else self.slots[slot]).boot()


class Board:
    """This board: its settings, its journal, its layout, its watchdog and its clock."""

    # One for all: there is one watchdog, and whoever makes a second Board has to feed it too.
    _dog = None

    def __init__(self):
        self.journal = _nvs("mpota")
        self._layout = self._settings = None

    @property
    def settings(self):
        """The dict of /mpota.json; {} where there is none or it cannot be read."""
        if self._settings is None:
            try:
                with open(SETTINGS) as f:
                    self._settings = json.load(f)
            except (OSError, ValueError):
                pass
            if not isinstance(self._settings, dict):
                self._settings = {}
        return self._settings

    def setting(self, name, default, most):
        """A number of the settings, 1 to `most`; the default where there is none, or nonsense."""
        n = self.settings.get(name)
        return n if isinstance(n, int) and 0 < n <= most else default

    @property
    def layout(self):
        if self._layout is None:
            from device.layout.esp32 import Layout

            self._layout = Layout(Port(self.feed), self.journal, self.setting("trials", 3, 255))
        return self._layout

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
        return list(filter(None, map(_nvs("mpota_keys").last, "0123")))

    def cause(self):
        """Why the loader ran, in a word; "" where it did not: a soft reset, a wake from deep sleep."""
        import machine as m

        names = {m.SOFT_RESET: "", m.DEEPSLEEP_RESET: "", m.WDT_RESET: "watchdog", m.PWRON_RESET: "power"}
        return names.get(m.reset_cause(), "reset")

    def reset(self):
        """Reset through the loader; does not return."""
        import machine

        machine.reset()

    def watch(self, ms=0):
        """Start the watchdog, or change its time. It cannot be stopped again and outlives a soft reset."""
        from machine import WDT

        Board._dog = WDT(timeout=ms or self.setting("wdt_ms", 60000, 3600000))

    def relax(self):
        """The trial is over: a watchdog that runs gets a day, so that a person at the REPL is not reset."""
        if self._dog:
            self.watch(86400000)

    def feed(self):
        if self._dog:
            self._dog.feed()

    def ticks_ms(self):
        return time.ticks_ms()

    def since(self, then):
        """Milliseconds since `then`, a value of ticks_ms() up to six days old."""
        return time.ticks_diff(time.ticks_ms(), then)

    def connect(self, wait_ms=15000):
        """Join the Wi-Fi of the NVS namespace `wifi` (ssid, psk). True when joined."""
        from network import STA_IF, WLAN

        wlan = WLAN(STA_IF)
        names = list(filter(None, map(_nvs("wifi").last, ("ssid", "psk"))))
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
