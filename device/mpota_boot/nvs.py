"""The journal of an ESP32: blobs in a namespace of its NVS, which writes the new value before it drops the old one.

What a lost NVS must not undo has a second copy, spare.py.
"""

# Numbers that nobody misses, written before the first record of a run. A cut may have left cells half programmed behind
# the last entry, where ESP-IDF looks at one word only: a record reaches three entries far, and these take those cells.
_NUMBERS = "abc"


class NvsJournal:
    """`nvs` is an esp32.NVS, or None for one that does not open. `board` has the copy in its folder; None: no copy."""

    def __init__(self, nvs, board=None):
        self.nvs = nvs
        self.board = board
        self.fresh = True

    def last(self, tag):
        return self._get(tag) or (self._spare().last(self.board, tag) if self._lost() else None)

    def _get(self, tag):
        buf = bytearray(128)
        # One wrong read is not believed.
        for _ in "12" if self.nvs else "":
            try:
                n = self.nvs.get_blob(tag, buf)
                return bytes(buf[:n]) or None
            except OSError:
                pass

    def _lost(self):
        """Was nothing ever put here?"""
        try:
            if self.nvs:
                self.nvs.get_i32(_NUMBERS[0])
                return False
        except OSError:
            pass
        return self.board

    def _spare(self):
        from mpota_boot import spare

        return spare

    def _begin(self, nvs):
        """The first put of a run."""
        if self._lost():
            self._spare().restore(self.board, nvs)
        for key in _NUMBERS:
            try:
                n = nvs.get_i32(key)
            except OSError:
                n = 0
            nvs.set_i32(key, n ^ 1)
        self.fresh = False

    def put(self, tag, data):
        # An ordinary boot writes nothing.
        from mpota_boot.errors import FlashError

        nvs = self.nvs
        if not nvs:
            raise FlashError("journal", "the NVS does not open, so %s is not kept" % tag)
        data = data[:128]
        try:
            if self.fresh:
                self._begin(nvs)
            if data:
                nvs.set_blob(tag, data)
            elif self._get(tag):
                nvs.erase_key(tag)
            nvs.commit()
            if self._get(tag) != (data or None):
                raise OSError(5)
        except OSError as e:
            raise FlashError("journal", "NVS did not keep %s: %r" % (tag, e))
        if self.board:
            self._spare().put(self.board, tag, data)
