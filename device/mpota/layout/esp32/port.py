"""The partitions of an ESP32 as ESP-IDF gives them, behind the words that layout/esp32 uses.

Hardware modules are imported inside functions, so that importing this file touches nothing; a boot with nothing to
settle does not even import it.
"""


class Partition:
    """An `esp32.Partition` as a Flash; ESP-IDF resets the chip on a write to the running one."""

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
            from mpota_boot.errors import FlashError

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

    def __init__(self, board):
        from esp32 import Partition as P

        self.find = P.find
        self.mark_valid = P.mark_app_valid_cancel_rollback
        self.feed = board.feed
        self.root = board.root
        self.protected = board.protected
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

    def encrypted(self):
        """Does the flash hold something else than the partition gives? Then the chip encrypts it."""
        from esp import flash_read

        raw, plain = bytearray(32), bytearray(32)
        flash_read(self.current.part.info()[2], raw)
        self.current.read(0, plain)
        return raw != plain

    def set_boot(self, slot):
        """Boot `slot` next; -1 is the factory image, which has subtype 0."""
        (Partition(self.find(0, 0)[0]) if slot < 0 else self.slots[slot]).boot()
