"""An example wiring of a BK7238 board: what mpota needs of the chip, and the vendor's commands for its console.

The module `chip` stands for what your port gives: the raw flash, and the scrambler's words in the eFuse. The chip has
no room for a file system behind the vendor's partitions; here /mpota.json and /keys lie on a second flash.
"""

import chip

from mpota.installer import install
from mpota.layout.bk7238.link import fetch, lines
from mpota.layout.bk7238.port import Port
from mpota.layout.bk7238.store import table
from mpota.link.web import Web
from mpota.network import port as network
from mpota.network.net import Net
from mpota.store.flash import Region
from mpota.store.log import Log
from mpota.store.raw import Raw
from mpota_boot import board

SECTOR = 4096
# Behind `download`: the radio's calibration, the network's settings, then two sectors that Beken's SDK leaves alone.
# Other firmware uses them, on a Tuya T1 for the calibration: there set JOURNAL to 0x1EC000. README.md has a table.
RADIO = table.RADIO[chip.SIZE]
JOURNAL = RADIO + 2 * SECTOR

flash = Raw(chip.SIZE, chip.flash_read, chip.flash_write, chip.flash_erase)


class Board(board.Board):
    """This board. One journal for all of a run: it remembers where it ends."""

    def memory(self, name):
        if name != "mpota":
            return super().memory(name)
        if name not in self._memories:
            self._memories[name] = Log(Region(flash, JOURNAL, 2 * SECTOR))
        return self._memories[name]

    def port(self):
        port = Port(self, flash, table.entries(chip.SIZE), self.radio)
        port.scrambler = chip.efuse()
        port.kept = {"RF": RADIO, "network": RADIO + SECTOR}
        # Everybody who knows the vendor's AES key can make an RBL, so unsigned ones need a setting.
        port.bare = self.settings.get("bare") is True
        return port

    def radio(self):
        """(joined, signal in dBm or None), for `status`."""
        from network import STA_IF, WLAN

        wlan = WLAN(STA_IF)
        joined = wlan.isconnected()
        return joined, wlan.status("rssi") if joined else None


class Url(Web):
    """A Link to one file at a URL. It waits: a person at the console does so too."""

    def __init__(self, url):
        super().__init__()
        self.place = url

    def open(self, at=0):
        return self.fetch(self.place, at)


def http_ota(url):
    """The vendor's command, for a person at the console: fetch a package or an RBL, check it, restart."""
    here = Board()
    link = Url(url)
    link.feed = here.feed
    link.network = Net(here)
    here.watch()
    try:
        fetch.http_ota(here, link, install, lambda done, size: print("%d of %d bytes" % (done, size), end="\r"))
    finally:
        here.relax()


def sta(ssid, password=""):
    """The vendor's command: join a Wi-Fi, and keep it for the next start."""
    lines.join(Board(), network, ssid, password)
    print("joined " + ssid)


def status():
    """What this board knows of an update that did not come: the vendor's page asks for it."""
    for line in Board().layout.status()["findings"]:
        print(line)


def command(line):
    """Do a line as the vendor's page has it: `sta SSID PASSWORD` or `http_ota URL`; and `status`."""
    commands = {"sta": (sta, "SSID PASSWORD", 1, 2), "http_ota": (http_ota, "URL", 1, 1), "status": (status, "", 0, 0)}
    lines.do(line, commands)


def cli():
    """The vendor's console: lines for command(), until `exit`."""
    lines.loop(command, print)


# A person types `cli()` at the console and then the vendor's lines, or http_ota("http://...") as Python.
for _name, _call in (("http_ota", http_ota), ("sta", sta), ("cli", cli)):
    setattr(__import__("__main__"), _name, _call)
