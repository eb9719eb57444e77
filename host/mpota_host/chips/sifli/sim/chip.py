"""What a program on a SiFli chip can import and the unix port has not: the whole flash, the eFuses, the other program.

The eFuses of a virtual board are the last sector of its flash file, which no map names. A manager jumps to the user
program by a word on the wire, since every program here is a process of its own.
"""

from mpota.store.flash import Region

EFUSE_SIZE = 128


class ChipModule:
    """Module `chip`."""

    def __init__(self, wire, flash, behaviour):
        self._wire = wire
        self._raw = flash
        self.healthy = behaviour != "unhealthy"

    def flash(self):
        """The flash without what stands for the eFuses."""
        return Region(self._raw, 0, self._raw.size - self._raw.erase_size)

    def efuse(self):
        """The 128 bytes of the eFuses."""
        buf = bytearray(EFUSE_SIZE)
        self._raw.read(self._raw.size - self._raw.erase_size, buf)
        return bytes(buf)

    def jump(self):
        """Start the user program; does not return."""
        self._wire.down("jump")


def modules(wire, flash, config):
    """Module `chip`, beside what every board has."""
    return {"chip": ChipModule(wire, flash, config["behaviour"])}
