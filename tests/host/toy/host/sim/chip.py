"""A toy chip in one process, for tests and campaigns, and the module `chip` of a virtual board. Both interpreters."""

from mpota.layout.toy import port
from mpota.store.log import Log
from mpota_host.sim.plain import Blobs, GivenBoard

# Two sectors of journal, two slots of 128 KiB; the files lie on a flash of their own behind them.
SIZE = 0x42000


class ToyBoard(GivenBoard):
    """The shipped Board on a flash, running what the loader started."""

    def __init__(self, flash, running, settings, keys=None):
        self.flash = flash
        self.running = running
        super().__init__(settings, keys)

    def memory(self, name):
        return Log(port.journal(self.flash)) if name == "mpota" else Blobs()

    def port(self):
        return port.Port(self, self.flash, self.running)


class ChipModule:
    """Module `chip`; the port's calls raise OSError outside the flash."""

    SIZE = SIZE

    def __init__(self, flash, running):
        self._flash = flash
        self._running = running

    def _do(self, call, off, what, n):
        if off < 0 or off + n > SIZE:
            raise OSError(22)
        call(off, what)

    def flash_read(self, off, buf):
        self._do(self._flash.read, off, buf, len(buf))

    def flash_write(self, off, buf):
        self._do(self._flash.prog, off, buf, len(buf))

    def flash_erase(self, off):
        self._do(self._flash.erase, off, self._flash.erase_size, self._flash.erase_size)

    def slot(self):
        return self._running


def modules(wire, flash, config):
    """What a program on a toy chip can import and the unix port cannot give."""
    starts = [slot.start for slot in port.slots(port.Region(flash, 0, SIZE))]
    return {"chip": ChipModule(flash, starts.index(config["running"]))}
